//! Making a config set fit the container: what would make Slurm's commands fail here is commented
//! out or mended, line by line, and nothing else is touched.
//!
//! ```text
//!   set ─▶ slurm.conf and what it includes, plugstack.conf ─▶ each rule in turn ─▶ by hand ─▶ set
//!                         Container: what is here ──▲                     changes, findings ◀─┘
//! ```
//!
//! The rules are one table, [`RULES`]; docs/adapting.md says what each rests on, and of every key
//! that can break a command whether a rule sees to it.
//!
//! ```no_run
//! # fn example(set: &straw::config::ConfigSet) {
//! use straw::config::adapt::{ByHand, Container, Reached, adapt};
//!
//! let container = Container::here()
//!     .reached([Reached::new("ctl1", "198.18.0.2".parse().unwrap())]);
//! let adapted = adapt(set, &container, &ByHand::default());
//! for change in &adapted.changes {
//!     eprintln!("{change}");
//! }
//! # }
//! ```

mod by_hand;
mod container;
mod report;
mod rules;
#[cfg(test)]
mod tests;
mod work;

pub use by_hand::{ByHand, ByHandError};
pub use container::{Container, Reached};
pub use report::{Change, Finding, Severity};
pub use rules::{RULES, Rule};

use memchr::memchr_iter;

use super::ConfigSet;
use work::Work;

/// What adapting made of a set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adapted {
    /// The set, changed.
    pub set: ConfigSet,
    /// What was changed, in the order of the rules.
    pub changes: Vec<Change>,
    /// What else would break here, and what could not be found out.
    pub findings: Vec<Finding>,
}

/// A set with more in it, in bytes or lines, is not looked into: it is nobody's configuration.
const LARGEST: usize = 4 << 20;
const MOST_LINES: usize = 100_000;

/// Applies all rules, and then what was asked for by hand.
pub fn adapt(set: &ConfigSet, container: &Container<'_>, by_hand: &ByHand) -> Adapted {
    if let Some(left) = too_large(set) {
        return left;
    }
    let mut work = Work::new(set, container);
    for rule in RULES {
        work.begin(rule.name);
        (rule.apply)(&mut work);
    }
    by_hand.apply(&mut work);
    work.finish()
}

/// Applies no rule, only what was asked for by hand.
pub fn only_by_hand(set: &ConfigSet, by_hand: &ByHand) -> Adapted {
    if *by_hand == ByHand::default() {
        return Adapted {
            set: set.clone(),
            changes: Vec::new(),
            findings: Vec::new(),
        };
    }
    if let Some(left) = too_large(set) {
        return left;
    }
    let container = Container::here();
    let mut work = Work::new(set, &container);
    by_hand.apply(&mut work);
    work.finish()
}

/// A set that is left as it is, because reading it would take too much.
fn too_large(set: &ConfigSet) -> Option<Adapted> {
    let contents = || set.files().map(|(_, file)| file.content.as_slice());
    let bytes: usize = contents().map(<[u8]>::len).sum();
    let lines = || -> usize {
        let ends = |content: &[u8]| memchr_iter(b'\n', content).count();
        contents().map(ends).sum()
    };
    (bytes > LARGEST || lines() > MOST_LINES).then(|| Adapted {
        set: set.clone(),
        changes: Vec::new(),
        findings: vec![Finding {
            rule: "size",
            severity: Severity::SomeFail,
            file: None,
            line: None,
            message: "the files are too large to be looked into, so they are left as they are"
                .to_owned(),
            hint: format!("at most {LARGEST} bytes and {MOST_LINES} lines are"),
        }],
    })
}
