//! The files that TLS needs: the CA's certificates, and perhaps a certificate of our own.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags, open};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use secrecy::zeroize::Zeroizing;
use x509_cert::der::Encode as _;

use super::certificate;
use super::error::{Holder, TlsError, date};
use super::verify::Given;
use crate::text::system_text;

/// A larger file, in bytes, is none of these. The certificates of all public CAs have about 200 KB.
const LARGEST: usize = 1024 * 1024;

/// Where the files are that TLS needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The CA's certificates, in PEM.
    pub ca_cert: PathBuf,
    /// What straw proves by who it is, where the controller asks for that.
    pub client: Option<ClientFiles>,
    /// The name that the controller's certificate must have. Without it any certificate of the
    /// CA's will do, as for Slurm's own commands.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// Those of a cluster that does not ask who we are.
    pub fn new(ca_cert: impl Into<PathBuf>) -> Self {
        Self {
            ca_cert: ca_cert.into(),
            client: None,
            server_name: None,
        }
    }
}

/// Where a client certificate is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientFiles {
    /// The certificate, and after it those that stand between it and the CA, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM, not encrypted.
    pub key: PathBuf,
}

impl ClientFiles {
    /// A certificate and its key.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (cert, key) = (cert.into(), key.into());
        Self { cert, key }
    }
}

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFile {
    /// That with the CA's certificates.
    Ca,
    /// That with the client certificate.
    ClientCertificate,
    /// That with the key of the client certificate.
    ClientKey,
}

impl TlsFile {
    fn name(self) -> &'static str {
        match self {
            Self::Ca => "CA file",
            Self::ClientCertificate => "client certificate",
            Self::ClientKey => "client key",
        }
    }
}

/// What is wrong with the files before anyone was connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFilesError {
    /// A file cannot be read.
    #[error("the {} {} cannot be read: {error}", file.name(), path.display())]
    Unreadable {
        /// Which.
        file: TlsFile,
        /// Its path.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A file is too large to be what it should.
    #[error("the {} {} is larger than {LARGEST} bytes", file.name(), path.display())]
    TooLarge {
        /// Which.
        file: TlsFile,
        /// Its path.
        path: PathBuf,
    },
    /// A file has no certificate in it.
    #[error("the {} {} has no certificate in it", file.name(), path.display())]
    NoCertificate {
        /// Which.
        file: TlsFile,
        /// Its path.
        path: PathBuf,
    },
    /// What stands in a file as a certificate is none.
    #[error("what the {} {} has in it is not a certificate", file.name(), path.display())]
    NotACertificate {
        /// Which.
        file: TlsFile,
        /// Its path.
        path: PathBuf,
    },
    /// The time of all CA certificates is over.
    #[error("the CA certificate in {} expired on {}", path.display(), date(*.on))]
    CaExpired {
        /// The file.
        path: PathBuf,
        /// When it, or the last of several, expired.
        on: SystemTime,
    },
    /// The time of the CA certificates has not come.
    #[error("the CA certificate in {} is not valid before {}", path.display(), date(*.from))]
    CaNotYetValid {
        /// The file.
        path: PathBuf,
        /// When it, or the first of several, becomes valid.
        from: SystemTime,
    },
    /// The file has no key in it.
    #[error("the client key {} has no private key in it", .0.display())]
    NoKey(PathBuf),
    /// The key is encrypted.
    #[error("the client key {} is encrypted", .0.display())]
    EncryptedKey(PathBuf),
    /// The key is malformed, or of a kind that straw has not.
    #[error("the client key {} is of no use", .0.display())]
    UnusableKey(PathBuf),
    /// The key is another certificate's.
    #[error("the client key {} does not belong to the client certificate {}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The server's name is neither a host name nor an address.
    #[error("`{0}` is not a host name")]
    ServerName(String),
}

