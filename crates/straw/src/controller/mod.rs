//! The configuration from a set of controllers: failover, negotiation, deadlines, retries.
//!
//! ```text
//!   fetch ── rounds, until --wait is over
//!     └─ round ── the controllers in turn, within --timeout
//!          └─ Turn ── one controller: its addresses in turn
//!               └─ Conversation ── one address: as many exchanges as the negotiation of the
//!                                  protocol version takes
//! ```

mod failure;
mod hint;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use slurm_protocol::{
    Answer, Attempt, ConfigFlags, Errno, Message, Negotiation, Outcome, ProtocolVersion, Release,
    Reply, RequestConfig, RequestPing, ResponseConfig, Step, encode_request,
};

pub use failure::{Failure, Failures, Reason};

use crate::credential::{Token, TokenSource};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::network::Network;
use crate::transport::{Received, TransportError};

/// The longest that one address may take to be connected to, so that the next is tried in time.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest that a controller up to 24.05 takes to close a connection that it answers in no
/// other way: it is some hundredths of a second (docs/protocol.md, section 6).
const AT_ONCE: Duration = Duration::from_secs(2);

/// The pause before a second round; it doubles from round to round up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// No time is longer than this: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What to fetch, from whom, and with how much patience.
#[derive(Clone, Debug)]
pub struct Query {
    /// The controllers, in the order in which to try them; none stands for those that DNS names.
    pub controllers: Vec<Endpoint>,
    /// Where the token is.
    pub token: TokenSource,
    /// Which set of files.
    pub files: FileSet,
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

/// A set of files that controllers give out (docs/protocol.md, section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileSet {
    /// What client commands need. Any user's token will do.
    #[default]
    Client,
    /// What slurmd needs. It is only for root and SlurmUser.
    Slurmd,
}

impl FileSet {
    fn flags(self) -> ConfigFlags {
        match self {
            Self::Client => ConfigFlags::CLIENT,
            Self::Slurmd => ConfigFlags::SLURMD,
        }
    }

    /// Whether a reply at this version tells all that a controller of whatever release has to
    /// tell. One that does not is not used again unasked: the controller may be newer by now.
    fn is_whole_at(self, version: ProtocolVersion) -> bool {
        let enough = match self {
            // Before, only two files come, and no included ones.
            Self::Client => ProtocolVersion::V21_08,
            // Before, scripts come without the word that they are to be executable.
            Self::Slurmd => ProtocolVersion::V23_11,
        };
        version >= enough && version.is_supported()
    }
}

/// What a controller answered.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The controller, as it was named.
    pub controller: Endpoint,
    /// Its address that answered.
    pub address: SocketAddr,
    /// The protocol version that was spoken, which need not be the controller's own.
    pub version: ProtocolVersion,
    /// Connections that it took with this controller.
    pub exchanges: u32,
    /// The files.
    pub config: ResponseConfig,
}

