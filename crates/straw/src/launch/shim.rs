//! Shims: links to straw under the names of Slurm's commands.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::path::{find, find_behind, is_straw};
use crate::text::system_text;

/// The commands of Slurm's that a user calls: those that get shims unless others are named.
pub const CLIENT_COMMANDS: [&str; 18] = [
    "sacct", "sacctmgr", "salloc", "sattach", "sbatch", "sbcast", "scancel", "scontrol",
    "scrontab", "sdiag", "sinfo", "sprio", "squeue", "sreport", "srun", "sshare", "sstat",
    "strigger",
];

/// A directory for shims.
#[derive(Clone, Debug)]
pub struct Shims {
    directory: PathBuf,
    /// Straw itself.
    straw: PathBuf,
    path: OsString,
}

/// A shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// Its name.
    pub name: String,
    /// The command that it stands in front of, where there is one.
    pub command: Option<PathBuf>,
    /// Whether a shell that is asked for this name finds the shim.
    pub first: bool,
}

/// What became of a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Installed,
    /// It was there already.
    Unchanged,
    /// It was removed.
    Removed,
    /// There was none.
    Absent,
}

impl Outcome {
    /// The word for it in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Absent => "absent",
        }
    }
}

impl Shims {
    /// Those in a directory; `straw` is this program, `path` the PATH.
    pub fn new(directory: &Path, straw: &Path, path: &OsStr) -> Self {
        Self {
            directory: directory.to_owned(),
            straw: straw.to_owned(),
            path: path.to_owned(),
        }
    }

    /// The names of those of Slurm's commands that are on the PATH.
    pub fn commands(&self) -> Vec<String> {
        CLIENT_COMMANDS
            .into_iter()
            .filter(|name| find_behind(OsStr::new(name), &self.path).is_ok())
            .map(str::to_owned)
            .collect()
    }

    /// Makes a shim.
    ///
    /// # Errors
    ///
    /// Where the name is none of a command, something else is there, or the directory cannot be
    /// written to.
    pub fn install(&self, name: &str) -> Result<Outcome, ShimError> {
        let link = self.place(name)?;
        fs::create_dir_all(&self.directory).map_err(|error| ShimError::Io {
            path: self.directory.clone(),
            error,
        })?;
        // Beside straw a relative link, so that the two can be moved together.
        let beside = self.directory.join("straw");
        let target = match (fs::canonicalize(beside), fs::canonicalize(&self.straw)) {
            (Ok(beside), Ok(straw)) if beside == straw => Path::new("straw"),
            _ => &self.straw,
        };
        match symlink(target, &link) {
            Ok(()) => Ok(Outcome::Installed),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if is_straw(&link) {
                    Ok(Outcome::Unchanged)
                } else if is_shim(&link) {
                    // One that straw left behind when it was moved.
                    fs::remove_file(&link)
                        .and_then(|()| symlink(target, &link))
                        .map_err(|error| ShimError::Io { path: link, error })?;
                    Ok(Outcome::Installed)
                } else {
                    Err(ShimError::InTheWay(link))
                }
            }
            Err(error) => Err(ShimError::Io { path: link, error }),
        }
    }

    /// Removes a shim. What is no shim stays.
    ///
    /// # Errors
    ///
    /// Where something else is there, or the directory cannot be written to.
    pub fn remove(&self, name: &str) -> Result<Outcome, ShimError> {
        let link = self.place(name)?;
        match fs::symlink_metadata(&link) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::Absent),
            Ok(metadata) if metadata.is_symlink() && is_shim(&link) => {}
            Ok(_) => return Err(ShimError::InTheWay(link)),
            Err(error) => return Err(ShimError::Io { path: link, error }),
        }
        fs::remove_file(&link).map_err(|error| ShimError::Io { path: link, error })?;
        Ok(Outcome::Removed)
    }

    /// The shims that are there.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Shim>, ShimError> {
        let fail = |error| ShimError::Io {
            path: self.directory.clone(),
            error,
        };
        let mut shims = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let Some(name) = path.file_name().and_then(OsStr::to_str) else {
                continue;
            };
            if super::path::is_straws_name(Some(OsStr::new(name))) || !is_shim(&path) {
                continue;
            }
            shims.push(self.shim(name));
        }
        shims.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(shims)
    }

    /// What there is to say of a shim of this name.
    pub fn shim(&self, name: &str) -> Shim {
        let path = OsStr::new(name);
        let called = find(path, &self.path).ok();
        Shim {
            name: name.to_owned(),
            command: find_behind(path, &self.path).ok(),
            first: called.is_some_and(|called| is_straw(&called)),
        }
    }

    fn place(&self, name: &str) -> Result<PathBuf, ShimError> {
        let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with(['.', '-']);
        if !is_name || super::path::is_straws_name(Some(OsStr::new(name))) {
            return Err(ShimError::Name(name.to_owned()));
        }
        Ok(self.directory.join(name))
    }
}

