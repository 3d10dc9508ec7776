//! A credential from munged (docs/protocol.md, section 7.2).

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use slurm_protocol::{MUNGED_HEADER, MungedReply, munged_reply_length, munged_request};

use super::error::{CredentialError, Service, SocketError};
use super::socket::{self, Connection};

/// How often munged is asked again where it closes the connection without a reply, or nobody
/// listens, as while it is being restarted.
const RETRIES: u8 = 4;

/// The pause before it is asked again the first time; it grows by as much each time.
const PAUSE: Duration = Duration::from_millis(50);

/// Has munged make a credential for a message that says `payload`.
pub(super) fn credential(
    path: &Path,
    payload: &[u8],
    deadline: Instant,
) -> Result<Zeroizing<String>, CredentialError> {
    let mut retry = 0;
    loop {
        let error = match attempt(path, payload, retry, deadline) {
            Err(CredentialError::Socket { error, .. }) if is_restarting(&error) => error,
            result => return result,
        };
        if retry == RETRIES || Instant::now() + PAUSE * u32::from(retry + 1) > deadline {
            return Err(socket::fail(Service::Munge, path, error));
        }
        retry += 1;
        std::thread::sleep(PAUSE * u32::from(retry));
    }
}

/// Whether munged may be there in a moment.
fn is_restarting(error: &SocketError) -> bool {
    match error {
        SocketError::Closed => true,
        SocketError::Unreachable(error) => error.kind() == ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn attempt(
    path: &Path,
    payload: &[u8],
    retry: u8,
    deadline: Instant,
) -> Result<Zeroizing<String>, CredentialError> {
    let mut munged = Connection::open(Service::Munge, path, deadline)?;
    ask(&mut munged, payload, retry)
}

pub(super) fn ask(
    munged: &mut Connection,
    payload: &[u8],
    retry: u8,
) -> Result<Zeroizing<String>, CredentialError> {
    munged.send(&munged_request(payload, retry))?;
    let mut header = [0; MUNGED_HEADER];
    header.copy_from_slice(&munged.receive(MUNGED_HEADER)?);
    let length = munged_reply_length(&header).map_err(|error| munged.malformed(error))?;
    let body = munged.receive(length)?;
    match MungedReply::decode(&body).map_err(|error| munged.malformed(error))? {
        MungedReply::Credential(credential) => munged.text(&credential),
        MungedReply::Error { number, text } => Err(munged.fail(SocketError::Refused {
            number,
            text: text.escape_ascii().to_string(),
        })),
    }
}
