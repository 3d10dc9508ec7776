//! What a client says over a SACK socket (docs/protocol.md, section 7.3).
//!
//! One request and one reply a connection. The daemon knows who asks from the socket itself, and
//! closes it where it refuses.

use crate::codec::{DecodeErrorKind, Reader, Writer};
use crate::{DecodeError, ProtocolVersion};

const CREATE: u32 = 64001;

/// The longest reply that is read, in bytes: a token has some hundreds.
const LONGEST_REPLY: u32 = 64 * 1024;

/// A request for a token that carries `payload` and that anyone may have verified.
pub fn sack_request(version: ProtocolVersion, payload: &[u8]) -> Vec<u8> {
    /// Any user may verify it.
    const ANYONE: u32 = u32::MAX;
    let mut w = Writer::default();
    w.u16(version.0);
    w.u32(0);
    w.u32(CREATE);
    w.u32(ANYONE);
    w.u32(payload.len() as u32);
    w.bytes(payload);
    // The length counts itself, and not the version before it.
    w.patch_u32(2, (w.len() - 2) as u32);
    w.into_bytes()
}

/// Reads the first four bytes of a reply: the length of what follows.
///
/// # Errors
///
/// Where no token is announced, or one that is too long.
pub fn sack_reply_length(first: [u8; 4]) -> Result<usize, DecodeError> {
    let r = Reader::new("the SACK socket's reply", &first, 0);
    let length = u32::from_be_bytes(first);
    if !(2..=LONGEST_REPLY).contains(&length) {
        let kind = DecodeErrorKind::Value {
            expected: "2 to 65536",
            found: length,
        };
        return Err(r.error_at("length", 0, kind));
    }
    Ok(length as usize)
}

/// Reads what follows the length: the token, whose terminator is left out.
///
/// # Errors
///
/// Where it is not terminated.
pub fn sack_reply(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_last() {
        Some((0, token)) => Ok(token),
        _ => {
            let r = Reader::new("the SACK socket's reply", bytes, 4);
            Err(r.error_at("token", 4, DecodeErrorKind::NotTerminated))
        }
    }
}
