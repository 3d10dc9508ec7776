//! Controllers that want TLS, or others in their place.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use slurm_protocol::ProtocolVersion;

use crate::fake::{Act, Fake, config, return_code};
use crate::messages::golden_of;
use crate::straw::{Straw, token};

const FILES: &[(&str, &str)] = &[("slurm.conf", "ClusterName=lab\n")];
const PATIENCE: Duration = Duration::from_secs(20);

type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["ctl1".to_owned()]).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub fn authority(name: &str) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub fn years(mut params: CertificateParams, from: i32, to: i32) -> CertificateParams {
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params
}

/// What a server needs to answer in the name of this CA.
pub fn server(params: &CertificateParams, by: &Authority) -> ServerConfig {
    server_for(params, by, None)
}

/// The same, for clients that show a certificate of another CA.
pub fn server_for(
    params: &CertificateParams,
    by: &Authority,
    clients: Option<&Authority>,
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// A stream of which all that is read is kept.
struct Watched {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.seen.extend(&buffer[..count]);
        Ok(count)
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A peer on loopback, and what it was sent, a connection at a time.
pub struct Peer {
    pub address: SocketAddr,
    seen: Receiver<Vec<u8>>,
}

impl Peer {
    fn start(serve: impl Fn(&mut Watched) -> io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen): (Sender<Vec<u8>>, _) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut watched = Watched {
                    stream,
                    seen: Vec::new(),
                };
                // What fails is the client's to say.
                let _ = serve(&mut watched);
                let _ = watched.stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut watched, &mut io::sink());
                if sender.send(watched.seen).is_err() {
                    return;
                }
            }
        });
        Self { address, seen }
    }

    /// A controller of 26.05 inside TLS.
    pub fn controller(server: ServerConfig) -> Self {
        let server = Arc::new(server);
        Self::start(move |watched| {
            let connection =
                ServerConnection::new(Arc::clone(&server)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, watched);
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame)?;
            let version = ProtocolVersion(u16::from_be_bytes([frame[0], frame[1]]));
            let has_credential = frame[3] & 0x40 == 0;
            stream.write_all(&match has_credential {
                true => config(version, FILES),
                false => return_code(version, 1007),
            })?;
            stream.flush()?;
            stream.conn.send_close_notify();
            stream.flush()
        })
    }

    /// Something that says this, in the clear, to whatever it is sent.
    pub fn plain(answer: Vec<u8>) -> Self {
        Self::start(move |watched| {
            let _ = watched.read(&mut [0; 4096])?;
            watched.write_all(&answer)
        })
    }
}

/// `straw fetch` of this peer, trusting this CA.
fn fetch(peer: &Peer, ca: &str, more: &str) -> Straw {
    let server = peer.address.to_string();
    let mut arguments = vec!["fetch", &server, "--ca-cert", "ca.pem", "-o", "etc"];
    arguments.extend(more.split_whitespace());
    let straw = Straw::with_token(&arguments);
    fs::write(straw.path().join("ca.pem"), ca).unwrap();
    straw
}

