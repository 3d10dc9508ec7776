//! Where a set came from, and when it was last known to be right.

use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use slurm_protocol::ProtocolVersion;

use super::Unfit;
use crate::controller::Fetched;
use crate::disk::{fstat, only_ours, open_regular, put, raw};

/// The file in a generation. Its time of modification says when the set was last checked.
pub(super) const NAME: &str = ".straw.json";

/// A longer one, in bytes, is not read.
const LONGEST: u64 = 1 << 20;

/// Where a set came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct State {
    /// What the set was made from: the controllers that were named, the set of files, how it was
    /// adapted. A set of another key is not what is wanted now, however fresh.
    pub key: String,
    /// The controller, as it was named.
    pub controller: String,
    /// The address at which it answered.
    #[serde(default)]
    pub address: Option<String>,
    /// The protocol version that it accepted.
    #[serde(with = "index")]
    pub version: ProtocolVersion,
    /// Whether it was asked inside TLS.
    #[serde(default)]
    pub tls: bool,
    /// When these notes were made, in seconds since 1970. When the set was last known to be right
    /// is [`Current::checked`](super::Current::checked).
    pub fetched: u64,
}

impl State {
    /// That of a set which was fetched at the time `when`, inside TLS or not.
    pub fn new<T>(key: &str, fetched: &Fetched<T>, tls: bool, when: SystemTime) -> Self {
        let since = when.duration_since(UNIX_EPOCH);
        Self {
            key: key.to_owned(),
            controller: fetched.controller.to_string(),
            address: Some(fetched.address.to_string()),
            version: fetched.version,
            tls,
            fetched: since.unwrap_or_default().as_secs(),
        }
    }

    /// Whether there is nothing new in the other but its time.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let fetched = self.fetched;
        *self
            == Self {
                fetched,
                ..other.clone()
            }
    }
}

/// A protocol version as its index.
mod index {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use slurm_protocol::ProtocolVersion;

    pub(super) fn serialize<S: Serializer>(
        version: &ProtocolVersion,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(version.index())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ProtocolVersion, D::Error> {
        u8::deserialize(deserializer).map(ProtocolVersion::from_index)
    }
}

/// Reads the notes of a generation. With `private` those that others could have written do not
/// count.
pub(super) fn read(
    generation: BorrowedFd<'_>,
    private: bool,
) -> Result<(State, SystemTime), Unfit> {
    let file = open_regular(generation, NAME)?.ok_or(Errno::NOENT)?;
    let stat = fstat(&file)?;
    if private && !only_ours(&stat) {
        return Err(Unfit::Theirs);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(raw)?;
    let state =
        serde_json::from_slice(&bytes).map_err(|error| Unfit::Damaged(error.to_string()))?;
    Ok((state, modified(&stat)))
}

/// Writes them into a generation, in the place of those that may be there. The set is taken for
/// checked just now.
pub(super) fn write(generation: BorrowedFd<'_>, state: &State) -> Result<(), Errno> {
    let text = format!("{:#}\n", serde_json::json!(state));
    put(
        generation,
        NAME,
        text.as_bytes(),
        0o644,
        Some(SystemTime::now()),
    )
}

/// The time of modification; 1970 for what is before.
pub(super) fn modified(stat: &Stat) -> SystemTime {
    let seconds = stat.st_mtime.try_into().unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    UNIX_EPOCH
        .checked_add(Duration::new(seconds, nanoseconds.min(999_999_999)))
        .unwrap_or(UNIX_EPOCH)
}
