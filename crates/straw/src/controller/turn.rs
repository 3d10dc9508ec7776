//! A controller's turn within a round: its addresses, and what is said to each.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use slurm_protocol::{Answer, Attempt, Errno, Message, Negotiation, Step};

use super::exchange::{CONNECT, Exchange, conclude};
use super::{Errand, Failure, Fetched, Query, Reason, Take};
use crate::credential::Opened;
use crate::endpoint::Endpoint;
use crate::network::Network;

/// The longest that an address may take to be connected to while others have not been asked: time
/// for a second SYN. A controller whose host is off answers none.
const HURRY: Duration = Duration::from_secs(2);

/// What all controllers are asked, until when.
pub(super) struct Round<'a> {
    pub(super) query: &'a Query,
    pub(super) errand: &'a Errand,
    pub(super) network: &'a dyn Network,
    pub(super) credential: &'a Opened,
    pub(super) deadline: Instant,
    pub(super) has_several: bool,
}

/// A controller's turn within a round.
pub(super) struct Turn<'a> {
    round: &'a Round<'a>,
    controller: &'a Endpoint,
    /// When the next controller's turn begins.
    pub(super) by: Instant,
    /// What came of it so far.
    pub(super) failure: Failure,
    /// The addresses that had only a moment to be connected to, because there were others.
    slow: Vec<IpAddr>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(round: &'a Round<'a>, controller: &'a Endpoint) -> Self {
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
    pub(super) fn first<T>(&mut self, take: Take<T>) -> Option<Fetched<T>> {
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

    /// Whether there was no time to connect somewhere, and there is some now.
    pub(super) fn may_ask_again(&self) -> bool {
        let left = self
            .round
            .deadline
            .saturating_duration_since(self.round.network.now());
        !self.slow.is_empty() && left >= HURRY / 2
    }

    /// Asks again where there was no time to connect, for as long as it would have taken then.
    pub(super) fn again<T>(&mut self, take: Take<T>) -> Option<Fetched<T>> {
        let slow = std::mem::take(&mut self.slow);
        if let Reason::Unreachable(addresses) = &mut self.failure.reason {
            addresses.retain(|(address, _)| !slow.contains(&address.ip()));
        }
        self.ask(&slow, CONNECT - HURRY, take)
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
            if connect == HURRY && reason.is_slow_connection() {
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
pub(super) fn alternate(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
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

/// When the turn of the first of `count` ends, if all of them get an equal share of what is left
/// of the time until `deadline`.
pub(super) fn share(now: Instant, deadline: Instant, count: usize) -> Instant {
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(count).unwrap_or(u32::MAX)
}
