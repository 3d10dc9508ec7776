//! Lookups against name servers on the loopback interface, honest and otherwise.

mod hostile;
mod server;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::provision::skip;
use simple_dns::{Name, PacketFlag, RCODE, TYPE};

use self::server::{FakeServer, Via, Zone, record, reply};
use super::{ResolveError, Resolver, ResponseCode, SrvRecords};

/// Long enough that only a hang meets it.
const PLENTY: Duration = Duration::from_secs(30);

fn soon(limit: Duration) -> Instant {
    Instant::now() + limit
}

fn resolver(resolv_conf: &str, servers: &[&FakeServer]) -> Resolver {
    Resolver::new(b"", resolv_conf.as_bytes(), "")
        .with_nameservers(servers.iter().map(|server| server.address).collect())
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses(
    resolv_conf: &str,
    servers: &[&FakeServer],
    name: &str,
) -> Result<Vec<IpAddr>, ResolveError> {
    resolver(resolv_conf, servers).addresses(name, soon(PLENTY))
}

fn srv(resolv_conf: &str, server: &FakeServer) -> Result<SrvRecords, ResolveError> {
    resolver(resolv_conf, &[server]).srv("_slurmctld._tcp", soon(PLENTY))
}

/// A port of the loopback interface at which nobody listens.
fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    socket.local_addr().unwrap()
}

// What needs no server

#[test]
fn literals_hosts_and_localhost_ask_nobody() {
    let resolver = Resolver::new(
        b"2001:db8::1 ctl1\n10.0.0.1 ctl1 ctl1.example.org\n10.0.0.7 me.localhost",
        b"search example.org",
        "",
    )
    .with_nameservers(Vec::new());
    // The deadline has passed: what is known is known.
    let find = |name: &str| resolver.addresses(name, Instant::now()).unwrap();

    assert_eq!(find("192.0.2.1"), ips(&["192.0.2.1"]));
    assert_eq!(find("2001:db8::7"), ips(&["2001:db8::7"]));
    assert_eq!(find("CTL1."), ips(&["10.0.0.1", "2001:db8::1"]));
    assert_eq!(find("localhost"), ips(&["127.0.0.1", "::1"]));
    assert_eq!(find("a.Localhost."), ips(&["127.0.0.1", "::1"]));
    assert_eq!(find("me.localhost"), ips(&["10.0.0.7"]));
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let server = FakeServer::silent();
    let long_label = "a".repeat(64);
    let long_name = ["a"; 128].join(".");
    for name in [
        "",
        ".",
        "a b",
        "a..b",
        ".a",
        "a\n",
        "é",
        "fe80::1%eth0",
        "a..",
        "a\\.b",
    ]
    .into_iter()
    .chain([&long_label[..], &long_name])
    {
        let error = addresses("", &[&server], name).unwrap_err();
        assert_eq!(error, ResolveError::InvalidName { name: name.into() });
    }
    assert!(server.asked().is_empty());
}

#[test]
fn without_servers() {
    let error = addresses("", &[], "ctl1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no name server could be reached (there is none)"
    );
}

// Names

#[test]
fn both_families_ipv4_first() {
    let server = FakeServer::with_zone(&[
        "ctl1.org AAAA 2001:db8::1",
        "ctl1.org A 10.0.0.2",
        "ctl1.org A 10.0.0.1",
        "six.org AAAA 2001:db8::6",
    ]);
    let found = addresses("", &[&server], "Ctl1.ORG").unwrap();
    assert_eq!(found, ips(&["10.0.0.2", "10.0.0.1", "2001:db8::1"]));
    assert_eq!(
        addresses("", &[&server], "six.org").unwrap(),
        ips(&["2001:db8::6"])
    );
    let found = addresses("options no-aaaa", &[&server], "ctl1.org").unwrap();
    assert_eq!(found, ips(&["10.0.0.2", "10.0.0.1"]));
}

