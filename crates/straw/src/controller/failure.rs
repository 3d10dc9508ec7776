//! How a controller can fail to give its configuration, in words for the one who asked.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use slurm_protocol::{
    DecodeError, EncodeError, Errno, FrameError, Message, ProtocolVersion, Release,
};

use super::{Errand, Probe, Query};
use crate::credential::{CredentialError, Method, Opened};
use crate::dns::ResolveError;
use crate::endpoint::Endpoint;
use crate::error::ExitCode;
use crate::text::few;
use crate::transport::TransportError;

/// So many addresses of a controller are named: a name server can give thousands.
const MOST_NAMED: usize = 8;

/// What came of asking one controller.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The controller, as it was named.
    pub controller: Endpoint,
    /// The address that answered, where it said that another controller is in charge.
    pub standby: Option<SocketAddr>,
    /// Why it gave nothing.
    pub reason: Reason,
    /// Whether the credential went out to it in the clear.
    pub credential_sent: bool,
}

/// Why a controller gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Its name has no address.
    Name(ResolveError),
    /// None of its addresses could be connected to.
    Unreachable(Vec<(SocketAddr, TransportError)>),
    /// A connection was made, and no reply came of it.
    Transport(TransportError),
    /// It is a backup in standby.
    Standby(Errno),
    /// It has too much to do, or is about to end.
    Busy(Errno),
    /// It closed the connection at every protocol version that may be used.
    Silent,
    /// It refused the credential.
    Refused {
        /// What was sent.
        method: Method,
        /// Whether by closing the connection.
        silently: bool,
        /// The version that was spoken.
        version: ProtocolVersion,
    },
    /// It answers in HTTP, whatever is asked.
    Http,
    /// It accepts none of the versions that may be used.
    NoCommonVersion {
        /// Its own version.
        controller: ProtocolVersion,
    },
    /// Its reply has no header of Slurm's.
    NotSlurm(DecodeError),
    /// Configless mode is off.
    ConfiglessDisabled,
    /// The user may not have this set.
    NotAllowed,
    /// It makes tokens for root and SlurmUser only.
    TokensDisabled,
    /// It makes a token for another user only for root and SlurmUser.
    TokenForOther,
    /// It makes no token that lives so long.
    LifespanTooLong,
    /// It has no auth/jwt, so it makes no tokens.
    NoTokens,
    /// What it sent for a token is none.
    NotAToken,
    /// No credential could be made.
    Credential(CredentialError),
    /// It wants TLS.
    TlsRequired {
        /// Its own version.
        controller: ProtocolVersion,
    },
    /// Any other error number.
    Code(Errno),
    /// The body of its reply is malformed.
    Malformed(DecodeError),
    /// It sent another message than was asked for.
    Unexpected(Option<Message>),
    /// The request cannot be made.
    Request(EncodeError),
}

