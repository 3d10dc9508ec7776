//! Which protocol version to speak to a controller (docs/protocol.md, section 6).
//!
//! A pure state machine: it says what to send over the next connection, is told what came back,
//! and ends with an [`Outcome`]. Every attempt needs a connection of its own.
//!
//! ```text
//!             known ──request──▶ answered
//!               │ not accepted
//!               ▼
//!   unknown ─ probe 25.05 ── RC, S ────▶ request min(S, newest) ──▶ answered, or refused
//!               │   │                        ▲
//!               │   └─ HTTP ─▶ probe newest ─┤
//!               │ closed                     │
//!               ▼                            │
//!             ladder: request 23.11, 22.05, 21.08, 20.11 ──▶ answered; HTTP: probe 25.05 again
//!               │ all closed                 │
//!               ▼                            │
//!             probe newest ── RC, S ─────────┘
//!               │ closed
//!               ▼
//!             silent                         refused in silence: probed for and asked once more
//! ```
//!
//! A probe is a REQUEST_PING without a credential. A credential goes out only to a peer that has
//! answered a probe as a slurmctld does, and on the ladder: controllers up to 24.05 answer no
//! probe. A version that is given, or known from before, is used at once.
//!
//! ```
//! use slurm_protocol::{Answer, Attempt, Errno, Negotiation, Outcome, ProtocolVersion, Step};
//!
//! let mut negotiation = Negotiation::unknown();
//! assert_eq!(negotiation.attempt(), Attempt::Probe(ProtocolVersion::V25_05));
//! // A controller of 24.11 refuses 25.05 and says what it is.
//! let step = negotiation.answer(Answer::ReturnCode {
//!     version: ProtocolVersion::V24_11,
//!     code: Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
//! });
//! assert_eq!(step, Step::Send(Attempt::Request(ProtocolVersion::V24_11)));
//! let step = negotiation.answer(Answer::Message { version: ProtocolVersion::V24_11 });
//! assert_eq!(step, Step::Done(Outcome::Answered));
//! ```

use crate::{Errno, ProtocolVersion};

/// The version that is probed for first: all releases from 25.05 to 26.11 accept it, and 24.11
/// answers with its own.
const FIRST: ProtocolVersion = ProtocolVersion::V25_05;

/// The versions tried with the real request where a probe is not answered. Each is accepted by
/// the releases named; 22.05 stands before 21.08 because a munge credential of 21.08's kind can
/// be refused by newer ones, and 21.08 before 20.11 because its reply holds more files.
const LADDER: [ProtocolVersion; 4] = [
    ProtocolVersion::V23_11, // 23.11, 24.05
    ProtocolVersion::V22_05, // 22.05, 23.02
    ProtocolVersion::V21_08, // 21.08
    ProtocolVersion::V20_11, // 20.11
];

/// What to send over a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A REQUEST_PING without a credential, at this version.
    Probe(ProtocolVersion),
    /// The real request, with its credential, at this version.
    Request(ProtocolVersion),
}

