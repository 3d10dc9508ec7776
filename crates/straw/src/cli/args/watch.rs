//! `straw watch`, and what `straw exec` has in common with it: keeping fresh.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ByHand;
use super::access::Access;
use super::values::{duration, lifespan, some_time};
use crate::launch::OnChange;
use crate::watch::health::HealthPlace;

const WATCH_EXAMPLE: &str = "\
Examples: a sidecar, and an init container before it
  straw watch -o /shared/slurm --token-file /run/jwt/token --health :9100 ctl1,ctl2
  straw watch -o /shared/slurm --token-file /run/jwt/token --wait 2m --once ctl1,ctl2

Other containers read DIR/slurm.conf (SLURM_CONF). SIGHUP: refresh now. SIGTERM: end, with 0.
Exit codes: 2 usage, 9 DIR or a file cannot be written, 127 COMMAND not found; with --once also
3 no controller reached, 4 credential, 5 no common version, 6 not served, 7 TLS, 8 bad reply.";

#[derive(Debug, Args)]
#[command(after_help = WATCH_EXAMPLE)]
pub(in crate::cli) struct Watch {
    /// Controllers, tried in turn: host, host:port, [IPv6]:port.
    /// Without any: SLURM_CONF_SERVER, else DNS (SRV _slurmctld._tcp)
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) servers: Vec<String>,

    /// The directory to keep fresh; made if it is not there
    #[arg(
        short,
        long,
        // What hints about stores call it.
        alias = "store",
        value_name = "DIR",
        required = true,
        env = "STRAW_OUTPUT",
        hide_env = true
    )]
    pub(in crate::cli) output: PathBuf,
    /// How often to ask for changes
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = some_time, env = "STRAW_REFRESH", hide_env = true)]
    pub(in crate::cli) refresh: Duration,
    /// How old the configuration may be while no controller can be reached
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration, env = "STRAW_MAX_STALE", hide_env = true)]
    pub(in crate::cli) max_stale: Duration,
    /// Make the directory fresh, and end
    #[arg(long, env = "STRAW_ONCE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(in crate::cli) once: bool,
    /// A command to run when the configuration has changed; it is run without a shell
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "nothing",
        hide_default_value = true,
        env = "STRAW_ON_CHANGE",
        hide_env = true
    )]
    pub(in crate::cli) on_change: OnChange,
    /// A file for the number of this process
    #[arg(long, value_name = "FILE", env = "STRAW_PID_FILE", hide_env = true)]
    pub(in crate::cli) pid_file: Option<PathBuf>,
    /// Tell whether all is well: in a FILE that is there while the configuration can be used, or
    /// over HTTP at ADDRESS (:9100) as /healthz, /readyz and /metrics
    #[arg(
        long,
        value_name = "FILE|ADDRESS",
        env = "STRAW_HEALTH",
        hide_env = true
    )]
    pub(in crate::cli) health: Option<HealthPlace>,
    #[command(flatten)]
    pub(in crate::cli) renewing: Renewing,

    /// Write the files just as the controller sends them
    #[arg(long, env = "STRAW_VERBATIM", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(in crate::cli) verbatim: bool,
    #[command(flatten)]
    pub(in crate::cli) by_hand: ByHand,
    #[command(flatten)]
    pub(in crate::cli) access: Access,
}

/// Staying beside a command.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Supervise {
    /// Stay beside the command, and ask for changes this often
    #[arg(long, value_name = "TIME", value_parser = some_time, env = "STRAW_REFRESH", hide_env = true)]
    pub(in crate::cli) refresh: Option<Duration>,
    /// What to do when the configuration has changed: nothing, signal:HUP (to the command), restart
    /// (the command), or a command to run
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "nothing",
        env = "STRAW_ON_CHANGE",
        hide_env = true
    )]
    pub(in crate::cli) on_change: OnChange,
    /// How long the command may take to end after SIGTERM before it is killed. Without: as long as
    /// it likes, and 10s where it is restarted, or has left something running
    #[arg(long, value_name = "TIME", value_parser = duration, env = "STRAW_KILL_AFTER", hide_env = true)]
    pub(in crate::cli) kill_after: Option<Duration>,
}

/// Keeping a token fresh.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Renewing {
    /// Keep the token file fresh, or this FILE: with a new token at 50 to 80 % of its life
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes",
        env = "STRAW_RENEW_TOKEN",
        hide_env = true
    )]
    pub(in crate::cli) renew_token: Option<PathBuf>,
    /// How long new tokens are to live. Without: as long as the present one
    #[arg(long, value_name = "TIME", value_parser = lifespan, env = "STRAW_LIFESPAN", hide_env = true)]
    pub(in crate::cli) lifespan: Option<Duration>,
}

impl Renewing {
    /// Whether tokens are to be renewed, and the file that is named for them.
    pub(in crate::cli) fn wanted(&self) -> Option<Option<PathBuf>> {
        let file = self.renew_token.as_ref()?;
        match file.to_str().unwrap_or_default() {
            "no" | "false" | "off" | "0" | "n" | "f" => None,
            "yes" | "true" | "on" | "1" | "y" | "t" => Some(None),
            _ => Some(Some(file.clone())),
        }
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// An object a line
    Json,
}
