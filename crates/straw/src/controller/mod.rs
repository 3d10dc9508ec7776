//! What a set of controllers gives, files or a token: failover, negotiation, deadlines, retries.
//!
//! ```text
//!   ask ──── rounds, until --wait is over
//!     └─ round ── the controllers in turn, within --timeout; those that were slow to connect, again
//!          └─ Turn ── one controller: its addresses in turn
//!               └─ Conversation ── one address: as many exchanges as the negotiation of the
//!                                  protocol version takes
//! ```

mod dump;
mod errand;
mod exchange;
mod failure;
mod hint;
mod ping;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use slurm_protocol::{
    Answer, Attempt, Errno, Message, Negotiation, ProtocolVersion, Release, ResponseConfig, Step,
};

pub use errand::{FileSet, TokenRequest};
pub use failure::{Failure, Failures, Reason};
pub use ping::{Ping, Pinged, ping};
pub use probe::{Probe, Probed, Role, Versions};

pub(crate) use ping::at_once;
pub(crate) use probe::name as release_name;

use crate::credential::{CredentialError, Opened, Source, Token};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::network::Network;
use crate::transport::tls::Tls;
use errand::Errand;
use exchange::{CONNECT, Exchange, conclude};

/// The pause before a second round; it doubles from round to round up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// No time is longer than this: a year.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest that one round may take, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that an address may take to be connected to while others have not been asked: time
/// for a second SYN. A controller whose host is off answers none.
const HURRY: Duration = Duration::from_secs(2);

/// The longest reply that is read, in bytes, where nothing else is said.
const MAX_SIZE: usize = 64 << 20;

/// The longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whom to ask, authenticated how, and with how much patience.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Query {
    /// The controllers, in the order in which to try them; none stands for those that DNS names.
    pub controllers: Vec<Endpoint>,
    /// Where the credential comes from.
    pub credential: Source,
    /// Whom to trust, where everything is to go through TLS; then nothing ever goes out in the
    /// clear.
    pub tls: Option<Tls>,
    /// The release to speak, where it is given.
    pub release: Option<Release>,
    /// The versions that controllers, by their endpoint as text, accepted before.
    pub known: BTreeMap<String, ProtocolVersion>,
    /// The longest that one round over all controllers may take; at most a year.
    pub timeout: Duration,
    /// How long to begin new rounds for, when no controller can be reached; at most a year.
    pub wait: Duration,
    /// The longest reply that is read, in bytes.
    pub max_size: usize,
}

impl Query {
    /// With what the program does where nothing else is said: no TLS, the version found out, 10 s
    /// for one round and no second one, at most 64 MiB.
    pub fn new(controllers: Vec<Endpoint>, credential: Source) -> Self {
        Self {
            controllers,
            credential,
            tls: None,
            release: None,
            known: BTreeMap::new(),
            timeout: TIMEOUT,
            wait: Duration::ZERO,
            max_size: MAX_SIZE,
        }
    }
}

/// What a controller gave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched<T> {
    /// The controller, as it was named.
    pub controller: Endpoint,
    /// Its address that answered.
    pub address: SocketAddr,
    /// The protocol version that was spoken, which need not be the controller's own.
    pub version: ProtocolVersion,
    /// Connections that it took with this controller.
    pub exchanges: u32,
    /// Who asked, where the credential says so.
    pub(crate) asker: Option<String>,
    /// Controllers that answered before it, and their addresses: backups in standby.
    pub standby: Vec<(Endpoint, SocketAddr)>,
    /// What it gave.
    pub content: T,
}

/// Fetches a set of files from the first controller that gives it.
///
/// # Errors
///
/// [`Error`]: what is wrong with the credential, with finding controllers, or with each of them.
/// Where waiting can help, the error is that of the last round within [`Query::wait`].
pub fn fetch(
    query: &Query,
    files: FileSet,
    network: &dyn Network,
) -> Result<Fetched<ResponseConfig>, Error> {
    ask(query, &Errand::Files(files), network, errand::files)
}

