//! Lists of words.

use std::collections::BTreeSet;

use super::super::Severity;
use super::super::work::{Action, Work};

/// Lists of which a client makes no use, and which it reads nonetheless.
const USELESS: [&str; 4] = [
    "PrologFlags",
    "DebugFlags",
    "SelectTypeParameters",
    "TaskPluginParam",
];

/// Lists that say something to a client, or to its user.
const HEEDED: [&str; 2] = ["AccountingStorageEnforce", "PreemptMode"];

pub(super) fn unknown(work: &mut Work<'_>) {
    let Some(library) = work.container.library() else {
        return;
    };
    let all: BTreeSet<String> = USELESS
        .iter()
        .chain(&HEEDED)
        .flat_map(|key| work.all(key))
        .flat_map(|setting| words(&setting.value).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    if all.is_empty() {
        return;
    }
    let absent = library.absent(&all);
    for key in USELESS {
        work.each(key, |_, value| {
            let (unknown, known): (Vec<_>, Vec<_>) = value
                .split(',')
                .filter(|item| !item.trim().is_empty())
                .partition(|item| absent.contains(item.trim()));
            if unknown.is_empty() {
                return None;
            }
            let reason = format!("the Slurm here does not know {}", unknown.join(", "));
            Some(match known.is_empty() {
                true => Action::CommentOut { reason },
                false => Action::Replace {
                    value: known.join(","),
                    reason,
                },
            })
        });
    }
    for key in HEEDED {
        let Some(setting) = work.effective(key) else {
            continue;
        };
        let unknown: Vec<_> = words(&setting.value)
            .filter(|word| absent.contains(*word))
            .collect();
        if !unknown.is_empty() {
            let message = format!(
                "the Slurm here does not know {} in {}",
                unknown.join(", "),
                setting.key
            );
            let hint = format!(
                "install the cluster's release here, or leave it out with --unset {}",
                setting.key
            );
            work.find(Severity::AllFail, Some(setting.place), message, hint);
        }
    }
}

/// The words of a list that can be looked for. `name=value` and numbers do not stand in a library
/// as they are written.
fn words(value: &str) -> impl Iterator<Item = &str> {
    let plain = |word: &&str| {
        word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    value.split(',').map(str::trim).filter(plain)
}