impl Attempt {
    /// The version to encode with.
    pub fn version(self) -> ProtocolVersion {
        match self {
            Self::Probe(version) | Self::Request(version) => version,
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection was closed or reset before a byte came.
    Closed,
    /// Text in HTTP.
    Http,
    /// RESPONSE_SLURM_RC, with the version that its header has.
    ReturnCode {
        /// The version in the reply's header.
        version: ProtocolVersion,
        /// The return code.
        code: Errno,
    },
    /// Any other message of Slurm's.
    Message {
        /// The version in the reply's header.
        version: ProtocolVersion,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect again and send this.
    Send(Attempt),
    /// There is nothing more to find out.
    Done(Outcome),
}

/// How a negotiation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version was accepted and the last reply answers the request, well or with an error
    /// number that has nothing to do with version or credential.
    Answered,
    /// The controller speaks the version of the last attempt and refused the credential: with
    /// error 1007, or (`silently`) by closing the connection.
    Refused {
        /// Whether it closed the connection without a word.
        silently: bool,
    },
    /// The controller wants TLS.
    TlsRequired {
        /// The controller's own version.
        controller: ProtocolVersion,
    },
    /// The controller's own version, and that it accepts none of those that could be tried.
    NoCommonVersion {
        /// The controller's own version.
        controller: ProtocolVersion,
    },
    /// The peer speaks HTTP: a web server, or a slurmctld since 25.11 that accepts none of the
    /// versions that could be tried and is not saying which it would.
    Http,
    /// Every connection was closed without a byte. The version is none that a controller up to
    /// 24.05 accepts, or that controller refused the credential: it says neither.
    Silent,
}

/// The state of a negotiation with one controller.
#[derive(Clone, Debug)]
pub struct Negotiation {
    state: State,
    oldest: ProtocolVersion,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The only version that may be used.
    Pinned(ProtocolVersion),
    /// A version that was accepted before.
    Known(ProtocolVersion),
    /// Nothing is known. `again`: the connection was closed, and the next one answered in HTTP, as
    /// by a slurmctld since 25.11; so the first one may have been lost on its way.
    First {
        again: bool,
    },
    /// A rung of [`LADDER`].
    Ladder(usize),
    Newest {
        after: Before,
    },
    /// A version that a probe found.
    Found(ProtocolVersion),
    /// A found version, probed for again after the request was met with silence: a controller
    /// that is not there any more was just restarted.
    Confirm(ProtocolVersion),
    /// The request once more, to one that is still there: it refuses the credential, or a
    /// connection was lost.
    Repeat(ProtocolVersion),
}

/// Why the newest version is probed for.
#[derive(Clone, Copy, Debug)]
enum Before {
    Http,
    Ladder,
}

impl Negotiation {
    /// With a controller of which nothing is known.
    pub fn unknown() -> Self {
        Self::begin(State::First { again: false })
    }

    /// With a controller that accepted this version before. Should it not any more, the
    /// negotiation goes on as with one of which nothing is known.
    pub fn known(version: ProtocolVersion) -> Self {
        Self::begin(State::Known(version))
    }

    /// At this version and no other.
    pub fn pinned(version: ProtocolVersion) -> Self {
        Self::begin(State::Pinned(version))
    }

    fn begin(state: State) -> Self {
        Self {
            state,
            oldest: ProtocolVersion::OLDEST,
        }
    }

    /// Leaves out the versions before `oldest`: those that the credential does not exist in.
    pub fn since(self, oldest: ProtocolVersion) -> Self {
        Self { oldest, ..self }
    }

    /// What to send now.
    pub fn attempt(&self) -> Attempt {
        match self.state {
            State::Pinned(version)
            | State::Known(version)
            | State::Found(version)
            | State::Repeat(version) => Attempt::Request(version),
            State::First { .. } => Attempt::Probe(FIRST),
            State::Ladder(rung) => Attempt::Request(LADDER[rung]),
            State::Newest { .. } => Attempt::Probe(ProtocolVersion::NEWEST),
            State::Confirm(version) => Attempt::Probe(version),
        }
    }

    /// Takes what came back of [`attempt`](Self::attempt).
    pub fn answer(&mut self, answer: Answer) -> Step {
        let next = match answer {
            Answer::Closed => self.closed(),
            Answer::Http => self.http(),
            Answer::ReturnCode { version, code } => self.return_code(version, code),
            Answer::Message { version } => self.message(version),
        };
        match next {
            Ok(state) => {
                self.state = state;
                Step::Send(self.attempt())
            }
            Err(outcome) => Step::Done(outcome),
        }
    }

    fn closed(&self) -> Result<State, Outcome> {
        match self.state {
            State::Known(_) => Ok(State::First { again: false }),
            State::First { again: false } => Ok(State::Ladder(0)),
            State::First { again: true } => Ok(State::Newest {
                after: Before::Http,
            }),
            State::Ladder(rung)
                if LADDER
                    .get(rung + 1)
                    .is_some_and(|version| *version >= self.oldest) =>
            {
                Ok(State::Ladder(rung + 1))
            }
            State::Ladder(_) => Ok(State::Newest {
                after: Before::Ladder,
            }),
            State::Newest {
                after: Before::Http,
            } => Err(Outcome::Http),
            State::Newest {
                after: Before::Ladder,
            }
            | State::Pinned(_) => Err(Outcome::Silent),
            State::Found(version) => Ok(State::Confirm(version)),
            // Whoever is not there cannot be asked again.
            State::Confirm(_) | State::Repeat(_) => Err(Outcome::Refused { silently: true }),
        }
    }

    fn http(&self) -> Result<State, Outcome> {
        match self.state {
            State::Known(_) => Ok(State::First { again: false }),
            State::Ladder(_) => Ok(State::First { again: true }),
            State::First { .. } => Ok(State::Newest {
                after: Before::Http,
            }),
            State::Newest { .. }
            | State::Pinned(_)
            | State::Found(_)
            | State::Confirm(_)
            | State::Repeat(_) => Err(Outcome::Http),
        }
    }

    fn return_code(&self, controller: ProtocolVersion, code: Errno) -> Result<State, Outcome> {
        if code == Errno::ESLURM_TLS_REQUIRED {
            return Err(Outcome::TlsRequired { controller });
        }
        if code != Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR {
            return self.message(controller);
        }
        match self.attempt() {
            Attempt::Request(version) if version == controller => {
                Err(Outcome::Refused { silently: false })
            }
            Attempt::Probe(_) | Attempt::Request(_) => self.use_version_of(controller),
        }
    }

    /// Any reply that does not speak of version or credential.
    fn message(&self, version: ProtocolVersion) -> Result<State, Outcome> {
        match self.attempt() {
            Attempt::Request(_) => Err(Outcome::Answered),
            Attempt::Probe(_) => self.use_version_of(version),
        }
    }

    /// The newest version that we and a controller with this version of its own both speak.
    fn use_version_of(&self, controller: ProtocolVersion) -> Result<State, Outcome> {
        let version = controller.min(ProtocolVersion::NEWEST);
        let common = version.is_supported()
            && version >= self.oldest
            && controller.accepted_by_controller().contains(&version);
        match self.state {
            // Once a version was settled on, being sent elsewhere again leads nowhere.
            State::Pinned(_) | State::Found(_) | State::Repeat(_) => {
                Err(Outcome::NoCommonVersion { controller })
            }
            State::Confirm(_) if common => Ok(State::Repeat(version)),
            _ if common => Ok(State::Found(version)),
            _ => Err(Outcome::NoCommonVersion { controller }),
        }
    }
}
