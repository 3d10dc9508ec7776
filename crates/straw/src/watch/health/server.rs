//! A small server: each connection carries one request and one answer.
//!
//! Whoever can connect is a stranger. A connection ends at a deadline, however slowly its bytes
//! come; there are only so many at a time, and each takes some kilobytes; nothing that a peer says
//! is kept, or written anywhere.

use std::fmt;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::http::{Answer, Code, Head, LONGEST_HEAD, head};
use super::status::Status;
use crate::transport::tcp::Deadlined;

/// What a peer gets at most.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time, over all peers.
    connections: usize,
    /// The time for a whole connection.
    time: Duration,
}

const LIMITS: Limits = Limits {
    connections: 16,
    time: Duration::from_secs(5),
};

/// How long a peer may take to close, after its answer.
const GOODBYE: Duration = Duration::from_secs(1);

/// How many bytes of a body are read, and thrown away.
const LONGEST_BODY: usize = 64 * 1024;

/// The pause after a connection could not be accepted: there are no descriptors, or no memory.
const PAUSE: Duration = Duration::from_millis(100);

const STACK: usize = 128 * 1024;

/// A server that answers from what is known about a watch, until it is dropped. An answer that
/// is on its way then may still come.
pub struct Server {
    address: SocketAddr,
    /// Once this is closed, the thread that accepts ends.
    life: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on the first of some addresses that this host has, and answers in other threads.
    ///
    /// # Errors
    ///
    /// What keeps it from listening there.
    pub fn start(addresses: &[SocketAddr], status: &Arc<Status>) -> io::Result<Self> {
        Self::with(LIMITS, addresses, status)
    }

