//! TLS, as controllers with `TLSType=tls/s2n` speak it (docs/protocol.md, section 10).
//!
//! The messages inside are the same as over TCP. Not a byte of a request is written before the
//! handshake is complete, and with it the controller's certificate verified.

mod certificate;
mod error;
mod files;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod verify;

use std::fmt;
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use rustls::client::{ClientConnection, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError, SignatureScheme};

pub use error::{CertificateFlaw, Holder, TlsError};
pub use files::{ClientFiles, TlsFile, TlsFiles, TlsFilesError};

use super::tcp::{Deadlined, connect, is_reset, receive};
use super::{Received, TransportError};
use verify::Trust;

/// What a connection in TLS needs: whom to trust, and who we are.
#[derive(Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    trust: Arc<Trust>,
    client: Option<Arc<CertifiedKey>>,
    ca_pem: Arc<str>,
    ca_path: PathBuf,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Where one of them is of no use at the time `now`. If only some of several CA certificates
    /// are, that is a warning.
    pub fn load(files: &TlsFiles, now: SystemTime) -> Result<Self, TlsFilesError> {
        let provider = CryptoProvider {
            // The first one is tried first, and that is all that some controllers take.
            kx_groups: vec![
                ring::kx_group::SECP256R1,
                ring::kx_group::SECP384R1,
                ring::kx_group::X25519,
            ],
            ..ring::default_provider()
        };
        let name = files.server_name.as_deref().map(files::server_name);
        let given = files::ca(&files.ca_cert, now)?;
        let client = files
            .client
            .as_ref()
            .map(|client| files::client(client, now, &provider));
        Ok(Self {
            ca_pem: files::pem(&given).into(),
            ca_path: files.ca_cert.clone(),
            trust: Arc::new(Trust {
                given,
                name: name.transpose()?,
                algorithms: provider.signature_verification_algorithms,
            }),
            client: client.transpose()?.map(Arc::new),
            provider: Arc::new(provider),
        })
    }

    /// The CA's certificates in PEM. Nothing else that stands in their file is in it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The file that they were read from.
    pub fn ca_path(&self) -> &Path {
        &self.ca_path
    }

    /// When the first of its certificates expires.
    pub fn ca_ends(&self) -> Option<SystemTime> {
        let given = self.trust.given.iter();
        given
            .map(|given| certificate::end(&given.certificate))
            .min()
    }

    /// Whether nothing is trusted but what stands in this text, which came from
    /// [`ca_pem`](Self::ca_pem). Certificates may be missing: they expire.
    pub fn trusts_only(&self, pem: &str) -> bool {
        const END: &str = "-----END CERTIFICATE-----\n";
        self.ca_pem
            .split_inclusive(END)
            .all(|certificate| pem.split_inclusive(END).any(|known| known == certificate))
    }

    fn connection(
        &self,
        address: SocketAddr,
        identity: Arc<Identity>,
    ) -> Result<ClientConnection, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(self.trust.clone())
            .with_client_cert_resolver(identity);
        config.resumption = Resumption::disabled();
        // Of an address nothing is sent; a name goes out in the clear (SNI).
        let address = ServerName::from(address.ip());
        let name = self.trust.name.clone().unwrap_or(address);
        ClientConnection::new(Arc::new(config), name)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("trust", &self.trust)
            .field("client", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

/// Connects, sends a request inside TLS and takes the reply.
///
/// Connecting ends at `connect_by` at the latest, everything at `deadline`. A reply of more than
/// `max_size` bytes is refused before it is read.
///
/// # Errors
///
/// See [`TransportError`]. That the peer closes without a byte after the handshake is no error.
pub(crate) fn exchange(
    tls: &Tls,
    address: SocketAddr,
    request: &[u8],
    max_size: usize,
    connect_by: Instant,
    deadline: Instant,
) -> Result<Received, TransportError> {
    let mut peer = Peer::meet(tls, address, connect_by, deadline)?;
    log::debug!(
        "{address}: {:?}",
        peer.connection
            .negotiated_cipher_suite()
            .map(|cipher| cipher.suite())
    );
    // As over TCP: what a peer said before it closed can be read.
    match peer.write(request) {
        Err(error) if error.kind() == ErrorKind::TimedOut => return Err(TransportError::Silence),
        _ => {}
    }
    let received = receive(&mut peer, max_size);
    // A polite end, for which controllers wait. Nothing depends on it.
    peer.connection.send_close_notify();
    let _ = peer.flush();
    match (received, peer.failure.take()) {
        (Err(_) | Ok(Received::Closed { .. }), Some(failure)) => Err(peer.explain(failure).into()),
        (received, _) => received,
    }
}

/// What a peer shows that is trusted.
#[derive(Clone, Debug)]
pub(crate) struct ServerCertificate {
    /// Whose its certificate is, by its own words.
    pub subject: String,
    /// Who signed it, by its own words.
    pub issuer: String,
    /// When it expires.
    pub until: SystemTime,
    /// How many certificates it sent.
    pub count: usize,
    /// The version of TLS.
    pub version: &'static str,
}

impl fmt::Display for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            issuer,
            count,
            version,
            ..
        } = self;
        write!(f, "{version}; certificate of {subject}, signed by {issuer}")?;
        match count {
            0 | 1 => Ok(()),
            count => write!(f, " ({count} certificates sent)"),
        }
    }
}

