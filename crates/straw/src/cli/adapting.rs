//! Making a set fit this container: what `exec`, the shims and `fetch` have in common.

use std::env;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slurm_protocol::ResponseConfig;

use super::args;
use crate::config::ConfigSet;
use crate::config::adapt::{
    self, Adapted, ByHand, Change, Container, Finding, Reached, Severity, only_by_hand,
};
use crate::controller::{Fetched, Query};
use crate::network::{Network as _, System};

/// How long the name of a controller may take to be resolved.
const RESOLVING: Duration = Duration::from_secs(2);

/// And how long all of them together.
const RESOLVING_ALL: Duration = Duration::from_secs(5);

/// What is to be done with a set.
#[derive(Clone, Debug)]
pub(super) struct Adapting {
    /// Whether the rules are applied.
    pub(super) rules: bool,
    /// What was asked for by hand.
    pub(super) by_hand: ByHand,
}

impl Adapting {
    pub(super) fn new(rules: bool, by_hand: args::ByHand) -> Self {
        let args::ByHand { set, unset } = by_hand;
        Self {
            rules,
            by_hand: ByHand { set, unset },
        }
    }

    /// The set as it is to be used here.
    pub(super) fn apply(
        &self,
        set: &ConfigSet,
        query: &Query,
        fetched: &Fetched<ResponseConfig>,
    ) -> Adapted {
        match self.rules {
            true => adapt_here(set, query, fetched, &self.by_hand),
            false => only_by_hand(set, &self.by_hand),
        }
    }
}

/// What would be changed here.
pub(super) fn adapt_here(
    set: &ConfigSet,
    query: &Query,
    fetched: &Fetched<ResponseConfig>,
    by_hand: &ByHand,
) -> Adapted {
    in_container(query, fetched, |container| {
        adapt::adapt(set, container, by_hand)
    })
}

/// The same, unless no command of Slurm's is here to be broken.
pub(super) fn adapt_commands(
    set: &ConfigSet,
    query: &Query,
    fetched: &Fetched<ResponseConfig>,
) -> Option<Adapted> {
    in_container(query, fetched, |container| {
        let has_slurm = container.has_slurm();
        has_slurm.then(|| adapt::adapt(set, container, &ByHand::default()))
    })
}

fn in_container<T>(
    query: &Query,
    fetched: &Fetched<ResponseConfig>,
    look: impl FnOnce(&Container<'_>) -> T,
) -> T {
    // Of names that there is no time for nothing is said.
    let give_up = Instant::now() + RESOLVING_ALL;
    let standby = fetched.standby.iter().map(|(controller, _)| controller);
    let reached: Vec<_> = standby.chain([&fetched.controller]).collect();
    let resolves = |host: &str| {
        let now = Instant::now();
        let is_known = reached.iter().any(|controller| controller.host == host);
        is_known || now >= give_up || System.addresses(host, give_up.min(now + RESOLVING)).is_ok()
    };
    look(&here(query, fetched).resolver(&resolves))
}

fn here<'a>(query: &Query, fetched: &Fetched<ResponseConfig>) -> Container<'a> {
    let own = (fetched.controller.clone(), fetched.address);
    let reached = fetched.standby.iter().cloned().chain([own]);
    Container::here()
        .search_path(search_path())
        .method(Some(query.credential.method()))
        .reached(reached.map(|(controller, address)| Reached {
            host: controller.host,
            address: address.ip(),
        }))
}

fn search_path() -> Vec<std::path::PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect()
}

/// Says what was done: changes to whom it may interest, what is broken to everybody.
pub(super) fn log(adapted: &Adapted) {
    const MOST: usize = 100;
    for change in adapted.changes.iter().take(MOST) {
        log::info!("{change}");
    }
    for finding in adapted.findings.iter().take(MOST) {
        match finding.severity {
            Severity::AllFail => log::warn!("{finding}"),
            _ => log::info!("{finding}"),
        }
    }
    let told = |count: usize| count.min(MOST);
    let (changes, findings) = (adapted.changes.len(), adapted.findings.len());
    let more = changes + findings - told(changes) - told(findings);
    if more > 0 {
        log::info!("{more} more lines of this configuration are changed, or would break");
    }
}

/// What `--explain` prints.
pub(super) fn explanation(adapted: &Adapted) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(title);
            text.push('\n');
            for line in lines {
                text.push_str(&format!("  {line}\n"));
            }
        }
    };
    let found = |severity| {
        let of_it = |finding: &&Finding| finding.severity == severity;
        let found = adapted.findings.iter().filter(of_it);
        found.map(ToString::to_string).collect()
    };
    let changes = adapted.changes.iter().map(Change::to_string).collect();
    section("adapting would change:", changes);
    section(
        "it cannot mend, and all commands fail:",
        found(Severity::AllFail),
    );
    section(
        "it cannot mend, and some commands fail:",
        found(Severity::SomeFail),
    );
    section("to be known:", found(Severity::Note));
    if text.is_empty() {
        text.push_str("nothing that straw knows of would break here\n");
    }
    text
}

/// The same for `--json`.
pub(super) fn describe(adapted: &Adapted) -> Value {
    json!({ "changes": adapted.changes, "findings": adapted.findings })
}
