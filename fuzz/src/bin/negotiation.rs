//! Negotiations with a peer that answers anything: each ends soon, and sends no credential where it
//! should not.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use slurm_protocol::{Answer, Attempt, Errno, Negotiation, Outcome, ProtocolVersion, Step};
use straw_fuzz::version;

#[derive(Arbitrary, Debug)]
enum Begin {
    Unknown,
    Known(u8),
    Pinned(u8),
}

#[derive(Arbitrary, Debug)]
enum Said {
    Closed,
    Http,
    Code(Version, Code),
    Message(Version),
}

#[derive(Arbitrary, Debug)]
enum Version {
    OfTheAttempt,
    Near(u8),
    Any(u16),
}

#[derive(Arbitrary, Debug)]
enum Code {
    Authentication,
    Tls,
    Any(u32),
}

#[derive(Arbitrary, Debug)]
struct Input {
    begin: Begin,
    since: Option<u8>,
    said: Vec<Said>,
}

/// More attempts are no negotiation any more.
const MOST: usize = 12;

libfuzzer_sys::fuzz_target!(|input: Input| {
    let (mut negotiation, given) = match input.begin {
        Begin::Unknown => (Negotiation::unknown(), None),
        Begin::Known(choice) => (Negotiation::known(version(choice)), Some(version(choice))),
        Begin::Pinned(choice) => (Negotiation::pinned(version(choice)), Some(version(choice))),
    };
    let oldest = input.since.map_or(ProtocolVersion::OLDEST, version);
    negotiation = negotiation.since(oldest);
    let mut said = input.said.iter();
    let mut answered = false;
    for attempts in 1.. {
        assert!(attempts <= MOST, "no end: {input:?}");
        let attempt = negotiation.attempt();
        let spoken = attempt.version();
        assert!(
            spoken.is_supported() || given == Some(spoken),
            "{attempt:?}"
        );
        if let Attempt::Request(version) = attempt {
            let first = given == Some(version);
            assert!(
                first || answered || version <= ProtocolVersion::V23_11,
                "{attempt:?}"
            );
            let ladder_begins = version == ProtocolVersion::V23_11;
            assert!(
                first || ladder_begins || version >= oldest,
                "{attempt:?} before {oldest:?}"
            );
        }
        let of = |choice: &Version| match choice {
            Version::OfTheAttempt => spoken,
            Version::Near(choice) => version(*choice),
            Version::Any(number) => ProtocolVersion(*number),
        };
        let answer = match said.next() {
            None | Some(Said::Closed) => Answer::Closed,
            Some(Said::Http) => Answer::Http,
            Some(Said::Message(version)) => Answer::Message {
                version: of(version),
            },
            Some(Said::Code(version, code)) => Answer::ReturnCode {
                version: of(version),
                code: match code {
                    Code::Authentication => Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
                    Code::Tls => Errno::ESLURM_TLS_REQUIRED,
                    Code::Any(code) => Errno(*code),
                },
            },
        };
        answered |= matches!(answer, Answer::ReturnCode { .. } | Answer::Message { .. });
        match negotiation.answer(answer) {
            Step::Send(next) => {
                assert_eq!(next, negotiation.attempt());
                if let Begin::Pinned(_) = input.begin {
                    panic!("another version than the only one: {next:?}");
                }
            }
            Step::Done(Outcome::Answered) => {
                assert!(matches!(attempt, Attempt::Request(_)));
                break;
            }
            Step::Done(_) => break,
        }
    }
});
