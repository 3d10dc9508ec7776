//! `straw token`, and where a token is.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::access::Access;
use super::values::{lifespan, some_time};

const SHOW_EXAMPLE: &str = "\
Example:
  straw token show --token-file /run/secrets/slurm-jwt

Exit codes: 0 it can be used, 2 usage, 4 there is none, or it is of no use (any more).";

const RENEW_EXAMPLE: &str = "\
Examples: a file that is kept fresh, and a token out of a mounted munge socket
  straw token renew ctl1,ctl2 --token-file /run/jwt/token --write /run/jwt/token --if-under 10m
  straw token renew ctl1,ctl2 --auth munge --lifespan 1h --write /run/jwt/token

Exit codes: 0 done, 2 usage, 3 no controller reached, 4 credential, 5 no common version,
6 not for this user, or not for so long, 7 TLS, 8 bad reply, 9 file not written.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Show whose a token is, and how long it lives; never the token itself
    Show(Show),
    /// Get a new token, authenticated by the present one or by a munge or SACK socket
    Renew(Box<Renew>),
}

/// Where a token is.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct TokenPlaces {
    /// A file with the token. Without: SLURM_JWT_FILE, else SLURM_JWT
    #[arg(long, value_name = "FILE", env = "STRAW_TOKEN_FILE", hide_env = true)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// A command that prints the token; it is run without a shell
    #[arg(
        long,
        value_name = "COMMAND",
        env = "STRAW_TOKEN_COMMAND",
        hide_env = true
    )]
    pub(in crate::cli) token_command: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLE)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    pub(in crate::cli) token: TokenPlaces,
    /// Longest time to wait for a token command
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, env = "STRAW_TIMEOUT", hide_env = true)]
    pub(in crate::cli) timeout: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = RENEW_EXAMPLE)]
pub(in crate::cli) struct Renew {
    /// Controllers, tried in turn: host, host:port, [IPv6]:port.
    /// Without any: SLURM_CONF_SERVER, else DNS (SRV _slurmctld._tcp)
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) servers: Vec<String>,

    /// How long the new token is to live. Without: as the cluster has it, mostly 30 minutes
    #[arg(long, value_name = "TIME", value_parser = lifespan, env = "STRAW_LIFESPAN", hide_env = true)]
    pub(in crate::cli) lifespan: Option<Duration>,
    /// Write it into this file, with mode 0600. Without: SLURM_JWT=… on stdout
    #[arg(long, value_name = "FILE", env = "STRAW_WRITE", hide_env = true)]
    pub(in crate::cli) write: Option<PathBuf>,
    /// Only if the token in that file has less than this to live, or there is none
    #[arg(long, value_name = "TIME", requires = "write", value_parser = some_time, env = "STRAW_IF_UNDER", hide_env = true)]
    pub(in crate::cli) if_under: Option<Duration>,
    /// For another user; only root and SlurmUser may
    #[arg(long = "for", value_name = "USER", env = "STRAW_FOR", hide_env = true)]
    pub(in crate::cli) user: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) access: Access,
}
