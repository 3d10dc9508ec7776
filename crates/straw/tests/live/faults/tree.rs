//! Directories as values: to compare them, and to have them again as they were.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// All that is in a directory, by its path there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

#[derive(Clone, Debug)]
pub enum Node {
    Directory(SystemTime),
    Link(PathBuf),
    File {
        mode: u32,
        bytes: Vec<u8>,
        modified: SystemTime,
    },
}

impl PartialEq for Node {
    /// Whatever their times.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(_), Self::Directory(_)) => true,
            (Self::Link(this), Self::Link(other)) => this == other,
            (
                Self::File { mode, bytes, .. },
                Self::File {
                    mode: other_mode,
                    bytes: other_bytes,
                    ..
                },
            ) => mode == other_mode && bytes == other_bytes,
            _ => false,
        }
    }
}

impl Eq for Node {}

impl Tree {
    /// What is in a directory; nothing where there is none.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        if directory.exists() {
            tree.add(directory, Path::new(""))?;
        }
        Ok(tree)
    }

    fn add(&mut self, root: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let metadata = entry.metadata()?;
            let node = if metadata.is_dir() {
                self.add(root, &path)?;
                Node::Directory(metadata.modified()?)
            } else if metadata.is_symlink() {
                Node::Link(fs::read_link(entry.path())?)
            } else {
                Node::File {
                    mode: metadata.permissions().mode() & 0o7777,
                    bytes: fs::read(entry.path())?,
                    modified: metadata.modified()?,
                }
            };
            self.0.insert(path, node);
        }
        Ok(())
    }

    /// Makes the directory what it was, times included.
    pub fn restore(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(directory)?;
        for (path, node) in &self.0 {
            let path = directory.join(path);
            match node {
                Node::Directory(_) => fs::create_dir(&path)?,
                Node::Link(target) => symlink(target, &path)?,
                Node::File { mode, bytes, .. } => {
                    fs::write(&path, bytes)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
                }
            }
        }
        // What is in a directory goes first: it changes the time of that.
        for (path, node) in self.0.iter().rev() {
            let (Node::Directory(time) | Node::File { modified: time, .. }) = node else {
                continue;
            };
            let times = FileTimes::new().set_modified(*time);
            File::open(directory.join(path))?.set_times(times)?;
        }
        Ok(())
    }

    /// The names at the top of it.
    pub fn names(&self) -> Vec<String> {
        let top = self.0.keys().filter(|path| path.components().count() == 1);
        top.map(|path| path.to_string_lossy().into_owned())
            .collect()
    }

    /// A file's bytes.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        match self.0.get(path.as_ref())? {
            Node::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }
}
