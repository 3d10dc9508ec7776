//! `--set KEY=VALUE` and `--unset KEY`.

use super::work::{Setting, Work};
use crate::config::slurm_conf::{Conf, written};

/// Keys of which each line stands for itself, so that another line is one more.
const LISTS: [&str; 6] = [
    "NodeName",
    "PartitionName",
    "NodeSet",
    "DownNodes",
    "FrontendName",
    "PowerAction",
];

/// What is to be changed whatever the rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByHand {
    /// Keys and their values. A key that comes several times gets a line for each; so does any
    /// of `NodeName` and the like, in addition to those that are there.
    pub set: Vec<(String, String)>,
    /// Keys of which every line is commented out.
    pub unset: Vec<String>,
}

/// What cannot be a line of slurm.conf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByHandError {
    /// There is no `=` in it.
    #[error("`{0}` is not KEY=VALUE")]
    NoValue(String),
    /// The key has other characters than letters, digits, `_` and `.`.
    #[error("`{0}` is no key of slurm.conf")]
    Key(String),
    /// The value is empty, or cannot stand on one line.
    #[error("{key} cannot have this value: {reason}")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong with the value.
        reason: &'static str,
    },
}

impl ByHand {
    /// Reads `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// Where it would not be one line of slurm.conf.
    pub fn parse_set(text: &str) -> Result<(String, String), ByHandError> {
        let shown = || text.escape_debug().to_string();
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| ByHandError::NoValue(shown()))?;
        let (key, written) = (Self::parse_unset(key)?, value.trim());
        let value = unquoted(&key, written);
        let reason = if written.is_empty() {
            "it is empty, which Slurm takes for an error; --unset removes a key"
        } else if value.contains(char::is_control) {
            "there is a control character in it"
        } else if value.ends_with('\\') {
            "a backslash at its end would join the next line to it"
        } else if !is_read_back(&key, value) && value.contains('"') {
            "Slurm would read another one, because of its quotes"
        } else if !is_read_back(&key, value) {
            "behind the first value there is more than KEY=VALUE"
        } else {
            return Ok((key, value.to_owned()));
        };
        Err(ByHandError::Value { key, reason })
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn parse_unset(text: &str) -> Result<String, ByHandError> {
        let key = text.trim();
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        match !key.is_empty() && key.chars().all(good) {
            true => Ok(key.to_owned()),
            false => Err(ByHandError::Key(key.escape_debug().to_string())),
        }
    }

    pub(super) fn apply(&self, work: &mut Work<'_>) {
        work.begin("unset");
        for key in &self.unset {
            for setting in work.all(key) {
                work.comment_out(setting.place, "unset by hand");
            }
        }
        work.begin("set");
        let mut done: Vec<&str> = Vec::new();
        for (key, _) in &self.set {
            if done.iter().any(|other| other.eq_ignore_ascii_case(key)) {
                continue;
            }
            done.push(key);
            let same = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(key);
            let mut values: Vec<&str> = Vec::new();
            for (_, value) in self.set.iter().filter(same) {
                if !values.contains(&value.as_str()) {
                    values.push(value);
                }
            }
            set(work, key, &values);
        }
    }
}

fn set(work: &mut Work<'_>, key: &str, values: &[&str]) {
    const REASON: &str = "set by hand";
    let there: Vec<Setting> = match is_list(key) {
        true => Vec::new(),
        false => work.all(key),
    };
    let as_is = there.iter().map(|setting| setting.value.as_str());
    if as_is.eq(values.iter().copied()) {
        return;
    }
    match (there.as_slice(), values) {
        ([.., last], [value]) if !key.eq_ignore_ascii_case("SlurmctldHost") || there.len() == 1 => {
            if last.value != *value {
                work.replace(last.place, value, REASON);
            }
        }
        (there, values) => {
            for setting in there {
                work.comment_out(setting.place, REASON);
            }
            for value in values {
                let line = line(key, value);
                if !work.has_line(&line) {
                    work.append(&line, REASON);
                }
            }
        }
    }
}

fn is_list(key: &str) -> bool {
    LISTS.iter().any(|list| list.eq_ignore_ascii_case(key))
}

/// The line that says it. Of a node or the like a whole line may be given, with its spaces.
fn line(key: &str, value: &str) -> String {
    match is_list(key) {
        true => format!("{key}={}", value.replace('#', r"\#")),
        false => format!("{key}={}", written(value)),
    }
}

/// A value without the quotes that stand around it, as in the file.
fn unquoted<'a>(key: &str, value: &'a str) -> &'a str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner
        .filter(|inner| !is_list(key) && !inner.contains('"'))
        .unwrap_or(value)
}

fn is_read_back(key: &str, value: &str) -> bool {
    let line = line(key, value);
    let conf = Conf::parse(line.as_bytes());
    let [statement] = conf.statements() else {
        return false;
    };
    let pairs: Vec<_> = statement.pairs().collect();
    match pairs.as_slice() {
        [first, ..] if is_list(key) => first.is(key),
        [only] => only.is(key) && only.value() == value.as_bytes(),
        _ => false,
    }
}
