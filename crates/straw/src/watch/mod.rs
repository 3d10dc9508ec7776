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
use crate::launch::{How, Ready};
use crate::store::Current;
use crate::text::span;
use backoff::Backoff;
use report::Report;

/// How long a step may take beyond the time that it is to end by, before the watch counts as stuck.
const SLACK: Duration = Duration::from_secs(60);

/// How often is looked whether somebody has put another token in place of one that was refused.
const LOOK: Duration = Duration::from_secs(5);

/// How often is looked whether the clock was set, or the machine slept, and what counts as that.
const CLOCK: Duration = Duration::from_secs(30);
const JUMP: Duration = Duration::from_secs(10);

/// Has the watch do something out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Refresh now.
    Refresh,
    /// End.
    End,
}

impl Wake {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refresh, Self::Refresh) => Self::Refresh,
            _ => Self::End,
        }
    }
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
    /// Told of a set that was not there before; it keeps nobody waiting.
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
        let mut refresh_at = Instant::now();
        // One of a time to come says nothing of its age.
        if let Some(current) = &current
            && current.checked <= SystemTime::now()
        {
            refresh_at += span.saturating_sub(current.age());
        }
        let mut clocks = Clocks::now();
        let mut asked = Instant::now();
        let mut token_at = Instant::now();
        loop {
            if let Some(tokens) = &mut self.tokens
                && token_at <= Instant::now()
            {
                // It can take a token command, two requests and a lock.
                self.status
                    .next_sign_by(Instant::now() + self.patience * 2 + SLACK);
                token_at = Instant::now() + tokens.step(SystemTime::now(), &self.status);
            }
            if refresh_at <= Instant::now() {
                self.status
                    .next_sign_by(Instant::now() + self.patience + SLACK);
                // After a failure only what another straw has found out since then will do.
                let fresh = match report.is_failing() {
                    true => span.min(asked.elapsed()),
                    false => span,
                };
                asked = Instant::now();
                let result = (self.refresh)(fresh);
                let failed = report.tell(&result, asked.elapsed(), &self.status);
                span = jittered(self.interval);
                let pause = match &result {
                    _ if failed => backoff.next(),
                    Ok(Ready {
                        how: How::Fresh,
                        current,
                    }) => {
                        backoff.reset();
                        span.saturating_sub(current.age())
                    }
                    // Whatever time the file system gives it.
                    Ok(_) => {
                        backoff.reset();
                        span
                    }
                    Err(_) => backoff.next(),
                };
                refresh_at = Instant::now() + pause;
                if let Ok(ready) = result {
                    // In a directory that is another one, the first set is called as the first one
                    // was here.
                    let is_new = matches!(ready.how, How::New)
                        || current
                            .as_ref()
                            .is_none_or(|old| old.generation != ready.current.generation);
                    if is_new {
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
            match self.wait(next, report.is_failing(), &mut clocks, wake) {
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
    /// for another token. What a clock says that was set, or that went on while the machine slept, is
    /// a reason to look at once.
    fn wait(
        &mut self,
        until: Instant,
        failing: bool,
        clocks: &mut Clocks,
        wake: &Receiver<Wake>,
    ) -> Option<Wake> {
        loop {
            self.status.next_sign_by(until + SLACK);
            let mut left = until.saturating_duration_since(Instant::now()).min(CLOCK);
            let looks = failing && self.tokens.is_some();
            if looks {
                left = left.min(jittered(LOOK));
            }
            match wake.recv_timeout(left) {
                // Once is enough for many who want the same.
                Ok(first) => return Some(wake.try_iter().fold(first, Wake::and)),
                // Nobody can wake us any more, which is no reason not to go on.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(jump) = clocks.jump() {
                log::info!("the clock went {jump} without us: looking at once");
                return Some(Wake::Refresh);
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

/// The clock that people set, beside the one that nobody sets and that stands still while the machine
/// sleeps.
struct Clocks {
    people: SystemTime,
    ours: Instant,
}

impl Clocks {
    fn now() -> Self {
        Self {
            people: SystemTime::now(),
            ours: Instant::now(),
        }
    }

    /// How far they have parted since they were last looked at, as a person would say it; `None`
    /// where they have not.
    fn jump(&mut self) -> Option<String> {
        let then = std::mem::replace(self, Self::now());
        self.jump_since(&then)
    }

    fn jump_since(&self, then: &Self) -> Option<String> {
        let passed = self.ours.saturating_duration_since(then.ours);
        let expected = then.people.checked_add(passed)?;
        match self.people.duration_since(expected) {
            Ok(jump) => (jump > JUMP).then(|| format!("{} ahead", span(jump))),
            Err(back) => {
                let jump = back.duration();
                (jump > JUMP).then(|| format!("{} back", span(jump)))
            }
        }
    }
}