/// Connects, has the peer show its certificate, and says nothing.
///
/// # Errors
///
/// Those of [`exchange`], at `deadline` at the latest.
pub(crate) fn inspect(
    tls: &Tls,
    address: SocketAddr,
    deadline: Instant,
) -> Result<ServerCertificate, TransportError> {
    let mut peer = Peer::meet(tls, address, deadline, deadline)?;
    let certificates = peer.connection.peer_certificates().unwrap_or_default();
    let own = certificates.first().and_then(|der| certificate::read(der));
    let own = own.ok_or(TlsError::Certificate(CertificateFlaw::Malformed))?;
    let shown = ServerCertificate {
        subject: certificate::subject(&own),
        issuer: certificate::issuer(&own),
        until: certificate::end(&own),
        count: certificates.len(),
        version: match peer.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        },
    };
    peer.connection.send_close_notify();
    let _ = peer.flush();
    Ok(shown)
}

/// A peer that is spoken to in TLS.
struct Peer {
    stream: Deadlined,
    connection: ClientConnection,
    identity: Arc<Identity>,
    start: Start,
    /// Why no more can come.
    failure: Option<rustls::Error>,
}

impl Peer {
    /// Connects, up to where the peer is known to be the one it should be.
    fn meet(
        tls: &Tls,
        address: SocketAddr,
        connect_by: Instant,
        deadline: Instant,
    ) -> Result<Self, TransportError> {
        let stream = connect(address, connect_by, deadline)?;
        let identity = Arc::new(Identity {
            key: tls.client.clone(),
            asked: AtomicBool::new(false),
        });
        let connection = tls
            .connection(address, identity.clone())
            .map_err(|error| TlsError::Failed(error.to_string()))?;
        let mut peer = Self {
            stream,
            connection,
            identity,
            start: Start::default(),
            failure: None,
        };
        peer.shake_hands()?;
        Ok(peer)
    }