impl Reason {
    /// Whether no other controller of the cluster would say otherwise.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                silently: false,
                ..
            } | Self::ConfiglessDisabled
                | Self::NotAllowed
                | Self::TokensDisabled
                | Self::TokenForOther
                | Self::LifespanTooLong
                | Self::NoTokens
                | Self::Credential(_)
                | Self::Request(_)
        )
    }

    /// Whether nothing is known but that connecting took too long.
    pub(super) fn is_slow_connection(&self) -> bool {
        let timed_out = |(_, error): &(SocketAddr, TransportError)| matches!(error, TransportError::Connect(error) if error.kind() == ErrorKind::TimedOut);
        matches!(self, Self::Unreachable(addresses) if addresses.iter().all(timed_out))
    }

    /// How much it says about what is wrong: a controller that answered says more than one that
    /// could not be reached.
    fn weight(&self) -> u8 {
        match self {
            Self::Name(_) | Self::Unreachable(_) => 0,
            Self::Standby(_) | Self::Busy(_) => 1,
            _ => match self.exit_code() {
                ExitCode::Usage | ExitCode::Unreachable => 1,
                ExitCode::Version => 2,
                ExitCode::Credential => 3,
                _ => 4,
            },
        }
    }

    /// Of what two addresses of a controller said, that which says more.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreachable(mut all), Self::Unreachable(more)) => {
                all.extend(more);
                Self::Unreachable(all)
            }
            (Self::Unreachable(_), other) => other,
            (this, Self::Unreachable(_)) => this,
            (this, other) if this.weight() >= other.weight() => this,
            (_, other) => other,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Name(ResolveError::InvalidName { .. }) => ExitCode::Usage,
            Self::Name(_) | Self::Unreachable(_) | Self::Standby(_) | Self::Busy(_) => {
                ExitCode::Unreachable
            }
            Self::Transport(error) => match error {
                TransportError::Frame(FrameError::Tls) => ExitCode::Tls,
                TransportError::Frame(FrameError::TooLarge { .. }) => ExitCode::BadReply,
                TransportError::Frame(_) => ExitCode::Version,
                TransportError::Tls(_) => ExitCode::Tls,
                _ => ExitCode::Unreachable,
            },
            Self::Silent | Self::Refused { .. } | Self::Credential(_) => ExitCode::Credential,
            Self::Http | Self::NoCommonVersion { .. } | Self::NotSlurm(_) => ExitCode::Version,
            Self::ConfiglessDisabled
            | Self::NotAllowed
            | Self::TokensDisabled
            | Self::TokenForOther
            | Self::LifespanTooLong
            | Self::NoTokens
            | Self::Code(_) => ExitCode::NotServed,
            Self::TlsRequired { .. } => ExitCode::Tls,
            Self::Malformed(_) | Self::Unexpected(_) | Self::NotAToken | Self::Request(_) => {
                ExitCode::BadReply
            }
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Name(ResolveError::InvalidName { .. }) => "bad-host-name",
            Self::Name(_) => "name-not-resolved",
            Self::Unreachable(_) => "unreachable",
            Self::Transport(error) => match error {
                TransportError::Connect(_) => "unreachable",
                TransportError::Silence => "no-answer",
                TransportError::Broken { .. } => "reply-broken-off",
                TransportError::Frame(FrameError::Tls) => "tls-answer",
                TransportError::Frame(FrameError::TooLarge { .. }) => "reply-too-large",
                TransportError::Frame(_) => "not-slurmctld",
                TransportError::Tls(error) => error.kind(),
            },
            Self::Standby(_) => "standby",
            Self::Busy(_) => "busy",
            Self::Silent => "closed-silently",
            Self::Refused { .. } => "credential-refused",
            Self::Http => "http-answer",
            Self::NoCommonVersion { .. } => "no-common-version",
            Self::NotSlurm(_) => "not-slurmctld",
            Self::ConfiglessDisabled => "configless-off",
            Self::NotAllowed => "set-not-allowed",
            Self::TokensDisabled => "tokens-disabled",
            Self::TokenForOther => "token-for-other",
            Self::LifespanTooLong => "lifespan-too-long",
            Self::NoTokens => "no-tokens",
            Self::Credential(error) => error.kind(),
            Self::TlsRequired { .. } => "tls-required",
            Self::Code(_) => "slurm-error",
            Self::Malformed(_) | Self::NotAToken => "reply-malformed",
            Self::Unexpected(_) => "reply-unexpected",
            Self::Request(_) => "request-impossible",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.controller, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Unreachable(addresses) => {
                let tried = addresses.iter();
                let tried = tried.map(|(address, error)| format!("{error} ({})", address.ip()));
                f.write_str(&few(&tried.collect::<Vec<_>>(), MOST_NAMED))
            }
            Self::Transport(error) => error.fmt(f),
            Self::Standby(code) | Self::Busy(code) | Self::Code(code) => code.fmt(f),
            Self::Silent => f.write_str("it closed the connection without a word"),
            Self::Refused {
                method,
                silently: false,
                ..
            } => write!(
                f,
                "it refused {} ({}, error {})",
                method.noun(),
                Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR
                    .name()
                    .unwrap_or_default(),
                Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR.0
            ),
            Self::Refused {
                method,
                silently: true,
                version,
            } => write!(
                f,
                "it accepts protocol version {version}, but closed the connection on seeing {}",
                method.noun()
            ),
            Self::Http => f.write_str("it answers in HTTP"),
            Self::NoCommonVersion { controller } => {
                let accepted = controller.accepted_by_controller();
                write!(
                    f,
                    "it accepts the protocol versions {} to {controller}",
                    accepted.start()
                )
            }
            Self::NotSlurm(error) => write!(f, "its answer is not Slurm's: {error}"),
            Self::ConfiglessDisabled => Errno::ESLURM_CONFIGLESS_DISABLED.fmt(f),
            Self::NotAllowed | Self::TokenForOther => Errno::ESLURM_USER_ID_MISSING.fmt(f),
            Self::TokensDisabled => Errno::ESLURM_ACCESS_DENIED.fmt(f),
            Self::LifespanTooLong => Errno::ESLURM_INVALID_TIME_LIMIT.fmt(f),
            Self::NoTokens => f.write_str("it makes no tokens"),
            Self::NotAToken => f.write_str("what it sent is not a token (a JWT)"),
            Self::Credential(error) => error.fmt(f),
            Self::TlsRequired { .. } => Errno::ESLURM_TLS_REQUIRED.fmt(f),
            Self::Malformed(error) => write!(f, "its reply is malformed: {error}"),
            Self::Unexpected(Some(Message::Other(message))) => {
                write!(f, "it answered with another message: {message}")
            }
            Self::Unexpected(_) => f.write_str("it answered with another message"),
            Self::Request(error) => write!(f, "the request cannot be made: {error}"),
        }
    }
}

