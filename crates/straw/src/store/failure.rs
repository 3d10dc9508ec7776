//! That no controller could be reached, for the others who would ask in vain.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::state::modified;
use super::{Lock, Store, StoreError};
use crate::disk::{fstat, only_ours, open_regular, put};

/// Its time of modification says when.
const NAME: &str = "..failed";

/// A longer one, in bytes, is not read.
const LONGEST: u64 = 64 * 1024;

/// Why the last attempt to fetch gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What was to be fetched: [`State::key`](super::State::key).
    pub key: String,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// The kind of the error.
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// What each of several controllers said.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: String,
}

impl Store {
    /// The last failure, and when it was.
    pub(crate) fn failure(&self) -> Option<(Failure, SystemTime)> {
        let file = open_regular(self.descriptor.as_fd(), NAME).ok()??;
        let stat = fstat(&file).ok()?;
        if self.private && !only_ours(&stat) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).ok()?;
        let failure = serde_json::from_slice(&bytes).ok()?;
        Some((failure, modified(&stat)))
    }

    /// Notes a failure.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where that cannot be noted.
    pub(crate) fn note_failure(
        &self,
        lock: &Lock<'_>,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        debug_assert!(std::ptr::eq(lock.store, self), "a lock of another store");
        let text = serde_json::json!(failure).to_string();
        put(
            self.descriptor.as_fd(),
            NAME,
            text.as_bytes(),
            0o644,
            Some(SystemTime::now()),
        )
        .map_err(|errno| StoreError::not_written(&self.path.join(NAME), errno))
    }
}