impl TlsFilesError {
    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { file, .. } => match file {
                TlsFile::Ca => "ca-unreadable",
                TlsFile::ClientCertificate => "client-certificate-unreadable",
                TlsFile::ClientKey => "client-key-unreadable",
            },
            Self::TooLarge { file, .. }
            | Self::NoCertificate { file, .. }
            | Self::NotACertificate { file, .. } => match file {
                TlsFile::Ca => "ca-invalid",
                TlsFile::ClientCertificate => "client-certificate-invalid",
                TlsFile::ClientKey => "client-key-invalid",
            },
            Self::CaExpired { .. } => "ca-expired",
            Self::CaNotYetValid { .. } => "ca-not-yet-valid",
            Self::NoKey(_) | Self::UnusableKey(_) => "client-key-invalid",
            Self::EncryptedKey(_) => "client-key-encrypted",
            Self::KeyMismatch { .. } => "client-key-mismatch",
            Self::ServerName(_) => "bad-server-name",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Unreadable { .. } => {
                "is the file mounted into this container, and may this user read it?"
            }
            Self::TooLarge {
                file: TlsFile::ClientKey,
                ..
            }
            | Self::NoKey(_)
            | Self::UnusableKey(_) => {
                "the key is one in PEM, ECDSA on P-256 or P-384, Ed25519 or RSA, as `openssl \
                 genpkey` makes it"
            }
            Self::TooLarge { .. } | Self::NoCertificate { .. } | Self::NotACertificate { .. } => {
                "it is text in PEM that has -----BEGIN CERTIFICATE----- in it, for a cluster's CA \
                 the ca_cert.pem beside its slurm.conf"
            }
            Self::CaExpired { .. } => {
                "get the cluster's present ca_cert.pem; if this one should still be good, is the \
                 clock of this machine right?"
            }
            Self::CaNotYetValid { .. } => "is the clock of this machine right?",
            Self::EncryptedKey(_) => {
                "there is nobody to ask for its passphrase: `openssl pkey -in KEY -out FILE` \
                 decrypts it"
            }
            Self::KeyMismatch { .. } => "take the key that the certificate was made with",
            Self::ServerName(_) => {
                "the server's name is a host name or an address as it stands in the controller's \
                 certificate"
            }
        };
        text.to_owned()
    }
}

/// Reads the CA file. What has expired is left out; what is not yet valid may become so while
/// straw waits, and is looked at again in each handshake.
pub(super) fn ca(path: &Path, now: SystemTime) -> Result<Vec<Given>, TlsFilesError> {
    let mut found = Vec::new();
    for (at, der) in certificates(TlsFile::Ca, path)?.into_iter().enumerate() {
        match Given::read(der) {
            Some(given) => found.push(given),
            None => log::warn!(
                "certificate {} of {} cannot be used; it is left out",
                at + 1,
                path.display()
            ),
        }
    }
    if found.is_empty() {
        return Err(TlsFilesError::NotACertificate {
            file: TlsFile::Ca,
            path: path.to_owned(),
        });
    }
    let mut first = None;
    let mut last = None;
    let mut any_valid = false;
    for given in &found {
        let of = &given.certificate;
        match certificate::check_dates(of, Holder::Issuer, now) {
            Ok(()) => any_valid = true,
            Err(TlsError::NotYetValid { from, .. }) => {
                first = Some(first.map_or(from, |first: SystemTime| first.min(from)));
            }
            Err(_) => last = last.max(Some(certificate::end(of))),
        }
    }
    let path = path.to_owned();
    match (any_valid, first, last) {
        (false, Some(from), _) => return Err(TlsFilesError::CaNotYetValid { path, from }),
        (false, None, Some(on)) => return Err(TlsFilesError::CaExpired { path, on }),
        _ => {}
    }
    found.retain(|given| {
        let of = &given.certificate;
        let subject = certificate::subject(of);
        match certificate::check_dates(of, Holder::Issuer, now) {
            Ok(()) => {}
            Err(TlsError::NotYetValid { from, .. }) => log::warn!(
                "a CA certificate in {} ({subject}) is not valid before {}",
                path.display(),
                date(from)
            ),
            Err(_) => {
                let on = date(certificate::end(of));
                let path = path.display();
                log::warn!("a CA certificate in {path} ({subject}) expired on {on}");
                return false;
            }
        }
        if !given.is_ca() {
            log::info!(
                "a certificate in {} ({subject}) is no CA's, so it is trusted for itself only",
                path.display()
            );
        }
        true
    });
    Ok(found)
}

