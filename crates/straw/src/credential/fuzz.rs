//! Credentials from daemons whose answers a fuzzer makes up.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use slurm_protocol::ProtocolVersion;

use super::error::Service;
use super::socket::Connection;
use super::{munge, sack};

/// Has a daemon make a credential that answers so: munged, or one of Slurm's.
///
/// # Errors
///
/// What a user would be told.
pub fn credential(of_munge: bool, answer: &[u8]) -> Result<String, String> {
    let (ours, mut theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    // What does not fit is not sent: nobody reads yet.
    let _ = theirs.set_nonblocking(true);
    let _ = theirs.write(answer);
    let _ = theirs.shutdown(Shutdown::Write);
    let deadline = Instant::now() + Duration::from_secs(60);
    let made = if of_munge {
        munge::ask(
            &mut Connection::over(Service::Munge, ours, deadline),
            b"x",
            0,
        )
    } else {
        let mut daemon = Connection::over(Service::Sack, ours, deadline);
        sack::ask(&mut daemon, ProtocolVersion::NEWEST, b"x")
    };
    made.map(|credential| credential.as_str().to_owned())
        .map_err(|error| error.to_string())
}
