//! Handshakes with servers of all kinds, over the loopback.

mod files;
mod pki;
mod verify;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::*;
use pki::*;

const REQUEST: &[u8] = b"\0\0\0\x24a request that has a secret token in";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server does once it has the request.
#[derive(Clone, Copy)]
enum Then {
    /// Answers with 70000 bytes, and closes.
    Answer,
    /// The same, a few bytes in each record.
    AnswerInPieces,
    /// Answers and closes without a word of TLS.
    AnswerAndDrop,
    /// Says how long the answer is, and closes.
    BreakOff,
    /// Closes.
    Close,
    /// Closes without a word of TLS.
    Drop,
}

fn reply() -> Vec<u8> {
    (0..70_000_u32).map(|at| (at % 251) as u8).collect()
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn config(shown: &Shown, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let builder = server(version).with_no_client_auth();
    builder.with_cert_resolver(resolver(shown))
}

/// The same for a server that wants a client certificate of this CA's.
fn config_for_clients_of(
    ca: &Authority,
    shown: &Shown,
    version: &'static SupportedProtocolVersion,
) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    server(version)
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(resolver(shown))
}

fn server(
    version: &'static SupportedProtocolVersion,
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
}

/// Shows what it is told to, whether or not it reads well.
fn resolver(shown: &Shown) -> Arc<SingleCertAndKey> {
    let key = ring::sign::any_supported_type(&shown.key).unwrap();
    let shown = CertifiedKey::new(shown.chain.clone(), key);
    Arc::new(SingleCertAndKey::from(shown))
}

/// A server for one connection: what it is asked, or why it was not.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<io::Result<Vec<u8>>>,
}

impl Server {
    fn start(serve: impl FnOnce(TcpStream) -> io::Result<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            serve(stream)
        });
        Self { address, thread }
    }

    fn tls(config: ServerConfig, then: Then) -> Self {
        Self::start(move |stream| {
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            serve(StreamOwned::new(connection, stream), then)
        })
    }

    /// One that says this, in the clear, to whatever it is sent.
    fn plain(answer: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            stream.write_all(answer)?;
            // From here on the client may be gone.
            let _ = stream.shutdown(Shutdown::Write);
            let mut asked = Vec::new();
            let _ = stream.read_to_end(&mut asked);
            Ok(asked)
        })
    }

    fn asked(self) -> io::Result<Vec<u8>> {
        self.thread.join().unwrap()
    }
}

