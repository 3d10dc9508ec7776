//! Failover, deadlines and retries in a world of our own: the controllers, the names and the
//! clock are in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use slurm_protocol::{Errno, ProtocolVersion, Release, ResponseConfig};

use super::{Fetched, FileSet, Query};
use crate::credential::{Source, TokenSource};
use crate::dns::{ResolveError, SrvRecords, SrvTarget};
use crate::endpoint::Endpoint;
use crate::error::{Error, ExitCode};
use crate::network::Network;
use crate::transport::tls::Tls;
use crate::transport::{Received, TransportError};

/// What a controller in memory does with a connection.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Serves its configuration at its own version and the three before.
    Serves(ProtocolVersion),
    /// The same for older ones, which answer nothing they do not like.
    ServesSilently(ProtocolVersion),
    /// Accepts the version of any request and answers it with this number.
    Answers(Errno),
    Refuses,
    /// Takes no connection, and says nothing.
    BlackHole,
    /// Takes a connection after two and a half seconds only, and serves as one of 26.05.
    Far,
    /// Takes the connection, and says nothing.
    Mute,
    /// Closes it after a while, as a controller of 25.05 does that wants TLS.
    ClosesLate,
}

const FAR: Duration = Duration::from_millis(2500);

struct World {
    start: Instant,
    elapsed: Cell<Duration>,
    names: BTreeMap<&'static str, Vec<IpAddr>>,
    /// Behaviour of an address, from a time on.
    behaviours: Vec<(&'static str, Duration, Behaviour)>,
    srv: Vec<(&'static str, u16)>,
    /// Who was connected to, and whether with a credential.
    seen: RefCell<Vec<(String, bool)>>,
    pauses: RefCell<Vec<Duration>>,
}

impl World {
    fn new(behaviours: &[(&'static str, u64, Behaviour)]) -> Self {
        Self {
            start: Instant::now(),
            elapsed: Cell::new(Duration::ZERO),
            names: BTreeMap::new(),
            behaviours: behaviours
                .iter()
                .map(|&(address, from, behaviour)| (address, Duration::from_secs(from), behaviour))
                .collect(),
            srv: Vec::new(),
            seen: RefCell::default(),
            pauses: RefCell::default(),
        }
    }

    fn pass(&self, duration: Duration) {
        self.elapsed.set(self.elapsed.get() + duration);
    }

    fn pass_until(&self, when: Instant) {
        self.pass(when.saturating_duration_since(self.now()));
    }

    fn seen(&self) -> Vec<String> {
        self.seen
            .borrow()
            .iter()
            .map(|(address, _)| address.clone())
            .collect()
    }
}

impl Network for World {
    fn addresses(&self, host: &str, _: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        self.names
            .get(host)
            .cloned()
            .ok_or(ResolveError::NoSuchName {
                name: host.into(),
                asked: vec![host.into()],
                servers: vec![],
            })
    }

    fn controllers(&self, _: Instant) -> Result<SrvRecords, ResolveError> {
        if self.srv.is_empty() {
            return Err(ResolveError::NoSrv {
                service: "_slurmctld._tcp".into(),
                asked: vec!["_slurmctld._tcp.example.org".into()],
                servers: vec!["10.9.9.9:53".parse().unwrap()],
            });
        }
        let target = |&(host, port): &(&str, u16)| SrvTarget {
            host: host.into(),
            port,
            priority: 0,
            weight: 0,
        };
        Ok(SrvRecords {
            name: "_slurmctld._tcp.example.org".into(),
            targets: self.srv.iter().map(target).collect(),
        })
    }

    fn exchange(
        &self,
        address: SocketAddr,
        tls: Option<&Tls>,
        request: &[u8],
        _: usize,
        connect_by: Instant,
        deadline: Instant,
    ) -> Result<Received, TransportError> {
        assert!(connect_by <= deadline && tls.is_none());
        self.pass(Duration::from_millis(1));
        let no_auth = request[7] & 0x40 != 0;
        let label = address.to_string();
        self.seen.borrow_mut().push((label.clone(), !no_auth));
        let behaviour = self
            .behaviours
            .iter()
            .rev()
            .find(|(of, from, _)| *of == label && *from <= self.elapsed.get())
            .map_or(Behaviour::Refuses, |(_, _, behaviour)| *behaviour);
        let version = ProtocolVersion(u16::from_be_bytes([request[4], request[5]]));
        let behaviour = match behaviour {
            Behaviour::Far if connect_by - self.now() < FAR => Behaviour::BlackHole,
            Behaviour::Far => {
                self.pass(FAR);
                Behaviour::Serves(V26_05)
            }
            behaviour => behaviour,
        };
        match behaviour {
            Behaviour::Far => unreachable!("it is one of the others by now"),
            Behaviour::Serves(own) if own.accepted_by_controller().contains(&version) => {
                Ok(Received::Frame(if no_auth {
                    return_code(version, Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR)
                } else {
                    empty_config(version)
                }))
            }
            Behaviour::Serves(own) => Ok(Received::Frame(return_code(
                own,
                Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
            ))),
            Behaviour::ServesSilently(own)
                if !no_auth && own.accepted_by_controller().contains(&version) =>
            {
                Ok(Received::Frame(empty_config(version)))
            }
            Behaviour::ServesSilently(_) => Ok(Received::Closed {
                after: Duration::from_millis(11),
            }),
            Behaviour::ClosesLate => Ok(Received::Closed {
                after: Duration::from_secs(10),
            }),
            Behaviour::Answers(code) => Ok(Received::Frame(return_code(version, code))),
            Behaviour::Refuses => Err(TransportError::Connect(ErrorKind::ConnectionRefused.into())),
            Behaviour::BlackHole => {
                self.pass_until(connect_by);
                Err(TransportError::Connect(ErrorKind::TimedOut.into()))
            }
            Behaviour::Mute => {
                self.pass_until(deadline);
                Err(TransportError::Silence)
            }
        }
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed.get()
    }

    fn time_of_day(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000) + self.elapsed.get()
    }

    fn sleep(&self, duration: Duration) {
        self.pauses.borrow_mut().push(duration);
        self.pass(duration);
    }
}

fn frame(version: ProtocolVersion, message_type: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = version.0.to_be_bytes().to_vec();
    frame.extend([0, 0x40]);
    if version < ProtocolVersion::V22_05 {
        frame.extend([0, 0]);
    }
    frame.extend(message_type.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    frame.extend(body);
    frame
}

fn return_code(version: ProtocolVersion, code: Errno) -> Vec<u8> {
    frame(version, 8001, &code.0.to_be_bytes())
}

fn empty_config(version: ProtocolVersion) -> Vec<u8> {
    let length = if version < ProtocolVersion::V21_08 {
        48
    } else {
        8
    };
    frame(version, 2016, &vec![0; length])
}

/// A token that expires some seconds after the worlds begin.
fn token(lifespan: u64) -> Source {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"exp":{},"sun":"alice"}}"#, 1_000_000 + lifespan);
    let text = [&part(r#"{"alg":"HS256"}"#), &part(&claims), &part("x")];
    Source::Token(TokenSource::Variable(
        text.map(String::as_str).join(".").into(),
    ))
}

fn query(controllers: &str) -> Query {
    Query {
        controllers: Endpoint::parse_list([controllers]).unwrap(),
        credential: token(3600),
        tls: None,
        release: None,
        known: BTreeMap::new(),
        timeout: Duration::from_secs(10),
        wait: Duration::ZERO,
        max_size: 1 << 20,
    }
}

fn fetch(query: &Query, world: &World) -> Result<Fetched<ResponseConfig>, Error> {
    super::fetch(query, FileSet::Client, world)
}

fn failed(query: &Query, world: &World) -> (ExitCode, String) {
    let error = fetch(query, world).unwrap_err();
    (error.exit_code(), error.to_text())
}

const A: &str = "10.0.0.1:6817";
const B: &str = "10.0.0.2:6817";
const V26_05: ProtocolVersion = ProtocolVersion::V26_05;

#[test]
fn the_next_controller_answers_where_one_cannot() {
    for first in [
        Behaviour::Refuses,
        Behaviour::BlackHole,
        Behaviour::Mute,
        Behaviour::Answers(Errno::ESLURM_IN_STANDBY_USE_BACKUP),
        Behaviour::Answers(Errno::ESLURM_IN_STANDBY_MODE),
        Behaviour::Answers(Errno::SLURMCTLD_COMMUNICATIONS_HARD_DROP),
        Behaviour::Answers(Errno::ESLURM_TLS_REQUIRED),
        Behaviour::Answers(Errno(4711)),
    ] {
        let world = World::new(&[(A, 0, first), (B, 0, Behaviour::Serves(V26_05))]);
        let fetched = fetch(&query("10.0.0.1,10.0.0.2"), &world).unwrap();
        assert_eq!(fetched.address.to_string(), B);
        assert_eq!(fetched.exchanges, 2);
        // Half the time, at most; where nobody is there, a moment.
        let longest = if matches!(first, Behaviour::Mute) {
            6
        } else {
            3
        };
        assert!(world.elapsed.get() < Duration::from_secs(longest));
    }
}

#[test]
fn one_that_is_slow_to_connect_is_asked_again() {
    let (slow, dead) = ((A, 0, Behaviour::Far), (B, 0, Behaviour::BlackHole));
    let mut world = World::new(&[slow, dead]);
    let addresses = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    world.names.insert("ctl", addresses.into());
    for controllers in ["10.0.0.1,10.0.0.2", "10.0.0.2,10.0.0.1", "ctl"] {
        world.elapsed.set(Duration::ZERO);
        let mut query = query(controllers);
        query.release = Some("26.05".parse::<Release>().unwrap());
        query.timeout = Duration::from_secs(20);
        let fetched = fetch(&query, &world).unwrap();
        assert_eq!(fetched.address.to_string(), A);
    }
    // One that nobody else can stand in for is waited for at once.
    let world = World::new(&[slow]);
    fetch(&query("10.0.0.1"), &world).unwrap();
    assert_eq!(world.seen().len(), 2, "{:?}", world.seen());
}

#[test]
fn nobody_is_asked_again_without_time() {
    // A credential would have to be made first, and that it could not be in no time at all would
    // be taken for the fault of its socket.
    let holes = [(A, 0, Behaviour::BlackHole), (B, 0, Behaviour::BlackHole)];
    for (timeout, asked) in [(2, 2), (4, 2), (10, 4)] {
        let world = World::new(&holes);
        let mut query = query("10.0.0.1,10.0.0.2");
        query.timeout = Duration::from_secs(timeout);
        assert_eq!(failed(&query, &world).0, ExitCode::Unreachable);
        assert_eq!(world.seen().len(), asked, "{timeout} s");
    }
}

#[test]
fn a_round_over_dead_controllers_ends_with_the_timeout() {
    // One that is silent has had its chance; who was slow to connect has another.
    for (behaviour, times) in [(Behaviour::BlackHole, 2), (Behaviour::Mute, 1)] {
        let names = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let all: Vec<_> = ["10.0.0.1:6817", "10.0.0.2:6817", "10.0.0.3:6817"]
            .map(|address| (address, 0, behaviour))
            .into();
        let world = World::new(&all);
        let (code, text) = failed(&query(&names.join(",")), &world);
        assert_eq!(code, ExitCode::Unreachable);
        assert_eq!(world.seen().len(), 3 * times, "{text}");
        for name in names {
            assert!(text.matches(name).count() <= 2, "each once: {text}");
        }
        let elapsed = world.elapsed.get();
        assert!(elapsed <= Duration::from_millis(10_010), "{elapsed:?}");
    }
}

#[test]
fn a_word_that_is_final_ends_the_round() {
    for (code, exit) in [
        (Errno::ESLURM_CONFIGLESS_DISABLED, ExitCode::NotServed),
        (Errno::ESLURM_USER_ID_MISSING, ExitCode::NotServed),
    ] {
        let world = World::new(&[
            (A, 0, Behaviour::Answers(code)),
            (B, 0, Behaviour::Serves(V26_05)),
        ]);
        let (got, text) = failed(&query("10.0.0.1,10.0.0.2"), &world);
        assert_eq!(got, exit, "{text}");
        assert!(!world.seen().contains(&B.to_owned()));
    }
}

#[test]
fn the_failure_that_says_most_is_the_one_that_counts() {
    let world = World::new(&[(B, 0, Behaviour::ServesSilently(ProtocolVersion(0)))]);
    let (code, text) = failed(&query("10.0.0.1,10.0.0.2"), &world);
    assert_eq!(code, ExitCode::Credential);
    assert!(text.contains("any of 2 controllers"), "{text}");
    assert!(text.contains("10.0.0.1:6817: connection refused"), "{text}");
    assert!(
        text.contains("10.0.0.2:6817: it closed the connection"),
        "{text}"
    );
}

#[test]
fn ipv4_and_ipv6_are_both_tried() {
    for (works, dead) in [
        ("10.0.0.1:6817", "[fd00::1]:6817"),
        ("[fd00::1]:6817", "10.0.0.1:6817"),
    ] {
        let mut world = World::new(&[
            (dead, 0, Behaviour::BlackHole),
            (works, 0, Behaviour::Serves(V26_05)),
        ]);
        let addresses = ["10.0.0.1", "fd00::1"].map(|a| a.parse().unwrap());
        world.names.insert("ctl1", addresses.into());
        let fetched = fetch(&query("ctl1"), &world).unwrap();
        assert_eq!(fetched.address.to_string(), works);
        // The address that worked is the one that is used on.
        let seen = world.seen();
        assert_eq!(seen.last().map(String::as_str), Some(works));
        assert!(seen.len() <= 3, "{seen:?}");
    }
}

#[test]
fn one_name_can_stand_for_several_controllers() {
    for (first, exchanges) in [
        (Behaviour::Answers(Errno::ESLURM_IN_STANDBY_USE_BACKUP), 2),
        (Behaviour::ServesSilently(ProtocolVersion(0)), 2),
        (Behaviour::Mute, 2),
        (Behaviour::ClosesLate, 2),
    ] {
        let mut world = World::new(&[(A, 0, first), (B, 0, Behaviour::Serves(V26_05))]);
        let addresses = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap());
        world.names.insert("ctl", addresses.into());
        let fetched = fetch(&query("ctl"), &world).unwrap();
        assert_eq!(
            (fetched.address.to_string().as_str(), fetched.exchanges),
            (B, exchanges)
        );
        // Whoever has not answered as a slurmctld is shown no credential, the second one neither.
        let seen = world.seen.borrow();
        let to_b: Vec<_> = seen.iter().filter(|(address, _)| address == B).collect();
        assert!(!to_b[0].1, "{seen:?}");
    }
}

#[test]
fn one_that_waits_before_it_closes_is_shown_no_credential() {
    let world = World::new(&[(A, 0, Behaviour::ClosesLate)]);
    assert_eq!(failed(&query("10.0.0.1"), &world).0, ExitCode::Unreachable);
    assert!(
        world
            .seen
            .borrow()
            .iter()
            .all(|(_, credential)| !credential)
    );
}

#[test]
fn a_version_that_tells_less_is_not_used_again() {
    // A controller that was 20.11, or 22.05, when it was asked last, and is newer now.
    let world = || World::new(&[(A, 0, Behaviour::ServesSilently(ProtocolVersion::V22_05))]);
    let mut query = query("10.0.0.1");
    query.known.insert(A.into(), ProtocolVersion::V20_11);
    assert_eq!(
        fetch(&query, &world()).unwrap().version,
        ProtocolVersion::V22_05
    );
    let world = || World::new(&[(A, 0, Behaviour::ServesSilently(ProtocolVersion::V24_05))]);
    query.known.insert(A.into(), ProtocolVersion::V23_02);
    assert_eq!(
        fetch(&query, &world()).unwrap().version,
        ProtocolVersion::V23_02
    );
    assert_eq!(
        super::fetch(&query, FileSet::Slurmd, &world())
            .unwrap()
            .version,
        ProtocolVersion::V23_11
    );
}

#[test]
fn kinds_of_addresses_alternate() {
    let addresses: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]
        .map(|address| address.parse().unwrap())
        .into();
    let order: Vec<_> = super::alternate(&addresses)
        .map(|a| a.to_string())
        .collect();
    assert_eq!(order, ["10.0.0.1", "fd00::1", "10.0.0.2", "10.0.0.3"]);
}

/// As many as one answer of a name server can hold.
fn addresses(count: u32) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::new(10, 1, 0, 0));
    let address = |at| Ipv4Addr::from(first + at).into();
    (0..count).map(address).collect()
}