    /// The handshake, up to where the peer is known to be the one it should be.
    fn shake_hands(&mut self) -> Result<(), TransportError> {
        while self.connection.is_handshaking() {
            // Where this fails because the peer closed, what it said before tells more.
            match self.flush() {
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(self.silence()),
                _ => {}
            }
            match self.take() {
                Ok(0) => return Err(self.closed().into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(self.silence()),
                Err(error) if is_reset(&error) => return Err(self.closed().into()),
                Err(error) => return Err(TlsError::Failed(super::describe(&error)).into()),
            }
            if let Some(failure) = self.failure.take() {
                return Err(self.explain(failure).into());
            }
        }
        Ok(())
    }

    /// Takes what comes next off the connection; 0 at its end.
    fn take(&mut self) -> io::Result<usize> {
        let mut watched = Watched {
            stream: &mut self.stream,
            start: &mut self.start,
        };
        let count = loop {
            match self.connection.read_tls(&mut watched) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if let Err(error) = self.connection.process_new_packets() {
            self.failure = Some(error);
            // The alert that tells the peer why. It may be gone, and nothing depends on it.
            let _ = self.flush();
        }
        Ok(count)
    }

    /// Sends what is to be sent.
    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => _ = other?,
            }
        }
        Ok(())
    }

    /// Sends a request, of which a part at a time is encrypted and kept.
    fn write(&mut self, mut request: &[u8]) -> io::Result<()> {
        while !request.is_empty() {
            let count = self.connection.writer().write(request)?;
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            request = &request[count..];
            self.flush()?;
        }
        Ok(())
    }

    /// The peer let the time pass.
    fn silence(&self) -> TransportError {
        match self.start.is_tls() {
            true => TransportError::Silence,
            false => self.not_spoken().into(),
        }
    }

    /// The peer closed during the handshake.
    fn closed(&self) -> TlsError {
        if self.start.had == 0 {
            TlsError::ClosedAtOnce
        } else if self.start.is_tls() {
            TlsError::Closed
        } else {
            self.not_spoken()
        }
    }

    fn not_spoken(&self) -> TlsError {
        let http = self.start.bytes.starts_with(b"HTTP");
        TlsError::NotSpoken { http }
    }

    /// rustls' errors in our words.
    fn explain(&self, error: rustls::Error) -> TlsError {
        if !self.start.is_tls() {
            return self.not_spoken();
        }
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                match inner.downcast_ref::<TlsError>() {
                    Some(ours) => ours.clone(),
                    None => TlsError::Failed(certificate::printable(&inner.to_string())),
                }
            }
            // Our verifier's words are told above, so this is the signature of the handshake.
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
                TlsError::NotItsOwn
            }
            rustls::Error::InvalidCertificate(error) => TlsError::Certificate(verify::flaw(&error)),
            rustls::Error::PeerIncompatible(_) => TlsError::NothingInCommon,
            rustls::Error::AlertReceived(alert) => self.alert(alert),
            error => TlsError::Failed(certificate::printable(&error.to_string())),
        }
    }

    fn alert(&self, alert: AlertDescription) -> TlsError {
        let asked = self.identity.asked.load(Ordering::Relaxed);
        let about_a_certificate = matches!(
            alert,
            AlertDescription::HandshakeFailure
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::CertificateRequired
        );
        match alert {
            _ if asked && about_a_certificate => match self.identity.key {
                Some(_) => TlsError::ClientCertificateRefused {
                    alert: alert_name(alert),
                },
                None => TlsError::ClientCertificateWanted,
            },
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity => TlsError::NothingInCommon,
            alert => TlsError::Failed(format!("it sent the alert {}", alert_name(alert))),
        }
    }
}

/// A reply as it comes out of TLS. Controllers close without saying so in TLS, too; that nothing
/// was cut off is known by the reply's length.
impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if self.failure.is_some() {
                return Err(ErrorKind::InvalidData.into());
            }
            self.take()?;
        }
    }
}

/// An alert's name as the RFCs have it: `unknown_ca`.
fn alert_name(alert: AlertDescription) -> String {
    if alert == AlertDescription::UnknownCA {
        return "unknown_ca".to_owned();
    }
    let mut name = String::new();
    for character in format!("{alert:?}").chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// Who we are in a handshake, and whether the peer wanted to know.
#[derive(Debug)]
struct Identity {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// The first bytes that a peer sent.
#[derive(Default)]
struct Start {
    bytes: [u8; 4],
    had: usize,
}

impl Start {
    /// Whether they can be the head of a record of TLS: a handshake's or an alert's, version 3.x.
    fn is_tls(&self) -> bool {
        match &self.bytes[..self.had] {
            [] => true,
            [kind] => matches!(kind, 0x15 | 0x16),
            [kind, version, ..] => matches!(kind, 0x15 | 0x16) && *version == 3,
        }
    }
}

/// A stream of which the first bytes are kept.
struct Watched<'a> {
    stream: &'a mut Deadlined,
    start: &'a mut Start,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let free = &mut self.start.bytes[self.start.had..];
        let new = count.min(free.len());
        free[..new].copy_from_slice(&buffer[..new]);
        self.start.had += new;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
