//! The primitive encodings (docs/protocol.md, section 2): big-endian integers, counted strings.

/// Reads primitives off a slice. Every read names the field it wanted, so that an error says
/// what was expected and where. Nothing is allocated from a number that the input claims.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which stand `offset` bytes into their frame.
    pub(crate) fn new(message: &'static str, bytes: &'a [u8], offset: usize) -> Self {
        Self {
            message,
            rest: bytes,
            offset,
        }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.u8(field).map(|byte| byte != 0)
    }

    /// A string without its terminator; `None` where it is NULL.
    pub(crate) fn str(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.offset;
        let length = self.u32(field)?;
        if length == 0 {
            return Ok(None);
        }
        let bytes = self.take(field, length as usize)?;
        match bytes.split_last() {
            Some((0, text)) => Ok(Some(text)),
            _ => Err(self.error_at(field, start, DecodeErrorKind::NotTerminated)),
        }
    }

    /// The number of items in a list, at most `limit`, none of which is encoded in fewer than
    /// `smallest` bytes; `None` where there is no list.
    pub(crate) fn count(
        &mut self,
        field: &'static str,
        smallest: usize,
        limit: usize,
    ) -> Result<Option<usize>, DecodeError> {
        const NO_LIST: u32 = 0xffff_fffe;
        let start = self.offset;
        let count = self.u32(field)?;
        if count == NO_LIST {
            return Ok(None);
        }
        let most = limit.min(self.rest.len() / smallest);
        if count as usize > most {
            let kind = DecodeErrorKind::Count { count, most };
            return Err(self.error_at(field, start, kind));
        }
        Ok(Some(count as usize))
    }

    pub(crate) fn take(
        &mut self,
        field: &'static str,
        needed: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(needed) else {
            let had = self.rest.len();
            return Err(self.error_at(
                field,
                self.offset,
                DecodeErrorKind::Truncated { needed, had },
            ));
        };
        self.rest = rest;
        self.offset += needed;
        Ok(taken)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Ends the reading: what is left over is an error.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(self.error_at("end", self.offset, DecodeErrorKind::Trailing { bytes })),
        }
    }

    /// An error about a field that was read before, at `offset`.
    pub(crate) fn error_at(
        &self,
        field: &'static str,
        offset: usize,
        kind: DecodeErrorKind,
    ) -> DecodeError {
        DecodeError {
            message: self.message,
            field,
            offset,
            kind,
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }
}

/// Appends primitives to a buffer.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// A string with its terminator, or NULL.
    pub(crate) fn str(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Result<(), EncodeError> {
        let Some(text) = text else {
            self.u32(0);
            return Ok(());
        };
        if text.contains('\0') {
            return Err(EncodeError::Nul { field });
        }
        let length = u32::try_from(text.len() + 1).map_err(|_| EncodeError::TooLong)?;
        self.u32(length);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Overwrites the integer at `offset`, which stands for a length not known before.
    pub(crate) fn patch_u32(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A message that is not what its type and version demand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: `{field}` at byte {offset}: {kind}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The message or section that was being read, by Slurm's name for it.
    pub message: &'static str,
    /// The field that was wanted.
    pub field: &'static str,
    /// Where the field begins, in bytes from the start of the frame (its length prefix not counted).
    pub offset: usize,
    /// What was wrong with it.
    pub kind: DecodeErrorKind,
}

/// What was wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends within the field.
    #[error("{needed} bytes expected, {had} left")]
    Truncated {
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that were there.
        had: usize,
    },
    /// A string without its final NUL.
    #[error("a string that ends in NUL expected")]
    NotTerminated,
    /// A list that claims more items than the input could hold, or than a message may have.
    #[error("a list of at most {most} items expected, {count} claimed")]
    Count {
        /// Items that the list claims.
        count: u32,
        /// Items that it may have.
        most: usize,
    },
    /// The mark that there is no list.
    #[error("a list expected, and there is none")]
    NoList,
    /// Bytes left over behind the last field.
    #[error("the end expected, {bytes} bytes left")]
    Trailing {
        /// Bytes left over.
        bytes: usize,
    },
    /// A number that has another value in every message meant for a client.
    #[error("{expected} expected, {found} found")]
    Value {
        /// What would have been right.
        expected: &'static str,
        /// What stands there.
        found: u32,
    },
}

/// A request that cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string holds a NUL, which would end it early on the wire.
    #[error("the {field} holds a NUL character")]
    Nul {
        /// The field.
        field: &'static str,
    },
    /// The message would be longer than a frame may be.
    #[error("the message is too long")]
    TooLong,
    /// The version is none that this crate speaks.
    #[error("protocol version {0:?} is not supported")]
    Version(crate::ProtocolVersion),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new("TEST", bytes, 100)
    }

    #[test]
    fn strings_are_null_empty_or_text() {
        assert_eq!(reader(&[0, 0, 0, 0]).str("s"), Ok(None));
        assert_eq!(reader(&[0, 0, 0, 1, 0]).str("s"), Ok(Some(&b""[..])));
        assert_eq!(
            reader(&[0, 0, 0, 3, b'a', 0xff, 0]).str("s"),
            Ok(Some(&b"a\xff"[..]))
        );
    }

    #[test]
    fn an_error_says_what_and_where() {
        let text = |result: Result<Option<&[u8]>, DecodeError>| result.unwrap_err().to_string();
        assert_eq!(
            text(reader(&[0, 0, 0, 9, b'a']).str("name")),
            "TEST: `name` at byte 104: 9 bytes expected, 1 left"
        );
        assert_eq!(
            text(reader(&[0, 0, 0, 1, b'a']).str("name")),
            "TEST: `name` at byte 100: a string that ends in NUL expected"
        );
        assert_eq!(
            reader(&[0]).finish().unwrap_err().to_string(),
            "TEST: `end` at byte 100: the end expected, 1 bytes left"
        );
    }

    #[test]
    fn a_list_cannot_claim_more_than_the_input_holds() {
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xfe]).count("l", 9, 99),
            Ok(None)
        );
        assert_eq!(
            reader(&[0, 0, 0, 2, 0, 0, 0])
                .count("l", 2, 99)
                .unwrap_err()
                .kind,
            DecodeErrorKind::Count { count: 2, most: 1 }
        );
        assert!(reader(&[0xff; 12]).count("l", 1, 99).is_err());
    }

    #[test]
    fn a_string_with_a_nul_is_not_written() {
        let mut writer = Writer::default();
        assert_eq!(
            writer.str("token", Some("a\0b")),
            Err(EncodeError::Nul { field: "token" })
        );
    }
}
