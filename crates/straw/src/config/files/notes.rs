//! The notes in a directory, and what they say of a run that was killed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{Target, WriteError};
use crate::config::FileName;
use crate::config::manifest::{self, Manifest};
use crate::disk::{
    TEMPORARY, descend, describe, fstat, lstatat, names, only_ours, open_regular, put, raw,
    remove_tree, sync, unlinkat,
};

impl Target {
    /// Removes temporary files that a run left which was killed, and directories that it made for
    /// them. What cannot be removed stays for the next time: the directories with such are
    /// returned.
    pub(super) fn sweep(&self, manifest: &Manifest) -> BTreeSet<String> {
        let _ = sweep(&self.descriptor);
        let mut left = BTreeSet::new();
        for directory in checked(&manifest.unfinished) {
            match descend(&self.descriptor, directory.split('/'), false).and_then(|at| sweep(&at)) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(_) => drop(left.insert(directory.to_owned())),
            }
        }
        if !manifest.unfinished.is_empty() {
            self.remove_empty(checked(&manifest.directories));
        }
        left
    }

    /// Removes those of these directories that are empty. The ones above others come first.
    pub(super) fn remove_empty<'a>(&self, directories: impl DoubleEndedIterator<Item = &'a str>) {
        for directory in directories.rev() {
            let mut path: Vec<_> = directory.split('/').collect();
            let last = path.pop().unwrap_or_default();
            if let Ok(parent) = descend(&self.descriptor, path.into_iter(), false) {
                let _ = unlinkat(&parent, last, AtFlags::REMOVEDIR);
            }
        }
    }

    /// The directories for these files that are not there yet.
    pub(super) fn missing<'a>(
        &self,
        names: impl Iterator<Item = &'a FileName>,
    ) -> Result<BTreeSet<String>, WriteError> {
        let mut missing = BTreeSet::new();
        for directory in names.flat_map(above).collect::<BTreeSet<_>>() {
            match descend(&self.descriptor, directory.split('/'), false) {
                Ok(_) => {}
                Err(Errno::NOENT) => drop(missing.insert(directory.to_owned())),
                Err(errno) => return Err(self.error(directory, errno)),
            }
        }
        Ok(missing)
    }

    pub(super) fn manifest(&self) -> Result<Manifest, WriteError> {
        self.read_manifest().or_else(|why| match why {
            // They are good perhaps, and forgotten once they are written anew.
            BadNotes::Errno(errno) => Err(self.unreadable(errno)),
            // Without good notes nothing is removed on their word.
            why => {
                let path = self.path.join(manifest::NAME);
                log::warn!("{} {why}; it is written anew", path.display());
                Ok(Manifest::default())
            }
        })
    }

    pub(super) fn unreadable(&self, errno: Errno) -> WriteError {
        WriteError::Unreadable {
            path: self.path.join(manifest::NAME),
            errno,
        }
    }

    pub(super) fn read_manifest(&self) -> Result<Manifest, BadNotes> {
        let at = self.descriptor.as_fd();
        let Some(file) = open_regular(at, manifest::NAME)? else {
            return match lstatat(at, manifest::NAME) {
                Err(Errno::NOENT) => Ok(Manifest::default()),
                _ => Err(BadNotes::NoFile),
            };
        };
        // Where others may write to the directory, they can put notes there that name files of
        // ours, to have them removed.
        if !only_ours(&fstat(&file)?) {
            return Err(BadNotes::OfOthers);
        }
        let mut bytes = Vec::new();
        file.take(manifest::LONGEST)
            .read_to_end(&mut bytes)
            .map_err(raw)?;
        Ok(Manifest::parse(&bytes)?)
    }

    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<(), WriteError> {
        if self.read_manifest().is_ok_and(|there| there == *manifest) {
            return Ok(());
        }
        let directory = self.descriptor.as_fd();
        put(directory, manifest::NAME, &manifest.to_bytes(), 0o644, None)
            .and_then(|()| sync(&self.descriptor))
            .map_err(|errno| self.error(manifest::NAME, errno))
    }
}

/// The directories that a name goes through, the topmost first.
pub(super) fn above(name: &FileName) -> impl DoubleEndedIterator<Item = &str> {
    let name = name.as_str();
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Directories out of the notes, checked like any other name there.
fn checked(directories: &BTreeSet<String>) -> impl DoubleEndedIterator<Item = &str> {
    let names = directories.iter().map(String::as_str);
    names.filter(|name| FileName::parse(name.as_bytes()).is_ok())
}

/// Removes the temporary files in a directory.
fn sweep(directory: &OwnedFd) -> Result<(), Errno> {
    for name in names(directory)? {
        if name.to_bytes().starts_with(TEMPORARY.as_bytes()) {
            remove_tree(directory.as_fd(), &name)?;
        }
    }
    Ok(())
}

/// Why what is remembered of a directory does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadNotes {
    #[error("is no regular file")]
    NoFile,
    #[error("can be written by others")]
    OfOthers,
    #[error("is damaged ({0})")]
    Damaged(#[from] serde_json::Error),
    #[error("cannot be read: {}", describe(*.0))]
    Errno(Errno),
}

impl From<Errno> for BadNotes {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}