/// Fetches a set of files from the first controller that gives it.
///
/// # Errors
///
/// [`Error`]: what is wrong with the token, with finding controllers, or with each of them. Where
/// waiting can help, the error is that of the last round within [`Query::wait`].
pub fn fetch(query: &Query, network: &dyn Network) -> Result<Fetched, Error> {
    let give_up = network.now() + query.wait.min(LONGEST);
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match round(query, network) {
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
fn round(query: &Query, network: &dyn Network) -> Result<Fetched, Error> {
    let deadline = network.now() + query.timeout.min(LONGEST);
    let token = query.token.load(network.time_of_day(), query.timeout)?;
    log::debug!("{}: {}", query.token.place(), token.claims());
    let found;
    let controllers = if query.controllers.is_empty() {
        found = discover(network, deadline)?;
        &found
    } else {
        &query.controllers
    };

    let mut failures = Vec::new();
    for (at, controller) in controllers.iter().enumerate() {
        let turn = Turn {
            query,
            network,
            token: &token,
            controller,
            by: share(network.now(), deadline, controllers.len() - at),
            deadline,
        };
        match turn.ask() {
            Ok(fetched) => return Ok(fetched),
            Err(failure) => {
                log::info!("{failure}");
                let final_word = failure.reason.is_final();
                failures.push(failure);
                if final_word {
                    break;
                }
            }
        }
    }
    Err(Failures::new(failures, query, &token).into())
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
    let controllers: Vec<_> = records
        .targets
        .iter()
        .map(|target| Endpoint {
            host: target.absolute(),
            port: target.port,
        })
        .collect();
    let names: Vec<_> = controllers.iter().map(ToString::to_string).collect();
    log::info!("controllers from {}: {}", records.name, names.join(", "));
    Ok(controllers)
}

/// A controller's turn within a round.
struct Turn<'a> {
    query: &'a Query,
    network: &'a dyn Network,
    token: &'a Token,
    controller: &'a Endpoint,
    /// When the next controller's turn begins.
    by: Instant,
    /// When the round ends.
    deadline: Instant,
}

impl Turn<'_> {
    /// Asks at each address. One name can stand for several controllers, so an address is left
    /// for the next one whenever another controller would be asked.
    fn ask(&self) -> Result<Fetched, Failure> {
        let mut failure = Failure {
            controller: self.controller.clone(),
            reason: Reason::Unreachable(Vec::new()),
            credential_sent: false,
        };
        let addresses = match self.network.addresses(&self.controller.host, self.by) {
            Ok(addresses) => addresses,
            Err(error) => {
                failure.reason = Reason::Name(error);
                return Err(failure);
            }
        };
        for (at, address) in alternate(&addresses).enumerate() {
            let now = self.network.now();
            let mut conversation = Conversation {
                turn: self,
                address: SocketAddr::new(address, self.controller.port),
                by: share(now, self.by, addresses.len() - at),
                exchanges: 0,
                credential_sent: false,
            };
            let result = conversation.run();
            failure.credential_sent |= conversation.credential_sent;
            match result {
                Ok(fetched) => return Ok(fetched),
                Err(reason) => {
                    log::debug!("{} ({address}): {reason}", self.controller);
                    failure.reason = failure.reason.and(reason);
                }
            }
            if failure.reason.is_final() {
                break;
            }
        }
        Err(failure)
    }

    /// What is known of the controller's version before anything was said.
    fn negotiation(&self) -> Negotiation {
        let known = self.query.known.get(&self.controller.to_string()).copied();
        match (self.query.release, known) {
            (Some(release), _) => Negotiation::pinned(release.version()),
            (None, Some(version)) if self.query.files.is_whole_at(version) => {
                Negotiation::known(version)
            }
            _ => Negotiation::unknown(),
        }
    }
}

/// All that is said to one address, a connection for each exchange.
struct Conversation<'a> {
    turn: &'a Turn<'a>,
    address: SocketAddr,
    /// When it has to end.
    by: Instant,
    exchanges: u32,
    credential_sent: bool,
}