/// Brings about every error with TLS. Returns their kinds.
pub fn errors() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        assert!(!kind.is_empty(), "no error");
        kinds.insert(kind);
    };
    let ca = authority("my_slurm_ca");
    let other = authority("other_ca");
    let namesake = authority("my_slurm_ca");
    let leaf = params("ctld");

    // The files.
    let good = Peer::controller(server(&leaf, &ca));
    let key = KeyPair::generate().unwrap();
    let certificate = params("me").signed_by(&key, &other).unwrap().pem();
    let with_client = |certificate: &str, key: &str| {
        let straw = fetch(
            &good,
            &ca.pem(),
            "--client-cert cert.pem --client-key key.pem",
        );
        fs::write(straw.path().join("cert.pem"), certificate).unwrap();
        let path = straw.path().join("key.pem");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        straw
    };
    let old = years(leaf.clone(), 2001, 2002)
        .self_signed(&key)
        .unwrap()
        .pem();
    let to_come = years(leaf.clone(), 2901, 2902)
        .self_signed(&key)
        .unwrap()
        .pem();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (name, straw) in [
        ("ca-not", fetch(&good, "no certificate", "")),
        ("ca-expired", fetch(&good, &old, "")),
        ("ca-to-come", fetch(&good, &to_come, "")),
        (
            "client-cert-none",
            fetch(&good, &ca.pem(), "--client-cert none --client-key none"),
        ),
        ("client-cert-not", with_client("", "")),
        ("client-key-not", with_client(&certificate, "")),
        ("client-key-encrypted", with_client(&certificate, encrypted)),
        (
            "client-key-other",
            with_client(&certificate, &KeyPair::generate().unwrap().serialize_pem()),
        ),
        (
            "server-name-bad",
            fetch(&good, &ca.pem(), "--tls-server-name ctl!1"),
        ),
    ] {
        meet(golden_of(name, straw, &[good.address]));
    }
    let straw = with_client(&certificate, "");
    fs::remove_file(straw.path().join("key.pem")).unwrap();
    let no_ca = fetch(&good, "", "");
    fs::remove_file(no_ca.path().join("ca.pem")).unwrap();
    meet(golden_of("ca-none", no_ca, &[good.address]));
    meet(golden_of("client-key-none", straw, &[good.address]));
    let without = ["fetch", "127.0.0.1:1", "--tls-server-name", "ctl1"];
    meet(golden_of(
        "tls-without-ca",
        Straw::with_token(&without),
        &[],
    ));

    let half = fetch(&good, &ca.pem(), "--client-cert cert.pem");
    meet(golden_of("client-cert-alone", half, &[good.address]));

    let mut first = fetch(&good, &ca.pem(), "");
    first.done();
    let notes = first.path().join("etc/.straw.json");
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o664)).unwrap();
    let address = good.address.to_string();
    let mut again = Straw::with_token(&["fetch", &address, "-o", "etc"]);
    again.command.current_dir(first.path());
    meet(golden_of("ca-unknown", again, &[good.address]));

    // What the peer shows.
    let expired = years(leaf.clone(), 2001, 2002);
    let to_come = years(leaf.clone(), 2901, 2902);
    let mut for_clients = leaf.clone();
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (name, more, server) in [
        ("certificate-expired", "", server(&expired, &ca)),
        ("certificate-to-come", "", server(&to_come, &ca)),
        ("certificate-of-another", "", server(&leaf, &other)),
        ("certificate-forged", "", server(&leaf, &namesake)),
        ("certificate-purpose", "", server(&for_clients, &ca)),
        (
            "certificate-name",
            "--tls-server-name ctl2",
            server(&leaf, &ca),
        ),
        (
            "client-cert-wanted",
            "",
            server_for(&leaf, &ca, Some(&other)),
        ),
    ] {
        let peer = Peer::controller(server);
        meet(golden_of(
            name,
            fetch(&peer, &ca.pem(), more),
            &[peer.address],
        ));
    }
    let peer = Peer::controller(server_for(&leaf, &ca, Some(&ca)));
    let straw = with_client(&certificate, &key.serialize_pem());
    let mut refused = Straw::with_token(&[]);
    refused.command.arg("fetch").arg(peer.address.to_string());
    refused.command.args(straw.command.get_args().skip(2));
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        fs::copy(straw.path().join(file), refused.path().join(file)).unwrap();
    }
    meet(golden_of("client-cert-refused", refused, &[peer.address]));

    // What is no TLS at all.
    for (name, more, answer) in [
        ("no-tls-closed", "", Vec::new()),
        (
            "no-tls-http",
            "",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        ),
        (
            "no-tls-slurm",
            "",
            return_code(ProtocolVersion::V25_05, 1007),
        ),
        // A fatal alert: a version of TLS that is not spoken.
        ("tls-failed", "", b"\x15\x03\x03\x00\x02\x02\x46".to_vec()),
    ] {
        let peer = Peer::plain(answer);
        meet(golden_of(
            name,
            fetch(&peer, &ca.pem(), more),
            &[peer.address],
        ));
    }
    let silent = Fake::start(|_| Act::Hold);
    let server = silent.address.to_string();
    let arguments = [
        "fetch",
        &server,
        "--ca-cert",
        "ca.pem",
        "--timeout",
        "500ms",
    ];
    let straw = Straw::with_token(&arguments);
    fs::write(straw.path().join("ca.pem"), ca.pem()).unwrap();
    meet(golden_of("no-tls-silent", straw, &[silent.address]));
    kinds
}

