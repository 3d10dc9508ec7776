//! Frames: a length, then that many bytes (docs/protocol.md, sections 2.1 and 2.2).

/// The longest frame that Slurm itself sends or takes, in bytes: 1 GiB.
pub const MAX_FRAME: usize = 0x4000_0000;

/// The shortest reply, in bytes: a header and an error number.
pub const MIN_FRAME: usize = 20;

/// What the first four bytes of a reply announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// A frame of this many bytes follows.
    Frame(usize),
    /// `HTTP`: the peer speaks HTTP. A slurmctld since 25.11 answers so to a version that it does
    /// not accept (docs/protocol.md, section 6).
    Http,
}

/// Reads the four bytes that open a reply. A frame of more than `limit` bytes is refused.
pub fn prefix(bytes: [u8; 4], limit: usize) -> Result<Prefix, FrameError> {
    if bytes == *b"HTTP" {
        return Ok(Prefix::Http);
    }
    // A TLS record: an alert or a handshake, of TLS 1.0 or later, read as a length.
    if matches!(bytes, [0x15 | 0x16, 3, ..]) {
        return Err(FrameError::Tls);
    }
    let length = u32::from_be_bytes(bytes) as usize;
    if !(MIN_FRAME..=MAX_FRAME).contains(&length) {
        return Err(FrameError::NotSlurm(bytes));
    }
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    Ok(Prefix::Frame(length))
}

/// A reply that cannot be, or will not be, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer sent a TLS record.
    #[error("the peer answered in TLS")]
    Tls,
    /// The bytes are no length that a Slurm reply can have.
    #[error("the answer begins with `{}`, which no Slurm reply does", .0.escape_ascii())]
    NotSlurm([u8; 4]),
    /// The frame is longer than the caller wants.
    #[error("the reply is {length} bytes long, the limit is {limit}")]
    TooLarge {
        /// Length that the frame claims, in bytes.
        length: usize,
        /// The caller's limit, in bytes.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert_eq!(prefix([0, 0, 0, 20], 1024), Ok(Prefix::Frame(20)));
        assert_eq!(prefix(*b"HTTP", 1024), Ok(Prefix::Http));
        assert_eq!(prefix([0x15, 3, 3, 0], 1024), Err(FrameError::Tls));
        for foreign in [[0, 0, 0, 19], [0; 4], [0x40, 0, 0, 1], *b"SSH-", [0xff; 4]] {
            assert_eq!(
                prefix(foreign, MAX_FRAME),
                Err(FrameError::NotSlurm(foreign))
            );
        }
        let (length, limit) = (1025, 1024);
        assert_eq!(
            prefix([0, 0, 4, 1], limit),
            Err(FrameError::TooLarge { length, limit })
        );
        assert_eq!(
            FrameError::NotSlurm(*b"SSH-").to_string(),
            "the answer begins with `SSH-`, which no Slurm reply does"
        );
    }
}
