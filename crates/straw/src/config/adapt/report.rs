//! What adapting has to tell.

use std::fmt;

use serde::Serialize;

use crate::text::cut;

/// A line that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The name of the rule; `set` or `unset` where it was asked for by hand.
    pub rule: &'static str,
    /// The file of the set.
    pub file: String,
    /// The line in the file as the controller sent it, from 1; none for a line that is new.
    pub line: Option<usize>,
    /// What stood there; none for a line that is new.
    pub before: Option<String>,
    /// What stands there now; none where it is but a comment.
    pub after: Option<String>,
    /// Why: a clause that ends a sentence.
    pub reason: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                write!(f, ": {} becomes {}", short(before), short(after))?;
            }
            (Some(before), None) => write!(f, ": {} is commented out", short(before))?,
            (None, after) => write!(f, ": {} is added", short(after.as_deref().unwrap_or("")))?,
        }
        write!(f, ": {} [{}]", self.reason, self.rule)
    }
}

/// Something that adapting cannot or must not mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the rule that found it.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The file of the set, where it is about one.
    pub file: Option<String>,
    /// The line in the file as the controller sent it, from 1.
    pub line: Option<usize>,
    /// What it is.
    pub message: String,
    /// What can be done.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}; {} [{}]", self.message, self.hint, self.rule)
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// It is good to know.
    Note,
    /// Some command fails.
    SomeFail,
    /// Every command fails.
    AllFail,
}

/// As much of a line as a person needs to know it by.
fn short(line: &str) -> String {
    format!("`{}`", cut(line, 80))
}
