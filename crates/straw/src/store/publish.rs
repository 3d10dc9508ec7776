//! A set becomes the current one.
//!
//! ```text
//!   look whether all links can be made          nothing has changed
//!   tidy up (collect)                           what nobody reads goes
//!   the current one is just so? ─▶ note that it was checked, and done
//!   ..new-8/: files, notes, down to the disk    readers do not know the name
//!   ..new-8 -> ..gen-8                          whole, and nothing points at it
//!   NAME -> ..data/NAME for new names           they point at nothing: no such file, as before
//!   fsync DIR
//!   ..data -> ..gen-8, by rename                THE SWITCH: every name at once
//!   fsync DIR
//!   note when ..gen-7 was superseded            it stays for a while
//!   links of names that are gone                they pointed at nothing since the switch
//! ```
//!
//! An error before the switch takes back what was made. After it the set is published, and what
//! goes wrong with the rest is left to the next time.

use std::os::fd::AsFd as _;
use std::time::SystemTime;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::generation::{self, NEW, Staged};
use super::state::{self, State};
use super::{Current, DATA, Found, Lock, Store, StoreError};
use crate::config::ConfigSet;
use crate::disk::{rename, symlinkat, sync, touch, unlinkat};

/// What became of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is the current one now.
    New(Current),
    /// It was already, and has been noted as checked.
    Unchanged(Current),
}

impl Published {
    /// The set.
    pub fn current(&self) -> &Current {
        match self {
            Self::New(current) | Self::Unchanged(current) => current,
        }
    }
}

impl Store {
    /// Makes a set the current one, in one step. One that is the current one already, with the
    /// same key, is not published again; what else is new in the state is noted.
    ///
    /// Files that somebody else put into DIR are never replaced, those of a `straw fetch`
    /// neither: where one has the name of a link that is needed, nothing is published.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the current set is as it was.
    pub fn publish(
        &self,
        lock: &Lock<'_>,
        set: &ConfigSet,
        state: &State,
    ) -> Result<Published, StoreError> {
        debug_assert!(std::ptr::eq(lock.store, self), "a lock of another store");
        self.check_links(set)?;
        self.collect();
        if let Some(found) = self.find()?
            && found.current.state.key == state.key
            && generation::holds(&found.descriptor, set)
        {
            self.renew(&found, state)?;
            // One that was killed may not have come to them.
            self.make_links(set)?.settle();
            self.tidy_links(set);
            return self.found(found.number).map(Published::Unchanged);
        }

        let fail = |errno| StoreError::not_written(&self.path, errno);
        let number = self.next_number().map_err(fail)?;
        let mut staged = Staged::write(self, number, set, state)?;
        staged.rename()?;
        let links = self.make_links(set)?;
        sync(&self.descriptor).map_err(fail)?;
        let earlier = self.number().map_err(fail)?;
        self.switch(staged.number, earlier)?;
        links.settle();
        staged.settle();

        if let Err(errno) = sync(&self.descriptor) {
            log::warn!("{}: {errno}", self.path.display());
        }
        if let Some(earlier) = earlier {
            let _ = self.mark(earlier, Some(SystemTime::now()));
        }
        self.tidy_links(set);
        self.found(number).map(Published::New)
    }

    fn renew(&self, found: &Found, state: &State) -> Result<(), StoreError> {
        let notes = found.descriptor.as_fd();
        if found.current.state.says_the_same_as(state) {
            touch(notes, state::NAME, SystemTime::now())
        } else {
            state::write(notes, state)
        }
        .map_err(|errno| {
            let path = found.current.generation.join(state::NAME);
            StoreError::not_written(&path, errno)
        })
    }

    /// Switches the link over to a generation.
    fn switch(&self, number: u64, earlier: Option<u64>) -> Result<(), StoreError> {
        // Its time may be of notes that were renewed. Killed right after the switch, nobody shall
        // take it for that of its end.
        if let Some(earlier) = earlier {
            let _ = self.mark(earlier, None);
        }
        let temporary = &format!("{NEW}link");
        let at = &self.descriptor;
        symlinkat(&generation::name(number), at, temporary)
            .and_then(|()| rename(at, temporary, DATA))
            .map_err(|errno| {
                let _ = unlinkat(at, temporary, AtFlags::empty());
                StoreError::not_written(&self.path.join(DATA), errno)
            })
    }

    fn tidy_links(&self, set: &ConfigSet) {
        if let Err(errno) = self.remove_links(set) {
            log::warn!("links in {} are left over: {errno}", self.path.display());
        }
    }

    /// What has just been written, as a reader finds it.
    fn found(&self, number: u64) -> Result<Current, StoreError> {
        match self.open(number) {
            Ok(found) => Ok(found.current),
            Err(why) => {
                let gone = self.path.join(generation::name(number));
                self.without(number, why)?
                    .ok_or(StoreError::unusable(&gone, Errno::NOENT))
            }
        }
    }
}
