//! Files written so that a reader sees the old one or the new one, whatever happens.

mod calls;
mod replace;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, StatxAttributes, StatxFlags,
    Timespec, Timestamps, UTIME_OMIT, flock, statx,
};
use rustix::io::Errno;

pub(crate) use calls::*;
pub use replace::{ReplaceError, can_replace, replace};

use crate::text::system_text;

/// What temporary files begin with. No file of a config set can.
pub(crate) const TEMPORARY: &str = ".straw-new.";

/// Puts a file of this content and mode in the place of whatever is there, in one step; with a time,
/// that is its time of modification.
pub(crate) fn put(
    directory: BorrowedFd<'_>,
    name: impl AsRef<OsStr>,
    content: &[u8],
    mode: u32,
    time: Option<SystemTime>,
) -> Result<(), Errno> {
    let name = name.as_ref();
    let mut temporary = OsString::from(TEMPORARY);
    temporary.push(name);
    create(directory, &temporary, content, mode)
        .and_then(|()| time.map_or(Ok(()), |time| touch(directory, &temporary, time)))
        .and_then(|()| rename(directory, &temporary, name))
        .inspect_err(|_| {
            let _ = unlinkat(directory, &temporary, AtFlags::empty());
        })
}

/// Sets a time of modification. Ours, not that of a file server.
pub(crate) fn touch(
    directory: BorrowedFd<'_>,
    name: impl AsRef<OsStr>,
    time: SystemTime,
) -> Result<(), Errno> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: since.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: since.subsec_nanos().into(),
        },
    };
    utimensat(directory, name.as_ref(), &times)
}

/// Whether a file is there just so: a regular one of this content and mode.
pub(crate) fn holds(directory: BorrowedFd<'_>, name: &str, content: &[u8], mode: u32) -> bool {
    let Ok(Some(mut file)) = open_regular(directory, name) else {
        return false;
    };
    let as_long = |stat: &Stat| {
        stat.st_mode & 0o7777 == mode && u64::try_from(stat.st_size) == Ok(content.len() as u64)
    };
    let mut bytes = Vec::new();
    fstat(&file).is_ok_and(|stat| as_long(&stat))
        && file.read_to_end(&mut bytes).is_ok()
        && bytes == content
}

/// What the system says of a file that cannot be written.
pub(crate) fn describe(errno: Errno) -> String {
    match errno {
        Errno::BUSY => "it is a mount point".to_owned(),
        Errno::ISDIR => "it is a directory".to_owned(),
        Errno::NODEV => "it is a device, a pipe or a socket".to_owned(),
        errno => system_text(&errno.into()),
    }
}

/// What to do about it where it is not the place that is wrong.
pub(crate) fn remedy(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::MFILE => "raise the limit on open files (ulimit -n, or that of the container)",
        Errno::NFILE => {
            "the whole machine has too many files open: end what holds them, or raise fs.file-max"
        }
        Errno::FBIG => "a limit on the size of files forbids it (ulimit -f)",
        Errno::NOMEM => "make room in memory, or raise the container's limit",
        Errno::IO => "the disk, or the server behind it, fails: the kernel's log says more",
        Errno::STALE => "its file server no longer knows it: mount it anew",
        _ => return None,
    })
}

/// Opens a directory that the user named; that may be a symlink.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Locks a directory, or a file, for as long as the descriptor is open; says whether it could
/// within `patience`.
///
/// The kernel wakes who waits for a lock, but knows no deadline for it. So the waiting is done by a
/// thread, and this one waits for the thread, which is left behind where the time is up.
pub(crate) fn lock(descriptor: &OwnedFd, patience: Duration) -> Result<bool, Errno> {
    let give_up = Instant::now() + patience;
    match try_lock(descriptor) {
        Err(Errno::WOULDBLOCK) if !patience.is_zero() => {}
        Err(Errno::WOULDBLOCK) => return Ok(false),
        other => return other.map(|()| true),
    }
    // Not buffered: what is sent has been received, and who sends in vain knows.
    let (sender, receiver) = mpsc::sync_channel(0);
    let started = descriptor.try_clone().and_then(|descriptor| {
        let wait = move || {
            let locked = loop {
                match flock(&descriptor, FlockOperation::LockExclusive) {
                    Err(Errno::INTR) => {}
                    other => break other,
                }
            };
            // The lock belongs to both descriptors, and the other one may still be open.
            if sender.send(locked).is_err() {
                let _ = flock(&descriptor, FlockOperation::Unlock);
            }
        };
        let thread = thread::Builder::new().name("lock".into());
        thread.stack_size(1 << 16).spawn(wait)
    });
    if started.is_ok() {
        return match receiver.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            Ok(locked) => without_locks(locked).map(|()| true),
            Err(_) => Ok(false),
        };
    }
    // No threads or descriptors left here: then we ask now and then.
    while Instant::now() < give_up {
        thread::sleep(Duration::from_millis(20));
        match try_lock(descriptor) {
            Err(Errno::WOULDBLOCK) => {}
            other => return other.map(|()| true),
        }
    }
    Ok(false)
}