fn serve(mut stream: Stream, then: Then) -> io::Result<Vec<u8>> {
    let mut asked = vec![0; REQUEST.len()];
    stream.read_exact(&mut asked)?;
    let reply = reply();
    let whole = [&(reply.len() as u32).to_be_bytes()[..], &reply].concat();
    match then {
        Then::Answer | Then::AnswerAndDrop => stream.write_all(&whole)?,
        Then::AnswerInPieces => {
            for piece in whole.chunks(997) {
                stream.write_all(piece)?;
                stream.flush()?;
            }
        }
        Then::BreakOff => stream.write_all(&whole[..6])?,
        Then::Close | Then::Drop => {}
    }
    stream.flush()?;
    // A client that has all it wants may be gone already.
    if !matches!(then, Then::Drop | Then::AnswerAndDrop | Then::BreakOff) {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    let _ = stream.sock.shutdown(Shutdown::Write);
    // Until the client is gone, so that nothing it has not read is lost.
    let _ = io::copy(&mut stream.sock, &mut io::sink());
    Ok(asked)
}

fn ask(tls: &Tls, address: SocketAddr) -> Result<Received, TransportError> {
    ask_for(tls, address, PATIENCE)
}

fn ask_for(tls: &Tls, address: SocketAddr, span: Duration) -> Result<Received, TransportError> {
    let deadline = Instant::now() + span;
    exchange(tls, address, REQUEST, 1 << 20, deadline, deadline)
}

fn tls_error(result: Result<Received, TransportError>) -> TlsError {
    match result {
        Err(TransportError::Tls(error)) => {
            assert!(!error.hint().is_empty());
            error
        }
        other => panic!("{other:?}"),
    }
}

/// That the server is served by, and trusted.
fn assert_served(tls: &Tls, shown: &Shown) {
    for version in VERSIONS {
        let server = Server::tls(config(shown, version), Then::Answer);
        assert_eq!(
            ask(tls, server.address).unwrap(),
            Received::Frame(reply()),
            "{version:?}"
        );
        assert_eq!(server.asked().unwrap(), REQUEST);
    }
}

/// That the server is refused, and gets no byte of the request.
fn assert_refused(tls: &Tls, shown: &Shown, kind: &str) {
    for version in VERSIONS {
        let server = Server::tls(config(shown, version), Then::Answer);
        let error = tls_error(ask(tls, server.address));
        assert_eq!(error.kind(), kind, "{version:?}: {error}");
        server.asked().unwrap_err();
    }
}

#[test]
fn a_modern_chain_is_served() {
    let strong = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let site = Authority::self_signed(ca_params("site"), strong).unwrap();
    let middle = Authority::signed_by(ca_params("middle"), key(), &site).unwrap();
    let mut shown = Shown::signed(&params("ctld"), &middle);
    shown.chain.push(middle.der().clone());
    assert_served(&Files::new(&[site.der()]).load().unwrap(), &shown);
    // The server's own key on the other curve.
    let strong = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = params("ctld").signed_by(&strong, &site).unwrap();
    let shown = Shown::new(certificate.der().clone(), &strong);
    assert_served(&Files::new(&[site.der()]).load().unwrap(), &shown);
}

#[test]
fn a_certificate_of_version_1_is_served() {
    let site = ca("site");
    let tls = Files::new(&[site.der()]).load().unwrap();
    for own in [
        key(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
    ] {
        let certificate = Version1::new(&own, site.der()).sign(site.key());
        assert_served(&tls, &Shown::new(certificate, &own));
    }
}

#[test]
fn others_are_refused_before_they_are_sent_anything() {
    let (site, other) = (ca("site"), ca("other"));
    let tls = Files::new(&[site.der()]).load().unwrap();
    let shown = Shown::signed(&years(params("ctld"), 2020, 2021), &site);
    assert_refused(&tls, &shown, "certificate-expired");
    let shown = Shown::signed(&years(params("ctld"), 2090, 2091), &site);
    assert_refused(&tls, &shown, "certificate-not-yet-valid");
    let shown = Shown::signed(&params("ctld"), &other);
    assert_refused(&tls, &shown, "certificate-not-trusted");
    let shown = Shown::signed(&params("ctld"), &ca("site"));
    assert_refused(&tls, &shown, "certificate-forged");
    let shown = Shown::self_signed(&params("ctld"));
    assert_refused(&tls, &shown, "certificate-not-trusted");
    let given = Files::new(&[&shown.chain[0]]).load().unwrap();
    assert_served(&given, &shown);

    let (mine, evil) = (key(), key());
    let own = Version1::new(&mine, site.der()).sign(site.key());
    let by_leaf = Version1::new(&evil, &own).sign(&mine);
    let mut shown = Shown::new(by_leaf, &evil);
    shown.chain.push(own);
    assert_refused(&tls, &shown, "certificate-not-trusted");
    let forged = Version1::new(&evil, site.der()).sign(&mine);
    assert_refused(&tls, &Shown::new(forged, &evil), "certificate-forged");
}

/// Certificates are public: who shows one has to have its key.
#[test]
fn a_stolen_certificate_is_not_enough() {
    let site = ca("site");
    let tls = Files::new(&[site.der()]).load().unwrap();
    let (honest, thief) = (key(), key());
    let version_3 = params("ctld").signed_by(&honest, &site).unwrap();
    let version_1 = Version1::new(&honest, site.der()).sign(site.key());
    for stolen in [version_3.der().clone(), version_1] {
        for version in VERSIONS {
            let shown = Shown::new(stolen.clone(), &thief);
            let server = Server::tls(config(&shown, version), Then::Answer);
            let error = tls_error(ask(&tls, server.address));
            assert_eq!(error, TlsError::NotItsOwn, "{version:?}");
            server.asked().unwrap_err();
        }
        // With a key of another kind, too.
        let thief = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        for version in VERSIONS {
            let shown = Shown::new(stolen.clone(), &thief);
            let server = Server::tls(config(&shown, version), Then::Answer);
            tls_error(ask(&tls, server.address));
            server.asked().unwrap_err();
        }
    }
}

#[test]
fn a_name_is_checked_and_sent_only_if_it_was_given() {
    let site = ca("site");
    let mut named = params("ctld");
    named.subject_alt_names = rcgen::CertificateParams::new(vec!["ctl1".into()])
        .unwrap()
        .subject_alt_names;
    let shown = Shown::signed(&named, &site);
    let files = || Files::new(&[site.der()]);
    assert_served(&files().load().unwrap(), &shown);
    assert_served(&files().name("ctl1").load().unwrap(), &shown);
    assert_refused(
        &files().name("ctl2").load().unwrap(),
        &shown,
        "certificate-name",
    );
    for name in [None, Some("ctl1")] {
        let config = config(&shown, &TLS13);
        let server = Server::start(move |stream| {
            let mut stream =
                StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
            stream.conn.complete_io(&mut stream.sock)?;
            Ok(stream.conn.server_name().unwrap_or_default().into())
        });
        let files = match name {
            Some(name) => files().name(name),
            None => files(),
        };
        let _ = ask(&files.load().unwrap(), server.address);
        let sent = server.asked().unwrap();
        assert_eq!(sent, name.unwrap_or_default().as_bytes());
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (site, users) = (ca("site"), ca("users"));
    let shown = Shown::signed(&params("ctld"), &site);
    let files = || Files::new(&[site.der()]);
    let me = Shown::signed(&params("me"), &users);
    let stranger = Shown::signed(&params("me"), &site);
    let expired = Shown::signed(&years(params("me"), 2020, 2021), &users);
    for version in VERSIONS {
        let start = || {
            let config = config_for_clients_of(&users, &shown, version);
            Server::tls(config, Then::Answer)
        };
        let server = start();
        let tls = files().client(&me).load().unwrap();
        assert_eq!(ask(&tls, server.address).unwrap(), Received::Frame(reply()));
        server.asked().unwrap();

        let server = start();
        let error = tls_error(ask(&files().load().unwrap(), server.address));
        assert_eq!(error, TlsError::ClientCertificateWanted, "{version:?}");
        server.asked().unwrap_err();

        for (bad, alert) in [(&stranger, "unknown_ca"), (&expired, "certificate_expired")] {
            let server = start();
            let tls = files().client(bad).load().unwrap();
            let error = tls_error(ask(&tls, server.address));
            let alert = alert.to_owned();
            assert_eq!(error, TlsError::ClientCertificateRefused { alert });
            server.asked().unwrap_err();
        }
    }
    // It is kept back where nobody asks for it.
    assert_served(&files().client(&me).load().unwrap(), &shown);
}

#[test]
fn a_reply_comes_in_any_pieces_and_may_end_without_a_word() {
    let site = ca("site");
    let tls = Files::new(&[site.der()]).load().unwrap();
    let shown = Shown::signed(&params("ctld"), &site);
    for version in VERSIONS {
        for then in [Then::AnswerInPieces, Then::AnswerAndDrop] {
            let server = Server::tls(config(&shown, version), then);
            assert_eq!(ask(&tls, server.address).unwrap(), Received::Frame(reply()));
            server.asked().unwrap();
        }
        for then in [Then::Close, Then::Drop] {
            let server = Server::tls(config(&shown, version), then);
            let received = ask(&tls, server.address).unwrap();
            assert!(matches!(received, Received::Closed { .. }));
            assert_eq!(server.asked().unwrap(), REQUEST);
        }
        let server = Server::tls(config(&shown, version), Then::BreakOff);
        let error = ask(&tls, server.address).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the reply broke off after 2 of 70000 bytes: connection closed"
        );
    }
}

#[test]
fn a_peer_without_tls_is_told_from_others() {
    let tls = Files::new(&[ca("site").der()]).load().unwrap();
    for (answer, expected) in [
        (
            &b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"[..],
            TlsError::NotSpoken { http: true },
        ),
        (
            b"\0\0\0\x20\x2a\0\0\0\0\0\0\0\0\0\0\0",
            TlsError::NotSpoken { http: false },
        ),
        (b"\0", TlsError::NotSpoken { http: false }),
        (b"SSH-2.0-x\r\n", TlsError::NotSpoken { http: false }),
        (b"", TlsError::ClosedAtOnce),
        (b"\x16\x03\x03\0\x50", TlsError::Closed),
        (b"\x15\x03\x03\0\x02\x02\x28", TlsError::NothingInCommon),
        (b"\x15\x03\x01\0\x02\x02\x46", TlsError::NothingInCommon),
        (
            b"\x15\x03\x03\0\x02\x02\x50",
            TlsError::Failed("it sent the alert internal_error".into()),
        ),
    ] {
        let server = Server::plain(answer);
        assert_eq!(tls_error(ask(&tls, server.address)), expected);
        let asked = server.asked().unwrap();
        assert!(!contains(&asked, REQUEST));
    }
    // One that closes, with what it was sent unread.
    let server = Server::start(|stream| {
        stream.peek(&mut [0])?;
        Ok(Vec::new())
    });
    let error = tls_error(ask(&tls, server.address));
    assert_eq!(error, TlsError::ClosedAtOnce);
}

#[test]
fn silence_ends_at_the_deadline() {
    let site = ca("site");
    let tls = Files::new(&[site.der()]).load().unwrap();
    let short = Duration::from_millis(200);
    let silent = || {
        // Until the client gives up.
        Server::start(|mut stream| {
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked)?;
            Ok(asked)
        })
    };
    let begin = Instant::now();
    let server = silent();
    let error = ask_for(&tls, server.address, short).unwrap_err();
    assert!(matches!(error, TransportError::Silence), "{error:?}");
    server.asked().unwrap();
    // After the handshake as well.
    let shown = Shown::signed(&params("ctld"), &site);
    for version in VERSIONS {
        let config = config(&shown, version);
        let server = Server::start(move |stream| {
            let mut stream =
                StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
            let mut asked = Vec::new();
            let _ = stream.read_to_end(&mut asked);
            Ok(asked)
        });
        let error = ask_for(&tls, server.address, Duration::from_secs(2)).unwrap_err();
        assert!(matches!(error, TransportError::Silence), "{error:?}");
        assert_eq!(server.asked().unwrap(), REQUEST);
    }
    assert!(begin.elapsed() < PATIENCE);
    let past = Instant::now();
    let error = exchange(&tls, ([127, 0, 0, 1], 1).into(), REQUEST, 9, past, past).unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
}

/// A relay that keeps what the client sends.
#[test]
fn nothing_goes_out_in_the_clear() {
    let site = ca("site");
    let tls = Files::new(&[site.der()]).load().unwrap();
    let good = Shown::signed(&params("ctld"), &site);
    let bad = Shown::signed(&params("ctld"), &ca("other"));
    for version in VERSIONS {
        for (shown, trusted) in [(&good, true), (&bad, false)] {
            let server = Server::tls(config(shown, version), Then::Answer);
            let behind = server.address;
            let relay = Server::start(move |client| relay(client, TcpStream::connect(behind)?));
            assert_eq!(ask(&tls, relay.address).is_ok(), trusted);
            let sent = relay.asked().unwrap();
            assert_eq!(server.asked().is_ok(), trusted);
            for part in REQUEST.windows(8) {
                assert!(!contains(&sent, part));
            }
            // A hello, with which a handshake begins; then whole records up to the end, and data
            // among them only where the server was trusted.
            let kinds = records(&sent);
            assert_eq!(kinds[0], 0x16);
            let data_of_ours = match version.version {
                // Part of the handshake looks like data here: the end of it, or an alert.
                rustls::ProtocolVersion::TLSv1_3 => 2,
                _ => 1,
            };
            let data = kinds.iter().filter(|kind| **kind == 0x17).count();
            assert_eq!(data >= data_of_ours, trusted, "{kinds:x?}");
        }
    }
}

fn relay(mut client: TcpStream, mut server: TcpStream) -> io::Result<Vec<u8>> {
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let mut sent = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                sent.extend_from_slice(&buffer[..count]);
                // A server that has closed needs no more; the record goes on.
                let _ = server.write_all(&buffer[..count]);
            }
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    back.join().unwrap();
    Ok(sent)
}

/// The kinds of the records that bytes consist of.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        assert!(
            matches!(bytes[0], 0x14..=0x17) && bytes[1] == 3,
            "{bytes:x?}"
        );
        let length = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
        kinds.push(bytes[0]);
        bytes = &bytes[5 + length..];
    }
    kinds
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
