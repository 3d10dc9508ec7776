//! The file that says which process is the watch.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, ftruncate, openat};
use rustix::io::Errno;

use crate::text::system_text;

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
        let fail = |error: io::Error| PidFileError::NotWritten {
            path: path.clone(),
            error,
        };
        let mut file = loop {
            let file = Self::lock(&path, fail)?;
            // Whoever had it may have ended just now, and taken it along.
            if is_same(&file, &path) {
                break file;
            }
        };
        if !is_number(&file) {
            return Err(fail(Errno::EXIST.into()));
        }
        ftruncate(&file, 0).map_err(|errno| fail(errno.into()))?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { path, file })
    }

    fn lock(path: &Path, fail: impl Fn(io::Error) -> PidFileError) -> Result<File, PidFileError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(CWD, path, flags, Mode::from_raw_mode(0o644));
        let file = File::from(file.map_err(|errno| fail(errno.into()))?);
        if !file.metadata().map_err(&fail)?.is_file() {
            return Err(fail(io::ErrorKind::InvalidInput.into()));
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
    #[error("{} cannot be written: {}", path.display(), system_text(error))]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is another process's that lives.
    #[error("{} is held by {}", path.display(), describe(*pid))]
    Taken {
        /// The file.
        path: PathBuf,
        /// The process, as far as it says.
        pid: Option<u32>,
    },
}

fn describe(pid: Option<u32>) -> String {
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

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotWritten { error, .. } if error.kind() == io::ErrorKind::AlreadyExists => {
                "it holds something else than the number of a process: remove it, or name another \
                 file"
                    .into()
            }
            Self::NotWritten { .. } => {
                "may this user write there? /run/user/UID is a place where every user may, /run one \
                 where root may"
                    .into()
            }
            Self::Taken { .. } => {
                "one watch for a directory is enough: end that one first, or give this one a file of its \
                 own"
                    .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        for path in [
            directory.path().to_owned(),
            directory.path().join("no/where"),
        ] {
            let error = PidFile::write(&path).unwrap_err();
            assert_eq!(error.kind(), "pid-file-not-written");
        }
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(PidFile::write(&link).is_err());
    }

    #[test]
    fn what_holds_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "worth more than a number\n").unwrap();
        let error = PidFile::write(&path).unwrap_err();
        assert!(error.hint().contains("something else"), "{error}");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "worth more than a number\n"
        );
    }
}
