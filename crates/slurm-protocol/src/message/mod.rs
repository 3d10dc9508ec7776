//! Messages: a header, perhaps an authentication section, a body.

pub(crate) mod config;
pub(crate) mod ping;
pub(crate) mod return_code;
pub(crate) mod token;

use std::ops::Range;

use crate::codec::{Reader, Writer};
use crate::credential::{payload, skip_section};
use crate::layout::{HeaderForm, Layout};
use crate::{
    Credential, DecodeError, EncodeError, Errno, Header, HeaderFlags, MAX_FRAME, MessageType,
    PluginId, ProtocolVersion, ResponseAuthToken, ResponseConfig,
};

/// The body of a request. The requests are this crate's own, so that none can be sent that is
/// shorter than its version needs: that would stop a slurmctld up to 24.11 (docs/protocol.md,
/// section 5.1).
pub trait Request: sealed::Body {
    /// The type of the message.
    const TYPE: MessageType;
}

pub(crate) mod sealed {
    use super::{EncodeError, ProtocolVersion, Writer};

    pub trait Body {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn encode(&self, w: &mut Writer, version: ProtocolVersion) -> Result<(), EncodeError>;
    }
}

/// A request with its body, of which the credential is yet to be made.
///
/// A token can be sent with any request. A credential out of a munge or a SACK socket is made for
/// one: it carries the [`payload`](Self::payload) that the request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsealedRequest {
    version: ProtocolVersion,
    message_type: MessageType,
    body: Vec<u8>,
}

impl UnsealedRequest {
    /// Encodes the body.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Version`] for a version that this crate does not speak, [`EncodeError::Nul`]
    /// and [`EncodeError::TooLong`] for strings that cannot be sent.
    pub fn new<R: Request>(request: &R, version: ProtocolVersion) -> Result<Self, EncodeError> {
        if !version.is_supported() {
            return Err(EncodeError::Version(version));
        }
        let mut body = Writer::default();
        request.encode(&mut body, version)?;
        Ok(Self {
            version,
            message_type: R::TYPE,
            body: body.into_bytes(),
        })
    }

    /// The protocol version that it is encoded for.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What a credential for this request has to carry, so that it is good for no other
    /// (docs/protocol.md, section 7.1).
    pub fn payload(&self) -> Vec<u8> {
        payload(self.version, self.message_type, &self.body)
    }

    /// The whole request, from its length prefix on.
    ///
    /// Without a credential the header says that there is none: that is how a controller is asked
    /// which versions it accepts (docs/protocol.md, section 6.1).
    ///
    /// The bytes hold the credential: treat them as a secret.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Nul`] and [`EncodeError::TooLong`] for a credential that cannot be sent.
    pub fn seal(&self, credential: Option<&Credential<'_>>) -> Result<Vec<u8>, EncodeError> {
        let header = Header {
            version: self.version,
            flags: if credential.is_some() {
                HeaderFlags::default()
            } else {
                HeaderFlags::NO_AUTH
            },
            message_type: self.message_type,
            body_length: u32::try_from(self.body.len()).map_err(|_| EncodeError::TooLong)?,
        };
        let mut w = Writer::default();
        w.u32(0);
        header.encode(&mut w)?;
        if let Some(credential) = credential {
            credential.encode(&mut w)?;
        }
        w.bytes(&self.body);
        let length = w.len() - 4;
        if length > MAX_FRAME {
            return Err(EncodeError::TooLong);
        }
        w.patch_u32(0, length as u32);
        Ok(w.into_bytes())
    }

    /// Where in the sealed request the authentication section is, for whoever shows the rest.
    pub fn credential_in(&self, sealed: &[u8]) -> Range<usize> {
        let header = match Layout::of(self.version).header {
            HeaderForm::Plain => 16,
            HeaderForm::Indexed => 18,
        };
        let end = sealed.len().saturating_sub(self.body.len());
        (4 + header).min(end)..end
    }
}

/// A whole request in one step, for a credential that is there already: a token, or none. See
/// [`UnsealedRequest`].
///
/// # Errors
///
/// Those of [`UnsealedRequest::new`] and [`UnsealedRequest::seal`].
pub fn encode_request<R: Request>(
    request: &R,
    version: ProtocolVersion,
    credential: Option<&Credential<'_>>,
) -> Result<Vec<u8>, EncodeError> {
    UnsealedRequest::new(request, version)?.seal(credential)
}

/// A reply, taken apart as far as every message has the same parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The header.
    pub header: Header,
    /// The plugin of the authentication section, where there is one.
    pub auth: Option<PluginId>,
    /// The body.
    pub body: &'a [u8],
    auth_offset: usize,
    body_offset: usize,
}

impl<'a> Reply<'a> {
    /// Takes apart a frame, its length prefix not included.
    ///
    /// # Errors
    ///
    /// Where the header is none, or the body is not as long as the header says.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("header", frame, 0);
        let header = Header::decode(&mut r)?;
        let body_length = header.body_length as usize;
        let auth_offset = r.offset();
        let auth = if header.flags.contains(HeaderFlags::NO_AUTH) {
            None
        } else {
            Some(skip_section(&mut r, body_length)?)
        };
        let body_offset = r.offset();
        let body = r.take("body", body_length)?;
        r.finish()?;
        Ok(Self {
            header,
            auth,
            body,
            auth_offset,
            body_offset,
        })
    }

    /// Where in the frame the authentication section is; empty where there is none.
    pub fn auth_range(&self) -> Range<usize> {
        self.auth_offset..self.body_offset
    }

    /// Reads the body by the type and the version that the header names.
    ///
    /// # Errors
    ///
    /// Where the body is not what its type and version demand.
    pub fn message(&self) -> Result<Message, DecodeError> {
        let version = self.header.version;
        let r = |message| Reader::new(message, self.body, self.body_offset);
        match self.header.message_type {
            MessageType::RESPONSE_CONFIG => {
                ResponseConfig::decode(r("RESPONSE_CONFIG"), version).map(Message::Config)
            }
            // What a controller pushes to those that registered has the body of a reply.
            MessageType::REQUEST_RECONFIGURE_SACKD => {
                ResponseConfig::decode(r("REQUEST_RECONFIGURE_SACKD"), version)
                    .map(Message::Reconfigure)
            }
            MessageType::RESPONSE_AUTH_TOKEN => {
                ResponseAuthToken::decode(r("RESPONSE_AUTH_TOKEN")).map(Message::AuthToken)
            }
            MessageType::RESPONSE_SLURM_RC => {
                return_code::decode(r("RESPONSE_SLURM_RC")).map(Message::ReturnCode)
            }
            MessageType::RESPONSE_SLURM_RC_MSG => {
                return_code::decode_with_text(r("RESPONSE_SLURM_RC_MSG")).map(Message::ReturnCode)
            }
            other => Ok(Message::Other(other)),
        }
    }
}

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// RESPONSE_CONFIG: configuration files.
    Config(ResponseConfig),
    /// REQUEST_RECONFIGURE_SACKD: configuration files that a controller sends unasked.
    Reconfigure(ResponseConfig),
    /// RESPONSE_AUTH_TOKEN: a token.
    AuthToken(ResponseAuthToken),
    /// RESPONSE_SLURM_RC: a return code, 0 or an error.
    ReturnCode(Errno),
    /// Anything else.
    Other(MessageType),
}
