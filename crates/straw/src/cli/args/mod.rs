//! The arguments as clap reads them: here the commands, in the files below what they share.

mod access;
mod doctor;
mod late;
mod shim;
mod token;
mod values;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use access::{Access, Auth};
pub(super) use doctor::{Color, Doctor, Ping};
pub(super) use late::{Late, describe};
pub(super) use shim::{InstallShims, ListShims, RemoveShims, Shim};
pub(super) use token::{Renew, Show, Token, TokenPlaces};
pub(super) use watch::{LogFormat, Renewing, Supervise, Watch};

use crate::config::adapt;
use crate::controller::FileSet;
use values::duration;

const ABOUT: &str = "\
Makes a container a client of a Slurm cluster: fetches the configuration from slurmctld,
with no cluster secret and no copied slurm.conf inside";

const ROOT_EXAMPLE: &str = "\
Example:
  SLURM_JWT=… straw fetch ctl1,ctl2 -o /etc/slurm && sinfo

`straw SERVER… [RELEASE]` is short for `straw fetch SERVER… [RELEASE]`.
`straw help COMMAND` tells more. Every option can also be set as STRAW_OPTION.";

const FETCH_EXAMPLE: &str = "\
Example: a token out of a mounted file, two controllers, the usual place
  straw fetch --token-file /run/secrets/slurm-jwt ctl1,ctl2 -o /etc/slurm

Exit codes: 0 done, 2 usage, 3 no controller reached, 4 credential, 5 no common version,
6 not served (configless off, not this user), 7 TLS, 8 bad reply, 9 files not written.
Each option can be set in the environment: --max-size as STRAW_MAX_SIZE.";

const EXEC_EXAMPLE: &str = "\
Examples: in an image's entrypoint; and the same for a command that runs for months
  straw exec --servers ctl1,ctl2 --token-file /run/secrets/slurm-jwt -- jupyterhub-singleuser
  straw exec --refresh 5m --token-file /run/jwt/token --renew-token -- jupyterhub-singleuser

The command gets SLURM_CONF, and SLURM_JWT where the token comes out of a file or a command.
Its exit code is straw's. Before that: 2 usage, 3 no controller reached, 4 credential, 5 no
common version, 6 not served, 7 TLS, 8 bad reply, 9 files, 126 not to be run, 127 not found.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "straw",
    version,
    about = ABOUT,
    after_help = ROOT_EXAMPLE,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) output: Output,
    /// The options that were given as arguments, as the variables that would say the same.
    #[arg(skip)]
    pub(super) given: Vec<(String, OsString)>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put straw in front of Slurm's commands, so that they just work
    #[command(subcommand)]
    Shim(Late<Shim>),
    /// Make the configuration ready, then become a command
    Exec(Late<Exec>),
    /// Keep a directory fresh with the configuration, for other containers or a host
    Watch(Late<Watch>),
    /// Fetch the configuration files and write them into a directory
    Fetch(Late<Fetch>),
    /// Show or renew a token
    #[command(subcommand)]
    Token(Late<Token>),
    /// Find out why it does not work, and say what to do
    Doctor(Late<Doctor>),
    /// Ask which controllers answer
    Ping(Late<Ping>),
    /// List the releases of Slurm that straw can talk to
    Releases,
}

impl Command {
    /// How it gets at the controllers.
    pub(super) fn access(&mut self) -> Option<&mut Access> {
        match self {
            Self::Fetch(Late(fetch)) => Some(&mut fetch.access),
            Self::Token(Late(token)) => match &mut **token {
                Token::Renew(renew) => Some(&mut renew.access),
                Token::Show(_) => None,
            },
            Self::Exec(Late(exec)) => Some(&mut exec.access),
            Self::Watch(Late(watch)) => Some(&mut watch.access),
            Self::Doctor(Late(doctor)) => Some(&mut doctor.access),
            Self::Ping(Late(ping)) => Some(&mut ping.access),
            Self::Shim(_) | Self::Releases => None,
        }
    }

    /// The places of a token that it takes.
    pub(super) fn token_places(&mut self) -> Option<&mut TokenPlaces> {
        match self {
            Self::Fetch(Late(fetch)) => Some(&mut fetch.access.token),
            Self::Token(Late(token)) => Some(match &mut **token {
                Token::Show(show) => &mut show.token,
                Token::Renew(renew) => &mut renew.access.token,
            }),
            Self::Exec(Late(exec)) => Some(&mut exec.access.token),
            Self::Watch(Late(watch)) => Some(&mut watch.access.token),
            Self::Doctor(Late(doctor)) => Some(&mut doctor.access.token),
            Self::Ping(Late(ping)) => Some(&mut ping.access.token),
            Self::Shim(_) | Self::Releases => None,
        }
    }
}

