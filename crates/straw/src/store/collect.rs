//! What is no longer needed goes.
//!
//! The time of modification of a generation's directory says when it was superseded: 1970 as
//! long as it is not. (Nothing else needs it, and to set it takes no room on a full disk.)

use std::os::fd::AsFd as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Store;
use super::generation::{self, NEW, OLD};
use super::state::modified;
use crate::disk::{self, fstat, open_below, remove_tree, rename, touch};

/// So long after it was superseded a generation stays in any case: somebody may have found its
/// name and not opened it yet, or opened its directory and not all its files.
const GRACE: Duration = Duration::from_secs(60);

/// So long where no lock can tell whether somebody holds it.
const GRACE_WITHOUT_LOCKS: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// Removes what killed runs left, and generations that nobody can still be reading. What
    /// cannot be removed stays for the next time.
    pub(super) fn collect(&self) {
        let (Ok(current), Ok(names)) = (self.number(), self.names()) else {
            return;
        };
        for name in names {
            if name.starts_with(NEW) || name.starts_with(OLD) {
                let _ = remove_tree(self.descriptor.as_fd(), name.as_str())
                    .inspect_err(|errno| log::debug!("{name} stays: {errno}"));
            } else if let Some(number) = generation::number(&name)
                && Some(number) != current
            {
                let _ = self
                    .collect_generation(number)
                    .inspect_err(|errno| log::debug!("{name} stays: {errno}"));
            }
        }
    }

    /// A number that no generation has had, as far as can be seen.
    pub(super) fn next_number(&self) -> Result<u64, Errno> {
        let names = self.names()?;
        let numbers = names.iter().filter_map(|name| generation::number(name));
        let last = numbers.chain(self.number()?).max().unwrap_or(0);
        Ok(last.saturating_add(1))
    }

    /// Notes that a generation is about to be the current one, or no longer is.
    pub(super) fn mark(&self, number: u64, superseded: Option<SystemTime>) -> Result<(), Errno> {
        let time = superseded.unwrap_or(UNIX_EPOCH);
        touch(self.descriptor.as_fd(), generation::name(number), time)
    }

    fn collect_generation(&self, number: u64) -> Result<(), Errno> {
        let name = generation::name(number);
        let descriptor = open_below(self.descriptor.as_fd(), &name)?;
        let superseded = modified(&fstat(&descriptor)?);
        let now = SystemTime::now();
        let age = match now.duration_since(superseded) {
            Ok(age) if superseded != UNIX_EPOCH => age,
            // Whoever superseded it was killed before it could say so; or the clock was set back.
            _ => return self.mark(number, Some(now)),
        };
        if age < GRACE {
            return Ok(());
        }
        match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(_) if age < GRACE_WITHOUT_LOCKS => return Ok(()),
            Err(_) => {}
        }
        // Away as a whole. What overlayfs has in an image's layer it cannot rename (XDEV): that
        // goes piece by piece.
        let old = format!("{OLD}{number}");
        let at = &self.descriptor;
        let name = rename(at, &name, &old).map_or(name, |()| old);
        remove_tree(self.descriptor.as_fd(), name.as_str())
    }

    fn names(&self) -> Result<Vec<String>, Errno> {
        let names = disk::names(&self.descriptor)?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }
}
