//! Where a store is that nobody named: a place that only this user can write to.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/straw/NAME     where that is a directory of ours
//!   /run/straw/NAME                 for root
//!   /tmp/straw-UID/NAME             else
//! ```
//!
//! NAME is made from what is fetched, so that two clusters in one container do not share a store.
//!
//! Commands run with what a store holds: a `slurm.conf` names plugins, so whoever writes one
//! runs code as whoever reads it. In `/tmp` anybody can make any name first. So:
//!
//! - each directory is made with mode 0700 from the start, and what is there is opened without
//!   following a link and looked at through that descriptor: nothing can be exchanged between
//!   the look and the use;
//! - its owner is this user (not root either: root's directory is of no use), so nobody else
//!   made it to fill it;
//! - its mode has no bits for group and others, so nobody else wrote into it. It is never
//!   changed: what is open may have been written to already;
//! - nobody else may rename it away and put another in its place, since commands come by its
//!   path: the directory above is root's or ours, and others cannot write to it, or it has the
//!   sticky bit.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Stat};
use rustix::io::Errno;

use super::{Store, StoreError};
use crate::disk::{fstat, lstatat, mkdirat, open_below, open_directory};
use crate::text::mark_of;

/// The user who stands for all those that a user namespace does not know: in such a container
/// `/tmp` is often the host's, and the host's root looks like this.
const NOBODY: u32 = 65534;

/// What the default place depends on.
#[derive(Clone, Debug)]
pub struct PlaceEnv {
    /// The value of `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    run: PathBuf,
    tmp: PathBuf,
}

impl PlaceEnv {
    /// The places of a system.
    pub fn new(runtime_dir: Option<PathBuf>) -> Self {
        Self {
            runtime_dir,
            run: "/run".into(),
            tmp: "/tmp".into(),
        }
    }

    /// The same, with other directories in the place of `/run` and `/tmp`.
    #[cfg(test)]
    pub(super) fn below(runtime_dir: Option<PathBuf>, run: &Path, tmp: &Path) -> Self {
        let (run, tmp) = (run.to_owned(), tmp.to_owned());
        Self {
            runtime_dir,
            run,
            tmp,
        }
    }

    /// The directories that come into question, and the name of straw's own in each.
    fn candidates(&self) -> Vec<(&Path, String)> {
        let user = user();
        let mut places = Vec::new();
        if let Some(path) = &self.runtime_dir
            && is_runtime_dir(path)
        {
            places.push((path.as_path(), "straw".to_owned()));
        }
        if user == 0 {
            places.push((&self.run, "straw".to_owned()));
        }
        places.push((&self.tmp, format!("straw-{user}")));
        places
    }
}

impl Store {
    /// The default store of this user for what the key names, made where it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`], of the last place that came into question.
    pub fn private(env: &PlaceEnv, key: &str) -> Result<Self, StoreError> {
        // A clash is harmless, as the state has its own key.
        let name = mark_of(key);
        let mut places = env.candidates().into_iter().peekable();
        loop {
            let Some((base, own)) = places.next() else {
                // There is always /tmp.
                return Err(StoreError::unusable(&env.tmp, Errno::NOENT));
            };
            match open_private(base, &own, &name) {
                Err(error) if places.peek().is_some() => log::debug!("{error}"),
                other => return other,
            }
        }
    }
}

impl Store {
    /// This user's default stores, of whatever they hold: those that are there; nothing is made.
    pub fn privates(env: &PlaceEnv) -> Vec<Result<Option<Self>, StoreError>> {
        let mut stores = Vec::new();
        for (base, own) in env.candidates() {
            let above = base.join(own);
            let Ok(stat) = lstatat(CWD, &above) else {
                continue;
            };
            if let Some(reason) = fault(&stat) {
                stores.push(Err(StoreError::NotOurs {
                    path: above,
                    reason,
                }));
                continue;
            }
            let entries = std::fs::read_dir(&above).into_iter().flatten().flatten();
            let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            stores.extend(paths.iter().map(|path| Self::open_at(path, true).map(Some)));
        }
        stores
    }
}

fn open_private(base: &Path, own: &str, name: &str) -> Result<Store, StoreError> {
    let above = open_directory(base).map_err(|errno| StoreError::unusable(base, errno))?;
    check_base(&above, base)?;
    let path = base.join(own);
    let own = make(above.as_fd(), own, &path)?;
    let path = path.join(name);
    let descriptor = make(own.as_fd(), name, &path)?;
    Ok(Store {
        path,
        descriptor,
        private: true,
    })
}

/// Opens a directory that is ours alone, made where it is not there.
fn make(above: BorrowedFd<'_>, name: &str, path: &Path) -> Result<OwnedFd, StoreError> {
    let opened = match open_below(above, name) {
        Err(Errno::NOENT) => match mkdirat(above, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => open_below(above, name),
            Err(errno) => return Err(StoreError::not_written(path, errno)),
        },
        other => other,
    };
    let unusable = |errno| StoreError::unusable(path, errno);
    // What cannot be opened is looked at to say what it is.
    let stat = match &opened {
        Ok(descriptor) => fstat(descriptor).map_err(unusable)?,
        Err(errno) => lstatat(above, name).map_err(|_| unusable(*errno))?,
    };
    if let Some(reason) = fault(&stat) {
        let path = path.to_owned();
        return Err(StoreError::NotOurs { path, reason });
    }
    opened.map_err(unusable)
}

/// What keeps this from being a directory of ours alone.
fn fault(stat: &Stat) -> Option<String> {
    let mode = stat.st_mode & 0o7777;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {}
        FileType::Symlink => return Some("it is a symlink".to_owned()),
        _ => return Some("it is no directory".to_owned()),
    }
    if stat.st_uid != user() {
        return Some(format!("it belongs to user {}", stat.st_uid));
    }
    (mode & 0o077 != 0).then(|| format!("others may use it, too (its mode is {mode:04o})"))
}

/// Whether nobody else can take away what we make in a directory.
fn check_base(descriptor: &OwnedFd, path: &Path) -> Result<(), StoreError> {
    const STICKY: u32 = 0o1000;
    let stat = fstat(descriptor).map_err(|errno| StoreError::unusable(path, errno))?;
    let reason = if ![0, user(), NOBODY].contains(&stat.st_uid) {
        format!("it belongs to user {}", stat.st_uid)
    } else if stat.st_mode & 0o022 != 0 && stat.st_mode & STICKY == 0 {
        "others may rename what is in it (it has no sticky bit)".to_owned()
    } else {
        return Ok(());
    };
    let path = path.to_owned();
    Err(StoreError::NotOurs { path, reason })
}

/// Whether this is what `XDG_RUNTIME_DIR` is meant to name. After `sudo` and `su` it can name
/// somebody else's.
fn is_runtime_dir(path: &Path) -> bool {
    path.is_absolute()
        && open_directory(path)
            .and_then(|descriptor| fstat(&descriptor))
            .is_ok_and(|stat| stat.st_uid == user() && stat.st_mode & 0o022 == 0)
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
