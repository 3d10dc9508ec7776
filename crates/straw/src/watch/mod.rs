//! Keeping a set and a token fresh for as long as somebody needs them: what `straw watch` does, and
//! `straw exec --refresh` beside its command.
//!
//! ```text
//!         ┌────────────── due: token? set? ◀─────────────┐
//!         ▼                                              │
//!   Tokens::step ──▶ refresh ──▶ Report: a line where    │ wait: jittered, and longer
//!   (renewal)        (a set)     something is new        │ after each failure in a row
//!                       │                                │
//!                       └──▶ changed: what somebody      │
//!                            wants done then ────────────┘
//! ```

mod backoff;
pub mod health;
mod hook;
mod pid_file;
mod report;
pub mod systemd;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use health::Status;

pub use hook::Hook;
pub use pid_file::{PidFile, PidFileError};
pub use tokens::{Renewal, Tokens};

use crate::error::Error;
use crate::launch::Ready;
use crate::store::Current;
use backoff::Backoff;
use report::Report;

/// How long a step may take beyond the time that it is to end by, before the watch counts as stuck.
const SLACK: Duration = Duration::from_secs(60);

/// How often is looked whether somebody has put another token in place of one that was refused.
const LOOK: Duration = Duration::from_secs(5);

/// Has the watch do something out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Refresh now.
    Refresh,
    /// End.
    End,
}

/// Keeps a set fresh, and a token.
pub struct Watch {
    /// How long after it was last known to be right a set is asked for again, at the latest.
    pub interval: Duration,
    /// How old a set may be while no controller can be reached.
    pub max_stale: Duration,
    /// The longest that a refresh can take.
    pub patience: Duration,
    /// Makes a set ready that was known to be right no longer ago than this.
    pub refresh: Box<dyn Fn(Duration) -> Result<Ready, Error> + Send>,
    /// Told of a set that was not there before.
    pub changed: Box<dyn Fn(&Current) + Send>,
    /// The token that is used.
    pub tokens: Option<Tokens>,
    /// What others may know.
    pub status: Arc<Status>,
}

impl Watch {
    /// Runs until it is told to end. `current` is the set that is there already, and was told to
    /// whom it concerns.
    pub fn run(mut self, mut current: Option<Current>, wake: &Receiver<Wake>) {
        let mut report = Report::new(current.as_ref(), self.max_stale);
        let mut backoff = Backoff::new(self.interval);
        let mut span = jittered(self.interval);
        let mut refresh_at = match &current {
            Some(current) => Instant::now() + span.saturating_sub(current.age()),
            None => Instant::now(),
        };
        let mut token_at = Instant::now();
        loop {
            if let Some(tokens) = &mut self.tokens
                && token_at <= Instant::now()
            {
                self.status
                    .next_sign_by(Instant::now() + self.patience + SLACK);
                token_at = Instant::now() + tokens.step(SystemTime::now(), &self.status);
            }
            if refresh_at <= Instant::now() {
                self.status
                    .next_sign_by(Instant::now() + self.patience + SLACK);
                let began = Instant::now();
                let result = (self.refresh)(span);
                let failed = report.tell(&result, began.elapsed(), &self.status);
                span = jittered(self.interval);
                let pause = match &result {
                    _ if failed => backoff.next(),
                    Ok(ready) => {
                        backoff.reset();
                        span.saturating_sub(ready.current.age())
                    }
                    Err(_) => backoff.next(),
                };
                refresh_at = Instant::now() + pause;
                if let Ok(ready) = result {
                    let is_new = |old: &Current| old.generation != ready.current.generation;
                    if current.as_ref().is_none_or(is_new) {
                        (self.changed)(&ready.current);
                    }
                    current = Some(ready.current);
                }
            }
            report.age(current.as_ref());
            let mut next = refresh_at;
            if self.tokens.is_some() {
                next = next.min(token_at);
            }
            if let Some(left) = report.becomes_stale(current.as_ref()) {
                next = next.min(Instant::now() + left);
            }
            match self.wait(next, report.is_failing(), wake) {
                Some(Wake::End) => return,
                Some(Wake::Refresh) => {
                    // What is there is asked for again, however fresh it is.
                    span = Duration::ZERO;
                    refresh_at = Instant::now();
                    token_at = refresh_at;
                }
                None => {}
            }
        }
    }

    /// Waits for the next thing that is due, or for somebody to wake us; while something fails, also
    /// for another token.
    fn wait(&mut self, until: Instant, failing: bool, wake: &Receiver<Wake>) -> Option<Wake> {
        loop {
            self.status.next_sign_by(until + SLACK);
            let mut left = until.saturating_duration_since(Instant::now());
            let looks = failing && self.tokens.is_some();
            if looks {
                left = left.min(jittered(LOOK));
            }
            match wake.recv_timeout(left) {
                Ok(wake) => return Some(wake),
                // Nobody can wake us any more, which is no reason not to go on.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if until <= Instant::now() {
                return None;
            }
            if looks && self.tokens.as_mut().is_some_and(Tokens::was_replaced) {
                return Some(Wake::Refresh);
            }
        }
    }
}

/// A time that is up to a fifth shorter, so that many who started in the same moment do not go on in
/// step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.8 + fastrand::f64() / 5.0)
}