#[test]
fn the_last_of_many_addresses_is_asked() {
    for others in [Behaviour::Refuses, Behaviour::BlackHole, Behaviour::Mute] {
        let mut world = World::new(&[("10.1.0.199:6817", 0, Behaviour::Serves(V26_05))]);
        world.names.insert("ctl", addresses(200));
        let others = addresses(199).into_iter().map(|address| {
            let label: &str = format!("{address}:6817").leak();
            (label, Duration::ZERO, others)
        });
        world.behaviours.extend(others);
        let fetched = fetch(&query("ctl"), &world).unwrap();
        assert_eq!(fetched.address.to_string(), "10.1.0.199:6817");
        assert!(world.elapsed.get() <= Duration::from_secs(10));
    }
}

#[test]
fn of_many_addresses_and_controllers_few_are_named() {
    let mut world = World::new(&[]);
    world.names.insert("ctl", addresses(3000));
    let (code, text) = failed(&query("ctl"), &world);
    assert_eq!(code, ExitCode::Unreachable);
    assert!(text.contains("(10.1.0.7) and 2992 more\n"), "{text}");
    assert!(text.len() < 1000, "{text}");

    let all: Vec<_> = addresses(3000).iter().map(ToString::to_string).collect();
    let (code, text) = failed(&query(&all.join(",")), &World::new(&[]));
    assert_eq!(code, ExitCode::Unreachable);
    assert!(text.contains("any of 3000 controllers\n"), "{text}");
    assert!(text.contains("\n  and 2984 more controllers\n"), "{text}");
    assert!(text.len() < 2000, "{text}");
}