/// Has the first controller that will make a token.
///
/// # Errors
///
/// Those of [`fetch`].
pub fn new_token(
    query: &Query,
    request: TokenRequest,
    network: &dyn Network,
) -> Result<Fetched<Token>, Error> {
    let wanted = request.user.clone();
    let fetched = ask(query, &Errand::Token(request), network, errand::token)?;
    let wanted = wanted.as_ref().or(fetched.asker.as_ref());
    match (wanted, &fetched.content.claims().user) {
        (Some(wanted), Some(user)) if wanted != user => Err(CredentialError::OfAnother {
            wanted: wanted.clone(),
            user: user.clone(),
        }
        .into()),
        _ => Ok(fetched),
    }
}

/// Takes from the reply to an errand what was asked for.
type Take<T> = fn(Message) -> Result<T, Reason>;

fn ask<T>(
    query: &Query,
    errand: &Errand,
    network: &dyn Network,
    take: Take<T>,
) -> Result<Fetched<T>, Error> {
    let give_up = network.now() + query.wait.min(LONGEST);
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match round(query, errand, network, take) {
            Ok(fetched) => return Ok(fetched),
            Err(error) => error,
        };
        let left = give_up.saturating_duration_since(network.now());
        if left.is_zero() || !error.may_pass() {
            return Err(error);
        }
        // Jittered, so that many containers do not come back in the same instant.
        let pause_now = pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(left);
        log::warn!(
            "{error}; trying again in {:.1} s, for another {} s",
            pause_now.as_secs_f64(),
            left.as_secs()
        );
        network.sleep(pause_now);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks the controllers in turn.
fn round<T>(
    query: &Query,
    errand: &Errand,
    network: &dyn Network,
    take: Take<T>,
) -> Result<Fetched<T>, Error> {
    // A command that is slow to print a token takes nothing of the controllers' time.
    let credential = query
        .credential
        .open(network.time_of_day(), query.timeout)?;
    let deadline = network.now() + query.timeout.min(LONGEST);
    if let Opened::Token(token) = &credential {
        log::debug!("{}: {}", query.credential.place(), token.claims());
    }
    let found;
    let controllers = if query.controllers.is_empty() {
        found = discover(network, deadline)?;
        &found
    } else {
        &query.controllers
    };
    let round = Round {
        query,
        errand,
        network,
        credential: &credential,
        deadline,
        has_several: controllers.len() > 1,
    };

    let mut turns: Vec<_> = controllers
        .iter()
        .map(|controller| Turn::new(&round, controller))
        .collect();
    for again in [false, true] {
        let open = |&at: &usize| !again || !turns[at].slow.is_empty();
        let open: Vec<_> = (0..turns.len()).filter(open).collect();
        for (done, &at) in open.iter().enumerate() {
            let turn = &mut turns[at];
            turn.by = share(network.now(), deadline, open.len() - done);
            let fetched = if again {
                turn.again(take)
            } else {
                turn.first(take)
            };
            if let Some(mut fetched) = fetched {
                let standby = |turn: &Turn<'_>| {
                    let address = turn.failure.standby?;
                    Some((turn.failure.controller.clone(), address))
                };
                fetched.standby = turns.iter().filter_map(standby).collect();
                return Ok(fetched);
            }
            log::info!("{}", turn.failure);
            if turn.failure.reason.is_final() {
                // Of those that were not asked there is nothing to say.
                let asked = if again { turns.len() } else { at + 1 };
                turns.truncate(asked);
                return Err(conclusion(turns, &round));
            }
        }
    }
    Err(conclusion(turns, &round))
}

/// What came of a round in which no controller gave anything.
fn conclusion(turns: Vec<Turn<'_>>, round: &Round<'_>) -> Error {
    let mut failures = Vec::new();
    for turn in turns {
        // No controller is to blame for that.
        if let Reason::Credential(error) = turn.failure.reason {
            return error.into();
        }
        failures.push(turn.failure);
    }
    Failures::new(failures, round.query, round.errand, round.credential).into()
}

