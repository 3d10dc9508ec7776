//! Configuration files: the set that a reply holds, and how it gets onto a disk.

mod files;
mod manifest;
mod set;

pub use files::{Change, WriteError, Written, known_versions, write};
pub use set::{ConfigSet, File, FileName, SetError};
