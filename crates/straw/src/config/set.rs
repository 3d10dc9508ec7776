//! The files of one reply, after their names were checked. Names come from a peer that nobody
//! has authenticated (docs/protocol.md, section 8), so they are taken for hostile.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use slurm_protocol::ResponseConfig;

use crate::credential::LONGEST_TOKEN;
use crate::text::brief;

/// The name under which Slurm's commands look for a CA's certificates.
pub const CA_CERT: &str = "ca_cert.pem";

/// The longest part of a name between two slashes, in bytes, as file systems have it. What straw
/// puts before the name of a temporary file is allowed for.
const LONGEST_COMPONENT: usize = 240;

/// How many directories a name may go through.
const DEEPEST: usize = 8;

/// A config set: what one reply holds, fit to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSet {
    /// A set that is made from this one shares what it does not change.
    files: BTreeMap<FileName, Arc<File>>,
}

/// A file of a config set.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether it is a script, to be executable.
    pub execute: bool,
}

impl File {
    /// The mode that it is written with.
    pub(crate) fn mode(&self) -> u32 {
        if self.execute { 0o755 } else { 0o644 }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A slurm.conf can hold a password.
        write!(
            f,
            "File({} bytes, execute: {})",
            self.content.len(),
            self.execute
        )
    }
}

impl ConfigSet {
    /// Checks the names of all files that exist. Those that the controller does not have are
    /// left out.
    ///
    /// # Errors
    ///
    /// For the first name that must not be written, and where there is no slurm.conf; then
    /// nothing of the set should be.
    pub fn new(reply: ResponseConfig) -> Result<Self, SetError> {
        let mut files = BTreeMap::new();
        for file in reply.files.into_iter().filter(|file| file.exists) {
            let name = FileName::parse(&file.name)?;
            // However a file system may take its case.
            if name.as_str().eq_ignore_ascii_case(CA_CERT) {
                return Err(SetError::Name {
                    name: name.to_string(),
                    reason: "whom to trust is not for a controller to say".to_owned(),
                });
            }
            let (content, execute) = (file.content, file.execute);
            // The same name can come twice, included from two files, then with the same content.
            match files.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(Arc::new(File { content, execute }));
                }
                Entry::Occupied(entry) if entry.get().content == content => {}
                Entry::Occupied(entry) => {
                    return Err(SetError::Name {
                        name: entry.key().to_string(),
                        reason: "it comes twice, with different contents".to_owned(),
                    });
                }
            }
        }
        // Without it nothing works, and everything that is there would be removed.
        let slurm_conf = FileName("slurm.conf".to_owned());
        if files
            .get(&slurm_conf)
            .is_none_or(|file| file.content.is_empty())
        {
            return Err(SetError::NoSlurmConf);
        }
        // In the order of the map a directory stands before what is in it, but not always just
        // before it: `a`, `a-b`, `a/b`.
        for name in files.keys() {
            if let Some(file) = name.parents().find(|parent| files.contains_key(parent)) {
                return Err(SetError::Name {
                    name: name.to_string(),
                    reason: format!("`{file}` is a file of the same set"),
                });
            }
        }
        Ok(Self { files })
    }

    /// Puts the CA's certificates, in PEM, beside slurm.conf, where Slurm's commands look for them
    /// (docs/protocol.md, section 10).
    pub fn with_ca(mut self, pem: &[u8]) -> Self {
        let file = File {
            content: pem.to_vec(),
            execute: false,
        };
        let name = FileName(CA_CERT.to_owned());
        self.files.insert(name, Arc::new(file));
        self
    }

    /// Gives a file another content; there is none of this name otherwise.
    pub(super) fn set_content(&mut self, name: &FileName, content: Vec<u8>) {
        if let Some(file) = self.files.get_mut(name) {
            let execute = file.execute;
            *file = Arc::new(File { content, execute });
        }
    }

    /// The files by name.
    pub fn files(&self) -> impl Iterator<Item = (&FileName, &File)> {
        self.files.iter().map(|(name, file)| (name, &**file))
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &FileName> {
        self.files.keys()
    }

    /// Whether a file stands where a directory of this name would have to, or the other way round.
    pub(super) fn is_in_the_way_of(&self, name: &FileName) -> bool {
        let below = format!("{name}/");
        let from = (Bound::Included(below.as_str()), Bound::Unbounded);
        let mut from = self.files.range::<str, _>(from);
        name.parents()
            .any(|parent| self.files.contains_key(&parent))
            || from
                .next()
                .is_some_and(|(next, _)| next.0.starts_with(&below))
    }

    /// A file, by its name.
    pub fn get(&self, name: &str) -> Option<&File> {
        self.entry(name).map(|(_, file)| file)
    }

    /// The same, with the name as it is kept.
    pub(super) fn entry(&self, name: &str) -> Option<(&FileName, &File)> {
        let (name, file) = self.files.get_key_value(name)?;
        Some((name, file))
    }
}

#[cfg(test)]
impl ConfigSet {
    /// A set of these files, for tests that need no reply.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(name, content): &(&str, &str)| {
            let content = content.as_bytes().to_vec();
            let execute = false;
            let file = Arc::new(File { content, execute });
            (FileName(name.to_owned()), file)
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }
}