/// Whether bytes that a peer was sent are TLS from the first to the last.
fn is_tls(mut bytes: &[u8]) -> bool {
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !(20..=23).contains(kind) || rest.len() < length {
            return false;
        }
        bytes = &rest[length..];
    }
    bytes.is_empty()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn with_a_ca_nothing_ever_goes_out_in_the_clear() {
    let ca = authority("my_slurm_ca");
    let leaf = params("ctld");
    let secret = token(600);
    for (answered, peer) in [
        (true, Peer::controller(server(&leaf, &ca))),
        (
            false,
            Peer::controller(server(&leaf, &authority("other_ca"))),
        ),
        (false, Peer::plain(Vec::new())),
        (
            false,
            Peer::plain(return_code(ProtocolVersion::V26_05, 13000)),
        ),
        (
            false,
            Peer::plain(return_code(ProtocolVersion::V25_05, 1007)),
        ),
        (
            false,
            Peer::plain(b"HTTP/1.1 405 NOT ALLOWED\r\n\r\n".to_vec()),
        ),
        (false, Peer::plain(b"\x15\x03\x03\x00\x02\x02\x28".to_vec())),
    ] {
        for release in ["", "--release 26.05", "--release 22.05"] {
            let mut straw = fetch(&peer, &ca.pem(), release).env("SLURM_JWT", &secret);
            let output = straw.run();
            assert_eq!(output.status.success(), answered);
            let mut connections = 0;
            while let Ok(seen) = peer.seen.recv_timeout(match connections {
                0 => PATIENCE,
                _ => Duration::from_millis(100),
            }) {
                connections += 1;
                assert!(is_tls(&seen), "{release}: {seen:x?}");
                assert!(!holds(&seen, secret.as_bytes()));
            }
            assert!(connections > 0);
        }
    }
}

#[test]
fn a_ca_is_left_for_slurms_commands_and_used_the_next_time() {
    let ca = authority("my_slurm_ca");
    let peer = Peer::controller(server(&params("ctld"), &ca));
    // What else stands in the file is nobody's business.
    let text = format!(
        "{}{}",
        KeyPair::generate().unwrap().serialize_pem(),
        ca.pem()
    );
    let mut straw = fetch(&peer, &text, "");
    let said = straw.done();
    assert!(said.contains("ca_cert.pem"), "{said}");
    let left = straw.path().join("etc/ca_cert.pem");
    let written = fs::read_to_string(&left).unwrap();
    assert!(written.contains("BEGIN CERTIFICATE") && !written.contains("KEY"));
    let mode = fs::metadata(&left).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);

    // Without a word about TLS: the same CA is trusted, and nobody else's.
    let again = |server: &str, directory: &Path| {
        let directory = directory.to_str().unwrap();
        let arguments = ["fetch", server, "-o", directory, "-v", "--json"];
        let mut straw = Straw::with_token(&arguments);
        straw.run()
    };
    let output = again(&peer.address.to_string(), &straw.path().join("etc"));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["tls"].as_bool(), json["exchanges"].as_u64()),
        (Some(true), Some(1))
    );
    let clear = Peer::plain(return_code(ProtocolVersion::V26_05, 1007));
    let output = again(&clear.address.to_string(), &straw.path().join("etc"));
    assert_eq!(output.status.code(), Some(7));
    assert!(left.exists());

    // Another CA in its place is not taken for it.
    fs::write(&left, authority("my_slurm_ca").pem()).unwrap();
    let output = again(&peer.address.to_string(), &straw.path().join("etc"));
    assert_eq!(output.status.code(), Some(7));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["error"]["kind"], "ca-unknown");
}

#[test]
fn the_name_and_a_client_certificate_are_checked_where_they_are_asked_for() {
    let ca = authority("my_slurm_ca");
    let peer = Peer::controller(server_for(&params("ctld"), &ca, Some(&ca)));
    let more = "--client-cert cert.pem --client-key key.pem --tls-server-name ctl1";
    let mut straw = fetch(&peer, &ca.pem(), more);
    let key = KeyPair::generate().unwrap();
    let certificate = params("me").signed_by(&key, &ca).unwrap();
    fs::write(straw.path().join("cert.pem"), certificate.pem()).unwrap();
    fs::write(straw.path().join("key.pem"), key.serialize_pem()).unwrap();
    let said = straw.done();
    assert!(
        said.contains("others than its owner can get at the client key"),
        "{said}"
    );
    assert!(straw.path().join("etc/slurm.conf").exists());
    assert!(!straw.path().join("etc/key.pem").exists());
}
