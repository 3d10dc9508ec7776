//! What one address says of itself: whether a slurmctld is there, of which release, and whether it
//! is in charge.
//!
//! [`fetch`](super::fetch) settles for a version that both sides speak. Here the controller's own is
//! asked for, which shows at the newest version that it accepts (docs/protocol.md, section 6). What
//! can be learned without a credential is learned so; controllers up to 24.05 tell nothing then.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slurm_protocol::{Answer, Attempt, Errno, Message, Outcome, ProtocolVersion, Release};

use super::errand::files;
use super::exchange::{CONNECT, Exchange, conclude};
use super::{Errand, MAX_SIZE, Reason};
use crate::credential::Opened;
use crate::endpoint::Endpoint;
use crate::network::Network;
use crate::transport::tls::Tls;

/// How addresses are asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Probe<'a> {
    /// Whom to trust, where everything is to go through TLS.
    pub tls: Option<&'a Tls>,
    /// What to authenticate with, where there is something. A controller says only then whether it
    /// is in charge.
    pub credential: Option<&'a Opened>,
    /// The controller's release, where it is given: then one exchange is enough.
    pub release: Option<Release>,
    /// Whether to tell 23.11 from 24.05, and 22.05 from 23.02, which takes another exchange.
    pub exact: bool,
    /// The longest reply that is read, in bytes.
    pub max_size: usize,
}

impl Default for Probe<'_> {
    /// Without TLS and credential, the version found out as far as that takes no exchange more.
    fn default() -> Self {
        Self {
            tls: None,
            credential: None,
            release: None,
            exact: false,
            max_size: MAX_SIZE,
        }
    }
}

/// What a slurmctld said of itself.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probed {
    /// The protocol versions that its own is among.
    pub own: Versions,
    /// Whether it is in charge, where it said so.
    pub role: Option<Role>,
    /// What it answered instead of a configuration, where it was asked for one.
    pub objection: Option<Reason>,
    /// How long its last answer took, from connecting on.
    pub took: Duration,
    /// Connections that it took.
    pub exchanges: u32,
}

/// A controller's part among those of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers requests: the primary, or a backup that has taken over.
    InCharge,
    /// It is a backup that has not taken over.
    Standby,
}

impl Role {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InCharge => "in charge",
            Self::Standby => "standby",
        }
    }
}

/// A range of protocol versions, perhaps without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    oldest: ProtocolVersion,
    newest: Option<ProtocolVersion>,
}

impl Versions {
    fn only(version: ProtocolVersion) -> Self {
        Self {
            oldest: version,
            newest: Some(version),
        }
    }

    fn from(version: ProtocolVersion) -> Self {
        Self {
            oldest: version,
            newest: None,
        }
    }

    /// The version, where only one is left.
    pub fn exact(self) -> Option<ProtocolVersion> {
        self.newest.filter(|newest| *newest == self.oldest)
    }

    /// The newest that it can be.
    pub fn newest(self) -> Option<ProtocolVersion> {
        self.newest
    }

    /// The oldest that it can be.
    pub fn oldest(self) -> ProtocolVersion {
        self.oldest
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest {
            Some(newest) if newest == self.oldest => f.write_str(&name(newest)),
            Some(newest) => write!(f, "{} or {}", name(self.oldest), name(newest)),
            None => write!(f, "{} or newer", name(self.oldest)),
        }
    }
}

/// A version as the release that has it.
pub(crate) fn name(version: ProtocolVersion) -> String {
    match version.release() {
        Some(release) => release.to_string(),
        None => format!("protocol version {}", version.index()),
    }
}

/// Those that controllers up to 24.05 are asked with, with the releases that show then: the one
/// that has the version, and perhaps the one after it.
const OLD: [(ProtocolVersion, ProtocolVersion); 4] = [
    (ProtocolVersion::V23_11, ProtocolVersion::V24_05),
    (ProtocolVersion::V22_05, ProtocolVersion::V23_02),
    (ProtocolVersion::V21_08, ProtocolVersion::V21_08),
    (ProtocolVersion::V20_11, ProtocolVersion::V20_11),
];

impl Probe<'_> {
    /// Asks one address of a controller.
    ///
    /// # Errors
    ///
    /// [`Reason`], where no slurmctld answers, at `by` at the latest.
    pub fn ask(
        &self,
        network: &dyn Network,
        controller: &Endpoint,
        address: SocketAddr,
        by: Instant,
    ) -> Result<Probed, Reason> {
        let errand = Errand::Ping;
        let mut asking = Asking {
            probe: self,
            exchange: Exchange {
                network,
                tls: self.tls,
                errand: &errand,
                credential: self.credential,
                controller,
                address,
                max_size: self.max_size,
                connect: CONNECT,
                by,
            },
            took: Duration::ZERO,
            exchanges: 0,
        };
        match self.release {
            Some(release) => asking.pinned(release.version()),
            None => asking.unknown(),
        }
    }
}

/// The exchanges with one address.
struct Asking<'a> {
    probe: &'a Probe<'a>,
    exchange: Exchange<'a>,
    took: Duration,
    exchanges: u32,
}

