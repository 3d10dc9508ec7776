//! A tar archive of a few files, which is what `docker cp` and `docker import` read.

/// One regular file.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The path below the root, with no slash in front.
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.trim_start_matches('/').to_owned(),
            mode,
            bytes: bytes.into(),
        }
    }
}

/// The archive of these files, all owned by root.
///
/// # Panics
///
/// If a path is longer than the 100 bytes that a plain header has for it.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(&header(entry));
        out.extend_from_slice(&entry.bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A POSIX ustar header.
fn header(entry: &Entry) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    assert!(
        entry.path.len() <= 100,
        "path too long for a plain tar header"
    );
    put(0, entry.path.as_bytes());
    put(100, format!("{:07o}\0", entry.mode).as_bytes());
    put(108, b"0000000\0"); // owner
    put(116, b"0000000\0"); // group
    put(124, format!("{:011o}\0", entry.bytes.len()).as_bytes());
    put(136, b"00000000000\0"); // time of change
    put(148, b"        "); // the sum counts its own field as spaces
    put(156, b"0"); // a regular file
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn tar_reads_it() {
        let bytes = archive(&[
            Entry::new("/etc/a", 0o640, "one"),
            Entry::new("b", 0o755, vec![1; 700]),
        ]);
        let list = Process::new("tar")
            .args(["-tvf", "-"])
            .stdin(bytes)
            .check()
            .unwrap()
            .text();
        let lines: Vec<Vec<&str>> = list
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][0], "-rw-r-----");
        assert_eq!((lines[0][2], lines[0].last()), ("3", Some(&"etc/a")));
        assert_eq!(lines[1][0], "-rwxr-xr-x");
        assert_eq!((lines[1][2], lines[1].last()), ("700", Some(&"b")));
    }
}
