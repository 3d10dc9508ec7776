//! A config set as flat files in a directory.
//!
//! ```text
//!   lock ─▶ remove what a killed run left ─▶ look ─▶ note where to find what this one would
//!        ─▶ write all beside their targets ─▶ note which are ours
//!        ─▶ rename each, slurm.conf last ─▶ remove ours that are gone ─▶ note
//! ```
//!
//! Until the first rename nothing has changed for a reader. Nothing on the way below the
//! directory is followed if it is a symlink: each component is opened by itself.

mod error;
mod known;
mod notes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use slurm_protocol::ProtocolVersion;

pub use error::WriteError;
pub use known::{Known, KnownCa};
use notes::above;

use super::manifest::Manifest;
use super::{ConfigSet, File, FileName};
use crate::controller::Fetched;
use crate::disk::{
    self, TEMPORARY, create_directory, create_new, descend, holds, is_mount_point, lstatat,
    open_directory, remove_tree, rename, sync, unlinkat,
};
use crate::store::DATA as STORE_LINK;

/// What became of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The files, in the order in which they were dealt with.
    pub files: Vec<(FileName, Change)>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It is new, or its content or mode changed.
    Written,
    /// It was already there, just so.
    Unchanged,
    /// straw had written it before, and the controller no longer has it.
    Removed,
}

impl Change {
    /// The word for it in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        }
    }
}

/// Where a set came from. It is remembered for the next time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Origin {
    /// The controller, as it was named.
    pub controller: String,
    /// The protocol version that it accepted.
    pub version: ProtocolVersion,
    /// The CA's certificates in PEM, where it was asked inside TLS. They are trusted the next time,
    /// while [`CA_CERT`](super::CA_CERT) is there.
    pub ca: Option<String>,
}

impl Origin {
    /// The origin of what was fetched without TLS.
    pub fn new<T>(fetched: &Fetched<T>) -> Self {
        Self {
            controller: fetched.controller.to_string(),
            version: fetched.version,
            ca: None,
        }
    }
}

/// Writes a set into a directory, which is created where it is not there. Another straw that
/// writes to the same directory is waited for, as long as `patience`.
///
/// # Errors
///
/// [`WriteError`]. Up to the first rename everything is left as it was.
pub fn write(
    directory: &Path,
    set: &ConfigSet,
    origin: &Origin,
    patience: Duration,
) -> Result<Written, WriteError> {
    let target = Target::open(directory)?;
    target.lock(patience)?;
    if target.is_store() {
        return Err(WriteError::Store {
            path: target.path.clone(),
        });
    }
    let mut manifest = target.manifest()?;
    let left = target.sweep(&manifest);
    let earlier: BTreeSet<FileName> = manifest.names().collect();
    let gone: Vec<_> = earlier
        .iter()
        .filter(|name| set.get(name.as_str()).is_none())
        .cloned()
        .collect();
    let mut files = Vec::new();
    // A file of ours that stands where a directory is to be, or the other way round, goes first.
    for name in gone.iter().filter(|name| set.is_in_the_way_of(name)) {
        if target.remove(name, &manifest)? {
            files.push((name.clone(), Change::Removed));
        }
    }

    let mut changed = Vec::new();
    for (name, file) in set.files() {
        target.check(name)?;
        if target.has(name, file) {
            files.push((name.clone(), Change::Unchanged));
        } else {
            changed.push((name, file));
        }
    }
    // Who reads slurm.conf finds what it refers to.
    changed.sort_by_key(|(name, _)| name.as_str() == "slurm.conf");

    // Ours is what we write, now or before. What somebody else put there just so stays theirs.
    let mut ours = earlier;
    ours.extend(changed.iter().map(|(name, _)| (*name).clone()));
    let all = |names: &BTreeSet<FileName>| names.iter().map(ToString::to_string).collect();
    let missing = || target.missing(changed.iter().map(|(name, _)| *name));
    let made = missing()?;
    let below = |name: &FileName| Some(name.as_str().rsplit_once('/')?.0.to_owned());
    manifest.unfinished = changed.iter().filter_map(|(name, _)| below(name)).collect();
    manifest.unfinished.extend(left.iter().cloned());
    manifest.directories.extend(made.iter().cloned());
    if !manifest.unfinished.is_empty() {
        target.put_manifest(&manifest)?;
    }
    let staged = match target.stage(&changed, &made) {
        Ok(staged) => staged,
        Err(why) => {
            // Who makes one of them after this makes it their own.
            if let Ok(missing) = missing() {
                manifest.directories.retain(|name| !missing.contains(name));
                let _ = target.put_manifest(&manifest);
            }
            return Err(why);
        }
    };
    manifest
        .controllers
        .insert(origin.controller.clone(), origin.version.index());
    manifest.ca = origin.ca.clone();
    // Old and new are ours until the old are gone: whenever this ends, nothing is forgotten.
    manifest.files = all(&ours);
    target.put_manifest(&manifest)?;
    staged.commit()?;
    files.extend(
        changed
            .iter()
            .map(|(name, _)| ((*name).clone(), Change::Written)),
    );
    for name in gone {
        if target.remove(&name, &manifest)? {
            files.push((name.clone(), Change::Removed));
        }
        ours.remove(&name);
    }
    manifest.files = all(&ours);
    let needed: BTreeSet<_> = ours.iter().flat_map(above).collect();
    let is_needed = |name: &String| needed.contains(name.as_str()) || !left.is_empty();
    manifest.directories.retain(is_needed);
    manifest.unfinished = left;
    target.put_manifest(&manifest)?;
    Ok(Written { files })
}

