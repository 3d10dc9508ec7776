//! A name server for tests: a table, or any behaviour, on a port of the loopback interface, by UDP and TCP.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use simple_dns::rdata::{A, AAAA, CNAME, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Udp,
    Tcp,
}

/// Answers until it is dropped.
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeServer {
    /// A server on 127.0.0.1; `answer` gives the messages that follow a question, any number of them.
    pub(super) fn start(
        answer: impl Fn(&Packet<'_>, Via) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> FakeServer {
        FakeServer::start_on(Ipv4Addr::LOCALHOST.into(), answer)
    }

    pub(super) fn start_on(
        ip: IpAddr,
        answer: impl Fn(&Packet<'_>, Via) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> FakeServer {
        // The same port for both; where TCP's is taken by chance, another one.
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((ip, 0)).unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);

        let serve_udp = {
            let (asked, stop, answer) = (asked.clone(), stop.clone(), answer.clone());
            move || {
                let mut buffer = [0; 512];
                loop {
                    let (length, client) = udp.recv_from(&mut buffer).unwrap();
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let query = Packet::parse(&buffer[..length]).unwrap();
                    asked.lock().unwrap().push(text_of(&query, Via::Udp));
                    for message in answer(&query, Via::Udp) {
                        let _ = udp.send_to(&message, client);
                    }
                }
            }
        };
        let serve_tcp = {
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                for stream in tcp.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut stream = stream.unwrap();
                    let Some(bytes) = read_message(&mut stream) else {
                        continue;
                    };
                    let query = Packet::parse(&bytes).unwrap();
                    asked.lock().unwrap().push(text_of(&query, Via::Tcp));
                    for message in answer(&query, Via::Tcp) {
                        let length = u16::try_from(message.len()).unwrap();
                        let _ = stream.write_all(&[&length.to_be_bytes(), &message[..]].concat());
                    }
                }
            }
        };
        FakeServer {
            address,
            asked,
            stop,
            threads: vec![thread::spawn(serve_udp), thread::spawn(serve_tcp)],
        }
    }

    /// A server that knows a table of lines such as `ctl1.org A 10.0.0.1`.
    pub(super) fn with_zone(lines: &[&str]) -> FakeServer {
        let zone = Zone::new(lines);
        FakeServer::start(move |query, _| vec![zone.answer(query)])
    }

    /// A server that gives the same code for every question.
    pub(super) fn that_says(code: RCODE) -> FakeServer {
        FakeServer::start(move |query, _| vec![reply(query, code, &[])])
    }

    /// A server that never answers.
    pub(super) fn silent() -> FakeServer {
        FakeServer::start(|_, _| Vec::new())
    }

    /// The questions so far, such as `A ctl1.org`; by TCP `A ctl1.org tcp`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes both threads.
        let waker = UdpSocket::bind((self.address.ip(), 0)).unwrap();
        let _ = waker.send_to(&[], self.address);
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let panicked = thread.join().is_err();
            assert!(!panicked || thread::panicking(), "the fake server panicked");
        }
    }
}

/// A table of records.
pub(super) struct Zone(Vec<ResourceRecord<'static>>);

impl Zone {
    pub(super) fn new(lines: &[&str]) -> Zone {
        Zone(lines.iter().map(|line| record(line)).collect())
    }

    /// What an honest server answers: the records with the aliases that lead to them, nothing, or "no such name".
    pub(super) fn answer(&self, query: &Packet<'_>) -> Vec<u8> {
        let question = &query.questions[0];
        let mut owner = question.qname.clone();
        let mut answers = Vec::new();
        while answers.len() < 20 {
            let of_owner = || self.0.iter().filter(|record| record.name == owner);
            let wanted = of_owner().filter(|record| record.match_qtype(question.qtype));
            let before = answers.len();
            answers.extend(wanted.cloned());
            if answers.len() > before {
                break;
            }
            let alias = of_owner().find_map(|record| match &record.rdata {
                RData::CNAME(target) => Some((record, target)),
                _ => None,
            });
            let Some((record, target)) = alias else {
                break;
            };
            answers.push(record.clone());
            owner = target.0.clone();
        }
        let exists = self.0.iter().any(|record| record.name == owner);
        reply(
            query,
            if exists {
                RCODE::NoError
            } else {
                RCODE::NameError
            },
            &answers,
        )
    }
}

/// A reply to `query`, whatever it asks.
pub(super) fn reply(
    query: &Packet<'_>,
    code: RCODE,
    answers: &[ResourceRecord<'static>],
) -> Vec<u8> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    *reply.rcode_mut() = code;
    reply.questions = query.questions.clone();
    reply.answers = answers.to_vec();
    reply.build_bytes_vec_compressed().unwrap()
}

/// A record from a line such as `_x._tcp.org SRV 10 5 6817 ctl1.org`.
pub(super) fn record(line: &str) -> ResourceRecord<'static> {
    let name = |text: &str| Name::new(text).unwrap().into_owned();
    let data = match *line.split(' ').collect::<Vec<_>>() {
        [_, "A", ip] => RData::A(A {
            address: ip.parse::<Ipv4Addr>().unwrap().into(),
        }),
        [_, "AAAA", ip] => RData::AAAA(AAAA {
            address: ip.parse::<Ipv6Addr>().unwrap().into(),
        }),
        [_, "CNAME", target] => RData::CNAME(CNAME(name(target))),
        [_, "SRV", priority, weight, port, target] => RData::SRV(SRV {
            priority: priority.parse().unwrap(),
            weight: weight.parse().unwrap(),
            port: port.parse().unwrap(),
            target: name(target),
        }),
        _ => unreachable!("{line}"),
    };
    let owner = line.split(' ').next().unwrap();
    ResourceRecord::new(name(owner), CLASS::IN, 60, data)
}

fn text_of(query: &Packet<'_>, via: Via) -> String {
    let question = &query.questions[0];
    let kind = match question.qtype {
        QTYPE::TYPE(TYPE::A) => "A",
        QTYPE::TYPE(TYPE::AAAA) => "AAAA",
        QTYPE::TYPE(TYPE::SRV) => "SRV",
        _ => unreachable!(),
    };
    let tcp = if via == Via::Tcp { " tcp" } else { "" };
    format!("{kind} {}{tcp}", question.qname)
}

fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
