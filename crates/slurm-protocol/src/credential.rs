//! The authentication section of a message (docs/protocol.md, sections 7 and 8).

use std::fmt;

use k12::{CustomRefKt128, ExtendableOutput as _, Update as _};

use crate::codec::{Reader, Writer};
use crate::layout::{Layout, PayloadForm};
use crate::{DecodeError, EncodeError, MessageType, ProtocolVersion};

/// What a request is authenticated by. It never shows its secret in `Debug`.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Credential<'a> {
    /// auth/jwt: a token.
    Jwt {
        /// The token, in its compact form.
        token: &'a str,
        /// A user to act as; only SlurmUser and root may name another than the token's.
        username: Option<&'a str>,
    },
    /// auth/munge: a credential that munged made for this very message.
    Munge(&'a str),
    /// auth/slurm: a credential that a SACK socket made for this very message (since 23.11).
    Slurm(&'a str),
}

impl Credential<'_> {
    /// The plugin that the controller checks this with.
    pub fn plugin(&self) -> PluginId {
        match self {
            Self::Jwt { .. } => PluginId::JWT,
            Self::Munge(_) => PluginId::MUNGE,
            Self::Slurm(_) => PluginId::SLURM,
        }
    }

    pub(crate) fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u32(self.plugin().0);
        match *self {
            Self::Jwt { token, username } => {
                w.str("token", Some(token))?;
                w.str("username", username)
            }
            Self::Munge(credential) | Self::Slurm(credential) => {
                w.str("credential", Some(credential))
            }
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, [hidden])", self.plugin())
    }
}

/// The number of an authentication plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PluginId(pub u32);

impl PluginId {
    /// auth/none.
    pub const NONE: Self = Self(100);
    /// auth/munge.
    pub const MUNGE: Self = Self(101);
    /// auth/jwt.
    pub const JWT: Self = Self(102);
    /// auth/slurm.
    pub const SLURM: Self = Self(103);
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("auth/none"),
            Self::MUNGE => f.write_str("auth/munge"),
            Self::JWT => f.write_str("auth/jwt"),
            Self::SLURM => f.write_str("auth/slurm"),
            Self(id) => write!(f, "auth plugin {id}"),
        }
    }
}

/// What a credential for a message has to carry. Its first byte says what follows: 1 the type
/// alone, 2 a digest (docs/protocol.md, section 7.1).
pub(crate) fn payload(version: ProtocolVersion, message: MessageType, body: &[u8]) -> Vec<u8> {
    match Layout::of(version).payload {
        PayloadForm::Type => {
            let [low, high] = message.0.to_le_bytes();
            vec![1, low, high]
        }
        PayloadForm::Digest => {
            let mut payload = vec![2; 1 + 32];
            CustomRefKt128::new_customized(&message.0.to_be_bytes())
                .chain(body)
                .finalize_xof_into(&mut payload[1..]);
            payload
        }
    }
}

/// Passes over the authentication section of a reply, whose body has `body_length` bytes.
///
/// What it says is worth nothing to a client (docs/protocol.md, section 8), so only its end is
/// looked for: behind the strings that the plugin has, or, of a plugin that we do not know,
/// where the body must begin.
pub(crate) fn skip_section(
    r: &mut Reader<'_>,
    body_length: usize,
) -> Result<PluginId, DecodeError> {
    let plugin = PluginId(r.u32("auth.plugin_id")?);
    match plugin {
        PluginId::MUNGE | PluginId::SLURM => {
            r.str("auth.credential")?;
        }
        PluginId::JWT => {
            r.str("auth.token")?;
            r.str("auth.username")?;
        }
        _ => {
            let section = r.remaining().saturating_sub(body_length);
            r.take("auth", section)?;
        }
    }
    Ok(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        let token = "very-secret";
        let username = Some("very-secret");
        for credential in [
            Credential::Jwt { token, username },
            Credential::Munge(token),
            Credential::Slurm(token),
        ] {
            let text = format!("{credential:?}");
            assert!(!text.contains("very-secret"), "{text}");
            assert!(text.contains("auth/"), "{text}");
        }
    }
}
