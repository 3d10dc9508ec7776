//! Every way straw can fail, with its exit code and its remedy.

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};
use slurm_protocol::{ParseReleaseError, Release};

use crate::cli::SettingsError;
use crate::config::{SetError, WriteError};
use crate::controller::{Failures, Reason};
use crate::credential::CredentialError;
use crate::disk::ReplaceError;
use crate::dns::ResolveError;
use crate::endpoint::EndpointError;
use crate::launch::{LaunchError, ShimError};
use crate::store::{Failure, StoreError};
use crate::text::{few, safe, system_text, without_tokens};
use crate::transport::TransportError;
use crate::transport::tls::{TlsError, TlsFilesError};
use crate::watch::PidFileError;
use crate::watch::health::HealthError;

/// So many controllers are named: DNS can give thousands.
const MOST_NAMED: usize = 16;

/// The exit codes that straw promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
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
    /// The command could not be run.
    NotRun = 126,
    /// The command was not found.
    NotFound = 127,
}

impl ExitCode {
    /// All of them, by their numbers.
    pub const ALL: [Self; 10] = [
        Self::Usage,
        Self::Unreachable,
        Self::Credential,
        Self::Version,
        Self::NotServed,
        Self::Tls,
        Self::BadReply,
        Self::Files,
        Self::NotRun,
        Self::NotFound,
    ];

    /// What it says, in a line.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "wrong usage",
            Self::Unreachable => "no controller could be reached (names, network, time)",
            Self::Credential => "the credential was refused, has expired, or there is none",
            Self::Version => "no protocol version in common, or the peer is no slurmctld",
            Self::NotServed => "the controller does not serve configuration, or not to this user",
            Self::Tls => "TLS is needed and not configured, or the certificate is not trusted",
            Self::BadReply => "the reply is malformed or dangerous",
            Self::Files => "the files could not be written",
            Self::NotRun => "`exec` and shims: the command could not be run",
            Self::NotFound => "`exec` and shims: the command was not found",
        }
    }

    /// That of a number; what is none of ours is taken for the commonest.
    fn of(number: u8) -> Self {
        [
            Self::Usage,
            Self::Credential,
            Self::Version,
            Self::NotServed,
            Self::Tls,
            Self::BadReply,
            Self::Files,
        ]
        .into_iter()
        .find(|code| *code as u8 == number)
        .unwrap_or(Self::Unreachable)
    }
}

