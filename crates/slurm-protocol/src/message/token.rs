//! REQUEST_AUTH_TOKEN and RESPONSE_AUTH_TOKEN (docs/protocol.md, section 5.3).

use std::fmt;

use super::{Request, sealed};
use crate::codec::{Reader, Writer};
use crate::{DecodeError, EncodeError, MessageType, ProtocolVersion};

/// Asks for a token. The layout is the same in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestAuthToken<'a> {
    /// How long the token is to live, in seconds; 0 takes the controller's default.
    pub lifespan: u32,
    /// The user it is for; `None` for the one who asks. 20.11 and 21.08 refuse one's own name.
    pub username: Option<&'a str>,
}

impl<'a> RequestAuthToken<'a> {
    /// Asks for a token that lives for so many seconds, for this user.
    pub fn new(lifespan: u32, username: Option<&'a str>) -> Self {
        Self { lifespan, username }
    }
}

impl Request for RequestAuthToken<'_> {
    const TYPE: MessageType = MessageType::REQUEST_AUTH_TOKEN;
}

impl sealed::Body for RequestAuthToken<'_> {
    #[allow(private_interfaces)]
    fn encode(&self, w: &mut Writer, _: ProtocolVersion) -> Result<(), EncodeError> {
        w.u32(self.lifespan);
        w.str("username", self.username)
    }
}

/// A token. It is not shown in `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseAuthToken {
    /// The token, in its compact form; `None` from a controller up to 22.05 without auth/jwt.
    pub token: Option<Vec<u8>>,
}

impl ResponseAuthToken {
    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let token = r.str("token")?.map(<[u8]>::to_vec);
        r.finish()?;
        Ok(Self { token })
    }
}

impl fmt::Debug for ResponseAuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[hidden]");
        f.debug_struct("ResponseAuthToken")
            .field("token", &token)
            .finish()
    }
}
