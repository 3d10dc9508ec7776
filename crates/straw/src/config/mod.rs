//! Configuration files: the set that a reply holds, how it is made to fit the container, and how
//! it gets onto a disk.

pub mod adapt;
mod files;
mod manifest;
mod set;
pub(crate) mod slurm_conf;
#[cfg(test)]
pub(crate) mod testing;

pub use files::{Change, Known, KnownCa, Origin, WriteError, Written, write};
pub use set::{CA_CERT, ConfigSet, File, FileName, SetError};