/// The certificates in PEM, and nothing else of the file they came from.
pub(super) fn pem(given: &[Given]) -> String {
    let mut pem = String::new();
    for given in given {
        let text = STANDARD.encode(&given.der);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem
}

/// Reads a client certificate and its key.
pub(super) fn client(
    files: &ClientFiles,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsFilesError> {
    let file = TlsFile::ClientCertificate;
    let chain = certificates(file, &files.cert)?;
    let not_a_certificate = || TlsFilesError::NotACertificate {
        file,
        path: files.cert.clone(),
    };
    let own = chain.first().and_then(|der| certificate::read(der));
    let own = own.ok_or_else(not_a_certificate)?;
    if let Err(error) = certificate::check_dates(&own, Holder::Controller, now) {
        let (what, when) = match error {
            TlsError::NotYetValid { from, .. } => ("is not valid before", from),
            _ => ("expired on", certificate::end(&own)),
        };
        let path = files.cert.display();
        log::warn!("the client certificate {path} {what} {}", date(when));
    }
    let unusable = || TlsFilesError::UnusableKey(files.key.clone());
    let key = provider
        .key_provider
        .load_private_key(private_key(&files.key)?)
        .map_err(|_| unusable())?;
    let public = own
        .tbs_certificate
        .subject_public_key_info
        .to_der()
        .map_err(|_| not_a_certificate())?;
    match key.public_key() {
        Some(of_key) if *of_key == *public => Ok(CertifiedKey::new(chain, key)),
        Some(_) => Err(TlsFilesError::KeyMismatch {
            cert: files.cert.clone(),
            key: files.key.clone(),
        }),
        None => Err(unusable()),
    }
}

/// Reads a name that a certificate must have.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, TlsFilesError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| TlsFilesError::ServerName(certificate::printable(name)))
}

fn certificates(file: TlsFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let text = read(file, path)?;
    let path = path.to_owned();
    match CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.is_empty() => Err(TlsFilesError::NoCertificate { file, path }),
        Ok(found) => Ok(found),
        Err(_) => Err(TlsFilesError::NotACertificate { file, path }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
    let text = read(TlsFile::ClientKey, path)?;
    // It says so either in the first line or, in the older format, in the second.
    if contains(&text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&text, b"Proc-Type: 4,ENCRYPTED")
    {
        return Err(TlsFilesError::EncryptedKey(path.to_owned()));
    }
    if !contains(&text, b"PRIVATE KEY-----") {
        return Err(TlsFilesError::NoKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsFilesError::UnusableKey(path.to_owned()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Reads a file. Any of them can hold a key, if by mistake, so none leaves a trace in memory.
fn read(file: TlsFile, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsFilesError> {
    let unreadable = |error: String| TlsFilesError::Unreadable {
        file,
        path: path.to_owned(),
        error,
    };
    // A pipe may never end, and without NONBLOCK not even begin.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty());
    let opened = File::from(opened.map_err(|errno| unreadable(system_text(&errno.into())))?);
    let metadata = opened
        .metadata()
        .map_err(|error| unreadable(system_text(&error)))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if file == TlsFile::ClientKey && mode & 0o077 != 0 {
        log::warn!(
            "others than its owner can get at the client key {} (mode {mode:o})",
            path.display()
        );
    }
    // Of this size from the start, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    opened
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(system_text(&error)))?;
    if bytes.len() > LARGEST {
        return Err(TlsFilesError::TooLarge {
            file,
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
