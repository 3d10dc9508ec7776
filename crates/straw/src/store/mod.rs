//! Where config sets are kept: a whole set is published in one step, and who reads sees the old
//! set or the new one, never a mixture, whenever the writer is killed.
//!
//! ```text
//!   DIR/slurm.conf   -> ..data/slurm.conf     a link for each name at the top of the set;
//!   DIR/scripts      -> ..data/scripts        directories too
//!   DIR/..data       -> ..gen-7               the one link that is switched, by rename
//!   DIR/..gen-7/slurm.conf                    a generation: the whole set,
//!   DIR/..gen-7/scripts/prolog.sh             never changed once it is there,
//!   DIR/..gen-7/.straw.json                   and where it came from (State)
//!   DIR/..gen-6/                              as long as somebody may still be reading it
//!   DIR/..lock                                who writes holds it
//!   DIR/..failed                              why the last fetch gave nothing, and when
//! ```
//!
//! All links are relative, so the directory can be mounted elsewhere, read-only too. A program
//! that opens several files through `DIR/slurm.conf` can meet a switch between two of them; one
//! that lives for a command only is pointed at the generation itself ([`Current::generation`]),
//! and holds it ([`Current::hold`]). No file of a set begins with a dot, so none is called as
//! anything of straw's.
//!
//! # One fetch for many
//!
//! A hundred commands that start on a cold store make one request:
//!
//! ```text
//!   current() ── fresh ──────────────────────────────────────────▶ use it
//!       │ missing, old, or of another key
//!       ▼
//!   lock(deadline) ── None: the time is up ──────────────────────▶ use what is there, or fail
//!       │ ReadOnly: nobody can publish here ─────────────────────▶ the same
//!       ▼
//!   current() again ── fresh: another one fetched meanwhile ─────▶ use it
//!       │ still not
//!       ▼
//!   fetch ── no controller can be reached ───────────────────────▶ last good, or fail
//!       ▼
//!   publish(), which checks nothing of this again; drop the lock ▶ use it
//! ```
//!
//! # Who is trusted
//!
//! Whoever may write to DIR decides what its readers see. A private place ([`Store::private`]) is
//! checked to be this user's alone, and there a generation that another user could have written
//! does not count. A directory that was named ([`Store::at`]) is shared on purpose: that only
//! the right ones may write to it is up to whoever named it.
//!
//! A `Store` keeps its directory open. Who lives long opens it anew for each occasion, and so
//! follows a directory that was replaced.

mod collect;
mod error;
mod failure;
mod generation;
mod hold;
mod links;
mod lock;
mod place;
mod publish;
mod state;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

pub use error::StoreError;
pub use failure::Failure;
pub use hold::Hold;
pub use lock::Lock;
pub use place::PlaceEnv;
pub use publish::Published;
pub use state::State;

use crate::disk::{self, create_directory, fstat, open_below, open_directory, readlinkat};

/// The link that is switched.
pub(crate) const DATA: &str = "..data";

/// A directory that config sets are published in.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    descriptor: OwnedFd,
    /// Whether what others could have written does not count.
    private: bool,
}

/// The set that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Current {
    /// The directory of this very set. Its files never change, and are all of one set, as long
    /// as it is there: see [`Current::hold`].
    pub generation: PathBuf,
    /// The directory of the store, where the same files are, and later those of sets to come.
    pub stable: PathBuf,
    /// Where the set came from.
    pub state: State,
    /// When a controller was last known to have just this set. It is in the future where the
    /// clock was set back meanwhile.
    pub checked: SystemTime,
}

impl Current {
    /// How long ago a controller was last known to have this set; no time at all where the clock
    /// was set back since.
    pub fn age(&self) -> Duration {
        SystemTime::now()
            .duration_since(self.checked)
            .unwrap_or_default()
    }
}

/// A generation that was found.
struct Found {
    number: u64,
    descriptor: OwnedFd,
    current: Current,
}