#[test]
fn search_list_before_the_name_itself() {
    let server = FakeServer::with_zone(&["ctl1.c.org A 10.0.0.1"]);
    let conf = "search a.org b.org c.org\noptions ndots:5";
    assert_eq!(
        addresses(conf, &[&server], "ctl1").unwrap(),
        ips(&["10.0.0.1"])
    );
    assert_eq!(
        server.asked(),
        [
            "A ctl1.a.org",
            "A ctl1.b.org",
            "A ctl1.c.org",
            "AAAA ctl1.c.org"
        ]
    );
}

#[test]
fn enough_dots_ask_for_the_name_itself_first() {
    let server = FakeServer::with_zone(&["ctl1.hpc.a.org A 10.0.0.1"]);
    let found = addresses("search a.org", &[&server], "ctl1.hpc").unwrap();
    assert_eq!(found, ips(&["10.0.0.1"]));
    assert_eq!(
        server.asked(),
        ["A ctl1.hpc", "A ctl1.hpc.a.org", "AAAA ctl1.hpc.a.org"]
    );
}

#[test]
fn absolute_names_leave_the_search_list_alone() {
    let server = FakeServer::with_zone(&[]);
    let error = addresses("search a.org\noptions ndots:5", &[&server], "ctl1.").unwrap_err();
    assert!(matches!(error, ResolveError::NoSuchName { .. }), "{error}");
    assert_eq!(server.asked(), ["A ctl1"]);
}

#[test]
fn no_such_name_says_what_was_asked() {
    let server = FakeServer::with_zone(&[]);
    let error = addresses("search a.org b.org .", &[&server], "ctl9").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no such name: ctl9 (asked {} for ctl9.a.org, ctl9.b.org, ctl9)",
            server.address
        )
    );
}

#[test]
fn a_name_without_address() {
    let server = FakeServer::with_zone(&["ctl9.a.org SRV 0 0 1 x.org"]);
    let error = addresses("search a.org", &[&server], "ctl9").unwrap_err();
    assert!(matches!(error, ResolveError::NoAddress { .. }), "{error}");
    assert_eq!(
        server.asked(),
        ["A ctl9.a.org", "AAAA ctl9.a.org", "A ctl9"]
    );
}

// Aliases

#[test]
fn aliases_are_followed_within_the_answer() {
    let server = FakeServer::with_zone(&[
        "ctl.org CNAME Ctl1.org",
        "ctl1.ORG CNAME node7.org",
        "node7.org A 10.0.0.7",
    ]);
    assert_eq!(
        addresses("options no-aaaa", &[&server], "ctl.org").unwrap(),
        ips(&["10.0.0.7"])
    );
    assert_eq!(server.asked(), ["A ctl.org"]);
}

#[test]
fn aliases_that_end_half_way_are_asked_for() {
    let zone = Zone::new(&["node7.org A 10.0.0.7"]);
    let server = FakeServer::start(move |query, _| {
        vec![match query.questions[0].qname.to_string().as_str() {
            "ctl.org" => reply(query, RCODE::NoError, &[record("ctl.org CNAME node7.org")]),
            _ => zone.answer(query),
        }]
    });
    assert_eq!(
        addresses("options no-aaaa", &[&server], "ctl.org").unwrap(),
        ips(&["10.0.0.7"])
    );
    assert_eq!(server.asked(), ["A ctl.org", "A node7.org"]);
}

#[test]
fn loops_of_aliases_end() {
    let server = FakeServer::with_zone(&[
        "a.org CNAME b.org",
        "b.org CNAME a.org",
        "c.org CNAME c.org",
    ]);
    for name in ["a.org", "c.org"] {
        let error = addresses("", &[&server], name).unwrap_err();
        assert!(matches!(error, ResolveError::NoAddress { .. }), "{error}");
    }

    // The same over many answers: each one a new alias, endlessly.
    let server = FakeServer::start(|query, _| {
        let name = &query.questions[0].qname;
        let line = format!("{name} CNAME x{name}");
        vec![reply(query, RCODE::NoError, &[record(&line)])]
    });
    let error = addresses("options no-aaaa", &[&server], "a.org").unwrap_err();
    assert!(matches!(error, ResolveError::NoAddress { .. }), "{error}");
    assert!(server.asked().len() <= 10, "{:?}", server.asked());
}

