//! Every way straw can fail, with its exit code and its remedy.

use std::io;

use serde_json::{Value, json};
use slurm_protocol::{ParseReleaseError, Release};

use crate::config::{SetError, WriteError};
use crate::controller::{Failures, Reason};
use crate::credential::CredentialError;
use crate::dns::ResolveError;
use crate::endpoint::EndpointError;
use crate::text::system_text;

/// The exit codes that straw promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Wrong usage.
    Usage = 2,
    /// No controller could be reached (names, network, time).
    Unreachable = 3,
    /// The credential was refused, has expired, or there is none.
    Credential = 4,
    /// No protocol version in common, or the peer is no slurmctld.
    Version = 5,
    /// The controller does not serve configuration, or not to this user.
    NotServed = 6,
    /// TLS is needed and not configured, or the certificate is not trusted.
    Tls = 7,
    /// The reply is malformed or dangerous.
    BadReply = 8,
    /// The files could not be written.
    Files = 9,
}

/// Everything that can go wrong, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A controller's address makes no sense.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The release behind the controllers is none that we know.
    #[error("`{release}`: {error}")]
    Release {
        /// What was given.
        release: String,
        /// What is wrong with it.
        error: ParseReleaseError,
    },
    /// Two releases were given.
    #[error("two releases are given, {first} behind the controllers and {second} as --release")]
    TwoReleases {
        /// That behind the controllers.
        first: Release,
        /// That of the option.
        second: Release,
    },
    /// No controller was named, and DNS names none.
    #[error("no controller is named, and DNS knows none: {0}")]
    NoController(ResolveError),
    /// The credential is of no use, or there is none.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The controllers gave no configuration.
    #[error(transparent)]
    Controllers(#[from] Failures),
    /// What a controller gave is dangerous.
    #[error(transparent)]
    Set(#[from] SetError),
    /// One file was asked for, and the controller has no such file.
    #[error("the controller sent no file `{}`; it sent {}", name.escape_debug(), sent.join(", "))]
    NotSent {
        /// The name that was asked for.
        name: String,
        /// The names that came.
        sent: Vec<String>,
    },
    /// The files could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Standard output could not be written to.
    #[error("standard output cannot be written to: {}", system_text(.0))]
    Output(io::Error),
}

impl Error {
    /// The exit code that goes with it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Endpoint(_) | Self::Release { .. } | Self::TwoReleases { .. } => ExitCode::Usage,
            Self::NoController(_) => ExitCode::Unreachable,
            Self::Credential(CredentialError::TokenAsFileName) => ExitCode::Usage,
            Self::Credential(_) => ExitCode::Credential,
            Self::Controllers(failures) => failures
                .telling()
                .map_or(ExitCode::Unreachable, Reason::exit_code),
            Self::Set(_) => ExitCode::BadReply,
            Self::NotSent { .. } => ExitCode::NotServed,
            Self::Write(_) | Self::Output(_) => ExitCode::Files,
        }
    }

    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "bad-endpoint",
            Self::Release { .. } | Self::TwoReleases { .. } => "bad-release",
            Self::NoController(_) => "no-controller",
            Self::Credential(error) => error.kind(),
            Self::Controllers(failures) => failures.telling().map_or("unreachable", Reason::kind),
            Self::Set(SetError::NoSlurmConf) => "no-slurm-conf",
            Self::Set(_) => "dangerous-name",
            Self::NotSent { .. } => "not-sent",
            Self::Write(error) => error.kind(),
            Self::Output(_) => "output-failed",
        }
    }

    /// What each of several controllers said; empty where the message says it all.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Controllers(failures) if failures.all().len() > 1 => {
                failures.all().iter().map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Endpoint(_) => {
                "controllers are given as host, host:port or [IPv6]:port, separated by commas or \
                 spaces"
                    .into()
            }
            Self::TwoReleases { .. } => "one is enough; without any, straw finds it out".into(),
            Self::Release { .. } => {
                "leave the release out, then straw finds a version that the controller speaks, \
                 even of a newer one; `straw releases` lists those it knows"
                    .into()
            }
            Self::NoController(_) => {
                "name a controller: `straw fetch HOST`, or SLURM_CONF_SERVER=HOST; or have the \
                 site's DNS name it (SRV record _slurmctld._tcp)"
                    .into()
            }
            Self::Credential(error) => error.hint(),
            Self::Controllers(failures) => failures.hint(),
            Self::Set(SetError::NoSlurmConf) => {
                "nothing was written, and what was there is as it was. Is it a slurmctld?".into()
            }
            Self::Set(_) => {
                "nothing was written. Is it this cluster's slurmctld? A name like this can stand \
                 in its slurm.conf as an Include, Prolog or Epilog"
                    .into()
            }
            Self::NotSent { .. } => {
                "some files are in the slurmd set only: --files slurmd (needs a token of root's or \
                 SlurmUser's)"
                    .into()
            }
            Self::Write(error) => error.hint(),
            Self::Output(_) => "is the disk full, or was the reader of a pipe gone?".into(),
        }
    }

    /// Whether it can pass by itself: names, network, time, and what a proxy says in the place of
    /// a controller that is not there yet.
    pub(crate) fn may_pass(&self) -> bool {
        let from_a_proxy = match self {
            Self::Controllers(failures) => {
                matches!(failures.telling(), Some(Reason::Silent | Reason::Http))
            }
            _ => false,
        };
        from_a_proxy || self.exit_code() == ExitCode::Unreachable
    }

    /// The error as `--json` shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "error": {
                "exit_code": self.exit_code() as u8,
                "kind": self.kind(),
                "message": self.to_string(),
                "causes": self.causes(),
                "hint": self.hint(),
            }
        })
    }

    /// The error as a person reads it.
    pub fn to_text(&self) -> String {
        let mut text = format!("error: {self}\n");
        for cause in self.causes() {
            text.push_str(&format!("  {cause}\n"));
        }
        text.push_str(&format!("\nhint: {}\n", self.hint()));
        text
    }
}
