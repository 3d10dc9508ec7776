//! What is known about a watch.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use slurm_protocol::ProtocolVersion;

use super::metrics;
use crate::store::Current;
use crate::text::{safe, span, time};

/// What is known about a watch: it tells, and whoever is asked for it answers from here. Nothing
/// that takes time is done under its lock.
#[derive(Debug)]
pub struct Status {
    max_stale: Duration,
    known: Mutex<Known>,
    /// Rung whenever something is told.
    told: Condvar,
}

/// How a refresh that succeeded ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The set is the one that was there before.
    Unchanged,
    /// It is another one, or the first.
    Changed,
}

/// How an attempt to renew the token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There is a new token.
    Renewed,
    /// There is not.
    Failed,
}

/// All of it, as it was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) set: Option<Set>,
    /// When the set became another one, as far as this process saw it.
    pub(super) changed: Option<SystemTime>,
    pub(super) changes: u64,
    pub(super) refreshes: Refreshes,
    /// What the last refresh failed of, if it did.
    pub(super) failing: Option<Failing>,
    /// How long the last refresh took.
    pub(super) took: Option<Duration>,
    pub(super) token_expiry: Option<SystemTime>,
    pub(super) renewals: Renewals,
    sign_by: Option<Instant>,
    /// How often something was told.
    revision: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) controller: String,
    pub(super) version: ProtocolVersion,
    generation: PathBuf,
    pub(super) checked: SystemTime,
}

