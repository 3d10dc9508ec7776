//! Daemons behind sockets that do what real ones cannot be made to do. What real ones do is
//! tested in `tests/live`.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use slurm_protocol::{ConfigFlags, ProtocolVersion, RequestConfig, UnsealedRequest};

use super::{Opened, SealError};
use crate::testing::as_user;

/// A socket that answers each connection in turn: `None` closes it.
struct Daemon {
    path: PathBuf,
    seen: Receiver<Vec<u8>>,
    _directory: tempfile::TempDir,
}

impl Daemon {
    fn start(answers: Vec<Option<Vec<u8>>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            let mut held: Vec<UnixStream> = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).unwrap();
                request.truncate(count);
                let _ = sender.send(request);
                if let Some(answer) = answer {
                    let _ = stream.write_all(&answer);
                    held.push(stream);
                }
            }
            // Until the test has ended.
            let _ = listener.accept();
        });
        Self {
            path,
            seen,
            _directory: directory,
        }
    }
}

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// What comes of sealing a request at this version within some time.
fn seal(
    opened: &Opened,
    version: ProtocolVersion,
    limit: Duration,
) -> Result<Vec<u8>, (&'static str, String)> {
    let request = RequestConfig::new(ConfigFlags::CLIENT);
    let request = UnsealedRequest::new(&request, version).unwrap();
    match opened.seal(&request, Instant::now() + limit) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(SealError::Credential(error)) => {
            assert!(!error.hint().is_empty());
            // Without the path, which is another in each run.
            let text = error.to_string();
            Err((
                error.kind(),
                text.split(": ").skip(1).collect::<Vec<_>>().join(": "),
            ))
        }
        Err(SealError::Encode(error)) => panic!("{error}"),
    }
}

fn munged_says(body: &[u8]) -> Option<Vec<u8>> {
    let mut reply = vec![0, 0x60, 0x6d, 0x4b, 4, 3, 0];
    reply.extend((body.len() as u32).to_be_bytes());
    reply.extend(body);
    Some(reply)
}

