//! What is wrong with a credential before it was sent to anyone, and what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use slurm_protocol::DecodeError;

use super::Method;
use super::command::CommandError;
use crate::text::{span, system_text};

/// What is wrong with a credential before it was sent to anyone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is none.
    #[error("no credential was found")]
    None {
        /// The method that was asked for, if only one was.
        method: Option<Method>,
        /// The places looked at, each with what was wrong with it.
        looked: Vec<String>,
    },
    /// The file with the token cannot be read.
    #[error("the token file {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// Anyone can put another token into the file.
    #[error("the token file {} can be written by everyone on this machine", path.display())]
    WritableByOthers {
        /// The file.
        path: PathBuf,
    },
    /// The token stands where the name of its file belongs.
    #[error("what is given as the name of the token file is a token itself")]
    TokenAsFileName,
    /// The command gave no token.
    #[error("the token command `{}` {error}", name.escape_debug())]
    Command {
        /// The program, without its arguments.
        name: String,
        /// Why.
        error: CommandError,
    },
    /// Nothing stands there.
    #[error("{place} is empty")]
    Empty {
        /// Where the token was to be.
        place: String,
    },
    /// It is not three parts of base64url, the first two of them JSON objects.
    #[error("what {place} holds is not a token (a JWT)")]
    NotAToken {
        /// Where the token was to be.
        place: String,
    },
    /// Its algorithm is `none`.
    #[error("the token in {place} is not signed")]
    Unsigned {
        /// Where the token is.
        place: String,
    },
    /// It has no `exp`.
    #[error("the token in {place} does not say when it expires, so slurmctld takes it for expired")]
    NoExpiry {
        /// Where the token is.
        place: String,
    },
    /// Its time is over.
    #[error("the token in {place}{} expired {} ago", of_user(user.as_deref()), span(*age))]
    Expired {
        /// Where the token is.
        place: String,
        /// Whose it is.
        user: Option<String>,
        /// How long ago it expired.
        age: Duration,
    },
    /// A controller made a token for somebody else.
    #[error(
        "the token in the controller's reply is {}'s, not {}'s", user.escape_debug(), wanted.escape_debug()
    )]
    OfAnother {
        /// The user it was to be for.
        wanted: String,
        /// The user it is for.
        user: String,
    },
    /// The line that is to be a command is none.
    #[error("the token command cannot be read: {why}")]
    CommandLine {
        /// Why.
        why: String,
    },
    /// What was got as a new token is not good for longer than the one that is there.
    #[error("the new token is good until {expires}, no longer than the one that is there")]
    NoLonger {
        /// Until when, as a date.
        expires: String,
    },
    /// A local daemon made no credential.
    #[error("{service} socket {}: {}", path.display(), error.describe(*service))]
    Socket {
        /// Which daemon.
        service: Service,
        /// Its socket.
        path: PathBuf,
        /// Why.
        error: SocketError,
    },
}

/// A local daemon that makes credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// munged.
    Munge,
    /// Slurm's auth and cred kiosk: sackd, slurmd or slurmctld.
    Sack,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Munge => "munge",
            Self::Sack => "SACK",
        })
    }
}

/// Why a local daemon made no credential.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocketError {
    /// It cannot be connected to.
    Unreachable(io::Error),
    /// What is there is something else.
    NotASocket,
    /// It did not answer in time.
    Silence,
    /// It closed the connection without an answer.
    Closed,
    /// It refused, with munge's error number and what munged says about it.
    Refused {
        /// munge's error number.
        number: u8,
        /// What munged says, escaped; may be empty.
        text: String,
    },
    /// Its answer is not what its protocol says.
    Malformed(DecodeError),
    /// The credential holds bytes that are no text.
    NotText,
}

impl SocketError {
    pub(super) fn describe(&self, service: Service) -> String {
        match self {
            Self::Unreachable(error) => match error.kind() {
                ErrorKind::NotFound => "it is not there".into(),
                ErrorKind::ConnectionRefused => "nobody listens on it".into(),
                ErrorKind::PermissionDenied => "this user may not use it".into(),
                _ => system_text(error),
            },
            Self::NotASocket => "that is not a socket".into(),
            Self::Silence => "the daemon did not answer in time".into(),
            Self::Closed => match service {
                Service::Munge => "munged closed the connection without an answer".into(),
                Service::Sack => "the daemon refused to make a credential".into(),
            },
            Self::Refused { number, text } if text.is_empty() => {
                format!("munged refused (munge error {number})")
            }
            Self::Refused { number, text } => {
                format!("munged refused: {text} (munge error {number})")
            }
            Self::Malformed(error) => format!("the answer is not {service}'s: {error}"),
            Self::NotText => "the credential is no text".into(),
        }
    }
}

