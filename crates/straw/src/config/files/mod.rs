//! A config set as flat files in a directory.
//!
//! ```text
//!   lock ─▶ look ─▶ write all beside their targets ─▶ note which are ours
//!        ─▶ rename each, slurm.conf last ─▶ remove ours that are gone ─▶ note
//! ```
//!
//! Until the first rename nothing has changed for a reader. Nothing on the way below the
//! directory is followed if it is a symlink: each component is opened by itself.

mod error;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags, flock,
    fstat, fsync, mkdirat, openat, renameat, statat, statx, unlinkat,
};
use rustix::io::Errno;
use slurm_protocol::ProtocolVersion;

pub use error::WriteError;

use super::manifest::{self, Manifest};
use super::{ConfigSet, File, FileName};

/// What temporary files begin with. No file of a config set can.
const TEMPORARY: &str = ".straw-new.";

/// What became of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The files, in the order in which they were dealt with.
    pub files: Vec<(FileName, Change)>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Writes a set into a directory, which is created where it is not there.
///
/// `controller` accepted `version`; that is remembered for the next time. Another straw that
/// writes to the same directory is waited for, as long as `patience`.
///
/// # Errors
///
/// [`WriteError`]. Up to the first rename everything is left as it was.
pub fn write(
    directory: &Path,
    set: &ConfigSet,
    controller: &str,
    version: ProtocolVersion,
    patience: Duration,
) -> Result<Written, WriteError> {
    let target = Target::open(directory)?;
    target.lock(patience)?;
    target.sweep();
    let mut manifest = target.manifest();
    let earlier: BTreeSet<FileName> = manifest.names().collect();

    let mut changed = Vec::new();
    let mut files = Vec::new();
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

    let ours: BTreeSet<FileName> = set.names().cloned().collect();
    let gone: Vec<_> = earlier.difference(&ours).cloned().collect();
    let all = |names: BTreeSet<FileName>| names.iter().map(ToString::to_string).collect();
    manifest
        .controllers
        .insert(controller.to_owned(), version.index());

    let staged = target.stage(&changed)?;
    // Both old and new are ours until the old are gone: whenever this ends, nothing is forgotten.
    manifest.files = all(earlier.union(&ours).cloned().collect());
    target.put_manifest(&manifest)?;
    staged.commit()?;
    files.extend(
        changed
            .iter()
            .map(|(name, _)| ((*name).clone(), Change::Written)),
    );
    for name in gone {
        if target.remove(&name)? {
            files.push((name, Change::Removed));
        }
    }
    manifest.files = all(ours);
    target.put_manifest(&manifest)?;
    Ok(Written { files })
}

/// The protocol versions that controllers accepted when straw last wrote into a directory.
pub fn known_versions(directory: &Path) -> BTreeMap<String, ProtocolVersion> {
    let Ok(descriptor) = open_directory(directory) else {
        return BTreeMap::new();
    };
    let path = directory.to_owned();
    let manifest = Target { path, descriptor }
        .read(manifest::NAME)
        .and_then(|bytes| Manifest::parse(&bytes).ok());
    manifest.unwrap_or_default().versions()
}

/// The directory that is written into.
struct Target {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Target {
    fn open(path: &Path) -> Result<Self, WriteError> {
        let descriptor = match open_directory(path) {
            Err(Errno::NOENT) => create_directory(path).and_then(|()| open_directory(path)),
            other => other,
        }
        .map_err(|errno| WriteError::directory(path, errno))?;
        Ok(Self {
            path: path.to_owned(),
            descriptor,
        })
    }

    /// Keeps other straws out until this is dropped.
    fn lock(&self, patience: Duration) -> Result<(), WriteError> {
        let give_up = Instant::now() + patience;
        loop {
            match flock(&self.descriptor, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => {
                    let path = self.path.clone();
                    return Err(WriteError::Locked { path, patience });
                }
                Err(Errno::INTR) => {}
                // A file system without locks: then nobody else is kept out.
                Err(errno) => {
                    log::debug!("{}: no lock: {errno}", self.path.display());
                    return Ok(());
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Removes temporary files that a run left which was killed. Those in directories below are
    /// removed when their file is written again.
    fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.descriptor) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_bytes().starts_with(TEMPORARY.as_bytes()) {
                let _ = unlinkat(&self.descriptor, name, AtFlags::empty());
            }
        }
    }

    fn manifest(&self) -> Manifest {
        let Some(bytes) = self.read(manifest::NAME) else {
            return Manifest::default();
        };
        // Damaged, it counts as empty: nothing is removed on its word.
        Manifest::parse(&bytes).unwrap_or_else(|error| {
            let path = self.path.join(manifest::NAME);
            log::warn!(
                "{} is damaged ({error}); it is written anew",
                path.display()
            );
            Manifest::default()
        })
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), WriteError> {
        let error = |errno| self.error(manifest::NAME, errno);
        let bytes = manifest.to_bytes();
        if self.read(manifest::NAME).as_ref() == Some(&bytes) {
            return Ok(());
        }
        let temporary = format!("{TEMPORARY}{}", manifest::NAME);
        create(self.descriptor.as_fd(), &temporary, &bytes, 0o644).map_err(error)?;
        renameat(
            &self.descriptor,
            &temporary,
            &self.descriptor,
            manifest::NAME,
        )
        .map_err(error)?;
        fsync(&self.descriptor).map_err(error)
    }

    /// The content of a regular file in the directory itself, if it is no longer than notes are.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        open_regular(self.descriptor.as_fd(), name)?
            .take(manifest::LONGEST)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Whether what stands at a name can be replaced. Found out before anything is written.
    fn check(&self, name: &FileName) -> Result<(), WriteError> {
        let parent = match self.parent(name, false) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error(name.as_str(), errno)),
        };
        let (_, last) = name.split();
        let stat = match statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error(name.as_str(), errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(self.error(name.as_str(), Errno::ISDIR));
        }
        let mounted = statx(
            &parent,
            last,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        )
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        if mounted {
            return Err(self.error(name.as_str(), Errno::BUSY));
        }
        Ok(())
    }

