//! A single file that the user named, put in the place of what is there.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::{describe, lock, open_directory, put, raw, remedy, sync};
use crate::text::span;

/// Puts a file of this content and mode in the place of whatever file is there. A symlink is
/// replaced, not followed. Another straw that writes to the same directory is waited for, as long
/// as `patience`.
///
/// # Errors
///
/// [`ReplaceError`]; what was there is still there.
pub fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    patience: Duration,
) -> Result<(), ReplaceError> {
    let fail = |errno| ReplaceError::File {
        path: path.to_owned(),
        errno,
    };
    check_place(path).map_err(fail)?;
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    let name = path.file_name().ok_or_else(|| fail(Errno::ISDIR))?;
    let directory = open_directory(parent.unwrap_or(Path::new("."))).map_err(fail)?;
    if !lock(&directory, patience).map_err(fail)? {
        let path = path.to_owned();
        return Err(ReplaceError::Locked { path, patience });
    }
    put(directory.as_fd(), name, content, mode, None).map_err(fail)?;
    // It is there; not every file system can sync a directory.
    if let Err(errno) = sync(&directory) {
        log::debug!("{}: not synced: {errno}", path.display());
    }
    Ok(())
}

/// That what stands at a path may be replaced by a file: nothing, a file, or a link to one. Not a
/// device, a pipe or a socket, nor what stands for one: `/dev/stdout`.
fn check_place(path: &Path) -> Result<(), Errno> {
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if ends_in_slash || path.file_name().is_none() {
        return Err(Errno::ISDIR);
    }
    let absolute = std::path::absolute(path).map_err(raw)?;
    if absolute.starts_with("/proc")
        || (absolute.starts_with("/dev") && !absolute.starts_with("/dev/shm"))
    {
        return Err(Errno::NODEV);
    }
    for metadata in [fs::symlink_metadata(path), fs::metadata(path)] {
        match metadata {
            Ok(metadata) if metadata.is_dir() => return Err(Errno::ISDIR),
            Ok(metadata) if metadata.is_file() || metadata.is_symlink() => {}
            Ok(_) => return Err(Errno::NODEV),
            // A link that leads nowhere is replaced; anything else tells later.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Whether [`replace`] has a chance: whether the directory is there and can be written to.
///
/// # Errors
///
/// [`ReplaceError::File`].
pub fn can_replace(path: &Path) -> Result<(), ReplaceError> {
    let fail = |errno| ReplaceError::File {
        path: path.to_owned(),
        errno,
    };
    check_place(path).map_err(fail)?;
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let directory = parent.unwrap_or(Path::new("."));
    match accessat(CWD, directory, access, AtFlags::EACCESS) {
        // A kernel that cannot tell: then the writing does.
        Ok(()) | Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(fail(errno)),
    }
}

/// Why a single file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// Another straw writes to its directory, for too long.
    #[error("the directory of {} has been locked for {}", path.display(), span(*patience))]
    Locked {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {}", path.display(), describe(*errno))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

impl ReplaceError {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "directory-locked",
            Self::File { .. } => "file-not-written",
        }
    }

    pub(crate) fn hint(&self) -> String {
        let text = match self {
            Self::Locked { .. } => "another straw writes there, or something else holds its lock",
            Self::File { errno, .. } => match *errno {
                Errno::BUSY => {
                    "a single file that is mounted cannot be replaced: mount its directory instead"
                }
                Errno::NODEV => "a file is what it takes; without --write the token goes to stdout",
                Errno::ISDIR => "name a file in it",
                Errno::NAMETOOLONG => "choose a shorter name",
                Errno::ROFS => "mount a writable volume there (a tmpfs will do)",
                Errno::NOENT => "its directory must be there",
                Errno::NOSPC | Errno::DQUOT => "make room; what was there before is as it was",
                errno => remedy(errno).unwrap_or(
                    "the file is replaced by a new one, so its directory must be writable",
                ),
            },
        };
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let other = dir.path().join("other");
        fs::write(&other, "other").unwrap();
        symlink(&other, &path).unwrap();
        // As one that was killed would have left it.
        fs::write(dir.path().join(".straw-new.token"), "half").unwrap();
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o600, PATIENCE).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert_eq!(names(dir.path()), ["other", "token"]);
    }

    #[test]
    fn what_goes_wrong_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let fail = |path: &Path| {
            replace(path, b"x", 0o600, PATIENCE)
                .unwrap_err()
                .to_string()
        };
        let directory = dir.path().join("directory");
        fs::create_dir(&directory).unwrap();
        assert!(fail(&directory).ends_with("cannot be written: it is a directory"));
        assert!(fail(&dir.path().join("not/there")).ends_with("no such file or directory"));
        assert!(fail(Path::new("/")).ends_with("it is a directory"));
        assert!(fail(&dir.path().join("new/")).ends_with("it is a directory"));
        for device in ["/dev/null", "/dev/stdout", "/proc/self/fd/1"] {
            assert!(fail(Path::new(device)).ends_with("it is a device, a pipe or a socket"));
        }
        for path in [&directory, &dir.path().join("not/there")] {
            assert!(can_replace(path).is_err());
        }
        assert!(can_replace(&dir.path().join("token")).is_ok());
        let held = open_directory(dir.path()).unwrap();
        assert!(lock(&held, PATIENCE).unwrap());
        assert!(fail(&dir.path().join("token")).ends_with("has been locked for 100ms"));
        assert_eq!(names(dir.path()), ["directory"]);
    }
}
