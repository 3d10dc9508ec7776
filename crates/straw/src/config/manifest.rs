//! What straw remembers of a directory that it wrote files into: `.straw.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slurm_protocol::ProtocolVersion;

use super::FileName;

/// The name of the file. No file of a config set can have it.
pub(super) const NAME: &str = ".straw.json";

/// Which files are straw's, so that it removes no others; and what it learned of controllers, so
/// that it need not find it out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The files that straw wrote.
    pub(super) files: Vec<String>,
    /// The protocol version, by its index, that each controller accepted.
    #[serde(default)]
    pub(super) controllers: BTreeMap<String, u8>,
}

impl Manifest {
    /// Reads one; what is none counts as empty, so that nothing is removed on its word.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            log::warn!("{NAME} is damaged ({error}); files of earlier runs will not be removed");
            Self::default()
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
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