/// What came of asking all controllers: at least one failure.
#[derive(Debug)]
pub struct Failures {
    failures: Vec<Failure>,
    release: Option<Release>,
    errand: Errand,
    method: Option<Method>,
    place: String,
    user: Option<String>,
    waited: bool,
    ca: Option<PathBuf>,
}

impl Failures {
    pub(super) fn new(
        failures: Vec<Failure>,
        query: &Query,
        errand: &Errand,
        credential: &Opened,
    ) -> Self {
        Self {
            failures,
            release: query.release,
            errand: errand.clone(),
            method: Some(credential.method()),
            place: query.credential.place(),
            user: credential.user().map(str::to_owned),
            waited: !query.wait.is_zero(),
            ca: query.tls.as_ref().map(|tls| tls.ca_path().to_owned()),
        }
    }

    /// Those of controllers that were only to answer.
    pub(crate) fn of_probes(
        failures: Vec<Failure>,
        probe: &Probe<'_>,
        place: String,
        waited: bool,
    ) -> Self {
        Self {
            failures,
            release: probe.release,
            errand: Errand::Ping,
            method: probe.credential.map(Opened::method),
            place,
            user: probe.credential.and_then(Opened::user).map(str::to_owned),
            waited,
            ca: probe.tls.map(|tls| tls.ca_path().to_owned()),
        }
    }

    /// All of them, in the order in which the controllers were asked.
    pub fn all(&self) -> &[Failure] {
        &self.failures
    }

    /// The one that says most about what is wrong: of a controller that answered rather than of
    /// one that could not be reached.
    pub(crate) fn telling(&self) -> Option<&Reason> {
        // Of equals the first controller's: it is the primary.
        self.failures
            .iter()
            .map(|failure| &failure.reason)
            .rev()
            .max_by_key(|reason| reason.weight())
    }

    /// The release that was given.
    pub(super) fn release(&self) -> Option<Release> {
        self.release
    }

    /// What was asked for.
    pub(super) fn errand(&self) -> &Errand {
        &self.errand
    }

    /// How it was authenticated, if at all.
    pub(super) fn method(&self) -> Option<Method> {
        self.method
    }

    /// What was sent, or would have been.
    pub(super) fn noun(&self) -> &'static str {
        self.method.map_or("a credential", Method::noun)
    }

    /// Where the credential came from.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whose the token is.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The file of the CA that was trusted, where TLS was spoken.
    pub(super) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Whether `--wait` was given.
    pub(super) fn waited(&self) -> bool {
        self.waited
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [one] => write!(f, "no {} from {one}", self.errand.noun()),
            all => write!(
                f,
                "no {} from any of {} controllers",
                self.errand.noun(),
                all.len()
            ),
        }
    }
}

impl std::error::Error for Failures {}
