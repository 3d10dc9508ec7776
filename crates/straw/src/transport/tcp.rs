//! TCP, in the clear.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use slurm_protocol::{Prefix, prefix};

use super::{Received, TransportError, remaining};

/// Bytes read at a time: memory grows with what has come, not with what was announced.
const CHUNK: usize = 64 * 1024;

/// Connects, sends a request and takes the reply.
///
/// Connecting ends at `connect_by` at the latest, everything at `deadline`. A reply of more than
/// `max_size` bytes is refused before it is read.
///
/// # Errors
///
/// See [`TransportError`]. That the peer closes without a byte is no error: controllers up to
/// 24.05 answer so.
pub fn exchange(
    address: SocketAddr,
    request: &[u8],
    max_size: usize,
    connect_by: Instant,
    deadline: Instant,
) -> Result<Received, TransportError> {
    let mut peer = connect(address, connect_by, deadline)?;
    // A peer that closes at once can do so while we still send; what it said can be read.
    match peer.write_all(request) {
        Err(error) if error.kind() == ErrorKind::TimedOut => return Err(TransportError::Silence),
        _ => {}
    }
    receive(&mut peer, max_size)
}

/// Connects and says nothing: how long that takes is the time of one round trip.
///
/// # Errors
///
/// [`TransportError::Connect`], at `by` at the latest.
pub fn round_trip(address: SocketAddr, by: Instant) -> Result<Duration, TransportError> {
    let began = Instant::now();
    connect(address, by, by).map(|_| began.elapsed())
}

/// Connects, until `connect_by` at the latest.
pub(super) fn connect(
    address: SocketAddr,
    connect_by: Instant,
    deadline: Instant,
) -> Result<Deadlined, TransportError> {
    let stream = remaining(connect_by.min(deadline))
        .and_then(|left| TcpStream::connect_timeout(&address, left))
        .map_err(TransportError::Connect)?;
    let _ = stream.set_nodelay(true);
    Ok(Deadlined { stream, deadline })
}

/// Reads a reply off a stream whose reads end with `TimedOut` when time is up.
pub(super) fn receive(peer: &mut impl Read, max_size: usize) -> Result<Received, TransportError> {
    let begin = Instant::now();
    let closed = || Received::Closed {
        after: begin.elapsed(),
    };
    let mut first = [0; 4];
    let mut had = 0;
    while had < first.len() {
        match peer.read(&mut first[had..]) {
            Ok(0) if had == 0 => return Ok(closed()),
            Ok(0) => return Err(broken(had, first.len(), ErrorKind::UnexpectedEof.into())),
            Ok(count) => had += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if had > 0 => return Err(broken(had, first.len(), error)),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Err(TransportError::Silence);
            }
            // Closed with some of our request unread.
            Err(error) if is_reset(&error) => return Ok(closed()),
            Err(error) => return Err(broken(had, first.len(), error)),
        }
    }
    let length = match prefix(first, max_size).map_err(TransportError::Frame)? {
        Prefix::Frame(length) => length,
        Prefix::Http => return Ok(Received::Http),
    };
    let mut frame = Vec::new();
    let mut chunk = vec![0; CHUNK.min(length)];
    while frame.len() < length {
        let wanted = chunk.len().min(length - frame.len());
        match peer.read(&mut chunk[..wanted]) {
            Ok(0) => return Err(broken(frame.len(), length, ErrorKind::UnexpectedEof.into())),
            Ok(count) => frame.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(frame.len(), length, error)),
        }
    }
    Ok(Received::Frame(frame))
}

pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

fn broken(had: usize, length: usize, error: io::Error) -> TransportError {
    TransportError::Broken { had, length, error }
}

/// A stream whose every read and write ends at the deadline, with `TimedOut`.
pub(crate) struct Deadlined {
    pub(crate) stream: TcpStream,
    pub(crate) deadline: Instant,
}

impl Read for Deadlined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream
            .set_read_timeout(Some(remaining(self.deadline)?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Deadlined {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream
            .set_write_timeout(Some(remaining(self.deadline)?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's own time limit shows as `WouldBlock` on Linux.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slurm_protocol::FrameError;

    /// A peer that hands over the given pieces, one a read, and then closes or fails.
    struct Pieces(Vec<io::Result<Vec<u8>>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let mut piece = self.0.remove(0)?;
            let rest = piece.split_off(piece.len().min(buffer.len()));
            buffer[..piece.len()].copy_from_slice(&piece);
            if !rest.is_empty() {
                self.0.insert(0, Ok(rest));
            }
            Ok(piece.len())
        }
    }

    fn get(pieces: Vec<io::Result<Vec<u8>>>) -> Result<Received, String> {
        receive(&mut Pieces(pieces), 1 << 20).map_err(|error| error.to_string())
    }

    #[test]
    fn a_reply_comes_in_any_pieces() {
        let frame = vec![7; 200_000];
        let whole = [&200_000_u32.to_be_bytes()[..], &frame].concat();
        for size in [1, 3, 4096, whole.len()] {
            let pieces = whole.chunks(size).map(|piece| Ok(piece.to_vec())).collect();
            assert_eq!(get(pieces), Ok(Received::Frame(frame.clone())));
        }
    }

    #[test]
    fn a_peer_that_says_nothing_closed() {
        let reset = ErrorKind::ConnectionReset.into();
        for pieces in [vec![], vec![Err(reset)]] {
            assert!(matches!(get(pieces), Ok(Received::Closed { .. })));
        }
        let lost = get(vec![Err(ErrorKind::HostUnreachable.into())]).unwrap_err();
        assert!(lost.ends_with("no route to the host"), "{lost}");
        let silence = "it accepted the connection and did not answer in time";
        assert_eq!(
            get(vec![Err(ErrorKind::TimedOut.into())]),
            Err(silence.into())
        );
    }

    #[test]
    fn a_reply_that_breaks_off_says_where() {
        let broken = |pieces| get(pieces).unwrap_err();
        assert_eq!(
            broken(vec![Ok(vec![0, 0])]),
            "the reply broke off after 2 of 4 bytes: connection closed"
        );
        assert_eq!(
            broken(vec![
                Ok(vec![0, 0, 1, 0, 9]),
                Err(ErrorKind::TimedOut.into())
            ]),
            "the reply broke off after 1 of 256 bytes: timed out"
        );
    }

    #[test]
    fn a_reply_that_is_too_long_or_foreign_is_not_read() {
        let limit = 1 << 20;
        let error = receive(&mut Pieces(vec![Ok(vec![0, 0x20, 0, 0])]), limit).unwrap_err();
        assert!(matches!(
            error,
            TransportError::Frame(FrameError::TooLarge {
                length: 0x20_0000,
                ..
            })
        ));
        assert_eq!(get(vec![Ok(b"HTTP/1.1 405".to_vec())]), Ok(Received::Http));
        assert!(get(vec![Ok(b"SSH-2.0".to_vec())]).is_err());
    }
}