/// A path below the target directory: components of printable UTF-8, none of which begins with a
/// dot, separated by single slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Checks a name. `./` in front of it or within it is dropped.
    ///
    /// # Errors
    ///
    /// Where it leads out of the target, or to what no Slurm file is: hidden files such as
    /// `.bashrc` too, since the target can be somebody's home directory.
    pub fn parse(name: &[u8]) -> Result<Self, SetError> {
        // As much of it as can be all that there is of a token.
        let shown = &name[..name.len().min(LONGEST_TOKEN)];
        let error = |reason: &str| SetError::Name {
            name: brief(&shown.escape_ascii().to_string()).into_owned(),
            reason: reason.to_owned(),
        };
        let text = str::from_utf8(name).map_err(|_| error("it is not UTF-8"))?;
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.starts_with('/') {
            return Err(error("it is an absolute path"));
        }
        // Letters of any language, and what is printable in ASCII: nothing that a terminal obeys,
        // nothing that cannot be seen.
        if !text
            .chars()
            .all(|c| matches!(c, ' '..='~') || c.is_alphanumeric())
        {
            return Err(error("it holds a character that is not printable"));
        }
        let mut components = Vec::new();
        for component in text.split('/') {
            match component {
                "" => return Err(error("a part of the path is empty")),
                "." => {}
                ".." => return Err(error("it leads out of the directory")),
                _ if component.starts_with('.') => return Err(error("it is a hidden file")),
                _ if component.starts_with('-') => return Err(error("it looks like an option")),
                _ if component.len() > LONGEST_COMPONENT => return Err(error("it is too long")),
                _ => components.push(component),
            }
        }
        if components.is_empty() {
            return Err(error("it names the directory itself"));
        }
        if components.len() > DEEPEST {
            return Err(error("it goes through too many directories"));
        }
        Ok(Self(components.join("/")))
    }

    /// The name, relative to the target.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories on the way, and the last component.
    pub fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (directories, last) = match self.0.rsplit_once('/') {
            Some((directories, last)) => (Some(directories), last),
            None => (None, self.0.as_str()),
        };
        let directories = directories.into_iter().flat_map(|path| path.split('/'));
        (directories, last)
    }

    /// The names of the directories that it is in.
    fn parents(&self) -> impl Iterator<Item = Self> {
        self.0
            .match_indices('/')
            .map(|(at, _)| Self(self.0[..at].to_owned()))
    }
}

/// In the same order, as it is nothing but its text.
impl Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set that must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// A name leads where it must not.
    #[error("the controller sent a file named `{name}`: {reason}")]
    Name {
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It holds no slurm.conf, or an empty one.
    #[error("the controller sent no slurm.conf, or an empty one")]
    NoSlurmConf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<String, String> {
        FileName::parse(name.as_bytes())
            .map(|name| name.to_string())
            .map_err(|error| match error {
                SetError::Name { reason, .. } => reason,
                other => other.to_string(),
            })
    }

    #[test]
    fn names_below_the_target() {
        for name in ["slurm.conf", "sub/prolog.sh", "a/b/c", "grün.conf"] {
            assert_eq!(parse(name).as_deref(), Ok(name));
        }
        assert_eq!(parse("./prolog.sh").as_deref(), Ok("prolog.sh"));
        assert_eq!(parse("a/./b").as_deref(), Ok("a/b"));
    }

    #[test]
    fn names_that_lead_elsewhere() {
        let cases = [
            ("", "it is empty"),
            ("/etc/passwd", "it is an absolute path"),
            ("//etc/passwd", "it is an absolute path"),
            ("..", "it leads out of the directory"),
            ("../x", "it leads out of the directory"),
            ("a/../../x", "it leads out of the directory"),
            ("a//b", "a part of the path is empty"),
            ("a/", "a part of the path is empty"),
            (".", "it names the directory itself"),
            (".bashrc", "it is a hidden file"),
            (".ssh/authorized_keys", "it is a hidden file"),
            ("a/.straw.json", "it is a hidden file"),
            ("-rf", "it looks like an option"),
            ("a\0b", "it holds a character that is not printable"),
            ("a\x1b[2Jb", "it holds a character that is not printable"),
            ("a\u{202e}b", "it holds a character that is not printable"),
            ("a\u{200b}b", "it holds a character that is not printable"),
            ("a/b/c/d/e/f/g/h/i", "it goes through too many directories"),
        ];
        for (name, reason) in cases {
            assert_eq!(parse(name), Err(reason.to_owned()), "{name:?}");
        }
        assert_eq!(parse(&"a".repeat(241)), Err("it is too long".to_owned()));
        assert!(FileName::parse(b"a\xff").is_err());
    }

    #[test]
    fn an_error_does_not_hand_on_what_a_terminal_would_obey() {
        let error = FileName::parse(b"\x1b[2J\xff").unwrap_err().to_string();
        assert!(error.contains(r"\x1b[2J\xff"), "{error}");
    }

    #[test]
    fn directories_on_the_way() {
        let name = FileName::parse(b"a/b/c").unwrap();
        let (directories, last) = name.split();
        assert_eq!(directories.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(last, "c");
        let name = FileName::parse(b"c").unwrap();
        let (directories, last) = name.split();
        assert_eq!((directories.count(), last), (0, "c"));
    }
}