impl CredentialError {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None { .. } => "no-credential",
            Self::Unreadable { .. } => "token-unreadable",
            Self::WritableByOthers { .. } => "token-writable",
            Self::TokenAsFileName => "token-as-file-name",
            Self::Command { .. } | Self::CommandLine { .. } => "token-command-failed",
            Self::OfAnother { .. } => "token-of-another",
            Self::NoLonger { .. } => "token-not-newer",
            Self::Empty { .. } => "token-empty",
            Self::NotAToken { .. } => "not-a-token",
            Self::Unsigned { .. } => "token-unsigned",
            Self::NoExpiry { .. } => "token-without-expiry",
            Self::Expired { .. } => "token-expired",
            Self::Socket { service, error, .. } => match (service, error) {
                (Service::Munge, SocketError::Unreachable(_) | SocketError::NotASocket) => {
                    "munge-unreachable"
                }
                (Service::Munge, SocketError::Refused { .. }) => "munge-refused",
                (Service::Munge, _) => "munge-failed",
                (Service::Sack, SocketError::Unreachable(_) | SocketError::NotASocket) => {
                    "sack-unreachable"
                }
                (Service::Sack, SocketError::Closed) => "sack-refused",
                (Service::Sack, _) => "sack-failed",
            },
        }
    }

    pub(crate) fn hint(&self) -> String {
        let text = match self {
            Self::None { method, .. } => match method {
                None => {
                    "get a token on a login node with `scontrol token`, and hand it over in the \
                     variable SLURM_JWT or in a file with --token-file; or mount the host's \
                     /run/munge or /run/slurm into this container"
                }
                Some(Method::Jwt) => {
                    "get a token on a login node with `scontrol token`, and hand it over in the \
                     variable SLURM_JWT or in a file with --token-file"
                }
                Some(Method::Munge) => {
                    "mount the host's /run/munge into this container, or name munged's socket with \
                     --munge-socket"
                }
                Some(Method::Slurm) => {
                    "mount the host's /run/slurm into this container, or name the socket of sackd, \
                     slurmd or slurmctld with --sack-socket"
                }
            },
            Self::Unreadable { .. } => {
                "is the file mounted into this container, and may this user read it?"
            }
            Self::WritableByOthers { .. } => {
                "whoever puts a token of theirs there has you work in their name: chmod 600, and \
                 look whether the token is still yours (`straw token show`)"
            }
            Self::TokenAsFileName => {
                "a token goes into SLURM_JWT, or into a file that --token-file or SLURM_JWT_FILE \
                 names. Others can read a command line: if it stood there, take it for seen"
            }
            Self::OfAnother { .. } => {
                "it was not written. Is it a slurmctld? If so, its log says more"
            }
            Self::NoLonger { .. } => {
                "it was not written. Whoever makes the tokens (the token command, or the cluster) \
                 hands out the same one, or sets an end to them"
            }
            Self::CommandLine { .. } => {
                "a program and its arguments; quotes and backslashes work as in a shell"
            }
            Self::Command { error, .. } => match error {
                CommandError::Start(_) => {
                    "it is run without a shell: a program and its arguments, no pipes and no \
                     variables. Is it in this container, and on the PATH?"
                }
                CommandError::Late(_) => "--timeout gives it more time",
                CommandError::Held => {
                    "what it starts in the background must not keep its standard output: redirect it"
                }
                _ => {
                    "its standard error, above, may say why; what it writes to its standard \
                     output has to be a token and nothing else"
                }
            },
            Self::Empty { .. } | Self::NotAToken { .. } => {
                "a token is one line, as `scontrol token` prints it, with or without SLURM_JWT="
            }
            Self::Unsigned { .. } | Self::NoExpiry { .. } => {
                "take a token from `scontrol token`, or ask who made this one"
            }
            Self::Expired { .. } => {
                "get a new one with `scontrol token` (lifespan=SECONDS for a longer one than 30 \
                 minutes); if it should still be good, is the clock of this machine right?"
            }
            Self::Socket { service, error, .. } => return error.hint(*service),
        };
        text.to_owned()
    }
}

impl SocketError {
    fn hint(&self, service: Service) -> String {
        let (daemon, directory, option) = match service {
            Service::Munge => ("munged", "/run/munge", "--munge-socket"),
            Service::Sack => ("sackd, slurmd or slurmctld", "/run/slurm", "--sack-socket"),
        };
        match self {
            Self::Unreachable(error) => match error.kind() {
                ErrorKind::ConnectionRefused => format!(
                    "does {daemon} run on the host? Mount the directory ({directory}) rather than \
                     the socket: when the daemon is started anew, so is its socket"
                ),
                ErrorKind::PermissionDenied => format!(
                    "every user must be able to get at {directory} and to write to the socket \
                     in it (modes 0755 and 0777)"
                ),
                _ => format!(
                    "mount the host's {directory} into this container, or name the socket with \
                     {option}"
                ),
            },
            Self::NotASocket => format!("name the socket itself with {option}"),
            Self::Silence | Self::Closed if service == Service::Munge => {
                "what does munged's log on the host say (/var/log/munge/munged.log)?".into()
            }
            Self::Silence | Self::Closed => format!(
                "what does the log of {daemon} on the host say? It signs only for users that it \
                 can tell from the socket"
            ),
            Self::Refused { .. } => {
                "what does munged's log on the host say (/var/log/munge/munged.log)?".into()
            }
            Self::Malformed(_) | Self::NotText => format!("is this the socket of {daemon}?"),
        }
    }
}

fn of_user(user: Option<&str>) -> String {
    user.map(|user| format!(" (of {})", user.escape_debug()))
        .unwrap_or_default()
}
