//! The file that says which process is the watch.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, ftruncate, openat};
use rustix::io::Errno;

use crate::disk::{self, raw, remedy};

/// A file with the number of this process in it, as long as this lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes it, open to readers. As long as the process lives it is locked, so that what a process
    /// left that was killed is not taken for one that lives.
    ///
    /// # Errors
    ///
    /// [`PidFileError`] where it cannot be written, or is another one's that lives.
    pub fn write(path: &Path) -> Result<Self, PidFileError> {
        let path = path.to_owned();
        let fail = |errno| PidFileError::NotWritten {
            path: path.clone(),
            errno,
        };
        let mut file = loop {
            let file = Self::lock(&path, fail)?;
            // Whoever had it may have ended just now, and taken it along.
            if is_same(&file, &path) {
                break file;
            }
        };
        if !is_number(&file) {
            return Err(fail(Errno::EXIST));
        }
        ftruncate(&file, 0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(|error| fail(raw(error)))?;
        Ok(Self { path, file })
    }

    fn lock(path: &Path, fail: impl Fn(Errno) -> PidFileError) -> Result<File, PidFileError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match openat(CWD, path, flags, Mode::from_raw_mode(0o644)) {
            // A socket.
            Err(Errno::NXIO) => return Err(fail(Errno::NODEV)),
            other => File::from(other.map_err(&fail)?),
        };
        let metadata = file.metadata().map_err(|error| fail(raw(error)))?;
        if !metadata.is_file() {
            return Err(fail(Errno::NODEV));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&file).take(32).read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                let path = path.to_owned();
                return Err(PidFileError::Taken { path, pid });
            }
            // Where the file system has no locks, nobody is kept out.
            Err(errno) => log::debug!("{}: no lock: {errno}", path.display()),
            Ok(()) => {}
        }
        Ok(file)
    }
}

/// Whether a file holds a number or nothing, as one does that is made for this. Whatever else it holds is
/// worth more than a number.
fn is_number(mut file: &File) -> bool {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    let text = text.trim();
    read.is_ok() && file.rewind().is_ok() && text.chars().all(|c| c.is_ascii_digit())
}

/// Whether an open file is what stands at a path.
fn is_same(file: &File, path: &Path) -> bool {
    let (ours, there) = (file.metadata(), fs::symlink_metadata(path));
    matches!((ours, there), (Ok(ours), Ok(there))
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

/// It goes with the process, unless somebody has put another one in its place.
impl Drop for PidFile {
    fn drop(&mut self) {
        if is_same(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why there is no such file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidFileError {
    /// It cannot be written.
    #[error("{} cannot be written: {}", path.display(), describe(*errno))]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// It is another process's that lives.
    #[error("{} is held by {}", path.display(), holder(*pid))]
    Taken {
        /// The file.
        path: PathBuf,
        /// The process, as far as it says.
        pid: Option<u32>,
    },
}

fn describe(errno: Errno) -> String {
    match errno {
        Errno::EXIST => "it holds something else than the number of a process".into(),
        // A slash at the end is enough.
        Errno::ISDIR => "it names a directory".into(),
        // The last one is not followed; those before it are, but not in circles.
        Errno::LOOP => "it is a symlink, or leads through too many".into(),
        errno => disk::describe(errno),
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".into(),
    }
}

impl PidFileError {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotWritten { .. } => "pid-file-not-written",
            Self::Taken { .. } => "already-running",
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotWritten { errno, .. } => match *errno {
                Errno::EXIST => "remove it, or name another file",
                Errno::NODEV | Errno::LOOP => {
                    "name a file of its own: straw locks it, and removes it at the end"
                }
                Errno::ISDIR => "name a file",
                Errno::NOENT | Errno::NOTDIR => "its directory must be there",
                errno => remedy(errno).unwrap_or(
                    "may this user write there? /run/user/UID is a place where every user may, /run \
                     one where root may",
                ),
            },
            Self::Taken { .. } => {
                "one watch for a directory is enough: end that one first, or give this one a file of its \
                 own"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{FileType, mknodat};

    use super::*;

    #[test]
    fn it_is_there_as_long_as_the_process_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("straw.pid");
        // What one left that was killed.
        fs::write(&path, "12345678\n").unwrap();
        let file = PidFile::write(&path).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("held by process {}", own.trim())),
            "{error}"
        );
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_was_replaced_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("straw.pid");
        let file = PidFile::write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "7\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
    }

    #[test]
    fn what_is_no_file_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/null", at("link")).unwrap();
        let no_file = "it is a device, a pipe or a socket";
        for (path, why) in [
            (at("pipe"), no_file),
            (at("socket"), no_file),
            ("/dev/null".into(), no_file),
            (at("link"), "it is a symlink, or leads through too many"),
            (at("."), "it names a directory"),
            (at("new/"), "it names a directory"),
            (at("no/where"), "no such file or directory"),
        ] {
            let error = PidFile::write(&path).unwrap_err();
            let expected = format!("{} cannot be written: {why}", path.display());
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.kind(), "pid-file-not-written");
        }
    }

    #[test]
    fn what_holds_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "worth more than a number\n").unwrap();
        let error = PidFile::write(&path).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "worth more than a number\n"
        );
    }
}
