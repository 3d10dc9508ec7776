//! What can be wrong with a connection in TLS, by what a user can do about it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why no connection in TLS came about, or why it did not last.
///
/// Whatever the peer's certificate says is printable and of limited length here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate's time is over.
    #[error("{holder} expired on {}", date(*.on))]
    Expired {
        /// Whose it is.
        holder: Holder,
        /// When it expired.
        on: SystemTime,
    },
    /// A certificate's time has not come.
    #[error("{holder} is not valid before {}", date(*.from))]
    NotYetValid {
        /// Whose it is.
        holder: Holder,
        /// When it becomes valid.
        from: SystemTime,
    },
    /// Another CA signed the certificate than those that were given.
    #[error("its certificate ({subject}) is not signed by the given CA but by {issuer}")]
    NotTrusted {
        /// Whose the certificate is, by its own words.
        subject: String,
        /// Who signed it, by its own words.
        issuer: String,
    },
    /// The certificate is signed with its own key, and is none of those that were given.
    #[error("its certificate ({subject}) is not signed by the given CA but by itself")]
    SelfSigned {
        /// Whose the certificate is, by its own words.
        subject: String,
    },
    /// The certificate names a CA that did not sign it.
    #[error(
        "its certificate ({subject}) says that {issuer} signed it, and the key of that CA did not"
    )]
    Forged {
        /// Whose the certificate is, by its own words.
        subject: String,
        /// Who signed it, by its own words.
        issuer: String,
    },
    /// The peer showed a certificate and signed with another key than that in it.
    #[error("it did not prove that the certificate it shows is its own")]
    NotItsOwn,
    /// The certificate is for other hosts than the one that was asked for.
    #[error("its certificate is not for {expected}: {}", name_list(.names, *.version_1))]
    Name {
        /// The name that was asked for.
        expected: String,
        /// The names in the certificate.
        names: Vec<String>,
        /// Whether it is of X.509 version 1, which has no place for names of hosts.
        version_1: bool,
    },
    /// Something else is wrong with the certificate.
    #[error("its certificate {0}")]
    Certificate(CertificateFlaw),
    /// The peer answered something that is not TLS.
    #[error("it does not speak TLS{}", if *.http { ": it answers in HTTP" } else { "" })]
    NotSpoken {
        /// Whether it answered in HTTP.
        http: bool,
    },
    /// The peer closed the connection when it was addressed in TLS, without a byte.
    #[error("it closed the connection when it was addressed in TLS")]
    ClosedAtOnce,
    /// The peer closed the connection amid the handshake.
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    /// There is no version, or no cipher, that both sides have.
    #[error("it accepts neither TLS 1.2 nor TLS 1.3 with a cipher that straw has")]
    NothingInCommon,
    /// The peer wants a client certificate, and none was given.
    #[error("it wants a client certificate")]
    ClientCertificateWanted,
    /// The peer does not accept the client certificate that was given.
    #[error("it does not accept the client certificate (TLS alert {alert})")]
    ClientCertificateRefused {
        /// What it said.
        alert: String,
    },
    /// The handshake, or the connection after it, failed in another way.
    #[error("TLS failed: {0}")]
    Failed(String),
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// The controller's.
    Controller,
    /// That of a CA which vouches for the controller's.
    Issuer,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Controller => "its certificate",
            Self::Issuer => "the certificate of the CA that vouches for it",
        })
    }
}

/// What is wrong with a certificate that is neither out of date nor a stranger's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFlaw {
    /// It cannot be read, or contradicts itself.
    #[error("is malformed")]
    Malformed,
    /// It is of a version that has no use.
    #[error("is of X.509 version 2; only versions 1 and 3 are in use")]
    Version2,
    /// It is for something else than a server.
    #[error("is not made for a server")]
    Purpose,
    /// It is a CA's.
    #[error("is that of a CA, not of a server")]
    OfACa,
    /// The kind of its key or signature is unknown, or too weak.
    #[error("has a key or a signature of a kind that straw does not accept")]
    Algorithm,
    /// Its CA may only vouch for certain names, and in X.509 version 1 there are none.
    #[error("is of X.509 version 1, and its CA may sign for certain names only")]
    NameConstraints,
    /// Anything else.
    #[error("is not acceptable: {0}")]
    Other(String),
}