/// The directory that is written into.
struct Target {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Target {
    fn open(path: &Path) -> Result<Self, WriteError> {
        let descriptor = match open_directory(path) {
            Err(Errno::NOENT) => match create_directory(path, 0o755) {
                Ok(()) | Err(Errno::EXIST) => open_directory(path),
                Err(errno) => Err(errno),
            },
            other => other,
        }
        .map_err(|errno| WriteError::directory(path, errno))?;
        Ok(Self {
            path: path.to_owned(),
            descriptor,
        })
    }

    /// Whether it is a store: flat files in the place of its links would end it.
    fn is_store(&self) -> bool {
        lstatat(&self.descriptor, STORE_LINK).is_ok()
    }

    /// Keeps other straws out until this is dropped.
    fn lock(&self, patience: Duration) -> Result<(), WriteError> {
        match disk::lock(&self.descriptor, patience) {
            Ok(true) => Ok(()),
            Ok(false) => Err(WriteError::Locked {
                path: self.path.clone(),
                patience,
            }),
            Err(errno) => Err(WriteError::directory(&self.path, errno)),
        }
    }

    /// Whether what stands at a name can be replaced. Found out before anything is written.
    fn check(&self, name: &FileName) -> Result<(), WriteError> {
        let parent = match self.parent(name, false) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error(name.as_str(), errno)),
        };
        let (_, last) = name.split();
        let stat = match lstatat(&parent, last) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error(name.as_str(), errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(self.error(name.as_str(), Errno::ISDIR));
        }
        if is_mount_point(parent.as_fd(), last) {
            return Err(self.error(name.as_str(), Errno::BUSY));
        }
        Ok(())
    }

    /// Whether a file is there already, with this content and mode.
    fn has(&self, name: &FileName, file: &File) -> bool {
        let (_, last) = name.split();
        self.parent(name, false)
            .is_ok_and(|parent| holds(parent.as_fd(), last, &file.content, file.mode()))
    }

    /// Writes files beside their targets, in directories of which these are to be made. On an error
    /// all that is removed again.
    fn stage<'a>(
        &'a self,
        files: &[(&'a FileName, &File)],
        made: &'a BTreeSet<String>,
    ) -> Result<Staged<'a>, WriteError> {
        let mut staged = Staged {
            target: self,
            made: Some(made),
            files: Vec::new(),
        };
        // One descriptor for all files of a directory: there may be more files than descriptors.
        let mut parents: BTreeMap<Vec<&str>, Rc<OwnedFd>> = BTreeMap::new();
        for (name, _) in files {
            let error = |errno| self.error(name.as_str(), errno);
            let (directories, last) = name.split();
            let directories: Vec<_> = directories.collect();
            let parent = match parents.get(&directories) {
                Some(parent) => Rc::clone(parent),
                None => {
                    let parent = Rc::new(self.parent(name, true).map_err(error)?);
                    parents.insert(directories, Rc::clone(&parent));
                    parent
                }
            };
            let temporary = format!("{TEMPORARY}{last}");
            // What a run left that was killed.
            remove_tree(parent.as_fd(), &temporary).map_err(error)?;
            // Noted first, so that what is half written goes as well.
            staged.files.push((name, parent, temporary));
        }
        for ((name, parent, temporary), (_, file)) in staged.files.iter().zip(files) {
            create_new(parent.as_fd(), temporary, &file.content, file.mode())
                .map_err(|errno| self.error(name.as_str(), errno))?;
        }
        Ok(staged)
    }

    /// Removes a file that straw wrote, and the directories that straw made for it and that are
    /// empty then. Says whether there was one.
    fn remove(&self, name: &FileName, manifest: &Manifest) -> Result<bool, WriteError> {
        let (_, last) = name.split();
        let parent = self.parent(name, false);
        let was_there = match parent.and_then(|parent| unlinkat(&parent, last, AtFlags::empty())) {
            Ok(()) => true,
            // Somebody has removed it already, or what it was in; perhaps one of us that was
            // killed then.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => false,
            // Somebody put a directory there.
            Err(Errno::ISDIR) => return Ok(false),
            Err(errno) => return Err(self.error(name.as_str(), errno)),
        };
        self.remove_empty(above(name).filter(|above| manifest.directories.contains(*above)));
        Ok(was_there)
    }

    /// The directory that a name stands in, created where it is not there.
    fn parent(&self, name: &FileName, create: bool) -> Result<OwnedFd, Errno> {
        descend(&self.descriptor, name.split().0, create)
    }

    fn error(&self, name: &str, errno: Errno) -> WriteError {
        WriteError::File {
            path: self.path.join(name),
            errno,
        }
    }
}

/// Files that stand beside their targets, ready to be renamed. Dropped before that, they go.
struct Staged<'a> {
    target: &'a Target,
    made: Option<&'a BTreeSet<String>>,
    files: Vec<(&'a FileName, Rc<OwnedFd>, String)>,
}

impl Staged<'_> {
    fn commit(mut self) -> Result<(), WriteError> {
        self.files.reverse();
        while let Some((name, parent, temporary)) = self.files.pop() {
            let (_, last) = name.split();
            let renamed = rename(&parent, &temporary, last);
            if let Err(errno) = renamed.and_then(|()| sync(&parent)) {
                let error = self.target.error(name.as_str(), errno);
                self.files.push((name, parent, temporary));
                return Err(error);
            }
        }
        self.made = None;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for (_, parent, temporary) in &self.files {
            let _ = unlinkat(parent, temporary, AtFlags::empty());
        }
        let made = self.made.into_iter().flatten();
        self.target.remove_empty(made.map(String::as_str));
    }
}