    /// Whether a file is there already, with this content and mode.
    fn has(&self, name: &FileName, file: &File) -> bool {
        let (_, last) = name.split();
        let Some(mut there) = self
            .parent(name, false)
            .ok()
            .and_then(|parent| open_regular(parent.as_fd(), last))
        else {
            return false;
        };
        let Ok(stat) = fstat(&there) else {
            return false;
        };
        if stat.st_mode & 0o7777 != mode(file)
            || u64::try_from(stat.st_size) != Ok(file.content.len() as u64)
        {
            return false;
        }
        let mut bytes = Vec::new();
        there.read_to_end(&mut bytes).is_ok() && bytes == file.content
    }

    /// Writes files beside their targets. On an error they are removed again.
    fn stage<'a>(&'a self, files: &[(&'a FileName, &File)]) -> Result<Staged<'a>, WriteError> {
        let mut staged = Staged {
            target: self,
            files: Vec::new(),
        };
        for (name, file) in files {
            let error = |errno| self.error(name.as_str(), errno);
            let parent = self.parent(name, true).map_err(error)?;
            let (_, last) = name.split();
            let temporary = format!("{TEMPORARY}{last}");
            // Noted first, so that what is half written goes as well.
            staged.files.push((name, parent, temporary));
            let (_, parent, temporary) = &staged.files[staged.files.len() - 1];
            create(parent.as_fd(), temporary, &file.content, mode(file)).map_err(error)?;
        }
        Ok(staged)
    }

    /// Removes a file that straw wrote, and the directories that are empty then. Says whether
    /// there was one.
    fn remove(&self, name: &FileName) -> Result<bool, WriteError> {
        let error = |errno| self.error(name.as_str(), errno);
        let parent = match self.parent(name, false) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(error(errno)),
        };
        let (directories, last) = name.split();
        match unlinkat(&parent, last, AtFlags::empty()) {
            Ok(()) => {}
            // Somebody put a directory there, or has removed it already.
            Err(Errno::NOENT | Errno::ISDIR) => return Ok(false),
            Err(errno) => return Err(error(errno)),
        }
        let mut directories: Vec<_> = directories.collect();
        while let Some(directory) = directories.pop() {
            let parent = descend(&self.descriptor, directories.iter().copied(), false);
            if !parent.is_ok_and(|parent| unlinkat(&parent, directory, AtFlags::REMOVEDIR).is_ok())
            {
                break;
            }
        }
        Ok(true)
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
    files: Vec<(&'a FileName, OwnedFd, String)>,
}

impl Staged<'_> {
    fn commit(mut self) -> Result<(), WriteError> {
        self.files.reverse();
        while let Some((name, parent, temporary)) = self.files.pop() {
            let (_, last) = name.split();
            let renamed = renameat(&parent, &temporary, &parent, last);
            if let Err(errno) = renamed.and_then(|()| fsync(&parent)) {
                let error = self.target.error(name.as_str(), errno);
                self.files.push((name, parent, temporary));
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for (_, parent, temporary) in &self.files {
            let _ = unlinkat(parent, temporary, AtFlags::empty());
        }
    }
}

fn mode(file: &File) -> u32 {
    if file.execute { 0o755 } else { 0o644 }
}

/// Opens a directory that the user named; that may be a symlink.
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, path, flags, Mode::empty())
}

fn create_directory(path: &Path) -> Result<(), Errno> {
    fs::create_dir_all(path).map_err(raw)
}

/// Opens a directory below another, one component after the other, none of them a symlink.
fn descend<'a>(
    from: &OwnedFd,
    directories: impl Iterator<Item = &'a str>,
    create: bool,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = from.try_clone().map_err(|_| Errno::MFILE)?;
    for directory in directories {
        if create {
            match mkdirat(&at, directory, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let made = openat(&at, directory, flags, Mode::empty())?;
                    // The umask has no say.
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        at = openat(&at, directory, flags, Mode::empty())?;
    }
    Ok(at)
}

/// Opens a file for reading, if it is one.
fn open_regular(directory: std::os::fd::BorrowedFd<'_>, name: &str) -> Option<fs::File> {
    // Without NONBLOCK a named pipe would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&descriptor).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        .then(|| fs::File::from(descriptor))
}

/// Writes a new file and its content to the disk. What stands at its name, left by a run that
/// was killed, goes.
fn create(
    directory: std::os::fd::BorrowedFd<'_>,
    name: &str,
    content: &[u8],
    mode: u32,
) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = fs::File::from(descriptor);
    file.write_all(content).map_err(raw)?;
    // Not by open, whose mode the umask cuts.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all().map_err(raw)
}

fn raw(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