#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) kind: String,
    message: String,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refreshes {
    pub(super) unchanged: u64,
    pub(super) changed: u64,
    pub(super) failed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewals {
    pub(super) renewed: u64,
    pub(super) failed: u64,
}

/// What a file says of a watch, and how long that stays true by itself.
pub(super) struct Report {
    /// `None` while the watch is not ready.
    pub(super) text: Option<String>,
    /// What [`Status::wait`] takes.
    pub(super) revision: u64,
    pub(super) stays: Duration,
}

impl Status {
    /// Of a watch that has just begun. A set counts for less than `max_stale` after it was checked.
    pub fn new(max_stale: Duration) -> Arc<Self> {
        Arc::new(Self {
            max_stale,
            known: Mutex::default(),
            told: Condvar::new(),
        })
    }

    /// Tells that the store holds a set, found there at the start or put there by another straw.
    pub fn found(&self, current: &Current) {
        self.tell(|known| known.hold(current, false));
    }

    /// Tells that a refresh succeeded, how long it took, and what the store holds now.
    pub fn refreshed(&self, current: &Current, refresh: Refresh, took: Duration) {
        self.tell(|known| {
            known.hold(current, refresh == Refresh::Changed);
            known.failing = None;
            known.took = Some(took);
            match refresh {
                Refresh::Unchanged => known.refreshes.unchanged += 1,
                Refresh::Changed => known.refreshes.changed += 1,
            }
        });
    }

    /// Tells that a refresh failed after a time, with an error of this kind and message
    /// ([`Error::kind`](crate::Error::kind)). A set that is there stays.
    pub fn refresh_failed(&self, kind: &str, message: &str, took: Duration) {
        let failing = Failing {
            kind: kind.to_owned(),
            // One line, and no token that was put in a wrong place.
            message: safe(message).replace('\n', " ").trim().to_owned(),
        };
        self.tell(|known| {
            known.failing = Some(failing);
            known.took = Some(took);
            known.refreshes.failed += 1;
        });
    }

    /// Tells when the token expires; `None` for one that does not, and without any.
    pub fn token_expires(&self, expiry: Option<SystemTime>) {
        self.tell(|known| known.token_expiry = expiry);
    }

    /// Tells how an attempt to renew the token ended.
    pub fn renewed(&self, renewal: Renewal) {
        self.tell(|known| match renewal {
            Renewal::Renewed => known.renewals.renewed += 1,
            Renewal::Failed => known.renewals.failed += 1,
        });
    }

    /// Tells that the watch lives, and by when it will say so again at the latest.
    pub fn next_sign_by(&self, by: Instant) {
        self.tell(|known| known.sign_by = Some(by));
    }

    /// Whether there is a set that counts, even if the last refreshes failed.
    ///
    /// # Errors
    ///
    /// Why there is not, as a sentence.
    pub fn ready(&self, now: SystemTime) -> Result<(), String> {
        self.known().ready(now, self.max_stale)
    }

    /// Whether the watch has given each sign of life by the time that it had said. One that has
    /// not said a time yet is alive.
    ///
    /// # Errors
    ///
    /// Why it is taken for dead, as a sentence.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        self.known().alive(now)
    }

    /// All of it for Prometheus, in its text format 0.0.4.
    pub fn metrics(&self, now: SystemTime) -> String {
        let known = self.known().clone();
        metrics::page(&known, known.ready(now, self.max_stale).is_ok())
    }

    /// What the file is to say.
    pub(super) fn report(&self, alive_at: Instant, now: SystemTime) -> Report {
        let known = self.known().clone();
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = |at| time(seconds(at).as_secs());
        let text = |set: &Set| {
            let failing = known.failing.as_ref();
            let object = json!({
                "ready": true,
                "alive": known.alive(alive_at).is_ok(),
                "controller": set.controller,
                "protocol": set.protocol(),
                "checked": date(set.checked),
                "generation": set.generation.to_string_lossy(),
                "failing": failing.map(|failing| json!({
                    "kind": failing.kind,
                    "message": failing.message,
                })),
                "token_expires": known.token_expiry.and_then(date),
            });
            format!("{object:#}\n")
        };
        let ready = known.ready(now, self.max_stale).is_ok();
        Report {
            text: known.set.as_ref().filter(|_| ready).map(text),
            revision: known.revision,
            stays: known.stays(alive_at, now, self.max_stale),
        }
    }

    /// How often something was told: what [`wait`](Self::wait) takes.
    pub(in crate::watch) fn revision(&self) -> u64 {
        self.known().revision
    }

    /// Waits until something is told after a report of this revision, or for so long.
    pub(in crate::watch) fn wait(&self, revision: u64, patience: Duration) {
        let unchanged = |known: &mut Known| known.revision == revision;
        let _ = self
            .told
            .wait_timeout_while(self.known(), patience, unchanged);
    }

    /// Wakes whoever waits.
    pub(super) fn wake(&self) {
        self.tell(|_| {});
    }

    fn tell(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        change(&mut known);
        known.revision = known.revision.wrapping_add(1);
        drop(known);
        self.told.notify_all();
    }

    /// What is known is good, whoever panicked: each change leaves it whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A generation other than the one before is a change, too: of another straw's.
    fn hold(&mut self, current: &Current, changed: bool) {
        let before = self.set.as_ref().map(|set| &set.generation);
        if changed || before.is_some_and(|before| *before != current.generation) {
            self.changed = Some(current.checked);
            self.changes += 1;
        }
        self.set = Some(Set {
            controller: current.state.controller.clone(),
            version: current.state.version,
            generation: current.generation.clone(),
            checked: current.checked,
        });
    }

    fn ready(&self, now: SystemTime, max_stale: Duration) -> Result<(), String> {
        let why = match &self.set {
            None => "no configuration is there yet".to_owned(),
            // No time at all where the clock was set back.
            Some(set) => match now.duration_since(set.checked).unwrap_or_default() {
                age if age < max_stale => return Ok(()),
                age => format!(
                    "the configuration was last checked {} ago, and counts for {}",
                    span(age),
                    span(max_stale)
                ),
            },
        };
        Err(match &self.failing {
            None => why,
            Some(failing) => format!("{why}: {}", failing.message),
        })
    }

    fn alive(&self, now: Instant) -> Result<(), String> {
        match self.sign_by.map(|by| now.saturating_duration_since(by)) {
            Some(late) if !late.is_zero() => Err(format!(
                "the watch should have given a sign of life {} ago",
                span(late)
            )),
            _ => Ok(()),
        }
    }

    /// How long the answers stay as they are if nothing is told, or the clock may have been set.
    fn stays(&self, alive_at: Instant, now: SystemTime, max_stale: Duration) -> Duration {
        const CLOCK_IS_LOOKED_AT: Duration = Duration::from_secs(60);
        // So that what happens at a moment has happened after it.
        const AND_A_BIT: Duration = Duration::from_millis(1);
        let ready = self.set.as_ref().and_then(|set| {
            let end = set.checked.checked_add(max_stale)?;
            end.duration_since(now).ok()
        });
        let alive = self
            .sign_by
            .and_then(|by| by.checked_duration_since(alive_at));
        [ready, alive]
            .into_iter()
            .flatten()
            .map(|left| left.saturating_add(AND_A_BIT))
            .fold(CLOCK_IS_LOOKED_AT, Duration::min)
    }
}

