//! The links at the top: `NAME -> ..data/NAME`.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{DATA, Store, StoreError, generation};
use crate::config::ConfigSet;
use crate::disk::{is_mount_point, lstatat, names, readlinkat, symlinkat, unlinkat};

/// The names that a set has at its top.
fn tops(set: &ConfigSet) -> BTreeSet<&str> {
    set.names()
        .map(|name| {
            let (mut directories, last) = name.split();
            directories.next().unwrap_or(last)
        })
        .collect()
}

/// Links that were made for names to come. Dropped before they point at something, they go.
pub(super) struct Made<'a> {
    store: &'a Store,
    names: Vec<String>,
}

impl Made<'_> {
    pub(super) fn settle(mut self) {
        self.names.clear();
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = unlinkat(&self.store.descriptor, name, AtFlags::empty());
        }
    }
}

impl Store {
    /// Whether every link of a set is there or can be made. Found out before anything changes.
    pub(super) fn check_links(&self, set: &ConfigSet) -> Result<(), StoreError> {
        match readlinkat(&self.descriptor, DATA) {
            Err(Errno::NOENT) => {}
            Ok(target) if target.to_str().ok().and_then(generation::number).is_some() => {}
            Ok(_) => return Err(self.in_the_way(DATA, "it is a link of something else")),
            Err(errno) => return Err(self.no_link(DATA, errno)),
        }
        for name in tops(set) {
            self.check_link(name)?;
        }
        Ok(())
    }

    /// Makes the links that are not there. Until the switch new ones point at nothing, which is
    /// what there was before.
    pub(super) fn make_links(&self, set: &ConfigSet) -> Result<Made<'_>, StoreError> {
        let mut made = Made {
            store: self,
            names: Vec::new(),
        };
        for name in tops(set) {
            match symlinkat(&format!("{DATA}/{name}"), &self.descriptor, name) {
                Ok(()) => made.names.push(name.to_owned()),
                Err(Errno::EXIST) => self.check_link(name)?,
                Err(errno) => return Err(StoreError::not_written(&self.path.join(name), errno)),
            }
        }
        Ok(made)
    }

    /// Removes the links of names that a set no longer has. They point at nothing by then.
    pub(super) fn remove_links(&self, set: &ConfigSet) -> Result<(), Errno> {
        let tops = tops(set);
        for name in names(&self.descriptor)? {
            let stays = name.to_str().is_ok_and(|name| tops.contains(name));
            if !stays && self.is_ours(&name) {
                unlinkat(&self.descriptor, &name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn check_link(&self, name: &str) -> Result<(), StoreError> {
        match readlinkat(&self.descriptor, name) {
            Err(Errno::NOENT) => Ok(()),
            Ok(target) if target.to_bytes() == format!("{DATA}/{name}").as_bytes() => Ok(()),
            Ok(_) => Err(self.in_the_way(name, "it is not of this store")),
            Err(errno) => Err(self.no_link(name, errno)),
        }
    }

    fn is_ours(&self, name: &CStr) -> bool {
        let target = readlinkat(&self.descriptor, name);
        let prefix = format!("{DATA}/");
        target.is_ok_and(|target| {
            target.to_bytes().strip_prefix(prefix.as_bytes()) == Some(name.to_bytes())
        })
    }

    /// What stands where a link is to be, and is none.
    fn no_link(&self, name: &str, errno: Errno) -> StoreError {
        if errno != Errno::INVAL {
            return StoreError::unusable(&self.path.join(name), errno);
        }
        let reason = if is_mount_point(self.descriptor.as_fd(), name) {
            "it is a mount point"
        } else {
            match lstatat(&self.descriptor, name).map(|stat| FileType::from_raw_mode(stat.st_mode))
            {
                Ok(FileType::RegularFile) => "it is a file, and not of this store",
                Ok(FileType::Directory) => "it is a directory, and not of this store",
                _ => "it is not of this store",
            }
        };
        self.in_the_way(name, reason)
    }

    pub(super) fn in_the_way(&self, name: &str, reason: &'static str) -> StoreError {
        let path = self.path.join(name);
        StoreError::InTheWay { path, reason }
    }
}