fn try_lock(descriptor: &OwnedFd) -> Result<(), Errno> {
    loop {
        match flock(descriptor, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            other => return without_locks(other),
        }
    }
}

/// On a file system without locks nobody else is kept out.
fn without_locks(locked: Result<(), Errno>) -> Result<(), Errno> {
    match locked {
        Err(errno) if errno != Errno::WOULDBLOCK => {
            log::debug!("no lock: {errno}");
            Ok(())
        }
        other => other,
    }
}

/// Makes a directory of this mode, and those above it, which are open to readers. The umask has
/// no say.
pub(crate) fn create_directory(path: &Path, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode);
    match mkdirat(CWD, path, mode) {
        Err(Errno::NOENT) => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            match create_directory(parent.ok_or(Errno::NOENT)?, 0o755) {
                // Another process was faster; or it is there, and nothing can be made in it.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            mkdirat(CWD, path, mode)?;
        }
        other => other?,
    }
    fchmod(&open_below(CWD, path)?, mode)
}

/// Opens a directory that must not be a symlink.
pub(crate) fn open_below(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Opens a directory below another, one component after the other, none of them a symlink.
pub(crate) fn descend<'a>(
    from: &OwnedFd,
    directories: impl Iterator<Item = &'a str>,
    create: bool,
) -> Result<OwnedFd, Errno> {
    let mut at = from.try_clone().map_err(raw)?;
    for directory in directories {
        if create {
            match mkdirat(&at, directory, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let made = open_below(at.as_fd(), directory)?;
                    // The umask has no say.
                    fchmod(&made, Mode::from_raw_mode(0o755))?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        at = open_below(at.as_fd(), directory)?;
    }
    Ok(at)
}

/// Removes what stands at a name, with all that is in it. No symlink is followed.
pub(crate) fn remove_tree(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        // PERM: so POSIX has it for directories.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let below = open_below(directory, name)?;
    for name in names(&below)? {
        remove_tree(below.as_fd(), &name)?;
    }
    unlinkat(directory, name, AtFlags::REMOVEDIR)
}

/// Writes the names in a directory to the disk.
pub(crate) fn sync(directory: &OwnedFd) -> Result<(), Errno> {
    match fsync(directory) {
        // Some file systems of networks and FUSE know this for files only.
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

/// Whether something is mounted at a name.
pub(crate) fn is_mount_point(directory: BorrowedFd<'_>, name: &str) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    statx(directory, name, flags, StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether nobody but this user and root could have written what this describes.
pub(crate) fn only_ours(stat: &Stat) -> bool {
    let user = rustix::process::geteuid().as_raw();
    [0, user].contains(&stat.st_uid) && stat.st_mode & 0o022 == 0
}

/// Opens a file for reading, if one is there.
pub(crate) fn open_regular(
    directory: BorrowedFd<'_>,
    name: &str,
) -> Result<Option<fs::File>, Errno> {
    // Without NONBLOCK a named pipe would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = match openat(directory, name, flags, Mode::empty()) {
        // Nothing, a symlink, a socket or a device that has no driver.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
        other => other?,
    };
    let is_file = FileType::from_raw_mode(fstat(&descriptor)?.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| fs::File::from(descriptor)))
}

/// Writes a new file and its content to the disk. What stands at its name, left by a run that
/// was killed, goes.
fn create(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    content: &[u8],
    mode: u32,
) -> Result<(), Errno> {
    remove_tree(directory, name)?;
    create_new(directory, name, content, mode)
}

/// Writes a new file and its content to the disk. It is an error if there is one: it can be of the
/// same set, under a name that differs only in case, where the file system does not tell the two.
pub(crate) fn create_new(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    content: &[u8],
    mode: u32,
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = fs::File::from(descriptor);
    file.write_all(content).map_err(raw)?;
    // Not by open, whose mode the umask cuts.
    fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all().map_err(raw)
}

pub(crate) fn raw(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