/// When the turn of the first of `count` ends, if all of them get an equal share of what is left
/// of the time until `deadline`.
fn share(now: Instant, deadline: Instant, count: usize) -> Instant {
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(count).unwrap_or(u32::MAX)
}

/// The controllers that DNS names, in the order in which to try them.
fn discover(network: &dyn Network, deadline: Instant) -> Result<Vec<Endpoint>, Error> {
    let records = network.controllers(deadline).map_err(Error::NoController)?;
    let controllers: Vec<_> = records.targets.iter().map(Endpoint::from).collect();
    let names: Vec<_> = controllers.iter().map(ToString::to_string).collect();
    log::info!("controllers from {}: {}", records.name, names.join(", "));
    Ok(controllers)
}

/// What all controllers are asked, until when.
struct Round<'a> {
    query: &'a Query,
    errand: &'a Errand,
    network: &'a dyn Network,
    credential: &'a Opened,
    deadline: Instant,
    has_several: bool,
}

/// A controller's turn within a round.
struct Turn<'a> {
    round: &'a Round<'a>,
    controller: &'a Endpoint,
    /// When the next controller's turn begins.
    by: Instant,
    /// What came of it so far.
    failure: Failure,
    /// The addresses that had only a moment to be connected to, because there were others.
    slow: Vec<IpAddr>,
}

impl<'a> Turn<'a> {
    fn new(round: &'a Round<'a>, controller: &'a Endpoint) -> Self {
        Self {
            round,
            controller,
            by: round.deadline,
            failure: Failure {
                controller: controller.clone(),
                standby: None,
                reason: Reason::Unreachable(Vec::new()),
                credential_sent: false,
            },
            slow: Vec::new(),
        }
    }

    /// Asks at each address, with no more than a moment for connecting where there are others.
    fn first<T>(&mut self, take: Take<T>) -> Option<Fetched<T>> {
        let addresses = self.round.network.addresses(&self.controller.host, self.by);
        let addresses: Vec<_> = match addresses {
            Ok(addresses) => alternate(&addresses).collect(),
            Err(error) => {
                self.failure.reason = Reason::Name(error);
                return None;
            }
        };
        let is_only = !self.round.has_several && addresses.len() == 1;
        self.ask(&addresses, if is_only { CONNECT } else { HURRY }, take)
    }

    /// Asks again where there was no time to connect.
    fn again<T>(&mut self, take: Take<T>) -> Option<Fetched<T>> {
        let slow = std::mem::take(&mut self.slow);
        if let Reason::Unreachable(addresses) = &mut self.failure.reason {
            addresses.retain(|(address, _)| !slow.contains(&address.ip()));
        }
        self.ask(&slow, CONNECT, take)
    }

    /// Asks at each of these addresses. One name can stand for several controllers, so an address
    /// is left for the next one whenever another controller would be asked.
    fn ask<T>(
        &mut self,
        addresses: &[IpAddr],
        connect: Duration,
        take: Take<T>,
    ) -> Option<Fetched<T>> {
        for (at, &address) in addresses.iter().enumerate() {
            let now = self.round.network.now();
            let mut conversation = Conversation {
                turn: self,
                address: SocketAddr::new(address, self.controller.port),
                connect,
                by: share(now, self.by, addresses.len() - at),
                exchanges: 0,
                credential_sent: false,
            };
            let result = conversation.run(take);
            let credential_sent = conversation.credential_sent;
            self.failure.credential_sent |= credential_sent;
            let reason = match result {
                Ok(fetched) => return Some(fetched),
                Err(reason) => reason,
            };
            log::debug!("{} ({address}): {reason}", self.controller);
            if matches!(reason, Reason::Standby(_)) {
                self.failure.standby = Some(SocketAddr::new(address, self.controller.port));
            }
            if connect < CONNECT && reason.is_slow_connection() {
                self.slow.push(address);
            }
            let before = std::mem::replace(&mut self.failure.reason, Reason::Unreachable(vec![]));
            self.failure.reason = before.and(reason);
            if self.failure.reason.is_final() {
                break;
            }
        }
        None
    }