#[test]
fn addresses_of_other_names_are_not_taken() {
    let server = FakeServer::start(|query, _| {
        vec![reply(
            query,
            RCODE::NoError,
            &[record("other.org A 10.6.6.6")],
        )]
    });
    let error = addresses("", &[&server], "ctl1.org").unwrap_err();
    assert!(matches!(error, ResolveError::NoAddress { .. }), "{error}");
}

// Servers

#[test]
fn truncated_answers_come_again_by_tcp() {
    let lines: Vec<String> = (0..100).map(|i| format!("ctl1.org A 10.0.0.{i}")).collect();
    let zone = Zone::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let server = FakeServer::start(move |query, via| {
        let mut message = zone.answer(query);
        if via == Via::Udp {
            message.truncate(510);
            message[2] |= 0x02;
        }
        vec![message]
    });
    let found = addresses("options no-aaaa", &[&server], "ctl1.org").unwrap();
    assert_eq!(found.len(), 100);
    assert_eq!(server.asked(), ["A ctl1.org", "A ctl1.org tcp"]);

    let found = addresses("options no-aaaa use-vc", &[&server], "ctl1.org").unwrap();
    assert_eq!(found.len(), 100);
    assert_eq!(server.asked().last().unwrap(), "A ctl1.org tcp");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_failing_server_makes_way_for_the_next() {
    let good = FakeServer::with_zone(&["ctl1.org A 10.0.0.1"]);
    for code in [RCODE::ServerFailure, RCODE::Refused, RCODE::NotImplemented] {
        let bad = FakeServer::that_says(code);
        let found = addresses("", &[&bad, &good], "ctl1.org").unwrap();
        assert_eq!(found, ips(&["10.0.0.1"]));
        assert_eq!(bad.asked(), ["A ctl1.org", "AAAA ctl1.org"]);
    }
}

#[test]
fn where_all_servers_fail_the_first_is_named() {
    let first = FakeServer::that_says(RCODE::Refused);
    let second = FakeServer::that_says(RCODE::ServerFailure);
    let error = addresses("search a.org", &[&first, &second], "ctl1").unwrap_err();
    assert_eq!(
        error,
        ResolveError::Failed {
            server: first.address,
            code: ResponseCode::REFUSED,
            name: "ctl1.a.org".into()
        }
    );
    // Once for each name: what failed is not tried again.
    assert_eq!(second.asked(), ["A ctl1.a.org", "A ctl1"]);
}

#[test]
fn a_failure_for_one_name_does_not_end_the_search() {
    let zone = Zone::new(&["ctl1.b.org A 10.0.0.1"]);
    let server = FakeServer::start(move |query, _| {
        vec![
            match query.questions[0].qname.to_string().ends_with("a.org") {
                true => reply(query, RCODE::ServerFailure, &[]),
                false => zone.answer(query),
            },
        ]
    });
    let conf = "search a.org b.org";
    assert_eq!(
        addresses(conf, &[&server], "ctl1").unwrap(),
        ips(&["10.0.0.1"])
    );
    let error = addresses(conf, &[&server], "ctl2").unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error}");
}

#[test]
fn errors_without_the_question_count() {
    let server = FakeServer::start(|query, _| {
        let mut message = reply(query, RCODE::FormatError, &[]);
        message.truncate(12);
        message[5] = 0;
        vec![message]
    });
    let error = addresses("", &[&server], "ctl1.org").unwrap_err();
    assert!(error.to_string().contains("FORMERR"), "{error}");
}

#[test]
fn a_silent_server_costs_its_share_once() {
    let silent = FakeServer::silent();
    let good = FakeServer::with_zone(&["ctl1.d.org A 10.0.0.1"]);
    let started = Instant::now();
    let found = resolver("search a.org b.org c.org d.org", &[&silent, &good])
        .addresses("ctl1", started + Duration::from_secs(4));
    assert_eq!(found.unwrap(), ips(&["10.0.0.1"]));
    assert_eq!(silent.asked(), ["A ctl1.a.org"]);
    assert_eq!(good.asked().len(), 5);
}