impl Set {
    /// The release whose protocol was spoken; the controller's own can be a newer one.
    pub(super) fn protocol(&self) -> String {
        match self.version.release() {
            Some(release) => release.to_string(),
            None => self.version.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, current};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const TOOK: Duration = Duration::from_millis(1250);

    #[test]
    fn ready_is_a_set_that_is_not_too_old() {
        let status = Status::new(24 * HOUR);
        let why = |now| status.ready(at(now)).unwrap_err();
        assert_eq!(why(0), "no configuration is there yet");
        status.refresh_failed("unreachable", "nobody\nanswers", TOOK);
        assert_eq!(why(0), "no configuration is there yet: nobody answers");

        status.found(&current("..gen-1", 1000));
        // A clock that was set back makes nothing old.
        for now in [0, 1000, 1000 + 24 * 3600 - 1] {
            assert_eq!(status.ready(at(now)), Ok(()), "{now}");
        }
        assert_eq!(
            why(1000 + 24 * 3600),
            "the configuration was last checked 1d ago, and counts for 1d: nobody answers"
        );
        status.refreshed(&current("..gen-1", 90_000), Refresh::Unchanged, TOOK);
        assert_eq!(status.ready(at(100_000)), Ok(()));
    }

    #[test]
    fn alive_is_who_is_not_late() {
        let status = Status::new(HOUR);
        let now = Instant::now();
        assert_eq!(status.alive(now + HOUR), Ok(()));
        status.next_sign_by(now + HOUR);
        assert_eq!(status.alive(now + HOUR), Ok(()));
        assert_eq!(
            status.alive(now + 2 * HOUR).unwrap_err(),
            "the watch should have given a sign of life 1h ago"
        );
        status.next_sign_by(now + 3 * HOUR);
        assert_eq!(status.alive(now + 2 * HOUR), Ok(()));
    }

    #[test]
    fn another_generation_is_a_change() {
        let status = Status::new(HOUR);
        let changes = || {
            let known = status.known();
            (known.changes, known.changed)
        };
        status.found(&current("..gen-1", 1000));
        status.refreshed(&current("..gen-1", 2000), Refresh::Unchanged, TOOK);
        assert_eq!(changes(), (0, None));
        status.refreshed(&current("..gen-2", 3000), Refresh::Changed, TOOK);
        assert_eq!(changes(), (1, Some(at(3000))));
        status.found(&current("..gen-3", 4000));
        assert_eq!(changes(), (2, Some(at(4000))));
        // In a directory that is a new one.
        status.refreshed(&current("..gen-3", 5000), Refresh::Changed, TOOK);
        assert_eq!(changes(), (3, Some(at(5000))));
    }

    #[test]
    fn no_token_is_shown() {
        let token = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, r#"{"sun":"alice"}"#);
        let status = Status::new(HOUR);
        status.refresh_failed("bad-release", &format!("`{token}`: no release"), TOOK);
        assert_eq!(
            status.ready(at(0)).unwrap_err(),
            "no configuration is there yet: `[a token]`: no release"
        );
    }

    #[test]
    fn a_report_says_how_long_it_is_true() {
        let status = Status::new(HOUR);
        let now = Instant::now();
        let report = status.report(now, at(0));
        assert_eq!((report.text, report.stays.as_secs()), (None, 60));
        status.found(&current("..gen-1", 1000));
        assert_eq!(status.report(now, at(1000)).stays.as_secs(), 60);
        assert_eq!(status.report(now, at(1000 + 3590)).stays.as_secs(), 10);
        status.next_sign_by(now + Duration::from_secs(5));
        assert_eq!(status.report(now, at(1000 + 3590)).stays.as_secs(), 5);
        assert!(status.report(now, at(1000 + 3600)).text.is_none());
    }

    #[test]
    fn a_panic_elsewhere_is_no_matter() {
        let status = Status::new(HOUR);
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| status.tell(|_| panic!("as a test wants it")));
            thread.join()
        });
        assert!(panicked.is_err());
        status.found(&current("..gen-1", 1000));
        assert_eq!(status.ready(at(1000)), Ok(()));
    }
}
