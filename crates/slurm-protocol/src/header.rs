//! The message header (docs/protocol.md, section 3).

use std::fmt;

use crate::codec::{DecodeErrorKind, Reader, Writer};
use crate::layout::{HeaderForm, Layout};
use crate::{DecodeError, EncodeError, ProtocolVersion};

/// The fields of a header that say something in an exchange between a client and a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The version of this message. In a reply it is the request's, or the controller's own where
    /// it could not accept that (docs/protocol.md, section 3.1).
    pub version: ProtocolVersion,
    /// Flags; of a reply only [`HeaderFlags::NO_AUTH`] is looked at.
    pub flags: HeaderFlags,
    /// The type of the message.
    pub message_type: MessageType,
    /// Length of the body in bytes.
    pub body_length: u32,
}

impl Header {
    /// Reads a header by the version that it opens with.
    ///
    /// A version older than 20.11, and anything forwarded, is an error: no controller sends
    /// them to a client that does not ask for them.
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.offset();
        let version = ProtocolVersion(r.u16("version")?);
        if version < ProtocolVersion::OLDEST {
            let kind = DecodeErrorKind::Value {
                expected: "at least 9216 (protocol version 36)",
                found: version.0.into(),
            };
            return Err(r.error_at("version", start, kind));
        }
        let flags = HeaderFlags(r.u16("flags")?);
        if Layout::of(version).header == HeaderForm::Indexed {
            r.u16("msg_index")?;
        }
        let message_type = MessageType(r.u16("msg_type")?);
        let body_length = r.u32("body_length")?;
        for field in ["forward_count", "ret_count"] {
            let start = r.offset();
            let found = r.u16(field)?;
            if found != 0 {
                let expected = "0";
                let kind = DecodeErrorKind::Value {
                    expected,
                    found: found.into(),
                };
                return Err(r.error_at(field, start, kind));
            }
        }
        decode_address(r)?;
        Ok(Self {
            version,
            flags,
            message_type,
            body_length,
        })
    }

    /// Writes a header. The version must be one that this crate supports.
    pub(crate) fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        if !self.version.is_supported() {
            return Err(EncodeError::Version(self.version));
        }
        w.u16(self.version.0);
        w.u16(self.flags.0);
        if Layout::of(self.version).header == HeaderForm::Indexed {
            w.u16(0);
        }
        w.u16(self.message_type.0);
        w.u32(self.body_length);
        w.u16(0); // forward_count
        w.u16(0); // ret_count
        w.u16(0); // orig_addr: no address
        Ok(())
    }
}

/// The address of a message's origin, which says nothing to a client.
fn decode_address(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    const IPV4: u16 = 2;
    const IPV6: u16 = 10;
    match r.u16("orig_addr.family")? {
        IPV4 => {
            r.u32("orig_addr.address")?;
            r.u16("orig_addr.port")?;
        }
        IPV6 => {
            let start = r.offset();
            let found = r.u32("orig_addr.address")?;
            if found != 16 {
                let expected = "an address of 16 bytes";
                let kind = DecodeErrorKind::Value { expected, found };
                return Err(r.error_at("orig_addr.address", start, kind));
            }
            r.take("orig_addr.address", 16)?;
            r.u16("orig_addr.port")?;
        }
        _ => {}
    }
    Ok(())
}

/// The flags of a header, a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFlags(pub u16);

impl HeaderFlags {
    /// No authentication section stands between header and body (since 23.02).
    pub const NO_AUTH: Self = Self(0x0040);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The type of a message: the numbers are the same in all versions (docs/protocol.md, section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(pub u16);

impl MessageType {
    /// REQUEST_RECONFIGURE_SACKD, pushed by a controller to whoever registered for it.
    pub const REQUEST_RECONFIGURE_SACKD: Self = Self(1006);
    /// REQUEST_PING.
    pub const REQUEST_PING: Self = Self(1008);
    /// REQUEST_CONFIG.
    pub const REQUEST_CONFIG: Self = Self(2015);
    /// RESPONSE_CONFIG.
    pub const RESPONSE_CONFIG: Self = Self(2016);
    /// REQUEST_AUTH_TOKEN.
    pub const REQUEST_AUTH_TOKEN: Self = Self(5039);
    /// RESPONSE_AUTH_TOKEN.
    pub const RESPONSE_AUTH_TOKEN: Self = Self(5040);
    /// RESPONSE_SLURM_RC.
    pub const RESPONSE_SLURM_RC: Self = Self(8001);
    /// RESPONSE_SLURM_RC_MSG.
    pub const RESPONSE_SLURM_RC_MSG: Self = Self(8002);

    /// Slurm's name for it, where it is one of the above.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::REQUEST_RECONFIGURE_SACKD => "REQUEST_RECONFIGURE_SACKD",
            Self::REQUEST_PING => "REQUEST_PING",
            Self::REQUEST_CONFIG => "REQUEST_CONFIG",
            Self::RESPONSE_CONFIG => "RESPONSE_CONFIG",
            Self::REQUEST_AUTH_TOKEN => "REQUEST_AUTH_TOKEN",
            Self::RESPONSE_AUTH_TOKEN => "RESPONSE_AUTH_TOKEN",
            Self::RESPONSE_SLURM_RC => "RESPONSE_SLURM_RC",
            Self::RESPONSE_SLURM_RC_MSG => "RESPONSE_SLURM_RC_MSG",
            _ => return None,
        })
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "message type {}", self.0),
        }
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageType({})", self.0)
    }
}
