//! Why files could not be written, and what to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::disk::{describe, remedy};
use crate::text::span;

/// Why files could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The directory cannot be opened, or made.
    #[error("the directory {} cannot be used: {}", path.display(), describe(*errno))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Another straw writes to it, for too long.
    #[error("the directory {} has been locked for {}", path.display(), span(*patience))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It is a store of straw's.
    #[error("the directory {} is a store of straw's", path.display())]
    Store {
        /// The directory.
        path: PathBuf,
    },
    /// What is remembered of the directory cannot be read.
    #[error("{} cannot be read: {}", path.display(), describe(*errno))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {}", path.display(), describe(*errno))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

impl WriteError {
    pub(super) fn directory(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        Self::Directory { path, errno }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directory-unusable",
            Self::Store { .. } => "directory-is-store",
            Self::Locked { .. } => "directory-locked",
            Self::Unreadable { .. } => "notes-unreadable",
            Self::File { .. } => "file-not-written",
        }
    }

    pub(crate) fn hint(&self) -> String {
        let errno = match self {
            Self::Directory { errno, .. } | Self::File { errno, .. } => *errno,
            Self::Unreadable { errno, .. } => {
                return remedy(*errno)
                    .unwrap_or(
                        "have this user read it; or remove it, and name the CA again with --ca-cert \
                         if there was TLS",
                    )
                    .into();
            }
            Self::Store { .. } => {
                return "`straw watch`, `exec` or the shims keep it; give the files a directory of their \
                        own with -o"
                    .into();
            }
            Self::Locked { .. } => {
                return "another straw writes to it, or something else holds its lock: give each a directory of \
                        its own with -o".into();
            }
        };
        if let Some(remedy) = remedy(errno) {
            return remedy.into();
        }
        let text = match errno {
            Errno::ACCESS | Errno::PERM => {
                "write where this user may: -o DIR, and SLURM_CONF=DIR/slurm.conf for the commands"
            }
            Errno::ROFS => {
                "mount a writable volume there (a tmpfs will do), or write elsewhere: -o DIR, and \
                 SLURM_CONF=DIR/slurm.conf for the commands"
            }
            Errno::NOSPC | Errno::DQUOT => {
                "make room; the files that were there before are as they were"
            }
            Errno::BUSY => {
                "a single file that is mounted cannot be replaced: mount its directory instead, or \
                 write elsewhere with -o DIR"
            }
            Errno::ISDIR => "remove the directory of this name, or write elsewhere with -o DIR",
            Errno::LOOP | Errno::NOTDIR => {
                "something on the way is a symlink or no directory, and straw follows none: remove \
                 it, or write elsewhere with -o DIR"
            }
            _ => "write elsewhere with -o DIR, and SLURM_CONF=DIR/slurm.conf for the commands",
        };
        text.to_owned()
    }
}
