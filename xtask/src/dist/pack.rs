//! Archives and digests that are the same each time: entries in order, all root's, all of one time.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

/// A file of an archive.
#[derive(Clone, Debug)]
pub struct File {
    /// Below the root of the archive.
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

impl File {
    pub fn new(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            bytes: bytes.into(),
        }
    }

    pub fn executable(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            mode: 0o755,
            ..Self::new(path, bytes)
        }
    }
}

/// Whether the directories of files stand in an archive as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directories {
    Named,
    Unnamed,
}

/// A tar archive.
pub fn tar(files: &[File], time: u64, directories: Directories) -> io::Result<Vec<u8>> {
    // A directory ends in a slash, and so comes before what is in it.
    let mut entries: BTreeMap<&str, Option<&File>> = BTreeMap::new();
    for file in files {
        if directories == Directories::Named {
            let ends = file
                .path
                .match_indices('/')
                .map(|(at, _)| &file.path[..=at]);
            entries.extend(ends.map(|directory| (directory, None)));
        }
        entries.insert(&file.path, Some(file));
    }
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in entries {
        let mut header = Header::new_gnu();
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mode(file.map_or(0o755, |file| file.mode));
        let bytes = file.map_or(&[][..], |file| &file.bytes);
        header.set_size(bytes.len() as u64);
        header.set_entry_type(match file {
            Some(_) => EntryType::Regular,
            None => EntryType::Directory,
        });
        set_path(&mut header, path)?;
        header.set_cksum();
        archive.append(&header, bytes)?;
    }
    archive.into_inner()
}

/// Names the entry just so; the crate would leave out the `./` that Debian's packages begin with.
fn set_path(header: &mut Header, path: &str) -> io::Result<()> {
    let name = header.as_gnu_mut().map(|header| &mut header.name[..]);
    match name.and_then(|name| name.get_mut(..path.len())) {
        Some(name) => name.copy_from_slice(path.as_bytes()),
        None => return Err(io::Error::other(format!("{path} is too long a name"))),
    }
    Ok(())
}

/// As `gzip --no-name --best` does it.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The SHA-256 of these bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
