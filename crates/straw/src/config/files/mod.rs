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
use std::rc::Rc;
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
    let gone: Vec<_> = earlier
        .iter()
        .filter(|name| !set.contains(name))
        .cloned()
        .collect();
    let mut files = Vec::new();
    // A file of ours that stands where a directory is to be, or the other way round, goes first.
    let in_the_way = |name: &FileName| {
        set.names()
            .any(|new| new.is_below(name) || name.is_below(new))
    };
    for name in gone.iter().filter(|name| in_the_way(name)) {
        if target.remove(name)? {
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
    manifest
        .controllers
        .insert(controller.to_owned(), version.index());

    let staged = target.stage(&changed)?;
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
        if target.remove(&name)? {
            files.push((name.clone(), Change::Removed));
        }
        ours.remove(&name);
    }
    manifest.files = all(&ours);
    target.put_manifest(&manifest)?;
    Ok(Written { files })
}

/// The protocol versions that controllers accepted when straw last wrote into a directory.
pub fn known_versions(directory: &Path) -> BTreeMap<String, ProtocolVersion> {
    let Ok(descriptor) = open_directory(directory) else {
        return BTreeMap::new();
    };
    let path = directory.to_owned();
    let manifest = Target { path, descriptor }.read_manifest();
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
            Err(Errno::NOENT) => match create_directory(path) {
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
        // Without good notes nothing is removed on their word.
        self.read_manifest().unwrap_or_else(|why| {
            let path = self.path.join(manifest::NAME);
            log::warn!("{} {why}; it is written anew", path.display());
            Manifest::default()
        })
    }

    fn read_manifest(&self) -> Result<Manifest, String> {
        let Some(file) = open_regular(self.descriptor.as_fd(), manifest::NAME) else {
            return Ok(Manifest::default());
        };
        // Where others may write to the directory, they can put notes there that name files of
        // ours, to have them removed.
        let theirs = fstat(&file).is_ok_and(|stat| {
            let user = rustix::process::geteuid().as_raw();
            ![0, user].contains(&stat.st_uid) || stat.st_mode & 0o022 != 0
        });
        if theirs {
            return Err("can be written by others".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(manifest::LONGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot be read ({error})"))?;
        Manifest::parse(&bytes).map_err(|error| format!("is damaged ({error})"))
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), WriteError> {
        if self.read_manifest().as_ref() == Ok(manifest) {
            return Ok(());
        }
        let temporary = format!("{TEMPORARY}{}", manifest::NAME);
        create(
            self.descriptor.as_fd(),
            &temporary,
            &manifest.to_bytes(),
            0o644,
        )
        .and_then(|()| {
            renameat(
                &self.descriptor,
                &temporary,
                &self.descriptor,
                manifest::NAME,
            )
        })
        .and_then(|()| fsync(&self.descriptor))
        .map_err(|errno| {
            let _ = unlinkat(&self.descriptor, &temporary, AtFlags::empty());
            self.error(manifest::NAME, errno)
        })
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
        // One descriptor for all files of a directory: there may be more files than descriptors.
        let mut parents: BTreeMap<Vec<&str>, Rc<OwnedFd>> = BTreeMap::new();
        for (name, file) in files {
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
    files: Vec<(&'a FileName, Rc<OwnedFd>, String)>,
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

/// Makes a directory and those above it, all of them open to readers, whatever the umask.
fn create_directory(path: &Path) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    match mkdirat(rustix::fs::CWD, path, mode) {
        Err(Errno::NOENT) => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            match create_directory(parent.ok_or(Errno::NOENT)?) {
                // Another process was faster; or it is there, and nothing can be made in it.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            mkdirat(rustix::fs::CWD, path, mode)?;
        }
        other => other?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
    rustix::fs::fchmod(&made, mode)
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
