//! A credential from a SACK socket (docs/protocol.md, section 7.3).

use std::path::Path;
use std::time::Instant;

use secrecy::zeroize::Zeroizing;
use slurm_protocol::{ProtocolVersion, sack_reply, sack_reply_length, sack_request};

use super::error::{CredentialError, Service};
use super::socket::Connection;

/// Has the daemon behind the socket make a credential for a message that says `payload`.
pub(super) fn credential(
    path: &Path,
    version: ProtocolVersion,
    payload: &[u8],
    deadline: Instant,
) -> Result<Zeroizing<String>, CredentialError> {
    let mut daemon = Connection::open(Service::Sack, path, deadline)?;
    ask(&mut daemon, version, payload)
}

pub(super) fn ask(
    daemon: &mut Connection,
    version: ProtocolVersion,
    payload: &[u8],
) -> Result<Zeroizing<String>, CredentialError> {
    daemon.send(&sack_request(version, payload))?;
    let mut first = [0; 4];
    first.copy_from_slice(&daemon.receive(4)?);
    let length = sack_reply_length(first).map_err(|error| daemon.malformed(error))?;
    let reply = daemon.receive(length)?;
    let token = sack_reply(&reply).map_err(|error| daemon.malformed(error))?;
    daemon.text(token)
}