#[test]
fn dns_names_the_controllers_where_none_is_given() {
    let mut world = World::new(&[("10.0.0.2:7000", 0, Behaviour::Serves(V26_05))]);
    world.srv = vec![("ctl1.example.org", 6817), ("ctl2.example.org", 7000)];
    world
        .names
        .insert("ctl1.example.org.", vec!["10.0.0.1".parse().unwrap()]);
    world
        .names
        .insert("ctl2.example.org.", vec!["10.0.0.2".parse().unwrap()]);
    let fetched = fetch(&query(""), &world).unwrap();
    assert_eq!(fetched.address.to_string(), "10.0.0.2:7000");
    assert_eq!(fetched.controller.to_string(), "ctl2.example.org:7000");

    let (code, text) = failed(&query(""), &World::new(&[]));
    assert_eq!(code, ExitCode::Unreachable);
    assert!(text.contains("_slurmctld._tcp.example.org"), "{text}");
}

#[test]
fn a_controller_that_asks_to_slow_down_is_given_time() {
    let slow = Behaviour::Answers(Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF);
    let world = World::new(&[(A, 0, slow), (A, 3, Behaviour::Serves(V26_05))]);
    fetch(&query("10.0.0.1"), &world).unwrap();
    assert_eq!(*world.pauses.borrow(), [1, 2].map(Duration::from_secs));

    // Not more time than there is; then it is the next one's turn.
    let world = World::new(&[(A, 0, slow), (B, 0, Behaviour::Serves(V26_05))]);
    let fetched = fetch(&query("10.0.0.1,10.0.0.2"), &world).unwrap();
    assert_eq!(fetched.address.to_string(), B);
    let world = World::new(&[(A, 0, slow)]);
    assert_eq!(failed(&query("10.0.0.1"), &world).0, ExitCode::Unreachable);
    assert!(world.elapsed.get() <= Duration::from_secs(10));
}

