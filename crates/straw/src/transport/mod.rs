//! Connections: each carries one request and one reply (docs/protocol.md, section 2.1).
//!
//! In the clear over TCP, or in TLS. The messages are the same.

pub(crate) mod tcp;
pub mod tls;

use std::io;
use std::time::{Duration, Instant};

use slurm_protocol::FrameError;

use crate::text::system_text;
use tls::TlsError;

/// What came back over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A frame, its length prefix not included.
    Frame(Vec<u8>),
    /// Text in HTTP.
    Http,
    /// Nothing: the peer closed or reset the connection.
    Closed {
        /// How long after the request.
        after: Duration,
    },
}

/// Why nothing usable came back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection could be made.
    #[error("{}", describe(.0))]
    Connect(io::Error),
    /// The connection was made, and then nothing came in time.
    #[error("it accepted the connection and did not answer in time")]
    Silence,
    /// The reply stopped coming.
    #[error(
        "the reply broke off after {had} of {length} bytes: {}",
        describe(error)
    )]
    Broken {
        /// Bytes that came.
        had: usize,
        /// Bytes that were announced.
        length: usize,
        /// Why no more came.
        error: io::Error,
    },
    /// The reply is none that we read.
    #[error(transparent)]
    Frame(FrameError),
    /// No connection in TLS came about, or it did not last.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What is left of the time until `deadline`; an error where nothing is.
pub(crate) fn remaining(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// An error of a socket without the number that the standard library adds.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "no route to its network".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => system_text(error),
    }
}