impl TlsError {
    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "certificate-expired",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::NotTrusted { .. } | Self::SelfSigned { .. } => "certificate-not-trusted",
            Self::Forged { .. } | Self::NotItsOwn => "certificate-forged",
            Self::Name { .. } => "certificate-name",
            Self::Certificate(_) => "certificate-bad",
            Self::NotSpoken { .. } | Self::ClosedAtOnce => "no-tls",
            Self::Closed | Self::NothingInCommon | Self::Failed(_) => "tls-failed",
            Self::ClientCertificateWanted => "client-certificate-wanted",
            Self::ClientCertificateRefused { .. } => "client-certificate-refused",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Expired { .. } => {
                "nothing was sent. The cluster's administrator can renew it; if it should still be \
                 good, is the clock of this machine right?"
            }
            Self::NotYetValid { .. } => {
                "nothing was sent. Is the clock of this machine right, and that of the one the \
                 certificate was made on?"
            }
            Self::NotTrusted { .. } => {
                "nothing was sent. Is the file after --ca-cert this cluster's ca_cert.pem, and is this its \
                 controller? If another CA stands between the two, the controller has to send \
                 its certificate, too"
            }
            Self::SelfSigned { .. } => {
                "nothing was sent. Is this the cluster's controller? If its certificate is meant \
                 to be so, give it with --ca-cert"
            }
            Self::Forged { .. } => {
                "nothing was sent. Either the CA was made anew under the same name, then give the \
                 new ca_cert.pem; or somebody else answers in the controller's place"
            }
            Self::NotItsOwn => {
                "nothing was sent. Somebody else may answer in the controller's place, or the \
                 controller's key does not belong to its certificate"
            }
            Self::Name {
                version_1: true, ..
            } => {
                "nothing was sent. A certificate made by Slurm's recipe has no host names: leave \
                 --tls-server-name out (Slurm's own commands check no name either), or have one \
                 made with a subjectAltName"
            }
            Self::Name { .. } => {
                "nothing was sent. Give one of the certificate's names as --tls-server-name, or \
                 leave it out (Slurm's own commands check no name either)"
            }
            Self::Certificate(CertificateFlaw::Algorithm) => {
                "nothing was sent. Keys may be ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to \
                 8192 bits, and signatures with SHA-256, SHA-384 or SHA-512"
            }
            Self::Certificate(_) => {
                "nothing was sent. The cluster's administrator can make another; `openssl x509 \
                 -text` shows what is in it"
            }
            Self::NotSpoken { .. } | Self::ClosedAtOnce => {
                "nothing was sent. Is this the port of slurmctld, and has its slurm.conf \
                 TLSType=tls/s2n? If you know that this cluster has no TLS, leave --ca-cert out \
                 (and remove the ca_cert.pem that straw left beside slurm.conf)"
            }
            Self::Closed | Self::Failed(_) => {
                "slurmctld's log may say more; does something between here and the controller \
                 meddle with connections?"
            }
            Self::NothingInCommon => {
                "is it a slurmctld? If TLSParameters in its slurm.conf has a \
                 security_policy_version, that may leave nothing to straw"
            }
            Self::ClientCertificateWanted => {
                "give a certificate signed by the CA that the controller trusts, and its key: \
                 --client-cert and --client-key"
            }
            Self::ClientCertificateRefused { .. } => {
                "is the client certificate still good, and signed by the CA that the controller \
                 trusts?"
            }
        };
        text.to_owned()
    }
}

/// A time as RFC 3339 has it, in UTC. What it cannot write is cut to what it can.
pub(super) fn date(time: SystemTime) -> String {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since.min(YEAR_9999)).to_string()
}

fn name_list(names: &[String], version_1: bool) -> String {
    match names {
        _ if version_1 => "it is of X.509 version 1, which has no place for names".to_owned(),
        [] => "it has no names".to_owned(),
        names => format!("it is for {}", names.join(", ")),
    }
}
