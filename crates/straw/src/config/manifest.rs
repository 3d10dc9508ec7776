//! What straw remembers of a directory that it wrote files into: `.straw.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use slurm_protocol::ProtocolVersion;

use super::FileName;

/// The name of the file. No file of a config set can have it.
pub(super) const NAME: &str = ".straw.json";

/// A longer one, in bytes, is not read. As many files as a set can have, and their names as long, with
/// all the directories in them, twice, make a shorter one.
pub(super) const LONGEST: u64 = 192 << 20;

/// Which files are straw's, so that it removes no others; and what it learned of controllers, so
/// that it need not find it out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The files that straw wrote.
    pub(super) files: Vec<String>,
    /// The directories below that straw made for them, or is about to make. Others are not removed,
    /// though they be empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) directories: BTreeSet<String>,
    /// Directories below in which a run is at work, or was when it was killed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unfinished: BTreeSet<String>,
    /// The protocol version, by its index, that each controller accepted.
    #[serde(default)]
    pub(super) controllers: BTreeMap<String, u8>,
    /// The CA's certificates in PEM, where the files came through TLS. Then nothing goes out in the
    /// clear the next time, and no other CA is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<String>,
}

impl Manifest {
    /// Reads one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", json!(self)).into_bytes()
    }

    /// The names of the files. Anyone who may write to the directory may have changed them, so
    /// they are checked like a controller's.
    pub(super) fn names(&self) -> impl Iterator<Item = FileName> {
        self.files
            .iter()
            .filter_map(|name| FileName::parse(name.as_bytes()).ok())
    }

    pub(super) fn versions(&self) -> BTreeMap<String, ProtocolVersion> {
        self.controllers
            .iter()
            .map(|(controller, &index)| (controller.clone(), ProtocolVersion::from_index(index)))
            .collect()
    }
}
