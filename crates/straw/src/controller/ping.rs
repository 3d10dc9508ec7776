//! Which of a set of controllers answer, all of them asked at the same time.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::{
    FIRST_PAUSE, Failure, LONGEST, LONGEST_PAUSE, Probe, Probed, Reason, TIMEOUT, alternate,
    discover, share,
};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::network::Network;

/// So many controllers are asked, and addresses of each; no cluster has as many.
pub(crate) const MOST: usize = 32;

/// Whom to ask, and with how much patience.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ping<'a> {
    /// The controllers; none stands for those that DNS names.
    pub controllers: Vec<Endpoint>,
    /// How each is asked.
    pub probe: Probe<'a>,
    /// The longest that one round may take.
    pub timeout: Duration,
    /// How long to begin new rounds for, while none answers.
    pub wait: Duration,
}

impl<'a> Ping<'a> {
    /// With as much patience as a [`Query`](super::Query) has where nothing else is said.
    pub fn new(controllers: Vec<Endpoint>, probe: Probe<'a>) -> Self {
        Self {
            controllers,
            probe,
            timeout: TIMEOUT,
            wait: Duration::ZERO,
        }
    }
}

/// What came of asking one controller.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pinged {
    /// The controller, as it was named.
    pub controller: Endpoint,
    /// The address that answered, and what it said.
    pub result: Result<(SocketAddr, Probed), Box<Failure>>,
}

/// Asks all controllers at the same time, each at its addresses in turn.
///
/// # Errors
///
/// [`Error::NoController`], where none is named and DNS names none.
pub fn ping(ping: &Ping<'_>, network: &(dyn Network + Sync)) -> Result<Vec<Pinged>, Error> {
    let give_up = network.now() + ping.wait.min(LONGEST);
    let mut pause = FIRST_PAUSE;
    loop {
        let result = round(ping, network);
        let left = give_up.saturating_duration_since(network.now());
        let answered = matches!(&result, Ok(all) if all.iter().any(|one| one.result.is_ok()));
        if answered || left.is_zero() {
            return result;
        }
        network.sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn round(ping: &Ping<'_>, network: &(dyn Network + Sync)) -> Result<Vec<Pinged>, Error> {
    let deadline = network.now() + ping.timeout.min(LONGEST);
    let mut controllers = match ping.controllers.is_empty() {
        true => discover(network, deadline)?,
        false => ping.controllers.clone(),
    };
    if controllers.len() > MOST {
        log::warn!("only the first {MOST} controllers are asked");
        controllers.truncate(MOST);
    }
    Ok(at_once(controllers, |controller| Pinged {
        result: one(ping, network, &controller, deadline),
        controller,
    }))
}

/// Does something with each of several things, all at the same time.
pub(crate) fn at_once<T: Send, R: Send>(
    things: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let things: Vec<_> = things.into_iter().collect();
    let mut results: Vec<Option<R>> = things.iter().map(|_| None).collect();
    let work = &work;
    let jobs = things
        .into_iter()
        .zip(&mut results)
        .map(|(thing, result)| -> Job<'_> { Box::new(move || *result = Some(work(thing))) });
    run(jobs.collect());
    results.into_iter().flatten().collect()
}

type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Not generic: all that threads take is compiled once.
fn run(jobs: Vec<Job<'_>>) {
    let jobs: Vec<_> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let work = |job: &Mutex<Option<Job<'_>>>| {
        let taken = job.lock().ok().and_then(|mut job| job.take());
        if let Some(job) = taken {
            job();
        }
    };
    thread::scope(|scope| {
        for job in &jobs {
            // Where a container may have no more threads, one after the other.
            let begun = thread::Builder::new().spawn_scoped(scope, move || work(job));
            if begun.is_err() {
                work(job);
            }
        }
    });
}

fn one(
    ping: &Ping<'_>,
    network: &dyn Network,
    controller: &Endpoint,
    deadline: Instant,
) -> Result<(SocketAddr, Probed), Box<Failure>> {
    let mut failure = Box::new(Failure {
        controller: controller.clone(),
        standby: None,
        reason: Reason::Unreachable(Vec::new()),
        credential_sent: false,
    });
    let addresses = match network.addresses(&controller.host, deadline) {
        Ok(addresses) => addresses,
        Err(error) => {
            failure.reason = Reason::Name(error);
            return Err(failure);
        }
    };
    let count = addresses.len().min(MOST);
    if count < addresses.len() {
        log::warn!("only the first {MOST} addresses of {controller} are asked");
    }
    for (at, address) in alternate(&addresses).take(count).enumerate() {
        let address = SocketAddr::new(address, controller.port);
        let by = share(network.now(), deadline, count - at);
        log::info!("asking {controller} ({address})");
        match ping.probe.ask(network, controller, address, by) {
            Ok(probed) => return Ok((address, probed)),
            Err(reason) => {
                log::info!("{controller} ({address}): {reason}");
                let before = std::mem::replace(&mut failure.reason, Reason::Silent);
                failure.reason = before.and(reason);
            }
        }
    }
    Err(failure)
}