#[test]
fn a_lost_question_is_asked_again() {
    let zone = Zone::new(&["ctl1.org A 10.0.0.1"]);
    let lost = AtomicBool::new(false);
    let server = FakeServer::start(move |query, _| match lost.swap(true, Ordering::SeqCst) {
        false => Vec::new(),
        true => vec![zone.answer(query)],
    });
    let found =
        resolver("options timeout:1 no-aaaa", &[&server]).addresses("ctl1.org", soon(PLENTY));
    assert_eq!(found.unwrap(), ips(&["10.0.0.1"]));
    assert_eq!(server.asked(), ["A ctl1.org", "A ctl1.org"]);
}

#[test]
fn deadlines_hold() {
    let first = FakeServer::silent();
    let second = FakeServer::silent();
    let resolver = resolver("search a.org b.org", &[&first, &second]);
    let started = Instant::now();
    let error = resolver
        .addresses("ctl1", started + Duration::from_millis(800))
        .unwrap_err();
    let waited = started.elapsed();
    assert!(
        (Duration::from_millis(790)..Duration::from_secs(3)).contains(&waited),
        "{waited:?}"
    );
    let text = error.to_string();
    assert!(text.contains(") did not answer within "), "{text}");
    // Both were asked, and no time was left for the next name.
    assert_eq!(first.asked(), ["A ctl1.a.org", "A ctl1.a.org"]);
    assert_eq!(second.asked(), first.asked());

    let error = resolver.addresses("ctl1", Instant::now()).unwrap_err();
    assert!(matches!(error, ResolveError::Silent { .. }), "{error}");
}

