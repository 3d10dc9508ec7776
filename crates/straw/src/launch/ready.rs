//! A store that is fresh: what a command needs before it is run.

use std::time::{Duration, Instant, SystemTime};

use slurm_protocol::ResponseConfig;

use crate::config::ConfigSet;
use crate::config::adapt::Adapted;
use crate::controller::{self, Fetched, FileSet, Query};
use crate::error::{Error, ExitCode};
use crate::network::Network;
use crate::store::{Current, Failure, Lock, Published, State, Store, StoreError};
use crate::text::span;

/// How long publishing may take while others wait for their turn.
const PUBLISHING: Duration = Duration::from_secs(10);

/// What is to be in the store, and how fresh.
pub struct Wanted<'a> {
    /// Whom to ask.
    pub query: &'a Query,
    /// What the set is made from: a set of another key is not what is wanted.
    pub key: &'a str,
    /// How old a set may be before a controller is asked again.
    pub max_age: Duration,
    /// How old it may be while no controller can be reached.
    pub max_stale: Duration,
    /// How long nobody asks again after no controller could be reached, while there is a set that
    /// is good enough.
    pub pause: Duration,
    /// What becomes of a set before it is kept.
    pub adapt: &'a dyn Fn(&ConfigSet, &Fetched<ResponseConfig>) -> Adapted,
    /// Told what came of that, where the set is a new one.
    pub changed: &'a dyn Fn(&Adapted),
}

/// A set that is as good as can be had, and how it was come by.
#[derive(Debug)]
pub struct Ready {
    /// The set.
    pub current: Current,
    /// How it was come by.
    pub how: How,
}

/// How a set was come by.
#[derive(Debug)]
#[non_exhaustive]
pub enum How {
    /// It was fresh enough, whoever fetched it.
    Fresh,
    /// A controller has just said that it is still right.
    Unchanged,
    /// It has just come, and is not what was there before.
    New,
    /// It is the last good one: no controller can be reached.
    LastGood(Box<Error>),
}

impl Ready {
    fn new(current: &Current, how: How) -> Self {
        let current = current.clone();
        Self { current, how }
    }

    /// Warns, where the set is the last good one.
    pub fn warn(&self) {
        if let How::LastGood(why) = &self.how {
            let age = match is_to_come(self.current.checked) {
                true => "a time to come (the clock was set back)".to_owned(),
                false => format!("{} ago", span(self.current.age())),
            };
            log::warn!("{why}; using the configuration of {age}");
        }
    }
}

impl Wanted<'_> {
    /// Makes sure that the store holds a set that is fresh, or as good as can be had. Of many who
    /// ask at once one fetches, and the others wait for it.
    ///
    /// # Errors
    ///
    /// [`Error`]: whatever keeps a controller from giving its configuration, unless none can be
    /// reached and the last good set is not too old; and what keeps it from being kept.
    pub fn ready(&self, store: &Store, network: &dyn Network) -> Result<Ready, Error> {
        let began = SystemTime::now();
        let current = self.current(store)?;
        if let Some(current) = &current {
            if self.is_fresh(current) {
                let age = span(current.age());
                log::info!(
                    "configuration of {age} ago: {}",
                    current.generation.display()
                );
                return Ok(Ready::new(current, How::Fresh));
            }
            // Somebody has just found out that nobody answers.
            if let Some((failure, when)) = self.failure(store)
                && failure.exit_code == ExitCode::Unreachable as u8
                && when > current.checked
                && age(when) < self.pause.min(self.max_age)
                && self.is_good_enough(current)
            {
                let why = Box::new(Error::Earlier(Box::new(failure)));
                return Ok(Ready::new(current, How::LastGood(why)));
            }
        }
        let patience = self.query.timeout + self.query.wait + PUBLISHING;
        let lock = match store.lock(Instant::now() + patience) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                let path = store.path().to_owned();
                return self.last_good(current, StoreError::Locked { path }.into());
            }
            Err(error) if error.is_good_to_read() => return self.last_good(current, error.into()),
            Err(error) => return Err(error.into()),
        };
        // Somebody else may have fetched meanwhile, or failed to.
        let current = self.current(store)?;
        if let Some(current) = current.as_ref().filter(|current| self.is_fresh(current)) {
            return Ok(Ready::new(current, How::Fresh));
        }
        // (What has to do with their credential, or their wishes, need not be true of ours.)
        if let Some((failure, when)) = self.failure(store)
            && failure.exit_code == ExitCode::Unreachable as u8
            && when > began
        {
            return self.last_good(current, Error::Earlier(Box::new(failure)));
        }
        match self.fetch(store, &lock, network) {
            Ok(Published::New(current)) => Ok(Ready::new(&current, How::New)),
            Ok(Published::Unchanged(current)) => Ok(Ready::new(&current, How::Unchanged)),
            Err(error) => {
                let failure = error.to_failure(self.key);
                if let Err(error) = store.note_failure(&lock, &failure) {
                    log::debug!("{error}");
                }
                self.last_good(current, error)
            }
        }
    }

    /// The set in the store, if it is of the right kind.
    fn current(&self, store: &Store) -> Result<Option<Current>, Error> {
        let current = store.current()?;
        Ok(current.filter(|current| current.state.key == self.key))
    }

    /// The last failure, and when it was. One of a time to come does not count: the clock was set
    /// back since, and until that time nobody would ask.
    fn failure(&self, store: &Store) -> Option<(Failure, SystemTime)> {
        store
            .failure()
            .filter(|(failure, when)| failure.key == self.key && !is_to_come(*when))
    }

    fn fetch(
        &self,
        store: &Store,
        lock: &Lock<'_>,
        network: &dyn Network,
    ) -> Result<Published, Error> {
        let mut fetched = controller::fetch(self.query, FileSet::Client, network)?;
        let set = ConfigSet::new(std::mem::take(&mut fetched.content))?;
        let set = match &self.query.tls {
            Some(tls) => set.with_ca(tls.ca_pem().as_bytes()),
            None => set,
        };
        let adapted = (self.adapt)(&set, &fetched);
        let tls = self.query.tls.is_some();
        let state = State::new(self.key, &fetched, tls, network.time_of_day());
        let published = store.publish(lock, &adapted.set, &state)?;
        match &published {
            Published::New(current) => {
                log::info!(
                    "configuration of {} in {}",
                    fetched.controller,
                    current.generation.display()
                );
                (self.changed)(&adapted);
            }
            Published::Unchanged(_) => {
                log::info!("configuration of {}: unchanged", fetched.controller);
            }
        }
        Ok(published)
    }

    /// The last good set, where the error is that no controller can be reached, or that this user
    /// cannot write here; else the error.
    fn last_good(&self, current: Option<Current>, error: Error) -> Result<Ready, Error> {
        let passes = match &error {
            Error::Store(error) => error.is_good_to_read(),
            error => error.exit_code() == ExitCode::Unreachable,
        };
        match current {
            Some(current) if passes && self.is_good_enough(&current) => {
                Ok(Ready::new(&current, How::LastGood(Box::new(error))))
            }
            _ => Err(error),
        }
    }

    fn is_fresh(&self, current: &Current) -> bool {
        !is_to_come(current.checked) && current.age() < self.max_age
    }

    fn is_good_enough(&self, current: &Current) -> bool {
        current.age() < self.max_stale
    }
}

fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

/// Whether a time is so far in the future that nobody knows how long ago it was.
fn is_to_come(time: SystemTime) -> bool {
    const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
    time > SystemTime::now() + CLOCKS_DIFFER
}
