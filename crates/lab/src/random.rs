//! Random bytes, from the kernel.

use std::fs::File;
use std::io::Read;

use crate::error::LabError;

/// So many random bytes, fit for a key.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], LabError> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(LabError::io("read /dev/urandom"))?;
    Ok(bytes)
}

/// A short name that no one else has.
pub(crate) fn name() -> Result<String, LabError> {
    Ok(bytes::<4>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