/// Whether a link leads to straw. One that leads nowhere, as when straw was removed first, is told
/// by the name of what it led to.
fn is_shim(link: &Path) -> bool {
    let Ok(target) = fs::read_link(link) else {
        return false;
    };
    is_straw(link) || (!link.exists() && super::path::is_straws_name(target.file_name()))
}

/// What can be wrong with shims.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// None of Slurm's commands is on the PATH.
    #[error("none of Slurm's commands is on the PATH")]
    NoCommands,
    /// Not the name of a command.
    #[error("`{}` is not the name of a command", .0.escape_debug())]
    Name(String),
    /// Something else is there.
    #[error("{} is there already, and is no shim", .0.display())]
    InTheWay(PathBuf),
    /// The directory cannot be read or written.
    #[error("{}: {}", path.display(), system_text(error))]
    Io {
        /// The shim, or the directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl ShimError {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NoCommands => "no-commands",
            Self::Name(_) => "bad-shim-name",
            Self::InTheWay(_) => "no-shim",
            Self::Io { .. } => "shim-not-written",
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoCommands => {
                "install Slurm's client commands (slurm-client) first, or name those that are to \
                 come: straw shim install sinfo squeue"
            }
            Self::Name(_) => "a shim has the name of the command that it stands in front of: sinfo",
            Self::InTheWay(_) => {
                "it stays as it is; choose another directory with --dir, one that comes before it \
                 on the PATH"
            }
            Self::Io { .. } => {
                "choose a directory with --dir that this user may write to, and that comes first \
                 on the PATH"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_come_and_go_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let straw = root.path().join("straw");
        fs::write(&straw, "").unwrap();
        let shims = Shims::new(root.path(), &straw, root.path().as_os_str());
        assert_eq!(shims.install("sinfo").unwrap(), Outcome::Installed);
        assert_eq!(shims.install("sinfo").unwrap(), Outcome::Unchanged);
        let target = fs::read_link(root.path().join("sinfo")).unwrap();
        assert_eq!(target, Path::new("straw"));

        fs::write(root.path().join("squeue"), "").unwrap();
        symlink("squeue", root.path().join("sbatch")).unwrap();
        for name in ["squeue", "sbatch"] {
            assert!(matches!(shims.install(name), Err(ShimError::InTheWay(_))));
            assert!(matches!(shims.remove(name), Err(ShimError::InTheWay(_))));
        }
        for name in ["", "a/b", "..", "-x", "straw"] {
            assert!(
                matches!(shims.install(name), Err(ShimError::Name(_))),
                "{name}"
            );
        }
        let names = |shims: &Shims| -> Vec<String> {
            shims
                .list()
                .unwrap()
                .into_iter()
                .map(|shim| shim.name)
                .collect()
        };
        assert_eq!(names(&shims), ["sinfo"]);

        // Also when straw is gone already.
        fs::remove_file(&straw).unwrap();
        assert_eq!(names(&shims), ["sinfo"]);
        assert_eq!(shims.remove("sinfo").unwrap(), Outcome::Removed);
        assert_eq!(shims.remove("sinfo").unwrap(), Outcome::Absent);
        assert!(names(&shims).is_empty());
    }
}
