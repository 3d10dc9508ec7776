//! What is said of refreshes: a line for each change, each kind of failure and each recovery, and
//! nothing while all is well, or goes on being wrong.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use slurm_protocol::ProtocolVersion;

use super::health::{Refresh, Status};
use crate::error::Error;
use crate::launch::{How, Ready};
use crate::store::Current;
use crate::text::{notice, span};

/// What has been said.
pub(super) struct Report {
    /// Who gave the last set, and in which version.
    source: Option<(String, ProtocolVersion)>,
    /// Where that set is.
    generation: Option<PathBuf>,
    failing: Option<Failing>,
    max_stale: Duration,
    is_stale: bool,
}

/// Failures in a row.
struct Failing {
    since: Instant,
    attempts: u32,
    /// The kinds of them that were told of.
    told: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(current: Option<&Current>, max_stale: Duration) -> Self {
        Self {
            source: current.map(source),
            generation: current.map(|current| current.generation.clone()),
            failing: None,
            max_stale,
            is_stale: false,
        }
    }

    /// Whether the last refresh failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Tells of a refresh, and whether it failed: also where there is a set that will do.
    pub(super) fn tell(
        &mut self,
        result: &Result<Ready, Error>,
        took: Duration,
        status: &Status,
    ) -> bool {
        let error = match result {
            Ok(Ready {
                how: How::LastGood(error),
                current,
            }) => {
                status.found(current);
                error
            }
            Ok(ready) => {
                match ready.how {
                    // It was another straw's that succeeded.
                    How::Fresh if self.failing.is_none() => status.found(&ready.current),
                    How::New => status.refreshed(&ready.current, Refresh::Changed, took),
                    _ => status.refreshed(&ready.current, Refresh::Unchanged, took),
                }
                self.recovered(ready);
                return false;
            }
            Err(error) => error,
        };
        status.refresh_failed(error.kind(), &error.to_string(), took);
        let first = self.failing.is_none();
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: Instant::now(),
            attempts: 0,
            told: BTreeSet::new(),
        });
        failing.attempts += 1;
        if failing.told.insert(error.kind().to_owned()) {
            let more = match first {
                true => "; it is tried again, and told of when it works",
                false => "",
            };
            log::warn!("{}{more} ({})", error.to_line(), error.hint());
        } else {
            log::info!("{}", error.to_line());
        }
        true
    }

    fn recovered(&mut self, ready: &Ready) {
        let current = &ready.current;
        let controller = &current.state.controller;
        if let Some(failing) = self.failing.take() {
            let attempts = failing.attempts;
            let after = span(failing.since.elapsed());
            let s = if attempts == 1 { "" } else { "s" };
            let is = match self.source {
                Some(_) => "is fresh again",
                None => "is here",
            };
            notice!(
                "the configuration of {controller} {is}, {after} and {attempts} failed attempt{s} \
                 later"
            );
        }
        let now = source(current);
        if let Some(before) = self.source.replace(now.clone())
            && before != now
        {
            let (old, version) = before;
            if old != now.0 {
                notice!(
                    "the configuration comes from {} now, no longer from {old}",
                    now.0
                );
            } else {
                notice!("{controller} speaks {} now, no longer {version}", now.1);
            }
        }
        // It may be another straw that fetched it.
        let before = self.generation.replace(current.generation.clone());
        if matches!(ready.how, How::New) || before.as_ref() != Some(&current.generation) {
            notice!(
                "new configuration of {controller}: {}",
                current.generation.display()
            );
        }
    }

    /// Says once that a set has become too old while nobody could be asked.
    pub(super) fn age(&mut self, current: Option<&Current>) {
        let Some(current) = current else { return };
        let is_stale = self.is_failing() && current.age() >= self.max_stale;
        if is_stale && !self.is_stale {
            let age = span(current.age());
            log::error!(
                "the configuration was last confirmed {age} ago: that is more than --max-stale, \
                 and it no longer counts"
            );
        }
        self.is_stale = is_stale;
    }

    /// How long until that is to be said.
    pub(super) fn becomes_stale(&self, current: Option<&Current>) -> Option<Duration> {
        let is_to_be_said = self.is_failing() && !self.is_stale;
        is_to_be_said
            .then(|| current.map(|current| self.max_stale.saturating_sub(current.age())))?
    }
}

fn source(current: &Current) -> (String, ProtocolVersion) {
    let state = &current.state;
    (state.controller.clone(), state.version)
}