#[test]
fn waiting_goes_on_until_a_controller_is_there() {
    let world = World::new(&[(A, 40, Behaviour::Serves(V26_05))]);
    let mut query = query("10.0.0.1");
    query.wait = Duration::from_secs(60);
    fetch(&query, &world).unwrap();
    let pauses = world.pauses.borrow();
    assert!(pauses.len() >= 5, "{pauses:?}");
    for (at, pause) in pauses.iter().enumerate() {
        let longest = Duration::from_millis(500 << at).min(Duration::from_secs(15));
        assert!(*pause <= longest && *pause >= longest / 2, "{pauses:?}");
    }
}

#[test]
fn waiting_ends_and_does_not_wait_for_what_will_not_pass() {
    let mut query = query("10.0.0.1");
    query.wait = Duration::from_secs(60);
    let world = World::new(&[]);
    assert_eq!(failed(&query, &world).0, ExitCode::Unreachable);
    let elapsed = world.elapsed.get();
    assert!(elapsed >= Duration::from_secs(60) && elapsed < Duration::from_secs(61));

    let world = World::new(&[(A, 0, Behaviour::Answers(Errno::ESLURM_CONFIGLESS_DISABLED))]);
    assert_eq!(failed(&query, &world).0, ExitCode::NotServed);
    assert!(world.elapsed.get() < Duration::from_secs(1));

    // The token is looked at again before each round.
    query.credential = token(30);
    let (code, text) = failed(&query, &World::new(&[]));
    assert_eq!(code, ExitCode::Credential);
    assert!(text.contains("expired"), "{text}");
}

