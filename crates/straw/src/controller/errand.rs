//! What controllers are asked for.

use std::time::Duration;

use secrecy::SecretString;
use slurm_protocol::{
    ConfigFlags, EncodeError, Errno, Message, ProtocolVersion, RequestAuthToken, RequestConfig,
    ResponseConfig, UnsealedRequest,
};

use super::failure::Reason;
use crate::credential::{LONGEST_TOKEN, Token};

/// What controllers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Configuration files.
    Files(FileSet),
    /// A token.
    Token(TokenRequest),
    /// Whether it answers, and is in charge: one that is gives out its configuration.
    Ping,
}

/// A set of files that controllers give out (docs/protocol.md, section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSet {
    /// What client commands need. Any user's credential will do.
    #[default]
    Client,
    /// What slurmd needs. It is only for root and SlurmUser.
    Slurmd,
}

/// A token to be made (docs/protocol.md, section 5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// How long it is to live, in whole seconds; without, as long as the controller makes them
    /// live.
    pub lifespan: Option<Duration>,
    /// The user it is for, if not the one who asks.
    pub user: Option<String>,
}

impl Errand {
    /// The request, as `asker` sends it, where the credential says who that is.
    pub(super) fn unsealed(
        &self,
        version: ProtocolVersion,
        asker: Option<&str>,
    ) -> Result<UnsealedRequest, EncodeError> {
        match self {
            Self::Files(_) | Self::Ping => {
                let flags = match self {
                    Self::Files(FileSet::Slurmd) => ConfigFlags::SLURMD,
                    _ => ConfigFlags::CLIENT,
                };
                UnsealedRequest::new(&RequestConfig::new(flags), version)
            }
            Self::Token(token) => {
                let lifespan = token.lifespan.unwrap_or_default().as_secs();
                let lifespan = u32::try_from(lifespan).unwrap_or(u32::MAX);
                // One's own name is refused up to 21.08 (docs/protocol.md, section 5.3).
                let user = token.user.as_deref().filter(|user| asker != Some(user));
                UnsealedRequest::new(&RequestAuthToken::new(lifespan, user), version)
            }
        }
    }

    /// Whether a reply at this version tells all that a controller of whatever release has to
    /// tell. One that does not is not used again unasked: the controller may be newer by now.
    pub(super) fn is_whole_at(&self, version: ProtocolVersion) -> bool {
        let enough = match self {
            // Before, only two files come, and no included ones.
            Self::Files(FileSet::Client) => ProtocolVersion::V21_08,
            // Before, scripts come without the word that they are to be executable.
            Self::Files(FileSet::Slurmd) => ProtocolVersion::V23_11,
            Self::Token(_) | Self::Ping => ProtocolVersion::OLDEST,
        };
        version >= enough && version.is_supported()
    }

    /// What was done, for a log line.
    pub(super) fn asked(&self) -> &'static str {
        match self {
            Self::Files(_) => "asked for the configuration",
            Self::Token(_) => "asked for a token",
            Self::Ping => "asked whether it is in charge",
        }
    }

    /// What is wanted, for a message.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Files(_) => "configuration",
            Self::Token(_) => "token",
            Self::Ping => "answer",
        }
    }

    /// What an error number means as an answer to this.
    pub(super) fn refusal(&self, code: Errno) -> Reason {
        match (self, code) {
            (Self::Files(_) | Self::Ping, Errno::ESLURM_CONFIGLESS_DISABLED) => {
                Reason::ConfiglessDisabled
            }
            (Self::Files(_) | Self::Ping, Errno::ESLURM_USER_ID_MISSING) => Reason::NotAllowed,
            (Self::Token(_), Errno::ESLURM_ACCESS_DENIED) => Reason::TokensDisabled,
            (Self::Token(_), Errno::ESLURM_USER_ID_MISSING) => Reason::TokenForOther,
            (Self::Token(_), Errno::ESLURM_INVALID_TIME_LIMIT) => Reason::LifespanTooLong,
            (Self::Token(_), Errno::ESLURM_PLUGIN_NOT_LOADED) => Reason::NoTokens,
            (_, code) => Reason::Code(code),
        }
    }
}

pub(super) fn files(message: Message) -> Result<ResponseConfig, Reason> {
    match message {
        Message::Config(config) => Ok(config),
        other => Err(Reason::Unexpected(Some(other))),
    }
}

pub(super) fn token(message: Message) -> Result<Token, Reason> {
    match message {
        Message::AuthToken(reply) => {
            // So say controllers up to 22.05 that have no auth/jwt.
            let token = reply.token.ok_or(Reason::NoTokens)?;
            // One that could not be read back out of its file.
            if token.len() > LONGEST_TOKEN {
                return Err(Reason::NotAToken);
            }
            let token = String::from_utf8(token).map(SecretString::from);
            token.ok().and_then(Token::new).ok_or(Reason::NotAToken)
        }
        other => Err(Reason::Unexpected(Some(other))),
    }
}
