//! How a controller can fail to give its configuration, in words for the one who asked.

use std::fmt;
use std::net::SocketAddr;

use slurm_protocol::{
    DecodeError, EncodeError, Errno, FrameError, Message, ProtocolVersion, Release,
};

use super::{FileSet, Query};
use crate::credential::Token;
use crate::dns::ResolveError;
use crate::endpoint::Endpoint;
use crate::error::ExitCode;
use crate::transport::TransportError;

/// What came of asking one controller.
#[derive(Debug)]
pub struct Failure {
    /// The controller, as it was named.
    pub controller: Endpoint,
    /// Why it gave nothing.
    pub reason: Reason,
    /// Whether the credential went out to it.
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
                | Self::Request(_)
        )
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
                ExitCode::NotServed | ExitCode::Tls | ExitCode::BadReply | ExitCode::Files => 4,
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
                _ => ExitCode::Unreachable,
            },
            Self::Silent | Self::Refused { .. } => ExitCode::Credential,
            Self::Http | Self::NoCommonVersion { .. } | Self::NotSlurm(_) => ExitCode::Version,
            Self::ConfiglessDisabled | Self::NotAllowed | Self::Code(_) => ExitCode::NotServed,
            Self::TlsRequired { .. } => ExitCode::Tls,
            Self::Malformed(_) | Self::Unexpected(_) | Self::Request(_) => ExitCode::BadReply,
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
            Self::TlsRequired { .. } => "tls-required",
            Self::Code(_) => "slurm-error",
            Self::Malformed(_) => "reply-malformed",
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
                for (at, (address, error)) in addresses.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{error} ({})", address.ip())?;
                }
                Ok(())
            }
            Self::Transport(error) => error.fmt(f),
            Self::Standby(code) | Self::Busy(code) | Self::Code(code) => code.fmt(f),
            Self::Silent => f.write_str("it closed the connection without a word"),
            Self::Refused {
                silently: false, ..
            } => write!(
                f,
                "it refused the token ({}, error {})",
                Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR
                    .name()
                    .unwrap_or_default(),
                Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR.0
            ),
            Self::Refused {
                silently: true,
                version,
            } => write!(
                f,
                "it accepts protocol version {version}, but closed the connection on seeing the \
                 token"
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
            Self::NotAllowed => Errno::ESLURM_USER_ID_MISSING.fmt(f),
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
    files: FileSet,
    user: Option<String>,
    waited: bool,
}

impl Failures {
    pub(super) fn new(failures: Vec<Failure>, query: &Query, token: &Token) -> Self {
        Self {
            failures,
            release: query.release,
            files: query.files,
            user: token.claims().user.clone(),
            waited: !query.wait.is_zero(),
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

    /// The set that was asked for.
    pub(super) fn files(&self) -> FileSet {
        self.files
    }

    /// Whose the token is.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether `--wait` was given.
    pub(super) fn waited(&self) -> bool {
        self.waited
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [one] => write!(f, "no configuration from {one}"),
            all => write!(f, "no configuration from any of {} controllers", all.len()),
        }
    }
}

impl std::error::Error for Failures {}