fn credential(text: &str) -> Option<Vec<u8>> {
    let mut body = vec![0, 0];
    body.extend((text.len() as u32 + 1).to_be_bytes());
    body.extend(text.as_bytes());
    body.push(0);
    munged_says(&body)
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn munged_makes_a_credential_for_each_request() {
    let daemon = Daemon::start(vec![credential("MUNGE:one:"), credential("MUNGE:two:")]);
    let munge = Opened::Munge(daemon.path.clone());
    let one = seal(&munge, ProtocolVersion::V26_05, LONG).unwrap();
    let two = seal(&munge, ProtocolVersion::V20_11, LONG).unwrap();
    assert!(holds(&one, "MUNGE:one:\0") && holds(&two, "MUNGE:two:\0"));
    // A digest of the message for one, its type for the other.
    let lengths = [4 + 7 + 20 + 33, 4 + 7 + 20 + 3];
    assert_eq!(
        [daemon.seen.recv(), daemon.seen.recv()].map(|seen| seen.unwrap().len()),
        lengths
    );
}

#[test]
fn munged_that_is_started_anew_is_asked_again() {
    let daemon = Daemon::start(vec![None, None, credential("MUNGE:x:")]);
    let munge = Opened::Munge(daemon.path.clone());
    assert!(seal(&munge, ProtocolVersion::V26_05, LONG).is_ok());
    let retries: Vec<_> = daemon.seen.iter().take(3).map(|seen| seen[6]).collect();
    assert_eq!(retries, [0, 1, 2]);
    let daemon = Daemon::start(vec![None; 9]);
    let munge = Opened::Munge(daemon.path.clone());
    let failed = seal(&munge, ProtocolVersion::V26_05, LONG);
    let closed = "munged closed the connection without an answer".to_owned();
    assert_eq!(failed, Err(("munge-failed", closed)));
}

#[test]
fn what_munged_says_is_handed_on() {
    let refused = munged_says(b"\x0a\x17Invalid cipher \x1b[2J 99\0\0\0\0\0");
    let daemon = Daemon::start(vec![
        refused,
        munged_says(b"\x11\0\0\0\0\0"),
        munged_says(b"\0\0\0\0\0\0"),
        Some(b"HTTP/1.1 200 OK\r\n".to_vec()),
        credential("MUNGE:\u{fffd}:").map(|mut reply| {
            let at = reply.len() - 4;
            reply[at] = 0xff;
            reply
        }),
        Some(Vec::new()),
    ]);
    let munge = Opened::Munge(daemon.path.clone());
    let failed = |limit| seal(&munge, ProtocolVersion::V26_05, limit).unwrap_err();
    let (kind, text) = failed(LONG);
    assert_eq!(kind, "munge-refused");
    assert_eq!(
        text,
        r"munged refused: Invalid cipher \x1b[2J 99 (munge error 10)"
    );
    assert_eq!(
        failed(LONG),
        (
            "munge-refused",
            "munged refused (munge error 17)".to_owned()
        )
    );
    for _ in 0..2 {
        let (kind, text) = failed(LONG);
        assert_eq!(kind, "munge-failed");
        assert!(text.starts_with("the answer is not munge's: "), "{text}");
    }
    assert_eq!(
        failed(LONG),
        ("munge-failed", "the credential is no text".to_owned())
    );
    let silence = "the daemon did not answer in time".to_owned();
    assert_eq!(failed(SOON), ("munge-failed", silence));
}

#[test]
fn a_sack_socket_makes_a_credential_or_closes() {
    let daemon = Daemon::start(vec![
        Some(b"\0\0\0\x06a.b.c\0".to_vec()),
        None,
        Some(b"\0\0\0\x06a.b.cd".to_vec()),
        Some(b"\xff\0\0\x06".to_vec()),
    ]);
    let sack = Opened::Sack(daemon.path.clone());
    let version = ProtocolVersion::V24_11;
    assert!(holds(&seal(&sack, version, LONG).unwrap(), "a.b.c\0"));
    assert_eq!(daemon.seen.recv().unwrap().len(), 51);
    let refused = "the daemon refused to make a credential".to_owned();
    assert_eq!(seal(&sack, version, LONG), Err(("sack-refused", refused)));
    for _ in 0..2 {
        let (kind, text) = seal(&sack, version, LONG).unwrap_err();
        assert_eq!(kind, "sack-failed");
        assert!(text.starts_with("the answer is not SACK's: "), "{text}");
    }
}

#[test]
fn sockets_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let failed = |name: &str| {
        let munge = Opened::Munge(directory.path().join(name));
        seal(&munge, ProtocolVersion::V26_05, LONG).unwrap_err()
    };
    let unreachable = |text: &str| ("munge-unreachable", text.to_owned());
    assert_eq!(failed("none"), unreachable("it is not there"));
    drop(UnixListener::bind(directory.path().join("dead")).unwrap());
    assert_eq!(failed("dead"), unreachable("nobody listens on it"));
    let long = "x".repeat(200);
    assert_eq!(failed(&long), unreachable("file name too long"));

    let closed = directory.path().join("closed");
    let _listener = UnixListener::bind(&closed).unwrap();
    // Nobody may use it, though everybody may go there.
    for (path, mode) in [(directory.path(), 0o755), (&closed, 0)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let may_not = || assert_eq!(failed("closed"), unreachable("this user may not use it"));
    match rustix::process::geteuid().is_root() {
        true => as_user(65534, may_not),
        false => may_not(),
    }
}

#[test]
fn a_daemon_that_is_too_busy_to_listen_does_not_keep_us() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    // Nobody accepts: once the queue is full, connecting would wait for ever.
    let mut queue = Vec::new();
    let address = SocketAddrUnix::new(&path).unwrap();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => queue.push(socket),
            Err(Errno::AGAIN) => break,
            Err(errno) => panic!("{errno}"),
        }
    }
    let munge = Opened::Munge(path);
    let failed = seal(&munge, ProtocolVersion::V26_05, SOON).unwrap_err();
    assert_eq!(failed.1, "the daemon did not answer in time");
}
