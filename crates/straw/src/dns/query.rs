//! One lookup: the names of the search list, the servers and the time there is, brought together.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, ResourceRecord, TYPE};

use super::config::Config;
use super::error::{ResolveError, ResponseCode};
use super::exchange::{Reply, exchange};
use super::valid_name;

/// How many aliases are followed before it is called a loop.
const MAX_ALIASES: usize = 8;

/// The state of one lookup, over all the questions that it takes.
pub(super) struct Lookup<'a> {
    config: &'a Config,
    started: Instant,
    pub(super) deadline: Instant,
    /// In the order in which to ask: who did not answer goes to the end, so that a dead server costs its timeout
    /// once and not for every name of the search list.
    servers: Vec<SocketAddr>,
    /// The names of the search list that were asked for, for error messages.
    pub(super) asked: Vec<String>,
    /// The servers that gave an answer, for error messages.
    pub(super) answered: Vec<SocketAddr>,
    /// Whether any of the names exists, though without what was wanted.
    pub(super) exists: bool,
}

/// What the DNS has for one name and type.
pub(super) enum Found<T> {
    /// At least one record.
    Records(Vec<T>),
    /// The name exists, without such a record.
    Nothing,
    /// The name does not exist.
    NoSuchName,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(config: &'a Config, deadline: Instant) -> Lookup<'a> {
        let mut servers = config.servers.clone();
        if config.rotate && !servers.is_empty() {
            let first = fastrand::usize(..servers.len());
            servers.rotate_left(first);
        }
        Lookup {
            config,
            started: Instant::now(),
            deadline,
            servers,
            asked: Vec::new(),
            answered: Vec::new(),
            exists: false,
        }
    }

    /// The first of `names` that has what `find` looks for, with what it has.
    ///
    /// A server that fails for one name may know the next, so that error is kept for the end. Where nobody answers
    /// there is no next name.
    pub(super) fn search<T>(
        &mut self,
        names: Vec<String>,
        mut find: impl FnMut(&mut Self, &str) -> Result<Found<T>, ResolveError>,
    ) -> Result<Option<(String, Vec<T>)>, ResolveError> {
        let mut failure = None;
        for name in names {
            self.asked.push(name.clone());
            match find(self, &name) {
                Ok(Found::Records(records)) => return Ok(Some((name, records))),
                Ok(Found::Nothing) => self.exists = true,
                Ok(Found::NoSuchName) => {}
                Err(error @ ResolveError::Failed { .. }) => {
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// The records of one type that a full name has, itself or by its aliases. `pick` takes from a record what is
    /// wanted.
    pub(super) fn find<T>(
        &mut self,
        name: &str,
        kind: TYPE,
        deadline: Instant,
        pick: impl Fn(&RData<'_>) -> Option<T>,
    ) -> Result<Found<T>, ResolveError> {
        let mut name = name.to_owned();
        let mut aliases = 0;
        // Servers for clients follow aliases and send the whole chain. If one stops half way, go on from there.
        loop {
            let Ok(start) = Name::new(&name) else {
                return Ok(Found::Nothing);
            };
            let reply = self.ask(&start, &name, kind, deadline)?;
            if reply.code == ResponseCode::NXDOMAIN {
                return Ok(Found::NoSuchName);
            }
            let mut owner = &start;
            loop {
                let records = records_of(&reply, owner);
                let wanted: Vec<T> = records.filter_map(|r| pick(&r.rdata)).collect();
                if !wanted.is_empty() {
                    return Ok(Found::Records(wanted));
                }
                let alias = records_of(&reply, owner).find_map(|r| match &r.rdata {
                    RData::CNAME(target) => Some(&target.0),
                    _ => None,
                });
                let Some(target) = alias else { break };
                aliases += 1;
                if aliases > MAX_ALIASES {
                    log::debug!("{name}: too many aliases");
                    return Ok(Found::Nothing);
                }
                owner = target;
            }
            let next = owner.to_string();
            if *owner == start || valid_name(&next).is_none() {
                return Ok(Found::Nothing);
            }
            name = next;
        }
    }

    /// Asks one server after the other, round after round, until one answers.
    ///
    /// Each gets the configured timeout, but never more than its share of the time left, so that a silent first
    /// server does not leave the second without any.
    fn ask(
        &mut self,
        name: &Name<'_>,
        text: &str,
        kind: TYPE,
        deadline: Instant,
    ) -> Result<Reply, ResolveError> {
        let tries = self.servers.repeat(self.config.attempts);
        // Servers whose answer is known: they failed, and would again.
        let mut settled: Vec<SocketAddr> = Vec::new();
        let mut failure = None;
        let mut unreachable: Vec<(SocketAddr, ErrorKind)> = Vec::new();

        for (done, &server) in tries.iter().enumerate() {
            if settled.contains(&server) {
                continue;
            }
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                break;
            }
            let others = tries[done + 1..].iter().filter(|s| !settled.contains(s));
            let share = left / u32::try_from(others.count() + 1).unwrap_or(u32::MAX);
            let until = now + share.min(self.config.timeout);

            match exchange(server, name, kind, self.config.tcp, until) {
                Ok(reply) => {
                    log::debug!(
                        "{server}: {kind:?} {text}: {}, {} records",
                        reply.code,
                        reply.answers.len()
                    );
                    if matches!(reply.code, ResponseCode::NOERROR | ResponseCode::NXDOMAIN) {
                        if !self.answered.contains(&server) {
                            self.answered.push(server);
                        }
                        return Ok(reply);
                    }
                    settled.push(server);
                    failure.get_or_insert(ResolveError::Failed {
                        server,
                        code: reply.code,
                        name: text.to_owned(),
                    });
                }
                Err(error) => {
                    log::debug!("{server}: {kind:?} {text}: {error}");
                    self.servers.sort_by_key(|&other| other == server);
                    if error.kind() != ErrorKind::TimedOut {
                        settled.push(server);
                        unreachable.push((server, error.kind()));
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| self.no_answer(unreachable)))
    }

    /// The error where no server gave any answer: all of them could not be reached, or at least one was silent.
    fn no_answer(&self, mut unreachable: Vec<(SocketAddr, ErrorKind)>) -> ResolveError {
        let silent = |server: &&SocketAddr| !unreachable.iter().any(|(other, _)| other == *server);
        let silent: Vec<SocketAddr> = self.servers.iter().filter(silent).copied().collect();
        if unreachable.is_empty() && !silent.is_empty() {
            return ResolveError::Silent {
                servers: self.config.servers.clone(),
                waited: self.started.elapsed(),
            };
        }
        unreachable.extend(
            silent
                .into_iter()
                .map(|server| (server, ErrorKind::TimedOut)),
        );
        ResolveError::Unreachable { tried: unreachable }
    }
}

/// The records of `owner`; names compare without regard to case.
fn records_of<'r>(
    reply: &'r Reply,
    owner: &'r Name<'_>,
) -> impl Iterator<Item = &'r ResourceRecord<'static>> {
    let of_owner = move |r: &&ResourceRecord<'_>| r.class == CLASS::IN && r.name == *owner;
    reply.answers.iter().filter(of_owner)
}
