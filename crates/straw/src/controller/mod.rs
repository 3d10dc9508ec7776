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
mod turn;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slurm_protocol::{Message, ProtocolVersion, Release, ResponseConfig};

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
use turn::{Round, Turn, alternate, share};

/// The pause before a second round; it doubles from round to round up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// No time is longer than this: a year.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest that one round may take, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

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
        let open = |&at: &usize| !again || turns[at].may_ask_again();
        let open: Vec<_> = (0..turns.len()).filter(open).collect();
        for (done, &at) in open.iter().enumerate() {
            let turn = &mut turns[at];
            // A credential that there is no time to make says nothing of where it comes from.
            if again && !turn.may_ask_again() {
                break;
            }
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

/// The controllers that DNS names, in the order in which to try them.
fn discover(network: &dyn Network, deadline: Instant) -> Result<Vec<Endpoint>, Error> {
    let records = network.controllers(deadline).map_err(Error::NoController)?;
    let controllers: Vec<_> = records.targets.iter().map(Endpoint::from).collect();
    let names: Vec<_> = controllers.iter().map(ToString::to_string).collect();
    log::info!("controllers from {}: {}", records.name, names.join(", "));
    Ok(controllers)
}
