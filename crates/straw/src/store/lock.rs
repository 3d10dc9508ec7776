//! One writer.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Store, StoreError};
use crate::disk::{self, fstat, is_same, lstatat, openat};

/// A file of its own: it can be locked where directories cannot (NFS), and is for the owner only,
/// so that a reader cannot keep writers out.
const NAME: &str = "..lock";

/// The right to write to a store. It ends when this is dropped, or the process ends in whatever
/// way; a command that is started does not inherit it.
#[derive(Debug)]
pub struct Lock<'a> {
    pub(super) store: &'a Store,
    _descriptor: OwnedFd,
}

impl Store {
    /// Waits for its turn to write. `None` where it does not come before the deadline.
    ///
    /// The kernel does the waiting and wakes the next one the moment that the lock is free: a
    /// helper thread blocks in `flock`, since that knows no deadline. (`fcntl` locks know none
    /// either; a timer's signal would be the whole process's business.) On a file system
    /// without locks nobody waits, and the last one to publish wins.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] where this user cannot write here, which is found out before
    /// anything is fetched; else what keeps it from writing.
    pub fn lock(&self, deadline: Instant) -> Result<Option<Lock<'_>>, StoreError> {
        let fail = |errno| StoreError::not_written(&self.path.join(NAME), errno);
        loop {
            let descriptor = self.open_lock()?;
            let patience = deadline.saturating_duration_since(Instant::now());
            if !disk::lock(&descriptor, patience).map_err(fail)? {
                return Ok(None);
            }
            // Somebody may have tidied the file away meanwhile. Then the lock is worth nothing.
            let locked = fstat(&descriptor).map_err(fail)?;
            let there = lstatat(&self.descriptor, NAME);
            if there.is_ok_and(|there| is_same(&there, &locked)) {
                return Ok(Some(Lock {
                    store: self,
                    _descriptor: descriptor,
                }));
            }
        }
    }

    fn open_lock(&self) -> Result<OwnedFd, StoreError> {
        let fail = |errno| match errno {
            Errno::ISDIR | Errno::LOOP | Errno::NODEV | Errno::NXIO => {
                self.in_the_way(NAME, "it is no file, and not of this store")
            }
            errno => StoreError::not_written(&self.path.join(NAME), errno),
        };
        // Written to, so that a file system that is read-only says so.
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let descriptor = openat(&self.descriptor, NAME, flags, mode).map_err(fail)?;
        match FileType::from_raw_mode(fstat(&descriptor).map_err(fail)?.st_mode) {
            FileType::RegularFile => Ok(descriptor),
            _ => Err(fail(Errno::NODEV)),
        }
    }
}