/// What is shown, and how.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Output {
    /// Show the result, or the error, as JSON on stdout
    #[arg(long, global = true, display_order = 100, env = "STRAW_JSON", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) json: bool,
    /// Say what is done; twice or three times: more of it
    #[arg(short, long, global = true, display_order = 101, action = clap::ArgAction::Count, env = "STRAW_VERBOSE", hide_env = true)]
    pub(super) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, display_order = 102, env = "STRAW_QUIET", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) quiet: bool,
    /// How messages are written on stderr: text, or json (one object a line)
    #[arg(
        long,
        global = true,
        display_order = 103,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        env = "STRAW_LOG_FORMAT",
        hide_env = true
    )]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Args)]
#[command(after_help = FETCH_EXAMPLE)]
pub(super) struct Fetch {
    /// Controllers, tried in turn: host, host:port, [IPv6]:port; then perhaps the release.
    /// Without any: SLURM_CONF_SERVER, else DNS (SRV _slurmctld._tcp)
    #[arg(value_name = "SERVER")]
    pub(super) servers: Vec<String>,

    /// Where to write the files; made if it is not there
    #[arg(
        short,
        long,
        alias = "output-dir",
        value_name = "DIR",
        default_value = ".",
        env = "STRAW_OUTPUT",
        hide_env = true
    )]
    pub(super) output: PathBuf,
    /// Write one file to stdout instead, and nothing to disk
    #[arg(long, value_name = "NAME", env = "STRAW_STDOUT", hide_env = true)]
    pub(super) stdout: Option<String>,
    /// Change what would make Slurm's commands fail in this container, and nothing else
    #[arg(long, env = "STRAW_ADAPT", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) adapt: bool,
    /// List what would fail here and what --adapt would change; write nothing
    #[arg(long, env = "STRAW_EXPLAIN", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) explain: bool,
    #[command(flatten)]
    pub(super) by_hand: ByHand,
    /// Which files: client, or slurmd (only for root and SlurmUser)
    #[arg(
        long,
        value_name = "SET",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        env = "STRAW_FILES",
        hide_env = true
    )]
    pub(super) files: Files,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
#[command(after_help = EXEC_EXAMPLE)]
pub(super) struct Exec {
    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) command: Vec<OsString>,

    #[command(flatten)]
    pub(super) keep: Keep,
    #[command(flatten)]
    pub(super) supervise: Supervise,
    #[command(flatten)]
    pub(super) renewing: Renewing,
    /// Use the files just as the controller sends them
    #[arg(long, env = "STRAW_VERBATIM", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) verbatim: bool,
    #[command(flatten)]
    pub(super) by_hand: ByHand,
    #[command(flatten)]
    pub(super) access: Access,
}

/// Where the configuration is kept, and for how long it is good.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// Where to keep the configuration. Without: a private directory in XDG_RUNTIME_DIR, /run or
    /// /tmp
    #[arg(long, value_name = "DIR", env = "STRAW_STORE", hide_env = true)]
    pub(super) store: Option<PathBuf>,
    /// How old the configuration may be before a controller is asked again
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, env = "STRAW_MAX_AGE", hide_env = true)]
    pub(super) max_age: Duration,
    /// How old it may be while no controller can be reached
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration, env = "STRAW_MAX_STALE", hide_env = true)]
    pub(super) max_stale: Duration,
}

/// Changes to slurm.conf that somebody asks for.
#[derive(Debug, Args)]
pub(super) struct ByHand {
    /// Set a key of slurm.conf; can be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = adapt::ByHand::parse_set, env = "STRAW_SET", value_delimiter = ';', hide_env = true)]
    pub(super) set: Vec<(String, String)>,
    /// Leave out a key of slurm.conf; can be given several times
    #[arg(
        long,
        value_name = "KEY",
        value_parser = adapt::ByHand::parse_unset,
        env = "STRAW_UNSET",
        value_delimiter = ';',
        hide_env = true
    )]
    pub(super) unset: Vec<String>,
}

/// Which files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Files {
    /// What client commands need
    #[default]
    Client,
    /// What slurmd needs
    Slurmd,
}

impl From<Files> for FileSet {
    fn from(files: Files) -> Self {
        match files {
            Files::Client => Self::Client,
            Files::Slurmd => Self::Slurmd,
        }
    }
}
