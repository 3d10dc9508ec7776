//! How to get at the controllers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::token::TokenPlaces;
use super::values::{duration, size, some_time};
use crate::credential::Method;

/// How to get at the controllers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Controllers and credentials")]
pub(in crate::cli) struct Access {
    /// Controllers, separated by commas. Without: SLURM_CONF_SERVER, else DNS
    #[arg(
        long = "servers",
        value_name = "LIST",
        env = "STRAW_SERVERS",
        hide_env = true
    )]
    pub(in crate::cli) controllers: Option<String>,
    /// How to authenticate: jwt (a token), slurm (a SACK socket), munge; auto takes the first of
    /// these that is there
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        env = "STRAW_AUTH",
        hide_env = true
    )]
    pub(in crate::cli) auth: Auth,
    #[command(flatten)]
    pub(in crate::cli) token: TokenPlaces,
    /// The socket of sackd, slurmd or slurmctld. Without: SLURM_SACK_SOCKET, else those in /run
    #[arg(long, value_name = "PATH", env = "STRAW_SACK_SOCKET", hide_env = true)]
    pub(in crate::cli) sack_socket: Option<PathBuf>,
    /// munged's socket. Without: /run/munge/munge.socket.2
    #[arg(long, value_name = "PATH", env = "STRAW_MUNGE_SOCKET", hide_env = true)]
    pub(in crate::cli) munge_socket: Option<PathBuf>,
    /// The cluster's CA, in PEM: everything then goes through TLS (TLSType=tls/s2n)
    #[arg(long, value_name = "FILE", env = "STRAW_CA_CERT", hide_env = true)]
    pub(in crate::cli) ca_cert: Option<PathBuf>,
    /// A certificate to show to controllers that ask for one, in PEM
    #[arg(long, value_name = "FILE", env = "STRAW_CLIENT_CERT", hide_env = true)]
    pub(in crate::cli) client_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", env = "STRAW_CLIENT_KEY", hide_env = true)]
    pub(in crate::cli) client_key: Option<PathBuf>,
    /// The name that the controller's certificate must have. Without: none, as Slurm has it
    #[arg(
        long,
        value_name = "NAME",
        env = "STRAW_TLS_SERVER_NAME",
        hide_env = true
    )]
    pub(in crate::cli) tls_server_name: Option<String>,
    /// The controllers' release, such as 24.11. Without: found out
    #[arg(long, value_name = "RELEASE", env = "STRAW_RELEASE", hide_env = true)]
    pub(in crate::cli) release: Option<String>,

    /// Longest time for one attempt over all controllers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, env = "STRAW_TIMEOUT", hide_env = true)]
    pub(in crate::cli) timeout: Duration,
    /// How long to keep trying while none can be reached
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, env = "STRAW_WAIT", hide_env = true)]
    pub(in crate::cli) wait: Duration,
    /// Longest reply to read
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size, env = "STRAW_MAX_SIZE", hide_env = true)]
    pub(in crate::cli) max_size: usize,
}

/// How to authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Auth {
    /// Whatever credential there is
    #[default]
    Auto,
    /// A token
    Jwt,
    /// munged's socket
    Munge,
    /// A SACK socket
    Slurm,
}

impl Auth {
    /// The method that is asked for.
    pub(in crate::cli) fn method(self) -> Option<Method> {
        match self {
            Self::Auto => None,
            Self::Jwt => Some(Method::Jwt),
            Self::Munge => Some(Method::Munge),
            Self::Slurm => Some(Method::Slurm),
        }
    }
}
