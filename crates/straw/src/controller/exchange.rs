//! One exchange with one address, over a connection of its own, and what its answer means.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use slurm_protocol::{
    Answer, Attempt, Errno, Message, Outcome, ProtocolVersion, Reply, RequestPing, encode_request,
};

use super::dump::Dump;
use super::{Errand, Reason};
use crate::credential::{Method, Opened, SealError};
use crate::endpoint::Endpoint;
use crate::network::Network;
use crate::transport::tls::Tls;
use crate::transport::{Received, TransportError};

/// The longest that one address may take to be connected to, so that the next is tried in time.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// The longest that a controller up to 24.05 takes to close a connection that it answers in no
/// other way: it is some hundredths of a second (docs/protocol.md, section 6).
const AT_ONCE: Duration = Duration::from_secs(2);

/// Whom to ask, and how.
pub(super) struct Exchange<'a> {
    pub(super) network: &'a dyn Network,
    pub(super) tls: Option<&'a Tls>,
    pub(super) errand: &'a Errand,
    /// Without one only probes can be sent.
    pub(super) credential: Option<&'a Opened>,
    pub(super) controller: &'a Endpoint,
    pub(super) address: SocketAddr,
    pub(super) max_size: usize,
    /// The longest that connecting may take.
    pub(super) connect: Duration,
    /// When it has to end.
    pub(super) by: Instant,
}

impl Exchange<'_> {
    /// Sends what the attempt says, and takes the answer.
    pub(super) fn attempt(&self, attempt: Attempt) -> Result<(Answer, Option<Message>), Reason> {
        let version = attempt.version();
        let mut dump = Dump::new(self.controller, self.address, self.credential);
        let request = match (attempt, self.credential) {
            (Attempt::Request(_), Some(credential)) => {
                let unsealed = self.errand.unsealed(version, credential.user());
                let unsealed = unsealed.map_err(Reason::Request)?;
                let sealed = credential.seal(&unsealed, self.by).map_err(reason)?;
                dump.sent(&sealed, unsealed.credential_in(&sealed));
                sealed
            }
            _ => {
                let probe = encode_request(&RequestPing, version, None);
                let probe = Zeroizing::new(probe.map_err(Reason::Request)?);
                dump.sent(&probe, 0..0);
                probe
            }
        };
        let received = self.exchange(&request)?;
        if let Received::Frame(frame) = &received {
            dump.received(frame);
        }
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
            Attempt::Request(_) => self.errand.asked(),
        };
        log::debug!(
            "{} ({}): {what} at protocol version {version}: {}",
            self.controller,
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

    fn exchange(&self, request: &[u8]) -> Result<Received, Reason> {
        let connect_by = self.by.min(self.network.now() + self.connect);
        let result = self.network.exchange(
            self.address,
            self.tls,
            request,
            self.max_size,
            connect_by,
            self.by,
        );
        result.map_err(|error| match error {
            error @ TransportError::Connect(_) => Reason::Unreachable(vec![(self.address, error)]),
            error => Reason::Transport(error),
        })
    }
}

fn reason(error: SealError) -> Reason {
    match error {
        SealError::Credential(error) => Reason::Credential(error),
        SealError::Encode(error) => Reason::Request(error),
    }
}

/// The message that answers an errand, or why there is none.
pub(super) fn conclude(
    errand: &Errand,
    method: Method,
    version: ProtocolVersion,
    outcome: Outcome,
    message: Option<Message>,
) -> Result<Message, Reason> {
    match outcome {
        Outcome::Answered => {}
        Outcome::Refused { silently } => {
            return Err(Reason::Refused {
                method,
                silently,
                version,
            });
        }
        Outcome::TlsRequired { controller } => return Err(Reason::TlsRequired { controller }),
        Outcome::NoCommonVersion { controller } => {
            return Err(Reason::NoCommonVersion { controller });
        }
        Outcome::Http => return Err(Reason::Http),
        Outcome::Silent => return Err(Reason::Silent),
    }
    match message {
        Some(Message::ReturnCode(code)) if code != Errno::SLURM_SUCCESS => Err(match code {
            code if code.is_standby() => Reason::Standby(code),
            Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF
            | Errno::SLURMCTLD_COMMUNICATIONS_HARD_DROP
            | Errno::SLURM_SHUTTING_DOWN => Reason::Busy(code),
            code => errand.refusal(code),
        }),
        Some(message) => Ok(message),
        None => Err(Reason::Unexpected(None)),
    }
}
