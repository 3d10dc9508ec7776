//! Why it does not work: everything that can be looked at in a container and asked of its
//! controllers, each within its own time, and what is not well in the order in which to mend it.
//!
//! ```text
//!   network ──▶ names, connections ─┐
//!   credential ▶ chosen, looked at ─┼─▶ each controller ─▶ files, clock ─▶ compared ─▶ Report
//!   container ─▶ what is here ──────┘   asked at once       at once
//! ```
//!
//! A [`Check`] is a value: text and JSON are made from the same list. What could not be looked at
//! because of something else is told as well, since a check that is missing looks like one that is
//! well.

mod configuration;
mod container;
mod controller;
mod credential;
mod network;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slurm_protocol::{Release, ResponseConfig};

use crate::config::ConfigSet;
use crate::config::adapt::Adapted;
use crate::controller::{Failures, Fetched, Probe, Query, Reason, at_once};
use crate::credential::{Method, Places};
use crate::endpoint::Endpoint;
use crate::error::{Error, ExitCode};
use crate::network::Network;
use crate::text::{cut, few, without_tokens};
use crate::transport::tls::Tls;

/// What is examined.
pub struct Case<'a> {
    /// The controllers; none stands for those that DNS names.
    pub controllers: Vec<Endpoint>,
    /// Where their list came from, as a person would say it.
    pub origin: String,
    /// Their release, where it is given.
    pub release: Option<Release>,
    /// Whom to trust, where everything is to go through TLS.
    pub tls: Result<Option<Tls>, Error>,
    /// Where credentials are said to be.
    pub places: Places,
    /// How to authenticate, where that is given.
    pub method: Option<Method>,
    /// The longest that a single check may take.
    pub timeout: Duration,
    /// The longest reply that is read, in bytes.
    pub max_size: usize,
    /// What becomes of a set in this container.
    pub adapt: &'a (dyn Fn(&ConfigSet, &Query, &Fetched<ResponseConfig>) -> Adapted + Sync),
    /// What of this container is not found by itself.
    pub here: Here,
}

/// What of a container is told by variables and options.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// `PATH`.
    pub path: OsString,
    /// `SLURM_CONF`, unless straw itself has set it.
    pub slurm_conf: Option<PathBuf>,
    /// Whether straw has set it, as `straw exec` does for what it starts.
    pub by_exec: bool,
    /// Whether `straw exec` and the shims leave the configuration as it is sent.
    pub verbatim: bool,
    /// Variables that are set and make Slurm's commands use a key rather than a token.
    pub key_variables: Vec<String>,
    /// `--store`.
    pub store: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// How old a kept configuration may be before a controller is asked again.
    pub max_age: Duration,
    /// How old it may be while none can be reached.
    pub max_stale: Duration,
}

/// What a check is about, in the order in which to mend things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Names and connections.
    Network,
    /// What the controllers say of themselves.
    Controller,
    /// What requests are authenticated by.
    Credential,
    /// What the controllers send.
    Configuration,
    /// What else is here.
    Container,
}

impl Group {
    /// Its title.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "names and network",
            Self::Controller => "controller",
            Self::Credential => "credential",
            Self::Configuration => "configuration",
            Self::Container => "this container",
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is well.
    Well,
    /// It is not well, and need not keep anything from working.
    Warning,
    /// It keeps something from working.
    Failure,
    /// It could not be looked at because of something else.
    Skipped,
}

impl Outcome {
    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// A check, and what came of it.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// What was looked at: `token`, `ctl1:6817`.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen.
    pub seen: String,
    /// What to do, where it is not well.
    pub remedy: Option<String>,
    /// The exit code that goes with it, where it is a failure.
    pub exit_code: Option<ExitCode>,
}

/// All checks, in the order in which to mend what is not well.
#[derive(Clone, Debug)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// The exit code of the first failure.
    pub fn exit_code(&self) -> Option<ExitCode> {
        self.checks.iter().find_map(|check| check.exit_code)
    }

    /// How many checks came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        let of_it = |check: &&Check| check.outcome == outcome;
        self.checks.iter().filter(of_it).count()
    }

    /// The report for programs.
    pub fn to_json(&self) -> Value {
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "group": check.group.name(),
                    "name": without_tokens(&check.name),
                    "outcome": check.outcome.name(),
                    "seen": without_tokens(&check.seen),
                    "remedy": check.remedy.as_deref().map(without_tokens),
                    "exit_code": check.exit_code.map(|code| code as u8),
                })
            })
            .collect();
        json!({
            "exit_code": self.exit_code().map_or(0, |code| code as u8),
            "checks": checks,
        })
    }
}

/// The checks of one group, while they are made.
struct Checks {
    group: Group,
    list: Vec<Check>,
}

