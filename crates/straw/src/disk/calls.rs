//! The system calls that have to do with names and files. One that a signal interrupted, as file
//! systems of networks and FUSE let it, is made again.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags, Stat, Timestamps};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

pub(crate) fn openat(
    directory: impl AsFd,
    name: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| fs::openat(&directory, name, flags, mode))
}

pub(crate) fn mkdirat(
    directory: impl AsFd,
    name: impl Arg + Copy,
    mode: Mode,
) -> Result<(), Errno> {
    retry_on_intr(|| fs::mkdirat(&directory, name, mode))
}

pub(crate) fn symlinkat(
    target: impl Arg + Copy,
    directory: impl AsFd,
    name: impl Arg + Copy,
) -> Result<(), Errno> {
    retry_on_intr(|| fs::symlinkat(target, &directory, name))
}

pub(crate) fn readlinkat(directory: impl AsFd, name: impl Arg + Copy) -> Result<CString, Errno> {
    retry_on_intr(|| fs::readlinkat(&directory, name, Vec::new()))
}

pub(crate) fn unlinkat(
    directory: impl AsFd,
    name: impl Arg + Copy,
    flags: AtFlags,
) -> Result<(), Errno> {
    retry_on_intr(|| fs::unlinkat(&directory, name, flags))
}

pub(crate) fn fstat(descriptor: impl AsFd) -> Result<Stat, Errno> {
    retry_on_intr(|| fs::fstat(&descriptor))
}

/// What stands at a name; a symlink is not followed.
pub(crate) fn lstatat(directory: impl AsFd, name: impl Arg + Copy) -> Result<Stat, Errno> {
    retry_on_intr(|| fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW))
}

pub(crate) fn fchmod(descriptor: impl AsFd, mode: Mode) -> Result<(), Errno> {
    retry_on_intr(|| fs::fchmod(&descriptor, mode))
}

pub(crate) fn fsync(descriptor: impl AsFd) -> Result<(), Errno> {
    retry_on_intr(|| fs::fsync(&descriptor))
}

/// Sets the times of what stands at a name; a symlink is not followed.
pub(crate) fn utimensat(
    directory: impl AsFd,
    name: impl Arg + Copy,
    times: &Timestamps,
) -> Result<(), Errno> {
    retry_on_intr(|| fs::utimensat(&directory, name, times, AtFlags::SYMLINK_NOFOLLOW))
}

/// Gives what stands at a name another one. What is done is done, though it is said to have
/// failed: a file server whose answer was lost is asked again, and then finds nothing to rename.
pub(crate) fn rename(
    directory: impl AsFd,
    from: impl Arg + Copy,
    to: impl Arg + Copy,
) -> Result<(), Errno> {
    let before = lstatat(&directory, from)?;
    retry_on_intr(|| fs::renameat(&directory, from, &directory, to)).or_else(|errno| match lstatat(
        &directory, to,
    ) {
        Ok(now) if is_same(&now, &before) => Ok(()),
        _ => Err(errno),
    })
}

/// The names in a directory.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    retry_on_intr(|| {
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let name = entry?.file_name().to_owned();
            if ![c".", c".."].contains(&name.as_c_str()) {
                names.push(name);
            }
        }
        Ok(names)
    })
}

/// Whether both are of one file.
pub(crate) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
