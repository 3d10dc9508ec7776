//! Why nobody can be told how a watch is, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rustix::io::Errno;

use super::HealthPlace;
use crate::disk::ReplaceError;
use crate::text::system_text;

/// Why nobody can be told how a watch is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Its address cannot be listened on.
    #[error("{place} cannot be listened on: {}", describe(error))]
    NotListening {
        /// The place.
        place: HealthPlace,
        /// Why.
        error: io::Error,
    },
    /// Something that straw did not put there stands where its file is to be.
    #[error("{} is in the way: it is no health file of straw's", path.display())]
    InTheWay {
        /// The place of the file.
        path: PathBuf,
    },
    /// Its file cannot be written, or not removed.
    #[error(transparent)]
    NotWritten(#[from] ReplaceError),
}

impl HealthError {
    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotListening { .. } => "health-not-listening",
            Self::InTheWay { .. } => "health-in-the-way",
            Self::NotWritten(_) => "health-not-written",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::NotListening { error, .. } => match error.kind() {
                ErrorKind::AddrInUse => "stop what listens there, or choose another port",
                ErrorKind::AddrNotAvailable => {
                    "name an address that this host has, or a port only, which is that port of all \
                     of them"
                }
                ErrorKind::WouldBlock => {
                    "does a limit on processes forbid it (ulimit -u, one of the container's)?"
                }
                ErrorKind::PermissionDenied => "choose a port from 1024 on",
                _ => "choose another address, or the path of a file",
            },
            Self::InTheWay { .. } => "remove it, or name another file",
            Self::NotWritten(ReplaceError::File { errno, .. }) if *errno == Errno::NODEV => {
                "a file is what it takes"
            }
            Self::NotWritten(error) => return error.hint(),
        };
        text.to_owned()
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "something else listens there".to_owned(),
        ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        _ => system_text(error),
    }
}