    /// What is known of the controller's version before anything was said.
    fn negotiation(&self) -> Negotiation {
        let Round { query, errand, .. } = self.round;
        let known = query.known.get(&self.controller.to_string()).copied();
        let since = self.round.credential.since();
        let negotiation = match (query.release, known) {
            (Some(release), _) => Negotiation::pinned(release.version()),
            (None, Some(version)) if version >= since && errand.is_whole_at(version) => {
                Negotiation::known(version)
            }
            _ => Negotiation::unknown(),
        };
        negotiation.since(since)
    }
}

/// All that is said to one address, a connection for each exchange.
struct Conversation<'a> {
    turn: &'a Turn<'a>,
    address: SocketAddr,
    /// The longest that connecting may take.
    connect: Duration,
    /// When it has to end.
    by: Instant,
    exchanges: u32,
    credential_sent: bool,
}

impl Conversation<'_> {
    fn run<T>(&mut self, take: Take<T>) -> Result<Fetched<T>, Reason> {
        let mut negotiation = self.turn.negotiation();
        let mut slowed_down = 0;
        log::info!("asking {} ({})", self.turn.controller, self.address);
        loop {
            let attempt = negotiation.attempt();
            let (answer, message) = self.attempt(attempt)?;
            if let Answer::ReturnCode { code, .. } = answer
                && code == Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF
            {
                slowed_down += 1;
                self.slow_down(slowed_down)?;
                continue;
            }
            match negotiation.answer(answer) {
                Step::Send(_) => {}
                Step::Done(outcome) => {
                    let method = self.turn.round.credential.method();
                    let content = conclude(
                        self.turn.round.errand,
                        method,
                        attempt.version(),
                        outcome,
                        message,
                    )?;
                    return Ok(Fetched {
                        controller: self.turn.controller.clone(),
                        address: self.address,
                        version: attempt.version(),
                        exchanges: self.exchanges,
                        asker: self.turn.round.credential.user().map(str::to_owned),
                        standby: Vec::new(),
                        content: take(content)?,
                    });
                }
            }
        }
    }

    /// One exchange.
    fn attempt(&mut self, attempt: Attempt) -> Result<(Answer, Option<Message>), Reason> {
        let Round {
            network,
            query,
            errand,
            credential,
            ..
        } = *self.turn.round;
        let exchange = Exchange {
            network,
            tls: query.tls.as_ref(),
            errand,
            credential: Some(credential),
            controller: self.turn.controller,
            address: self.address,
            max_size: query.max_size,
            connect: self.connect,
            by: self.by,
        };
        let result = exchange.attempt(attempt);
        let connected = !matches!(
            result,
            Err(Reason::Unreachable(_) | Reason::Credential(_) | Reason::Request(_))
        );
        self.exchanges += u32::from(connected);
        let in_the_clear = query.tls.is_none();
        let has_credential = matches!(attempt, Attempt::Request(_));
        self.credential_sent |= connected && has_credential && in_the_clear;
        result
    }

    /// Waits as long as a controller that limits its clients wants: n seconds the n-th time.
    fn slow_down(&mut self, times: u32) -> Result<(), Reason> {
        let pause = Duration::from_secs(times.into());
        let Round {
            network, deadline, ..
        } = *self.turn.round;
        if network.now() + pause >= deadline {
            return Err(Reason::Busy(Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF));
        }
        log::info!(
            "{} asks to slow down; waiting {times} s",
            self.turn.controller
        );
        network.sleep(pause);
        // It is there, and will answer: its turn does not end meanwhile.
        self.by = deadline;
        Ok(())
    }
}

/// IPv4 and IPv6 addresses in turn, beginning with the first one's kind: where one kind leads
/// nowhere, the other is tried next.
fn alternate(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let count = first.len().max(second.len());
    (0..count)
        .flat_map(move |at| [first.get(at).copied(), second.get(at).copied()])
        .flatten()
}