#[test]
fn deadlines_hold_against_chatter_and_stalled_streams() {
    // Wrong answers without an end by UDP.
    let chatter = FakeServer::start(|_, _| vec![vec![0; 100]; 1000]);
    // A length that promises more than will come, by TCP.
    let stalled = FakeServer::start(|query, via| match via {
        Via::Udp => {
            let mut message = reply(query, RCODE::NoError, &[]);
            message[2] |= 0x02;
            vec![message]
        }
        Via::Tcp => vec![vec![0; 10]],
    });
    for server in [&chatter, &stalled] {
        let started = Instant::now();
        let result = resolver("", &[server]).addresses("ctl1", soon(Duration::from_millis(300)));
        assert!(result.is_err());
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn ipv4_does_not_wait_long_for_ipv6() {
    let zone = Zone::new(&["ctl1.org A 10.0.0.1"]);
    let server =
        FakeServer::start(
            move |query, _| match query.questions[0].qtype == TYPE::A.into() {
                true => vec![zone.answer(query)],
                false => Vec::new(),
            },
        );
    let started = Instant::now();
    assert_eq!(
        addresses("", &[&server], "ctl1.org").unwrap(),
        ips(&["10.0.0.1"])
    );
    assert!(started.elapsed() < super::AAAA_PATIENCE * 2);
}

#[test]
fn a_closed_port_is_noticed_at_once() {
    let good = FakeServer::with_zone(&["ctl1.org A 10.0.0.1"]);
    let closed = closed_port();
    let resolver = Resolver::new(b"", b"", "");

    let started = Instant::now();
    let both = resolver
        .clone()
        .with_nameservers(vec![closed, good.address]);
    assert_eq!(
        both.addresses("ctl1.org", soon(PLENTY)).unwrap(),
        ips(&["10.0.0.1"])
    );
    let error = resolver
        .with_nameservers(vec![closed])
        .addresses("ctl1.org", soon(PLENTY))
        .unwrap_err();
    let refused = vec![(closed, ErrorKind::ConnectionRefused)];
    assert_eq!(error, ResolveError::Unreachable { tried: refused });
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn rotate_spreads_the_questions() {
    let zone = ["ctl1.org A 10.0.0.1"];
    let (first, second) = (FakeServer::with_zone(&zone), FakeServer::with_zone(&zone));
    for _ in 0..64 {
        addresses("options rotate no-aaaa", &[&first, &second], "ctl1.org").unwrap();
    }
    assert!(!first.asked().is_empty() && !second.asked().is_empty());
    assert_eq!(first.asked().len() + second.asked().len(), 64);
}

#[test]
fn a_server_on_ipv6() {
    let zone = Zone::new(&["ctl1.org AAAA 2001:db8::1"]);
    let loopback = Ipv6Addr::LOCALHOST;
    if UdpSocket::bind(SocketAddr::from((loopback, 0))).is_err() {
        return skip("no IPv6 here");
    }
    let server = FakeServer::start_on(loopback.into(), move |query, _| vec![zone.answer(query)]);
    assert_eq!(
        addresses("", &[&server], "ctl1.org").unwrap(),
        ips(&["2001:db8::1"])
    );
}

// Forgeries and garbage

#[test]
fn what_does_not_answer_the_question_is_ignored() {
    let server = FakeServer::start(|query, _| {
        let forged = [record("ctl1.org A 10.6.6.6")];
        let honest = reply(query, RCODE::NoError, &[record("ctl1.org A 10.0.0.1")]);
        let mut wrong_id = query.clone();
        wrong_id.set_id(query.id().wrapping_add(1));
        let mut wrong_name = query.clone();
        wrong_name.questions[0].qname = Name::new("ctl2.org").unwrap();
        let mut wrong_type = query.clone();
        wrong_type.questions[0].qtype = TYPE::TXT.into();
        let mut two_questions = query.clone();
        two_questions.questions.push(query.questions[0].clone());
        let mut no_question = query.clone();
        no_question.questions.clear();
        let mut no_reply = query.clone();
        no_reply.answers = forged.to_vec();
        no_reply.set_flags(PacketFlag::RECURSION_DESIRED);
        let mut cut = honest.clone();
        cut.pop();
        vec![
            reply(&wrong_id, RCODE::NoError, &forged),
            reply(&wrong_name, RCODE::NoError, &forged),
            reply(&wrong_type, RCODE::NameError, &[]),
            reply(&two_questions, RCODE::NoError, &forged),
            reply(&no_question, RCODE::NameError, &[]),
            no_reply.build_bytes_vec().unwrap(),
            cut,
            b"garbage".to_vec(),
            Vec::new(),
            vec![0xff; 2000],
            honest,
        ]
    });
    assert_eq!(
        addresses("options no-aaaa", &[&server], "ctl1.org").unwrap(),
        ips(&["10.0.0.1"])
    );
}

#[test]
fn case_is_ignored_in_replies() {
    let server = FakeServer::start(|query, _| {
        let mut shouted = query.clone();
        shouted.questions[0].qname = Name::new("CTL1.ORG").unwrap();
        vec![reply(
            &shouted,
            RCODE::NoError,
            &[record("cTl1.oRg A 10.0.0.1")],
        )]
    });
    assert_eq!(
        addresses("options no-aaaa", &[&server], "ctl1.org").unwrap(),
        ips(&["10.0.0.1"])
    );
}

#[test]
fn oddities_beside_the_answer_do_no_harm() {
    let server = FakeServer::start(|query, _| {
        let mut message = reply(query, RCODE::NoError, &[record("ctl1.org A 10.0.0.1")]);
        // Announces records of the other two sections that are not there.
        message[9] = 7;
        message[11] = 9;
        vec![message]
    });
    assert_eq!(
        addresses("options no-aaaa", &[&server], "ctl1.org").unwrap(),
        ips(&["10.0.0.1"])
    );
}

#[test]
fn any_bytes_are_survived() {
    let server = FakeServer::start(|query, via| {
        let lines = [
            "ctl1.org CNAME a.org",
            "a.org A 10.0.0.1",
            "a.org SRV 1 1 1 b.org",
        ];
        let mut message = reply(query, RCODE::NoError, &lines.map(record));
        if via == Via::Udp && fastrand::u8(..8) == 0 {
            message[2] |= 0x02;
        }
        // Mostly behind the id and the question, so that it is read at all.
        for _ in 0..fastrand::usize(1..8) {
            let place = fastrand::usize(if fastrand::bool() { 26 } else { 4 }..message.len());
            message[place] = fastrand::u8(..);
        }
        message.truncate(fastrand::usize(message.len() / 2..message.len() * 3));
        // An answer in the end, so that nothing waits.
        vec![message, reply(query, RCODE::Refused, &[])]
    });
    let resolver = resolver("search x.org", &[&server]);
    for _ in 0..2000 {
        let _ = resolver.addresses("ctl1.org", soon(PLENTY));
        let _ = resolver.srv("_slurmctld._tcp", soon(PLENTY));
    }
}

// SRV

#[test]
fn srv_records_of_the_first_domain_that_has_some() {
    let server = FakeServer::with_zone(&[
        "_slurmctld._tcp.hpc.org SRV 20 0 6818 ctl2.hpc.org",
        "_slurmctld._tcp.hpc.org SRV 10 0 6817 ctl1.hpc.org",
    ]);
    let found = srv("search example.org hpc.org", &server).unwrap();
    assert_eq!(found.name, "_slurmctld._tcp.hpc.org");
    let targets: Vec<_> = found
        .targets
        .iter()
        .map(|t| (t.absolute(), t.port))
        .collect();
    assert_eq!(
        targets,
        [
            ("ctl1.hpc.org.".into(), 6817),
            ("ctl2.hpc.org.".into(), 6818)
        ]
    );
    assert_eq!(
        server.asked(),
        [
            "SRV _slurmctld._tcp.example.org",
            "SRV _slurmctld._tcp.hpc.org"
        ]
    );

    // An absolute name, and an alias.
    let server = FakeServer::with_zone(&[
        "_slurmctld._tcp.a.org CNAME _slurmctld._tcp.b.org",
        "_slurmctld._tcp.b.org SRV 0 0 6817 ctl1.b.org",
    ]);
    let found = resolver("search x.org", &[&server]).srv("_slurmctld._tcp.a.org.", soon(PLENTY));
    assert_eq!(found.unwrap().targets[0].host, "ctl1.b.org");
    assert_eq!(server.asked(), ["SRV _slurmctld._tcp.a.org"]);
}

#[test]
fn no_srv_record() {
    let server = FakeServer::with_zone(&["_slurmctld._tcp.hpc.org A 10.0.0.1"]);
    let error = srv("search example.org hpc.org", &server).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no SRV record _slurmctld._tcp (asked {} for _slurmctld._tcp.example.org, \
             _slurmctld._tcp.hpc.org)",
            server.address
        )
    );
    // Bare only where there is no search list.
    assert!(srv("", &server).is_err());
    assert_eq!(server.asked().last().unwrap(), "SRV _slurmctld._tcp");
}

#[test]
fn srv_says_not_here() {
    let server = FakeServer::with_zone(&[
        "_slurmctld._tcp.a.org SRV 0 0 0 .",
        "_slurmctld._tcp.b.org SRV 0 0 6817 ctl1.b.org",
    ]);
    let name = "_slurmctld._tcp.a.org".to_owned();
    assert_eq!(
        srv("search a.org b.org", &server),
        Err(ResolveError::SrvNotAvailable { name })
    );
}

#[test]
fn srv_weights_decide_who_is_first() {
    let server = FakeServer::with_zone(&[
        "_slurmctld._tcp.a.org SRV 1 90 6817 often.a.org",
        "_slurmctld._tcp.a.org SRV 1 10 6817 seldom.a.org",
    ]);
    let resolver = resolver("search a.org", &[&server]);
    let first = || {
        resolver
            .srv("_slurmctld._tcp", soon(PLENTY))
            .unwrap()
            .targets
            .remove(0)
    };
    let often = (0..300).filter(|_| first().host == "often.a.org").count();
    assert!((230..299).contains(&often), "{often}");
}