impl Store {
    /// The store in a directory, which is made, open to readers, where it is not there. It may be a symlink, and
    /// its mode and owner are not looked at: who names a directory knows who may write to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be made or opened.
    pub fn at(path: &Path) -> Result<Self, StoreError> {
        // A command that changes directory finds its files all the same.
        let path = &std::path::absolute(path).map_err(|error| {
            let errno = disk::raw(error);
            StoreError::unusable(path, errno)
        })?;
        let descriptor = match open_directory(path) {
            Err(Errno::NOENT) => match create_directory(path, 0o755) {
                Ok(()) | Err(Errno::EXIST) => open_directory(path),
                Err(errno) => return Err(StoreError::not_written(path, errno)),
            },
            other => other,
        };
        Ok(Self {
            descriptor: descriptor.map_err(|errno| StoreError::unusable(path, errno))?,
            path: path.clone(),
            private: false,
        })
    }

    /// The store in a directory, if that is there; nothing is made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be opened.
    pub fn existing(path: &Path) -> Result<Option<Self>, StoreError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => Self::open_at(path, false).map(Some),
        }
    }

    fn open_at(path: &Path, private: bool) -> Result<Self, StoreError> {
        let descriptor = open_directory(path).map_err(|errno| StoreError::unusable(path, errno))?;
        Ok(Self {
            path: path.to_owned(),
            descriptor,
            private,
        })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The set that it holds; `None` where there is none, or none that counts. Needs no lock,
    /// and writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where there may be one, and it cannot be read.
    pub fn current(&self) -> Result<Option<Current>, StoreError> {
        Ok(self.find()?.map(|found| found.current))
    }

    fn find(&self) -> Result<Option<Found>, StoreError> {
        let number = || {
            self.number()
                .map_err(|errno| StoreError::unusable(&self.path.join(DATA), errno))
        };
        let mut at = number()?;
        while let Some(present) = at {
            match self.open(present) {
                Ok(found) => return Ok(Some(found)),
                Err(why) => {
                    // Who was stopped between the two steps for long can find the generation
                    // gone. Then there is a newer one.
                    at = number()?;
                    if at == Some(present) {
                        return self.without(present, why);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Which generation the link points at. That it cannot be read is not that there is none:
    /// nothing is removed then.
    fn number(&self) -> Result<Option<u64>, Errno> {
        match readlinkat(&self.descriptor, DATA) {
            Ok(target) => Ok(target.to_str().ok().and_then(generation::number)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn open(&self, number: u64) -> Result<Found, Unfit> {
        let name = generation::name(number);
        let descriptor = open_below(self.descriptor.as_fd(), &name)?;
        if self.private && !disk::only_ours(&fstat(&descriptor)?) {
            return Err(Unfit::Theirs);
        }
        let (state, checked) = state::read(descriptor.as_fd(), self.private)?;
        let current = Current {
            generation: self.path.join(name),
            stable: self.path.clone(),
            state,
            checked,
        };
        Ok(Found {
            number,
            descriptor,
            current,
        })
    }

    /// What is made of a generation that is of no use.
    fn without<T>(&self, number: u64, why: Unfit) -> Result<Option<T>, StoreError> {
        // It is looked at several times, which is to be said once.
        static TOLD: AtomicU64 = AtomicU64::new(0);
        let path = self.path.join(generation::name(number));
        match why {
            // It is fetched anew, and then good again.
            Unfit::Theirs
            | Unfit::Damaged(_)
            | Unfit::Errno(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                if TOLD.swap(number, Ordering::Relaxed) != number {
                    log::warn!("{} {why}; it does not count", path.display());
                }
                Ok(None)
            }
            Unfit::Errno(errno) => Err(StoreError::unusable(&path, errno)),
        }
    }
}

/// Why a generation is of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("can be written by others")]
    Theirs,
    #[error("has notes that are damaged ({0})")]
    Damaged(String),
    #[error("cannot be read: {}", disk::describe(*.0))]
    Errno(Errno),
}

impl From<Errno> for Unfit {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}