    fn with(limits: Limits, addresses: &[SocketAddr], status: &Arc<Status>) -> io::Result<Self> {
        let listener = listen_on_first(addresses)?;
        let address = listener.local_addr()?;
        let (end, life) = io::pipe()?;
        let host = Host {
            limits,
            status: Arc::clone(status),
        };
        let serve = move || host.serve(|| accept(&listener, &end));
        let thread = thread::Builder::new().name("health".into());
        let thread = thread.stack_size(STACK).spawn(serve)?;
        Ok(Self {
            address,
            life: Some(life),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

fn listen_on_first(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match listen(address) {
            Err(error) if is_not_of_this_host(&error) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// What the standard library does, and that an address of IPv6 takes IPv4 as well where it is
/// all addresses, whatever the system's default is.
fn listen(address: &SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // The address of a straw that has just ended can be had at once.
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, address)?;
    rustix::net::listen(&socket, 128)?;
    let listener = TcpListener::from(socket);
    // A peer that is gone again is not waited for.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_not_of_this_host(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

/// Waits for a connection; `None` once the other end of the pipe is closed.
fn accept(listener: &TcpListener, end: &PipeReader) -> Option<io::Result<TcpStream>> {
    let mut either = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(end, PollFlags::IN),
    ];
    if let Err(errno) = poll(&mut either, None) {
        return Some(Err(errno.into()));
    }
    let [_, end] = either;
    end.revents()
        .is_empty()
        .then(|| listener.accept().map(|(stream, _)| stream))
}

/// What the thread that accepts has.
struct Host {
    limits: Limits,
    status: Arc<Status>,
}

impl Host {
    /// Serves what is accepted, until that is `None`.
    fn serve(&self, mut accept: impl FnMut() -> Option<io::Result<TcpStream>>) {
        // As many clones of this as there are connections, and itself.
        let places = Arc::new(());
        let mut failing = false;
        while let Some(accepted) = accept() {
            match accepted {
                Ok(stream) => {
                    failing = false;
                    if Arc::strong_count(&places) > self.limits.connections {
                        turn_away(stream);
                    } else {
                        self.hand_over(stream, Arc::clone(&places));
                    }
                }
                Err(error) if is_of_one_peer(&error) => {}
                Err(error) => {
                    if !failing {
                        log::debug!("health: no connection can be accepted: {error}");
                    }
                    failing = true;
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Has a thread of its own answer.
    fn hand_over(&self, stream: TcpStream, place: Arc<()>) {
        let deadline = Instant::now() + self.limits.time;
        let status = Arc::clone(&self.status);
        let answer = move || {
            // How a connection ended is the peer's business.
            let _ = converse(Deadlined { stream, deadline }, &status);
            drop(place);
        };
        let thread = thread::Builder::new().name("health-peer".into());
        if let Err(error) = thread.stack_size(STACK).spawn(answer) {
            log::debug!("health: no thread for a connection: {error}");
        }
    }
}

/// Whether the peer was gone again, or a signal came.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
    )
}

/// Says that there is no room, without waiting for anything.
fn turn_away(mut stream: TcpStream) {
    let answer = Answer::refusal(Code::Unavailable).to_bytes(SystemTime::now());
    let _ = stream
        .set_nonblocking(true)
        .and_then(|()| stream.write_all(&answer))
        .and_then(|()| stream.shutdown(Shutdown::Write))
        // A request that is there already, and not taken, would have the answer lost on its way.
        .and_then(|()| stream.read(&mut [0; LONGEST_HEAD]).map(drop));
}

/// One request, one answer.
fn converse(mut peer: Deadlined, status: &Status) -> io::Result<()> {
    let mut buffer = [0; LONGEST_HEAD];
    let mut had = 0;
    let answer = loop {
        let count = match peer.read(&mut buffer[had..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        had += count;
        match head(&buffer[..had]) {
            Head::Whole(request) => break request.answer(status),
            Head::Refused(code) => break Answer::refusal(code),
            // Whoever only looks whether something listens here gets no answer.
            Head::Partial if count == 0 && had == 0 => return Ok(()),
            Head::Partial if count == 0 => break Answer::refusal(Code::BadRequest),
            Head::Partial => {}
        }
    };
    peer.write_all(&answer.to_bytes(SystemTime::now()))?;
    peer.stream.shutdown(Shutdown::Write)?;
    // What is not read when a connection is closed resets it, and the answer can be lost.
    peer.deadline = peer.deadline.min(Instant::now() + GOODBYE);
    let mut thrown_away = 0;
    while thrown_away < LONGEST_BODY {
        match peer.read(&mut buffer)? {
            0 => break,
            count => thrown_away += count,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::place;
    use super::super::testing::current;
    use super::*;

    /// No test waits longer, for whatever.
    const HANG: Duration = Duration::from_secs(60);

    const GET: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";

    fn ready() -> Arc<Status> {
        let status = Status::new(Duration::MAX);
        status.found(&current("..gen-1", 1000));
        status
    }

    fn server(limits: Limits) -> Server {
        Server::with(limits, &[(Ipv4Addr::LOCALHOST, 0).into()], &ready()).unwrap()
    }

    fn connect(server: &Server) -> TcpStream {
        let stream = TcpStream::connect_timeout(&server.address(), HANG).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream
    }

    /// What comes until the server closes; `None` where it resets the connection.
    fn rest(mut stream: TcpStream) -> Option<String> {
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => Some(String::from_utf8(answer).unwrap()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(server: &Server, bytes: &[u8]) -> Option<String> {
        let mut stream = connect(server);
        // A server that has heard enough may have closed already.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        rest(stream)
    }

    fn is_ok(answer: Option<&str>) -> bool {
        answer.is_some_and(|answer| {
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n")
        })
    }

    #[test]
    fn a_request_is_answered_however_it_comes() {
        let server = server(LIMITS);
        assert!(is_ok(ask(&server, GET).as_deref()));
        let mut stream = connect(&server);
        stream.set_nodelay(true).unwrap();
        for byte in GET {
            stream.write_all(&[*byte]).unwrap();
        }
        // Not waiting for the peer to close its half.
        assert!(is_ok(rest(stream).as_deref()));
        let with_a_body = [GET, &[b'x'; 20_000]].concat();
        assert!(is_ok(ask(&server, &with_a_body).as_deref()));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let server = server(LIMITS);
        assert_eq!(ask(&server, b"").as_deref(), Some(""));
        let head = |answer: Option<String>| answer.unwrap().lines().next().unwrap().to_owned();
        for broken in [
            &b"GET /readyz"[..],
            b"\0\0\0\x10 slurm",
            &GET[..GET.len() - 1],
        ] {
            assert_eq!(head(ask(&server, broken)), "HTTP/1.1 400 Bad Request");
        }
        let long = [
            b"GET /readyz HTTP/1.1\r\nHost: ".as_slice(),
            &[b'x'; 60_000],
        ]
        .concat();
        assert!(head(ask(&server, &long)).starts_with("HTTP/1.1 431 "));
        assert!(is_ok(ask(&server, GET).as_deref()));
    }

    #[test]
    fn a_slow_peer_is_left_at_the_deadline() {
        let time = Duration::from_millis(300);
        let server = server(Limits { time, ..LIMITS });
        let begin = Instant::now();
        let mut stream = connect(&server);
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        // A byte at a time, none of them late.
        let request = b"GET /readyz HTTP/1.1\r\nHost: "
            .iter()
            .chain([b'x'].iter().cycle());
        for byte in request {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Ok(0) => break,
                other => panic!("{other:?}"),
            }
            assert!(begin.elapsed() < HANG);
        }
        assert!(begin.elapsed() >= time);
        // One that says nothing at all, and one that does not read, either.
        assert_eq!(rest(connect(&server)).as_deref(), Some(""));
    }

    #[test]
    fn there_are_only_so_many_at_a_time() {
        let limits = Limits {
            connections: 3,
            time: HANG,
        };
        let server = server(limits);
        // Accepted in the order in which they come.
        let mut held: Vec<_> = (0..limits.connections).map(|_| connect(&server)).collect();
        for _ in 0..50 {
            let answer = rest(connect(&server)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.ends_with("\r\n\r\ntoo many connections at once\n"));
        }
        // Those that were there first are not disturbed,
        let mut first = held.remove(0);
        first.write_all(GET).unwrap();
        assert!(is_ok(rest(first).as_deref()));
        // and who comes after them gets their place.
        let begin = Instant::now();
        while !is_ok(ask(&server, GET).as_deref()) {
            assert!(begin.elapsed() < HANG);
        }
    }

    #[test]
    fn many_at_once() {
        let server = server(LIMITS);
        let answered = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        match ask(&server, GET) {
                            Some(answer) if answer.starts_with("HTTP/1.1 503 ") => {}
                            None => {}
                            answer => {
                                assert!(is_ok(answer.as_deref()), "{answer:?}");
                                *answered.lock().unwrap() += 1;
                            }
                        }
                    }
                });
            }
        });
        assert!(*answered.lock().unwrap() > 0);
        assert!(is_ok(ask(&server, GET).as_deref()));
    }

    #[test]
    fn it_survives_that_nothing_can_be_accepted() {
        let host = Host {
            limits: LIMITS,
            status: ready(),
        };
        let listener = listen(&(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut peer = TcpStream::connect_timeout(&listener.local_addr().unwrap(), HANG).unwrap();
        peer.write_all(GET).unwrap();
        let (end, _life) = io::pipe().unwrap();
        let mut errors = [Errno::MFILE, Errno::INTR, Errno::CONNABORTED, Errno::NOBUFS].into_iter();
        let mut accepted = false;
        let begin = Instant::now();
        host.serve(|| match errors.next() {
            Some(errno) => Some(Err(errno.into())),
            None if accepted => None,
            None => {
                accepted = true;
                accept(&listener, &end)
            }
        });
        // It did not spin.
        assert!(begin.elapsed() >= 2 * PAUSE);
        assert!(is_ok(rest(peer).as_deref()));
    }

    #[test]
    fn its_address_is_free_afterwards() {
        // No other test has a port of this address.
        let alone = (Ipv4Addr::new(127, 0, 0, 9), 0).into();
        let server = Server::start(&[alone], &ready()).unwrap();
        let address = server.address();
        assert!(is_ok(ask(&server, GET).as_deref()));
        let taken = Server::start(&[address], &ready()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        drop(server);
        assert!(TcpStream::connect_timeout(&address, HANG).is_err());
        Server::start(&[address], &ready()).unwrap();
    }

    #[test]
    fn everywhere_is_ipv4_too() {
        for addresses in [place::everywhere(0), place::localhost(0)] {
            let server = Server::start(&addresses, &ready()).unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.address().port()));
            let mut stream = TcpStream::connect_timeout(&address, HANG).unwrap();
            stream.write_all(GET).unwrap();
            assert!(is_ok(rest(stream).as_deref()));
        }
        // One of no host at all, which documentation has.
        let error = Server::start(&["192.0.2.1:0".parse().unwrap()], &ready()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn garbage_does_no_harm() {
        let server = server(LIMITS);
        let config = ProptestConfig::with_cases(64);
        proptest!(config, |(bytes in proptest::collection::vec(any::<u8>(), 0..9000))| {
            if let Some(answer) = ask(&server, &bytes) {
                prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "));
            }
            prop_assert!(is_ok(ask(&server, GET).as_deref()));
        });
    }
}
