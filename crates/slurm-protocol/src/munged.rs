//! What a client says to munged over its socket (docs/protocol.md, section 7.2).
//!
//! One request and one reply a connection. munged knows who asks from the socket itself.

use crate::DecodeError;
use crate::codec::{DecodeErrorKind, Reader, Writer};

const MAGIC: u32 = 0x0060_6d4b;
const VERSION: u8 = 4;
const ENCODE_REQUEST: u8 = 2;
const ENCODE_REPLY: u8 = 3;

/// Length of the header of a munged message, in bytes.
pub const MUNGED_HEADER: usize = 11;

/// The longest reply that is read, in bytes: a credential has some hundreds.
const LONGEST_REPLY: u32 = 64 * 1024;

/// A request for a credential that carries `payload` and that anyone with the key may decode,
/// with munged's own defaults for everything else.
///
/// `retry` counts the repetitions of a request that was not answered.
pub fn munged_request(payload: &[u8], retry: u8) -> Vec<u8> {
    /// Cipher, MAC, compression: each as munged is configured.
    const DEFAULT: u8 = 1;
    /// Any user, any group may decode it.
    const ANYONE: u32 = u32::MAX;
    let mut body = Writer::default();
    for _ in ["cipher", "mac", "zip"] {
        body.u8(DEFAULT);
    }
    body.u8(0); // no realm
    body.u32(0); // the default time to live
    body.u32(ANYONE);
    body.u32(ANYONE);
    body.u32(payload.len() as u32);
    body.bytes(payload);
    let body = body.into_bytes();

    let mut w = Writer::default();
    w.u32(MAGIC);
    for byte in [VERSION, ENCODE_REQUEST, retry] {
        w.u8(byte);
    }
    w.u32(body.len() as u32);
    w.bytes(&body);
    w.into_bytes()
}

/// Reads the header of a reply: the length of what follows, in bytes.
///
/// # Errors
///
/// Where it is not munged's.
pub fn munged_reply_length(header: &[u8; MUNGED_HEADER]) -> Result<usize, DecodeError> {
    let mut r = Reader::new("munged's reply", header, 0);
    expect(&mut r, "magic", MAGIC, "munge's magic number", |r| {
        r.u32("magic")
    })?;
    expect(&mut r, "version", VERSION.into(), "4", |r| {
        r.u8("version").map(u32::from)
    })?;
    expect(&mut r, "type", ENCODE_REPLY.into(), "3", |r| {
        r.u8("type").map(u32::from)
    })?;
    r.u8("retry")?;
    let start = r.offset();
    let length = r.u32("length")?;
    if length > LONGEST_REPLY {
        let kind = DecodeErrorKind::Value {
            expected: "at most 65536",
            found: length,
        };
        return Err(r.error_at("length", start, kind));
    }
    r.finish()?;
    Ok(length as usize)
}

fn expect<'a>(
    r: &mut Reader<'a>,
    field: &'static str,
    wanted: u32,
    expected: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<u32, DecodeError>,
) -> Result<(), DecodeError> {
    let start = r.offset();
    let found = read(r)?;
    if found != wanted {
        let kind = DecodeErrorKind::Value { expected, found };
        return Err(r.error_at(field, start, kind));
    }
    Ok(())
}

/// What munged answers.
#[derive(Clone, PartialEq, Eq)]
pub enum MungedReply {
    /// The credential, without a terminator. It is as good as a token until it is used.
    Credential(Vec<u8>),
    /// It makes none.
    Error {
        /// munged's error number.
        number: u8,
        /// What munged says about it; may be empty.
        text: Vec<u8>,
    },
}

impl MungedReply {
    /// Reads what follows the header.
    ///
    /// # Errors
    ///
    /// Where it is not munged's, or says neither a credential nor an error.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("munged's reply", body, MUNGED_HEADER);
        let number = r.u8("error")?;
        let length = r.u8("error_len")?;
        let text = without_terminator(r.take("error_text", length.into())?).to_vec();
        let start = r.offset();
        let length = r.u32("data_len")?;
        let data = without_terminator(r.take("data", length as usize)?).to_vec();
        if number == 0 && data.is_empty() {
            let kind = DecodeErrorKind::Value {
                expected: "a credential",
                found: length,
            };
            return Err(r.error_at("data_len", start, kind));
        }
        r.finish()?;
        Ok(match number {
            0 => Self::Credential(data),
            number => Self::Error { number, text },
        })
    }
}

impl std::fmt::Debug for MungedReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credential(_) => f.write_str("MungedReply([hidden])"),
            Self::Error { number, .. } => write!(f, "MungedReply(error {number})"),
        }
    }
}

fn without_terminator(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}
