//! Why a store is of no use, and what to do about it.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::disk::{describe, remedy};

/// Why a store is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be opened or read.
    #[error("the store {} cannot be used: {}", path.display(), describe(*errno))]
    Unusable {
        /// What of it.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A private place that is not this user's alone.
    #[error("the store {} is not used: {reason}", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be written to. What it holds is good all the same.
    #[error("the store {} is read-only here: {}", path.display(), describe(*errno))]
    ReadOnly {
        /// What of it.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// There is no room. What it holds is as it was.
    #[error("the store {} is full: {}", path.display(), describe(*errno))]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Something that is not straw's stands where one of its links is to be.
    #[error("{} is in the way: {reason}", path.display())]
    InTheWay {
        /// What.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// Another straw writes to it, for longer than this one can wait. For callers that can
    /// do nothing else; [`Store::lock`](super::Store::lock) says `None`.
    #[error("the store {} is locked: another straw is fetching", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The generation was removed meanwhile, so there is a newer one.
    #[error("{} has been superseded and removed", path.display())]
    Gone {
        /// The generation.
        path: PathBuf,
    },
    /// Something of it cannot be written, for another reason.
    #[error("{} cannot be written: {}", path.display(), describe(*errno))]
    NotWritten {
        /// What.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

impl StoreError {
    pub(super) fn unusable(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        Self::Unusable { path, errno }
    }

    /// Of a step that writes.
    pub(super) fn not_written(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::ROFS | Errno::ACCESS | Errno::PERM => Self::ReadOnly { path, errno },
            Errno::NOSPC | Errno::DQUOT => Self::Full { path, errno },
            errno => Self::NotWritten { path, errno },
        }
    }

    /// Whether a set that the store holds can be used all the same: it cannot be renewed here,
    /// or not now.
    pub fn is_good_to_read(&self) -> bool {
        matches!(
            self,
            Self::ReadOnly { .. }
                | Self::Full { .. }
                | Self::Locked { .. }
                | Self::NotWritten { .. }
        )
    }

    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "store-unusable",
            Self::NotOurs { .. } => "store-not-ours",
            Self::ReadOnly { .. } => "store-read-only",
            Self::Full { .. } => "store-full",
            Self::InTheWay { .. } => "store-in-the-way",
            Self::Locked { .. } => "store-locked",
            Self::Gone { .. } => "store-gone",
            Self::NotWritten { .. } => "store-not-written",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Unusable { errno, .. } => match *errno {
                Errno::NOTDIR | Errno::LOOP => "name a directory with --store",
                Errno::ACCESS => {
                    "this user must be able to read it, and to pass the directories above"
                }
                errno => remedy(errno).unwrap_or("name another directory with --store"),
            },
            Self::NotOurs { .. } => {
                "somebody else may have put it there: remove it, or have XDG_RUNTIME_DIR name a \
                 directory of this user's, or name one with --store"
            }
            Self::ReadOnly { .. } => {
                "name a directory that this user may write to with --store, or mount a writable \
                 volume there (a tmpfs will do); a set that another straw keeps there is used as it is"
            }
            Self::Full { .. } => "make room; the set that was there before is as it was",
            Self::InTheWay { .. } => {
                "a store replaces nothing that it did not put there itself: remove it, or name a \
                 directory that is empty, or a store already"
            }
            Self::Locked { .. } => "try again, or allow more time",
            Self::Gone { .. } => "try again",
            Self::NotWritten { errno, .. } => match *errno {
                Errno::BUSY => "mount the directory, not what is in it",
                Errno::NOTSUP | Errno::NOSYS => {
                    "the file system must have symlinks: name a directory of another one with --store"
                }
                errno => remedy(errno).unwrap_or("name another directory with --store"),
            },
        };
        text.to_owned()
    }
}
