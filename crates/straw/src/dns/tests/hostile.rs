//! Answers made to hurt whoever reads them.

use std::time::Instant;

use simple_dns::{Packet, RCODE};

use super::server::{FakeServer, Via, record, reply};
use super::{PLENTY, ResolveError, addresses, ips, resolver, soon};

/// The header and the question of a reply to `query` that announces so many answers, and what comes
/// behind it.
fn raw(query: &Packet<'_>, answers: u16, behind: &[u8]) -> Vec<u8> {
    let mut message = reply(query, RCODE::NoError, &[]);
    message[6..8].copy_from_slice(&answers.to_be_bytes());
    message.extend(behind);
    message
}

/// Where the question's name begins, and what follows a question for `ctl1.org`.
const QUESTION: u8 = 12;
const BEHIND_QUESTION: u8 = QUESTION + 10 + 4;

/// An answer whose name is these bytes: an address, of class IN.
fn named(name: &[u8]) -> Vec<u8> {
    [name, &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 6, 6, 6]].concat()
}

#[test]
fn pointers_in_names_that_lead_nowhere() {
    let at = BEHIND_QUESTION;
    let names: [&[u8]; 6] = [
        // At itself; in a circle; with a label on each round.
        &[0xc0, at],
        &[0xc0, at + 2, 0xc0, at],
        &[1, b'x', 0xc0, at],
        // Forwards, past the end, and to the header.
        &[0xc0, at + 40],
        &[0xff, 0xff],
        &[0xc0, 2],
    ];
    for name in names {
        let answer = named(name);
        let began = Instant::now();
        let server = FakeServer::start(move |query, _| {
            let honest = reply(query, RCODE::NoError, &[record("ctl1.org A 10.0.0.1")]);
            vec![raw(query, 1, &answer), honest]
        });
        let found = addresses("options no-aaaa", &[&server], "ctl1.org");
        // It is no answer, or one about another name; never a hang, and never that address.
        match found {
            Ok(found) => assert_eq!(found, ips(&["10.0.0.1"]), "{name:?}"),
            Err(error) => assert!(matches!(error, ResolveError::NoAddress { .. }), "{error}"),
        }
        assert!(began.elapsed() < PLENTY);
    }
}

#[test]
fn more_answers_are_announced_than_there_are() {
    let server = FakeServer::start(|query, _| {
        let honest = reply(query, RCODE::NoError, &[record("ctl1.org A 10.0.0.1")]);
        let greedy = raw(query, u16::MAX, &named(&[0xc0, QUESTION]));
        vec![greedy, honest]
    });
    let found = addresses("options no-aaaa", &[&server], "ctl1.org").unwrap();
    assert_eq!(found, ips(&["10.0.0.1"]));
}

#[test]
fn no_such_name_is_not_taken_from_others() {
    let server = FakeServer::start(|query, _| {
        let mut other = query.clone();
        other.set_id(query.id() ^ 1);
        vec![
            reply(&other, RCODE::NameError, &[]),
            reply(query, RCODE::NoError, &[record("ctl1.org A 10.0.0.1")]),
            // Too late.
            reply(query, RCODE::NameError, &[]),
        ]
    });
    let found = addresses("options no-aaaa", &[&server], "ctl1.org").unwrap();
    assert_eq!(found, ips(&["10.0.0.1"]));
    let honest = FakeServer::with_zone(&[]);
    let error = addresses("", &[&honest, &server], "ctl1.org").unwrap_err();
    assert!(matches!(error, ResolveError::NoSuchName { .. }), "{error}");
}

#[test]
fn thousands_of_addresses_by_tcp() {
    const MANY: u16 = 4000;
    let server = FakeServer::start(|query, via| match via {
        Via::Udp => {
            let mut message = reply(query, RCODE::NoError, &[]);
            message[2] |= 0x02;
            vec![message]
        }
        Via::Tcp => {
            let answers = (0..MANY).flat_map(|at| {
                let mut answer = named(&[0xc0, QUESTION]);
                let end = answer.len() - 2;
                answer[end..].copy_from_slice(&at.to_be_bytes());
                answer
            });
            let message = raw(query, MANY, &answers.collect::<Vec<_>>());
            vec![message]
        }
    });
    let resolver = resolver("options no-aaaa", &[&server]);
    let found = resolver.addresses("ctl1.org", soon(PLENTY)).unwrap();
    assert_eq!(found.len(), usize::from(MANY));
    assert_eq!(found.last(), ips(&["10.6.15.159"]).last());
}

#[test]
fn a_stream_that_ends_too_soon_makes_way_for_the_next() {
    let good = FakeServer::with_zone(&["ctl1.org A 10.0.0.1"]);
    let broken = FakeServer::start(|query, via| {
        let mut message = reply(query, RCODE::NoError, &[record("ctl1.org A 10.6.6.6")]);
        if via == Via::Tcp {
            message.truncate(message.len() - 1);
        } else {
            message[2] |= 0x02;
        }
        vec![message]
    });
    let found = addresses("options no-aaaa", &[&broken, &good], "ctl1.org").unwrap();
    assert_eq!(found, ips(&["10.0.0.1"]));
    assert_eq!(broken.asked(), ["A ctl1.org", "A ctl1.org tcp"]);
}