impl Checks {
    fn of(group: Group) -> Self {
        let list = Vec::new();
        Self { group, list }
    }

    fn add(
        &mut self,
        outcome: Outcome,
        name: &str,
        seen: String,
        remedy: Option<String>,
        exit_code: Option<ExitCode>,
    ) {
        self.list.push(Check {
            group: self.group,
            name: cut(name, MOST_SEEN).into_owned(),
            outcome,
            seen: cut(&seen, MOST_SEEN).into_owned(),
            remedy: remedy.filter(|remedy| !remedy.is_empty()),
            exit_code,
        });
    }

    fn well(&mut self, name: &str, seen: impl Into<String>) {
        self.add(Outcome::Well, name, seen.into(), None, None);
    }

    fn warn(&mut self, name: &str, seen: impl Into<String>, remedy: impl Into<String>) {
        self.add(
            Outcome::Warning,
            name,
            seen.into(),
            Some(remedy.into()),
            None,
        );
    }

    fn fail(
        &mut self,
        name: &str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
        code: ExitCode,
    ) {
        let remedy = Some(remedy.into());
        self.add(Outcome::Failure, name, seen.into(), remedy, Some(code));
    }

    fn fail_with(&mut self, name: &str, error: &Error) {
        let mut seen = error.to_string();
        let causes = error.causes();
        if !causes.is_empty() {
            seen.push_str(&format!(": {}", causes.join("; ")));
        }
        self.fail(name, seen, error.hint(), error.exit_code());
    }

    fn skip(&mut self, name: &str, why: impl Into<String>) {
        self.add(Outcome::Skipped, name, why.into(), None, None);
    }

    /// Takes failures for warnings: of several controllers one that works is enough.
    fn soften(&mut self) {
        for check in &mut self.list {
            if check.outcome == Outcome::Failure {
                check.outcome = Outcome::Warning;
                check.exit_code = None;
            }
        }
    }
}

/// A part of the examination that is done while others are.
enum Part {
    Network(network::Reached),
    Credential(Box<credential::Chosen>),
    Container(container::Found),
}

/// Runs every check that can be run.
pub fn examine(case: &Case<'_>, network: &(dyn Network + Sync)) -> Report {
    let mut connections = None;
    let mut chosen = None;
    let mut found = None;
    for part in at_once(0..3, |part| match part {
        0 => Part::Network(network::reach(case, network)),
        1 => Part::Credential(Box::new(credential::choose(case, network))),
        _ => Part::Container(container::find(case)),
    }) {
        match part {
            Part::Network(reached) => connections = Some(reached),
            Part::Credential(credential) => chosen = Some(*credential),
            Part::Container(container) => found = Some(container),
        }
    }
    let (Some(mut reached), Some(mut chosen), Some(found)) = (connections, chosen, found) else {
        return Report { checks: Vec::new() };
    };
    let met = controller::meet(case, network, &reached, &chosen);
    let used = credential::used(case, network, &met, &chosen);
    network::judge(&mut reached, &met, &chosen);
    let controllers = controller::judge(case, &met, &used, &chosen);
    credential::judge(case, network, &met, &used, &mut chosen);
    let adapts = found.adapts(case);
    let (configuration, set) = configuration::judge(case, &used, &met, adapts);
    let container = container::judge(case, found, &met, set.as_ref(), &chosen);
    let groups = [
        reached.checks,
        controllers,
        chosen.checks,
        configuration,
        container,
    ];
    Report {
        checks: groups.into_iter().flat_map(|checks| checks.list).collect(),
    }
}

impl Case<'_> {
    /// When a check that begins now has to end.
    fn deadline(&self, network: &dyn Network) -> Instant {
        network.now() + self.timeout
    }

    /// Fails a check for a controller's reason, with what other commands say to do about it.
    fn fail_for(
        &self,
        checks: &mut Checks,
        name: &str,
        reason: &Reason,
        chosen: &credential::Chosen,
    ) {
        let probe = Probe {
            tls: self.tls.as_ref().ok().and_then(Option::as_ref),
            credential: chosen.opened(),
            release: self.release,
            exact: true,
            max_size: self.max_size,
        };
        // It was not waited for; that it can be is nothing that doctor could do.
        let words = Failures::of_probes(Vec::new(), &probe, chosen.place(), true);
        let code = reason.exit_code();
        checks.fail(name, reason.to_string(), words.hint_for(reason), code);
    }
}

/// What was seen is told in so many characters at most: a peer, or whoever made a token, can have a
/// lot to say.
const MOST_SEEN: usize = 2000;

/// So many of several things are named.
const MOST_NAMED: usize = 12;

/// Names as a list that a line can hold.
fn list(names: &[String]) -> String {
    few(names, MOST_NAMED)
}