/// Everything that can go wrong, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program has rights that its user does not have.
    #[error(
        "straw is set-user-ID, set-group-ID or has capabilities, and does no work with such rights"
    )]
    BorrowedRights,
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
    /// The file with settings is of no use.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A SACK socket is of no use with so old a release.
    #[error("auth/slurm, and with it the SACK socket, exists since 23.11, not in {release}")]
    NoSackYet {
        /// The release that was given.
        release: Release,
    },
    /// Something of TLS was asked for, and no CA given.
    #[error("a client certificate and a server's name are for TLS, and no CA is given")]
    TlsWithoutCa,
    /// There is a CA from before, and no telling whether it is the one that was trusted.
    #[error(
        "{} is there from before, and nothing that can be believed says that it is the CA that was \
         trusted", path.display()
    )]
    UnknownCa {
        /// Its file.
        path: PathBuf,
    },
    /// A client certificate without its key, or the other way round.
    #[error("a client certificate and its key go together, and only one is given")]
    HalfOfClientCertificate,
    /// The files that TLS needs are of no use.
    #[error(transparent)]
    TlsFiles(#[from] TlsFilesError),
    /// No controller was named, and DNS names none.
    #[error("no controller is named, and DNS knows none: {0}")]
    NoController(ResolveError),
    /// The credential is of no use, or there is none.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The controllers gave no configuration.
    #[error(transparent)]
    Controllers(Box<Failures>),
    /// What a controller gave is dangerous.
    #[error(transparent)]
    Set(#[from] SetError),
    /// One file was asked for, and the controller has no such file.
    #[error("the controller sent no file `{}`; it sent {}", name.escape_debug(), few(sent, MOST_NAMED))]
    NotSent {
        /// The name that was asked for.
        name: String,
        /// The names that came.
        sent: Vec<String>,
    },
    /// The files could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A single file could not be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The store is of no use.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another straw has just failed at the same.
    #[error("{}", .0.message)]
    Earlier(Box<Failure>),
    /// A command could not be handed over to.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Shims could not be made.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// Tokens are to be kept fresh, and no file is named for them.
    #[error("--renew-token keeps a file fresh, and none is named")]
    NoFileForTokens,
    /// A watch has no command of its own.
    #[error("straw watch stays beside no command that could be signalled or restarted")]
    NoCommandToTell,
    /// The file with the number of the process is of no use.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// Nobody could be told how a watch is.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// Signals could not be handled.
    #[error("signals cannot be handled: {}", system_text(.0))]
    Signals(io::Error),
    /// No thread could be started.
    #[error("no thread can be started: {}", system_text(.0))]
    NoThread(io::Error),
    /// Standard output could not be written to.
    #[error("standard output cannot be written to: {}", system_text(.0))]
    Output(io::Error),
}

impl From<Failures> for Error {
    fn from(failures: Failures) -> Self {
        Self::Controllers(Box::new(failures))
    }
}

impl Error {
    /// The exit code that goes with it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::BorrowedRights
            | Self::Settings(_)
            | Self::Endpoint(_)
            | Self::Release { .. }
            | Self::TwoReleases { .. }
            | Self::NoSackYet { .. }
            | Self::TlsWithoutCa
            | Self::NoFileForTokens
            | Self::NoCommandToTell
            | Self::HalfOfClientCertificate
            | Self::TlsFiles(TlsFilesError::ServerName(_))
            | Self::Health(HealthError::NotListening { .. }) => ExitCode::Usage,
            Self::TlsFiles(_) | Self::UnknownCa { .. } => ExitCode::Tls,
            Self::NoController(_) => ExitCode::Unreachable,
            Self::Credential(CredentialError::TokenAsFileName) => ExitCode::Usage,
            Self::Credential(_) => ExitCode::Credential,
            Self::Controllers(failures) => failures
                .telling()
                .map_or(ExitCode::Unreachable, Reason::exit_code),
            Self::Set(_) => ExitCode::BadReply,
            Self::NotSent { .. } => ExitCode::NotServed,
            Self::Earlier(failure) => ExitCode::of(failure.exit_code),
            Self::Store(_)
            | Self::Write(_)
            | Self::Replace(_)
            | Self::Output(_)
            | Self::PidFile(_)
            | Self::Health(_)
            | Self::Shim(ShimError::Io { .. } | ShimError::InTheWay(_)) => ExitCode::Files,
            Self::Launch(LaunchError::NotFound { .. } | LaunchError::Circle { .. })
            | Self::Shim(ShimError::NoCommands) => ExitCode::NotFound,
            Self::Launch(_) | Self::Signals(_) | Self::NoThread(_) => ExitCode::NotRun,
            Self::Shim(_) => ExitCode::Usage,
        }
    }

    /// A short name for scripts, which does not change.
    pub fn kind(&self) -> &str {
        match self {
            Self::Store(error) => error.kind(),
            Self::Earlier(failure) => &failure.kind,
            Self::BorrowedRights => "borrowed-rights",
            Self::Settings(_) => "bad-settings",
            Self::Endpoint(_) => "bad-endpoint",
            Self::Release { .. } | Self::TwoReleases { .. } => "bad-release",
            Self::NoSackYet { .. } => "no-sack-yet",
            Self::TlsWithoutCa => "tls-without-ca",
            Self::UnknownCa { .. } => "ca-unknown",
            Self::HalfOfClientCertificate => "half-of-client-certificate",
            Self::TlsFiles(error) => error.kind(),
            Self::NoController(_) => "no-controller",
            Self::Credential(error) => error.kind(),
            Self::Controllers(failures) => failures.telling().map_or("unreachable", Reason::kind),
            Self::Set(SetError::NoSlurmConf) => "no-slurm-conf",
            Self::Set(_) => "dangerous-name",
            Self::NotSent { .. } => "not-sent",
            Self::Write(error) => error.kind(),
            Self::Replace(error) => error.kind(),
            Self::Launch(error) => error.kind(),
            Self::Shim(error) => error.kind(),
            Self::NoFileForTokens => "no-file-for-tokens",
            Self::NoCommandToTell => "no-command-to-tell",
            Self::PidFile(error) => error.kind(),
            Self::Health(error) => error.kind(),
            Self::Signals(_) => "no-signals",
            Self::NoThread(_) => "no-thread",
            Self::Output(_) => "output-failed",
        }
    }

    /// What each of several controllers said, or each place where a credential could have been;
    /// empty where the message says it all.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Credential(CredentialError::None { looked, .. }) => looked.clone(),
            Self::Earlier(failure) => failure.causes.clone(),
            Self::Controllers(failures) if failures.all().len() > 1 => {
                let (all, most) = (failures.all(), MOST_NAMED);
                let mut causes: Vec<_> = all.iter().take(most).map(ToString::to_string).collect();
                if all.len() > most {
                    causes.push(format!("and {} more controllers", all.len() - most));
                }
                causes
            }
            _ => Vec::new(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Earlier(failure) => failure.hint.clone(),
            Self::BorrowedRights => {
                "who calls it decides which files it reads and which commands it runs: take the rights away \
                 (chmod ug-s, setcap -r)"
                    .into()
            }
            Self::Settings(error) => error.hint().into(),
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
            Self::NoSackYet { .. } => {
                "leave the release out if it is not certain, or use a token".into()
            }
            Self::TlsWithoutCa => {
                "give the cluster's CA with --ca-cert (the ca_cert.pem beside its slurm.conf)"
                    .into()
            }
            Self::UnknownCa { .. } => {
                "give the CA with --ca-cert; or, if this cluster has no TLS, remove the file. (The \
                 .straw.json beside it is damaged, can be written by others, or names another CA.)"
                    .into()
            }
            Self::HalfOfClientCertificate => "give both --client-cert and --client-key".into(),
            Self::TlsFiles(error) => error.hint(),
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
            Self::Replace(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Shim(error) => error.hint().into(),
            Self::NoFileForTokens => {
                "give it with --token-file, or as --renew-token=FILE: the commands that use the \
                 token are to read it there"
                    .into()
            }
            Self::NoCommandToTell => {
                "give a command for --on-change, such as `pkill -HUP NAME`; signal: and restart are \
                 for `straw exec --refresh`"
                    .into()
            }
            Self::PidFile(error) => error.hint().into(),
            Self::Health(error) => error.hint(),
            Self::Signals(_) => "does a limit, or a filter of system calls, forbid it?".into(),
            Self::NoThread(_) => {
                "does a limit on processes forbid it (ulimit -u, one of the container's)?".into()
            }
            Self::Output(_) => "is the disk full, or was the reader of a pipe gone?".into(),
        }
    }

    /// Whether it can pass by itself: names, network, time, and what a proxy says in the place of
    /// a controller that is not there yet.
    pub(crate) fn may_pass(&self) -> bool {
        let from_a_proxy = match self {
            Self::Controllers(failures) => {
                matches!(
                    failures.telling(),
                    Some(
                        Reason::Silent
                            | Reason::Http
                            | Reason::Transport(TransportError::Tls(TlsError::ClosedAtOnce))
                    )
                )
            }
            _ => false,
        };
        from_a_proxy || self.exit_code() == ExitCode::Unreachable
    }

    /// The error as it is noted for others who would ask in vain.
    pub(crate) fn to_failure(&self, key: &str) -> Failure {
        let causes = self.causes();
        Failure {
            key: key.to_owned(),
            exit_code: self.exit_code() as u8,
            kind: self.kind().to_owned(),
            message: safe(&self.to_string()).into_owned(),
            causes: causes
                .iter()
                .map(|cause| safe(cause).into_owned())
                .collect(),
            hint: self.hint(),
        }
    }

    /// The error as `--json` shows it.
    pub fn to_json(&self) -> Value {
        let causes = self.causes();
        let causes: Vec<_> = causes.iter().map(|cause| without_tokens(cause)).collect();
        json!({
            "error": {
                "exit_code": self.exit_code() as u8,
                "kind": self.kind(),
                "message": without_tokens(&self.to_string()),
                "causes": causes,
                "hint": self.hint(),
            }
        })
    }

    /// The error in a line of a log, with what each of several controllers said.
    pub(crate) fn to_line(&self) -> String {
        match self.causes().join("; ") {
            causes if causes.is_empty() => self.to_string(),
            causes => format!("{self}: {causes}"),
        }
    }

    /// The error as a person reads it.
    pub fn to_text(&self) -> String {
        let mut text = format!("error: {self}\n");
        for cause in self.causes() {
            text.push_str(&format!("  {cause}\n"));
        }
        text.push_str(&format!("\nhint: {}\n", self.hint()));
        safe(&text).into_owned()
    }
}