impl Conversation<'_> {
    fn run(&mut self) -> Result<Fetched, Reason> {
        let mut negotiation = self.turn.negotiation();
        let mut slowed_down = 0;
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
                Step::Done(outcome) => return self.conclude(attempt.version(), outcome, message),
            }
        }
    }

    /// One exchange.
    fn attempt(&mut self, attempt: Attempt) -> Result<(Answer, Option<Message>), Reason> {
        let version = attempt.version();
        let request = match attempt {
            Attempt::Probe(_) => encode_request(&RequestPing, version, None),
            Attempt::Request(_) => {
                let request = RequestConfig {
                    flags: self.turn.query.files.flags(),
                    // Sent to all, so that no body is ever too short (docs/protocol.md, section 5.1).
                    port: Some(0),
                };
                encode_request(&request, version, Some(&self.turn.token.credential()))
            }
        }
        .map(Zeroizing::new)
        .map_err(Reason::Request)?;
        let received = self.exchange(&request, matches!(attempt, Attempt::Request(_)))?;
        let (answer, message) = match received {
            // One that refuses a probe does so at once. This one waited for more than we said,
            // as a controller of 25.05 does that wants TLS: it must not see a credential.
            Received::Closed { after }
                if after > AT_ONCE && matches!(attempt, Attempt::Probe(_)) =>
            {
                return Err(Reason::Transport(TransportError::Silence));
            }
            Received::Closed { .. } => (Answer::Closed, None),
            Received::Http => (Answer::Http, None),
            Received::Frame(frame) => {
                let reply = Reply::decode(&frame).map_err(Reason::NotSlurm)?;
                let version = reply.header.version;
                let message = reply.message().map_err(Reason::Malformed)?;
                let answer = match message {
                    Message::ReturnCode(code) => Answer::ReturnCode { version, code },
                    _ => Answer::Message { version },
                };
                (answer, Some(message))
            }
        };
        let what = match attempt {
            Attempt::Probe(_) => "asked without a credential",
            Attempt::Request(_) => "asked for the configuration",
        };
        log::debug!(
            "{} ({}): {what} at protocol version {version}: {}",
            self.turn.controller,
            self.address,
            match answer {
                Answer::Closed => "closed".to_owned(),
                Answer::Http => "HTTP".to_owned(),
                Answer::ReturnCode { version, code } => format!("at {version}: {code}"),
                Answer::Message { version } => format!("a reply at {version}"),
            }
        );
        Ok((answer, message))
    }

    /// Sends a request and takes the reply.
    fn exchange(&mut self, request: &[u8], has_credential: bool) -> Result<Received, Reason> {
        let Turn { network, query, .. } = *self.turn;
        let connect_by = self.by.min(network.now() + CONNECT);
        let result = network.exchange(self.address, request, query.max_size, connect_by, self.by);
        match result {
            Err(error @ TransportError::Connect(_)) => {
                Err(Reason::Unreachable(vec![(self.address, error)]))
            }
            result => {
                self.exchanges += 1;
                self.credential_sent |= has_credential;
                result.map_err(Reason::Transport)
            }
        }
    }

    /// Waits as long as a controller that limits its clients wants: n seconds the n-th time.
    fn slow_down(&mut self, times: u32) -> Result<(), Reason> {
        let pause = Duration::from_secs(times.into());
        let Turn {
            network,
            controller,
            deadline,
            ..
        } = *self.turn;
        if network.now() + pause >= deadline {
            return Err(Reason::Busy(Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF));
        }
        log::info!("{controller} asks to slow down; waiting {times} s");
        network.sleep(pause);
        // It is there, and will answer: its turn does not end meanwhile.
        self.by = deadline;
        Ok(())
    }

    fn conclude(
        &self,
        version: ProtocolVersion,
        outcome: Outcome,
        message: Option<Message>,
    ) -> Result<Fetched, Reason> {
        match outcome {
            Outcome::Answered => {}
            Outcome::Refused { silently } => return Err(Reason::Refused { silently, version }),
            Outcome::TlsRequired { controller } => return Err(Reason::TlsRequired { controller }),
            Outcome::NoCommonVersion { controller } => {
                return Err(Reason::NoCommonVersion { controller });
            }
            Outcome::Http => return Err(Reason::Http),
            Outcome::Silent => return Err(Reason::Silent),
        }
        match message {
            Some(Message::Config(config)) => Ok(Fetched {
                controller: self.turn.controller.clone(),
                address: self.address,
                version,
                exchanges: self.exchanges,
                config,
            }),
            Some(Message::ReturnCode(code)) if code != Errno::SLURM_SUCCESS => Err(match code {
                code if code.is_standby() => Reason::Standby(code),
                Errno::SLURMCTLD_COMMUNICATIONS_HARD_DROP | Errno::SLURM_SHUTTING_DOWN => {
                    Reason::Busy(code)
                }
                Errno::ESLURM_CONFIGLESS_DISABLED => Reason::ConfiglessDisabled,
                Errno::ESLURM_USER_ID_MISSING => Reason::NotAllowed,
                code => Reason::Code(code),
            }),
            other => Err(Reason::Unexpected(other)),
        }
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
