//! `/etc/straw.toml`: what an option is where neither an argument nor a variable says so.
//!
//! A key is the long name of an option, whichever command has it; its value a text, a number, true
//! or false, or a list of texts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use toml::{Table, Value};

use crate::text::{cut, system_text};

/// Where the file is.
const PLACE: &str = "/etc/straw.toml";

/// A longer file, in bytes, is none of ours.
const LONGEST: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Settings {
    path: PathBuf,
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Reads the file that `named` names, which must be there, or the usual one, which need not.
    /// `keys` are those that there are, which is asked only where there is a file.
    pub(super) fn load(
        named: Option<&OsString>,
        keys: &dyn Fn() -> Vec<String>,
    ) -> Result<Self, SettingsError> {
        let path = PathBuf::from(named.map_or(PLACE.as_ref(), OsString::as_os_str));
        let fail = |problem| SettingsError {
            path: path.clone(),
            problem,
        };
        let unreadable = |error| fail(Problem::Unreadable(system_text(&error)));
        // A pipe would keep us waiting for somebody to open it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) if named.is_none() => return Ok(Self::default()),
            other => File::from(other.map_err(|errno| unreadable(errno.into()))?),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(fail(Problem::Unreadable(
                "it is no file, or too large".into(),
            )));
        }
        // It can name a command to be run.
        if metadata.mode() & 0o002 != 0 {
            return Err(fail(Problem::Writable));
        }
        let mut text = String::new();
        file.take(LONGEST)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        let values = read(&text, &keys()).map_err(fail)?;
        Ok(Self { path, values })
    }

    /// What it says of an option, by its long name; a list as the option's argument would be
    /// written.
    pub(super) fn get(&self, option: &str, delimiter: Option<char>) -> Option<String> {
        let separator = delimiter.unwrap_or(',').to_string();
        Some(self.values.get(option)?.join(&separator))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(fuzzing)]
pub(crate) fn read_settings(
    text: &str,
    keys: &[String],
) -> Result<BTreeMap<String, Vec<String>>, String> {
    read(text, keys).map_err(|problem| problem.to_string())
}

fn read(text: &str, keys: &[String]) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Problem::Syntax(error.to_string().trim().to_owned()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if !keys.contains(&key) {
            // No option is as long; to compare a megabyte takes seconds.
            const LONGEST_KEY: usize = 64;
            let close = |known: &&String| {
                key.len() <= LONGEST_KEY && strsim::osa_distance(known, &key) <= 2
            };
            let meant = keys.iter().find(close).cloned();
            let key = cut(&key, LONGEST_KEY).into_owned();
            return Err(Problem::UnknownKey { key, meant });
        }
        let Some(value) = plain(&value) else {
            return Err(Problem::Value { key });
        };
        values.insert(key, value);
    }
    Ok(values)
}

/// A value, or several, as they would be given as an argument.
fn plain(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Boolean(yes) => Some(vec![yes.to_string()]),
        Value::Array(list) => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            list.iter().map(text).collect()
        }
        _ => None,
    }
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", path.display())]
pub struct SettingsError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("can be written by everyone on this machine")]
    Writable,
    #[error("is not TOML: {0}")]
    Syntax(String),
    #[error("has a key that is no option: `{}`{}", key.escape_debug(), did_you_mean(meant.as_deref()))]
    UnknownKey { key: String, meant: Option<String> },
    #[error("gives `{key}` a value that no option has")]
    Value { key: String },
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant
        .map(|meant| format!("; did you mean `{meant}`?"))
        .unwrap_or_default()
}

impl SettingsError {
    pub(crate) fn hint(&self) -> &'static str {
        match self.problem {
            Problem::Unreadable(_) => "every user who runs straw has to be able to read it",
            Problem::Writable => "it can name a command to be run, so: chmod o-w",
            Problem::Syntax(_) | Problem::Value { .. } => {
                "write KEY = VALUE, with texts in quotes: token-file = \"/run/jwt/token\""
            }
            Problem::UnknownKey { .. } => {
                "the keys are the long names of options, without the hyphens in front; `straw help \
                 COMMAND` lists them"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let keys = ["servers", "timeout", "json", "verbose"].map(str::to_owned);
        super::read(text, &keys)
            .map(|values| {
                let join = |(key, values): (String, Vec<String>)| (key, values.join(","));
                values.into_iter().map(join).collect()
            })
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn values_become_what_an_argument_would_be() {
        let text = r#"
            servers = ["ctl1", "ctl2:6818"]
            timeout = "1m"   # a comment
            json = true
            verbose = 2
        "#;
        let expected = [
            ("json", "true"),
            ("servers", "ctl1,ctl2:6818"),
            ("timeout", "1m"),
            ("verbose", "2"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            read("timeuot = 1").unwrap_err(),
            "has a key that is no option: `timeuot`; did you mean `timeout`?"
        );
        assert_eq!(
            read("colour = 1").unwrap_err(),
            "has a key that is no option: `colour`"
        );
        for text in ["timeout = 1.5", "servers = [1]", "[timeout]\nx = 1"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("a value that no option has"), "{error}");
        }
        assert!(read("timeout = ").unwrap_err().starts_with("is not TOML: "));
    }
}
