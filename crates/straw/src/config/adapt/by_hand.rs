//! `--set KEY=VALUE` and `--unset KEY`.

use super::work::{Setting, Work};

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
        let (key, value) = (Self::parse_unset(key)?, value.trim());
        let reason = if value.is_empty() {
            "it is empty, which Slurm takes for an error; --unset removes a key"
        } else if value.contains(char::is_control) {
            "there is a control character in it"
        } else if value.ends_with('\\') {
            "a backslash at its end would join the next line to it"
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
            let values: Vec<_> = self
                .set
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.as_str())
                .collect();
            set(work, key, &values);
        }
    }
}

fn set(work: &mut Work<'_>, key: &str, values: &[&str]) {
    const REASON: &str = "set by hand";
    let is_list = LISTS.iter().any(|list| list.eq_ignore_ascii_case(key));
    let there: Vec<Setting> = match is_list {
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
                work.replace(last.place, &written(value), REASON);
            }
        }
        (there, values) => {
            for setting in there {
                work.comment_out(setting.place, REASON);
            }
            for value in values {
                // A whole line of a node may be given, with its spaces.
                let value = match is_list {
                    true => value.replace('#', r"\#"),
                    false => written(value),
                };
                let line = format!("{key}={value}");
                if !work.has_line(&line) {
                    work.append(&line, REASON);
                }
            }
        }
    }
}

/// A value as it has to be written to be read as it is.
fn written(value: &str) -> String {
    let value = value.replace('#', r"\#");
    let quoted = value.starts_with('"');
    match value.contains(' ') && !quoted {
        true => format!("\"{value}\""),
        false => value,
    }
}