impl Asking<'_> {
    fn attempt(&mut self, attempt: Attempt) -> Result<(Answer, Option<Message>), Reason> {
        let network = self.exchange.network;
        let began = network.now();
        self.exchanges += 1;
        let result = self.exchange.attempt(attempt);
        self.took = network.now().saturating_duration_since(began);
        result
    }

    fn probed(&self, own: Versions, role: Option<Role>, objection: Option<Reason>) -> Probed {
        Probed {
            own,
            role,
            objection,
            took: self.took,
            exchanges: self.exchanges,
        }
    }

    /// One of which the release is known.
    fn pinned(&mut self, version: ProtocolVersion) -> Result<Probed, Reason> {
        if self.probe.credential.is_some() {
            return self.request(Versions::only(version), version);
        }
        match self.attempt(Attempt::Probe(version))? {
            (Answer::Closed, _) => Err(Reason::Silent),
            (Answer::Http, _) => Err(Reason::Http),
            (Answer::ReturnCode { version: own, code }, _) => {
                Ok(self.probed(Versions::only(own), None, tls_required(own, code)))
            }
            (Answer::Message { version }, _) => {
                Ok(self.probed(Versions::only(version), None, None))
            }
        }
    }

    /// From the newest version downwards, until one is answered.
    fn unknown(&mut self) -> Result<Probed, Reason> {
        let mut http = false;
        for release in Release::ALL.iter().rev() {
            let version = release.version();
            // What closes without a word is 26.05 or later without HTTP, or 24.05 or older; only
            // what speaks HTTP can be 25.11.
            if version < ProtocolVersion::V25_11 || (version < ProtocolVersion::V26_05 && !http) {
                break;
            }
            let (own, code) = match self.attempt(Attempt::Probe(version))?.0 {
                Answer::Closed => continue,
                Answer::Http => {
                    http = true;
                    continue;
                }
                Answer::ReturnCode { version, code } => (version, Some(code)),
                Answer::Message { version } => (version, None),
            };
            // That one says its own version in any case.
            if let Some(objection) = code.and_then(|code| tls_required(own, code)) {
                return Ok(self.probed(Versions::only(own), None, Some(objection)));
            }
            let own = match own == version && version == ProtocolVersion::NEWEST {
                true => Versions::from(own),
                false => Versions::only(own),
            };
            if self.probe.credential.is_none() {
                return Ok(self.probed(own, None, None));
            }
            let spoken = own.oldest.min(ProtocolVersion::NEWEST);
            if !own.oldest.accepted_by_controller().contains(&spoken) || !spoken.is_supported() {
                let controller = own.oldest;
                let objection = Reason::NoCommonVersion { controller };
                return Ok(self.probed(own, None, Some(objection)));
            }
            return self.request(own, spoken);
        }
        if http {
            return Err(Reason::Http);
        }
        self.old()
    }

    /// One that answers no probe, and no version that it does not accept.
    fn old(&mut self) -> Result<Probed, Reason> {
        let Some(credential) = self.probe.credential else {
            return Err(Reason::Silent);
        };
        let since = credential.since();
        for (version, next) in OLD.into_iter().filter(|(version, _)| *version >= since) {
            let (answer, message) = self.attempt(Attempt::Request(version))?;
            if answer == Answer::Closed {
                continue;
            }
            let mut probed = self.judge(Versions::only(version), version, answer, message)?;
            if next != version {
                probed.own.newest = Some(next);
                if self.probe.exact {
                    let (answer, _) = self.attempt(Attempt::Request(next))?;
                    probed.own = Versions::only(match answer {
                        Answer::Closed => version,
                        _ => next,
                    });
                    probed.exchanges = self.exchanges;
                }
            }
            return Ok(probed);
        }
        Err(Reason::Silent)
    }

    /// Asks for the configuration, which only one in charge gives.
    fn request(&mut self, own: Versions, version: ProtocolVersion) -> Result<Probed, Reason> {
        let (answer, message) = self.attempt(Attempt::Request(version))?;
        self.judge(own, version, answer, message)
    }

    fn judge(
        &self,
        own: Versions,
        version: ProtocolVersion,
        answer: Answer,
        message: Option<Message>,
    ) -> Result<Probed, Reason> {
        let refused = Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR;
        let outcome = match answer {
            // Where the version is no guess, it is the credential.
            Answer::Closed if self.exchanges > 1 => Outcome::Refused { silently: true },
            Answer::Closed => return Err(Reason::Silent),
            Answer::Http => return Err(Reason::Http),
            Answer::ReturnCode { version, code } if code == Errno::ESLURM_TLS_REQUIRED => {
                Outcome::TlsRequired {
                    controller: version,
                }
            }
            Answer::ReturnCode {
                version: controller,
                code,
            } if code == refused => match controller == version {
                true => Outcome::Refused { silently: false },
                false => Outcome::NoCommonVersion { controller },
            },
            _ => Outcome::Answered,
        };
        let own = match outcome {
            Outcome::NoCommonVersion { controller } | Outcome::TlsRequired { controller } => {
                Versions::only(controller)
            }
            _ => own,
        };
        let method = self.probe.credential.map(Opened::method);
        let Some(method) = method else {
            return Ok(self.probed(own, None, None));
        };
        let answer = conclude(self.exchange.errand, method, version, outcome, message);
        match answer.and_then(files) {
            Ok(_) => Ok(self.probed(own, Some(Role::InCharge), None)),
            // No slurmctld answers so.
            Err(reason @ Reason::Unexpected(_)) => Err(reason),
            Err(reason) => {
                let role = match &reason {
                    Reason::Standby(_) => Some(Role::Standby),
                    Reason::ConfiglessDisabled | Reason::NotAllowed => Some(Role::InCharge),
                    _ => None,
                };
                Ok(self.probed(own, role, Some(reason)))
            }
        }
    }
}

fn tls_required(controller: ProtocolVersion, code: Errno) -> Option<Reason> {
    (code == Errno::ESLURM_TLS_REQUIRED).then_some(Reason::TlsRequired { controller })
}
