//! Where a credential comes from: a token, munged's socket, or a SACK socket.
//!
//! ```text
//!   Places ──choose──▶ Source ──open──▶ Opened ──seal(request)──▶ bytes
//!   options and        one of them      looked at, once           a credential for this
//!   variables                           in a round                very request
//! ```
//!
//! A token is good for any request. What comes out of a socket is made for one, and can be used
//! only once.

mod choose;
mod command;
mod error;
mod file;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod jwt;
mod munge;
mod sack;
mod socket;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use secrecy::zeroize::Zeroizing;
use slurm_protocol::{EncodeError, ProtocolVersion, UnsealedRequest};

pub use choose::{Choice, Places};
pub use command::TokenCommand;
pub use error::{CredentialError, Service, SocketError};
pub use jwt::{Claims, Token, TokenSource};
pub use secrecy::SecretString;

pub(crate) use file::LONGEST as LONGEST_TOKEN;
pub(crate) use jwt::{find_token, is_token};

/// A way to authenticate that needs no secret of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// auth/jwt: a token.
    Jwt,
    /// auth/munge: a credential that munged makes.
    Munge,
    /// auth/slurm: a credential that a daemon of Slurm's makes, over its SACK socket.
    Slurm,
}

impl Method {
    /// What is sent, with its article, as a person would say it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Jwt => "the token",
            Self::Munge => "the munge credential",
            Self::Slurm => "the SACK credential",
        }
    }
}

/// Where credentials come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// A token.
    Token(TokenSource),
    /// munged, by the path of its socket.
    Munge(PathBuf),
    /// A daemon of Slurm's, by the path of its SACK socket.
    Sack(PathBuf),
}

impl Source {
    /// Reads the token afresh, or looks whether the socket is there. A token that is slow to come
    /// is waited for as long as `patience`.
    ///
    /// # Errors
    ///
    /// Where the token is of no use at the time `now`, or no socket is there.
    pub fn open(&self, now: SystemTime, patience: Duration) -> Result<Opened, CredentialError> {
        match self {
            Self::Token(source) => source.load(now, patience).map(Opened::Token),
            Self::Munge(path) => {
                socket::find(Service::Munge, path)?;
                Ok(Opened::Munge(path.clone()))
            }
            Self::Sack(path) => {
                socket::find(Service::Sack, path)?;
                Ok(Opened::Sack(path.clone()))
            }
        }
    }

    /// How requests are authenticated.
    pub fn method(&self) -> Method {
        match self {
            Self::Token(_) => Method::Jwt,
            Self::Munge(_) => Method::Munge,
            Self::Sack(_) => Method::Slurm,
        }
    }

    /// Where it is, as a person would say it.
    pub fn place(&self) -> String {
        match self {
            Self::Token(source) => source.place(),
            Self::Munge(path) | Self::Sack(path) => path.display().to_string(),
        }
    }
}

/// What credentials are made from, during one round over the controllers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Opened {
    /// A token.
    Token(Token),
    /// munged's socket.
    Munge(PathBuf),
    /// A SACK socket.
    Sack(PathBuf),
}

/// Why a request could not be given a credential.
#[derive(Debug)]
pub(crate) enum SealError {
    Credential(CredentialError),
    Encode(EncodeError),
}

impl Opened {
    /// How requests are authenticated.
    pub fn method(&self) -> Method {
        match self {
            Self::Token(_) => Method::Jwt,
            Self::Munge(_) => Method::Munge,
            Self::Sack(_) => Method::Slurm,
        }
    }

    /// The user, where a token says who it is.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Token(token) => token.claims().user.as_deref(),
            Self::Munge(_) | Self::Sack(_) => None,
        }
    }

    /// The oldest protocol version in which this credential exists.
    pub(crate) fn since(&self) -> ProtocolVersion {
        match self {
            Self::Token(_) | Self::Munge(_) => ProtocolVersion::OLDEST,
            Self::Sack(_) => ProtocolVersion::V23_11,
        }
    }

    /// The whole request, with a credential of its own.
    pub(crate) fn seal(
        &self,
        request: &UnsealedRequest,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        use slurm_protocol::Credential;

        let made;
        let credential = match self {
            Self::Token(token) => token.credential(),
            Self::Munge(path) => {
                made = munge::credential(path, &request.payload(), deadline)
                    .map_err(SealError::Credential)?;
                Credential::Munge(&made)
            }
            Self::Sack(path) => {
                made = sack::credential(path, request.version(), &request.payload(), deadline)
                    .map_err(SealError::Credential)?;
                Credential::Slurm(&made)
            }
        };
        let sealed = request.seal(Some(&credential));
        sealed.map(Zeroizing::new).map_err(SealError::Encode)
    }
}