#[test]
fn an_expired_token_is_shown_to_nobody() {
    let world = World::new(&[(A, 0, Behaviour::Serves(V26_05))]);
    let mut query = query("10.0.0.1");
    query.credential = token(0);
    assert_eq!(failed(&query, &world).0, ExitCode::Credential);
    assert!(world.seen().is_empty());
}

#[test]
fn a_release_that_is_given_or_known_takes_one_exchange() {
    let world = || World::new(&[(A, 0, Behaviour::Serves(V26_05))]);
    let mut pinned = query("10.0.0.1");
    pinned.release = Some("26.05".parse::<Release>().unwrap());
    let mut known = query("10.0.0.1");
    known.known.insert(A.into(), V26_05);
    for query in [&pinned, &known] {
        let fetched = fetch(query, &world()).unwrap();
        assert_eq!((fetched.exchanges, fetched.version), (1, V26_05));
    }

    // What was known is forgotten when it no longer holds; what was given is not.
    pinned.release = Some("22.05".parse::<Release>().unwrap());
    known.known.insert(A.into(), ProtocolVersion::V22_05);
    let fetched = fetch(&known, &world()).unwrap();
    assert_eq!((fetched.exchanges, fetched.version), (2, V26_05));
    let (code, text) = failed(&pinned, &world());
    assert_eq!(code, ExitCode::Version);
    assert!(text.contains("24.11, 25.05, 25.11, 26.05"), "{text}");
}

#[test]
fn the_ladder_finds_the_old_ones() {
    for (own, exchanges) in [(41, 2), (40, 2), (39, 3), (38, 3), (37, 4), (36, 5)] {
        let own = ProtocolVersion::from_index(own);
        let world = World::new(&[(A, 0, Behaviour::ServesSilently(own))]);
        let fetched = fetch(&query("10.0.0.1"), &world).unwrap();
        assert_eq!(fetched.exchanges, exchanges, "{own}");
        let (_, first_with_credential) = world.seen.borrow()[0];
        assert!(!first_with_credential);
    }
}
