//! A whole set in a directory of its own.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::state::{self, State};
use super::{Store, StoreError};
use crate::config::{ConfigSet, File, FileName};
use crate::disk::{
    create_new, descend, fchmod, holds as is_there, lstatat, mkdirat, names, open_below,
    remove_tree, rename, sync,
};

/// What generations begin with.
const PREFIX: &str = "..gen-";

/// What begins so is not ready yet. Who finds it under the lock finds what a killed run left.
pub(super) const NEW: &str = "..new-";

/// What begins so is being removed.
pub(super) const OLD: &str = "..old-";

/// The name of a generation.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// The number in the name of one.
pub(super) fn number(text: &str) -> Option<u64> {
    let number = text.strip_prefix(PREFIX)?.parse().ok()?;
    (name(number) == text).then_some(number)
}

/// A generation that no link points at yet. Dropped, it goes.
pub(super) struct Staged<'a> {
    store: &'a Store,
    pub(super) number: u64,
    name: String,
    settled: bool,
}

impl<'a> Staged<'a> {
    /// Writes a set beside the others, down to the disk.
    pub(super) fn write(
        store: &'a Store,
        number: u64,
        set: &ConfigSet,
        state: &State,
    ) -> Result<Self, StoreError> {
        let name = format!("{NEW}{number}");
        let path = store.path.join(&name);
        let fail = |errno| StoreError::not_written(&path, errno);
        // Noted first, so that what is half done goes as well.
        let staged = Self {
            store,
            number,
            name,
            settled: false,
        };
        mkdirat(&store.descriptor, &staged.name, Mode::from_raw_mode(0o700)).map_err(fail)?;
        let at = open_below(store.descriptor.as_fd(), &staged.name).map_err(fail)?;
        let mut directories = BTreeSet::new();
        for (name, file) in set.files() {
            let fail = |errno| StoreError::not_written(&path.join(name.as_str()), errno);
            put(&at, name, file).map_err(fail)?;
            let parents: Vec<_> = name.split().0.collect();
            directories.extend((1..=parents.len()).map(|depth| parents[..depth].to_vec()));
        }
        state::write(at.as_fd(), state).map_err(fail)?;
        // What is in a directory before the directory.
        for directory in directories.iter().rev() {
            descend(&at, directory.iter().copied(), false)
                .and_then(|at| sync(&at))
                .map_err(fail)?;
        }
        // The umask has no say.
        fchmod(&at, Mode::from_raw_mode(0o755)).map_err(fail)?;
        sync(&at).map_err(fail)?;
        Ok(staged)
    }

    /// Gives it its name.
    pub(super) fn rename(&mut self) -> Result<(), StoreError> {
        let name = name(self.number);
        let at = &self.store.descriptor;
        rename(at, &self.name, &name)
            .map_err(|errno| StoreError::not_written(&self.store.path.join(&name), errno))?;
        self.name = name;
        Ok(())
    }

    /// It is the current one now.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // A switch that is said to have failed may have been made.
        let is_unused = || {
            let current = self.store.number();
            current.is_ok_and(|current| current != Some(self.number))
        };
        if !self.settled && is_unused() {
            let _ = remove_tree(self.store.descriptor.as_fd(), self.name.as_str());
        }
    }
}

fn put(generation: &OwnedFd, name: &FileName, file: &File) -> Result<(), Errno> {
    let (directories, last) = name.split();
    let parent = descend(generation, directories, true)?;
    create_new(parent.as_fd(), last, &file.content, file.mode())
}

/// Whether a generation holds just this set, byte for byte, and nothing else.
pub(super) fn holds(generation: &OwnedFd, set: &ConfigSet) -> bool {
    let mut names = BTreeSet::new();
    list(generation.as_fd(), "", &mut names).is_ok()
        && names.iter().map(String::as_str).eq(sorted(set))
        && set
            .files()
            .all(|(name, file)| has(generation, name, file).unwrap_or(false))
}

fn sorted(set: &ConfigSet) -> impl Iterator<Item = &str> {
    let names: BTreeSet<_> = set.names().map(FileName::as_str).collect();
    names.into_iter()
}

/// The names of all that is no directory. What begins with a dot is straw's own.
fn list(directory: BorrowedFd<'_>, path: &str, into: &mut BTreeSet<String>) -> Result<(), Errno> {
    for name in names(directory)? {
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        let name = name.to_str().map_err(|_| Errno::ILSEQ)?;
        let stat = lstatat(directory, name)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            list(
                open_below(directory, name)?.as_fd(),
                &format!("{path}{name}/"),
                into,
            )?;
        } else {
            into.insert(format!("{path}{name}"));
        }
    }
    Ok(())
}

fn has(generation: &OwnedFd, name: &FileName, file: &File) -> Result<bool, Errno> {
    let (directories, last) = name.split();
    let parent = descend(generation, directories, false)?;
    Ok(is_there(parent.as_fd(), last, &file.content, file.mode()))
}
