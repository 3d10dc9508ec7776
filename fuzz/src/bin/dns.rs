//! Lookups with any resolv.conf and hosts file, and with answers that are nearly right, wrong, or no
//! answers at all.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use straw::fuzzing::{Answer, lookup};
use straw_fuzz::is_harmless;

#[derive(Arbitrary, Debug)]
enum Message {
    Raw {
        ours: bool,
        bytes: Vec<u8>,
    },
    Made {
        ours: bool,
        flags: u16,
        questions: u8,
        answers: Vec<Record>,
        behind: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Record {
    owner: Name,
    kind: u8,
    data: Vec<u8>,
    target: Name,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Asked,
    Known(u8),
    Labels(Vec<Vec<u8>>),
    Pointer(u16),
}

#[derive(Arbitrary, Debug)]
struct Input {
    hosts: Vec<u8>,
    resolv_conf: Conf,
    host_name: u8,
    name: u8,
    raw_name: Option<String>,
    service: bool,
    messages: Vec<Message>,
}

#[derive(Arbitrary, Debug)]
enum Conf {
    Lines(Vec<u8>),
    Raw(Vec<u8>),
}

const LINES: [&str; 14] = [
    "nameserver 10.0.0.2",
    "nameserver fd00::2",
    "nameserver fe80::1%lo",
    "search example.org a.b",
    "search .",
    "domain example.org",
    "options ndots:0",
    "options ndots:15 attempts:9",
    "options timeout:0 rotate",
    "options use-vc",
    "options no-aaaa",
    "options edns0 trust-ad",
    "sortlist 10.0.0.0/8",
    "# nothing",
];

const NAMES: [&str; 8] = [
    "ctl1",
    "ctl1.example.org",
    "ctl1.example.org.",
    "_slurmctld._tcp",
    "localhost",
    "a.localhost",
    "10.0.0.1",
    "ctl2",
];

fn pick<'a>(list: &[&'a str], choice: u8) -> &'a str {
    list[usize::from(choice) % list.len()]
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

impl Name {
    fn put(&self, into: &mut Vec<u8>) {
        match self {
            // The question begins behind the header.
            Self::Asked => into.extend([0xc0, 12]),
            Self::Known(choice) => into.extend(labels(pick(&NAMES, *choice))),
            Self::Labels(parts) => {
                for part in parts {
                    into.push(part.len().min(63) as u8);
                    into.extend(part.iter().take(63));
                }
                into.push(0);
            }
            Self::Pointer(to) => into.extend((0xc000 | to).to_be_bytes()),
        }
    }
}

impl Message {
    fn answer(self, asked: &str, service: bool) -> Answer {
        let (ours, bytes) = match self {
            Self::Raw { ours, bytes } => (ours, bytes),
            Self::Made {
                ours,
                flags,
                questions,
                answers,
                behind,
            } => {
                let mut bytes = vec![0, 0];
                // A reply, mostly.
                bytes.extend((0x8000 ^ (flags & 0x8a8f)).to_be_bytes());
                bytes.extend([0, 1 + questions % 2, 0, answers.len() as u8, 0, 0, 0, 0]);
                bytes.extend(labels(asked));
                bytes.extend(if service { [0, 33, 0, 1] } else { [0, 1, 0, 1] });
                for record in &answers {
                    record.owner.put(&mut bytes);
                    let kind = [1, 28, 33, 5, 16][usize::from(record.kind) % 5];
                    bytes.extend([0, kind, 0, 1, 0, 0, 0, 60]);
                    let mut data = match kind {
                        1 => vec![10, 0, 0, 1],
                        28 => vec![0xfd; 16],
                        33 => vec![0, 1, 0, 2, 0x1a, 0xa1],
                        _ => Vec::new(),
                    };
                    for (place, byte) in data.iter_mut().zip(&record.data) {
                        *place ^= byte;
                    }
                    if matches!(kind, 33 | 5) {
                        record.target.put(&mut data);
                    }
                    bytes.extend((data.len() as u16).to_be_bytes());
                    bytes.extend(data);
                }
                bytes.extend(behind);
                (ours, bytes)
            }
        };
        Answer { bytes, ours }
    }
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let resolv_conf = match &input.resolv_conf {
        Conf::Lines(lines) => {
            let lines = lines.iter().map(|choice| pick(&LINES, *choice));
            lines.collect::<Vec<_>>().join("\n").into_bytes()
        }
        Conf::Raw(bytes) => bytes.clone(),
    };
    let name = input
        .raw_name
        .as_deref()
        .unwrap_or_else(|| pick(&NAMES, input.name));
    let host = pick(&["", "node1", "node1.example.org"], input.host_name);
    let service = input.service;
    let answers = input
        .messages
        .into_iter()
        .map(|message| message.answer(name, service));
    match lookup(
        [&input.hosts, &resolv_conf],
        host,
        name,
        service,
        answers.collect(),
    ) {
        Ok(found) => {
            assert!(!found.is_empty());
            for (target, _) in found.iter().filter(|_| service) {
                let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                assert!(
                    target.ends_with('.') && target.chars().all(good),
                    "{target:?}"
                );
                assert!(target.len() <= 254 && !target.contains(".."), "{target:?}");
            }
        }
        Err(error) => assert!(is_harmless(&error.to_string()), "{error:?}"),
    }
});
