//! Keeping a generation while a command reads it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::{Current, StoreError};
use crate::disk::{fstat, is_same, lstatat, openat};

/// Keeps a generation from being removed: a shared lock on its directory, through a descriptor
/// that commands inherit. It lasts until this is dropped and the last process that inherited it
/// is gone.
#[derive(Debug)]
#[must_use = "the generation is held as long as this lives, or is inherited"]
pub struct Hold {
    _descriptor: OwnedFd,
}

impl Current {
    /// Keeps this generation as long as the command lives that this process becomes, and whatever
    /// it starts. Every command that is started while this lives inherits it.
    ///
    /// Where the file system has no locks, a generation is kept for a day.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`] where it has been removed, which takes a minute at least after it was
    /// superseded: look for the current one again.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let path = &self.generation;
        let gone = || StoreError::Gone { path: path.clone() };
        // Not closed on exec.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let descriptor = match openat(CWD, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(gone()),
            other => other.map_err(|errno| StoreError::unusable(path, errno))?,
        };
        match flock(&descriptor, FlockOperation::NonBlockingLockShared) {
            // It is being removed right now.
            Err(Errno::WOULDBLOCK) => return Err(gone()),
            Err(errno) => log::debug!("no lock: {errno}"),
            Ok(()) => {}
        }
        // It was there when it was opened. Locked and still there, it stays.
        let locked = fstat(&descriptor).map_err(|errno| StoreError::unusable(path, errno))?;
        let there = lstatat(CWD, path);
        if !there.is_ok_and(|there| is_same(&there, &locked)) {
            return Err(gone());
        }
        Ok(Hold {
            _descriptor: descriptor,
        })
    }
}
