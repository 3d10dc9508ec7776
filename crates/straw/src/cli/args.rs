//! The arguments as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use crate::controller::FileSet;
use clap::{Args, Parser, Subcommand, ValueEnum};

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
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fetch the configuration files and write them into a directory
    Fetch(Fetch),
    /// List the releases of Slurm that straw can talk to
    Releases,
}

/// What is shown, and how.
#[derive(Clone, Debug, Args)]
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

    /// How to authenticate: auto, or jwt (a token)
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        env = "STRAW_AUTH",
        hide_env = true
    )]
    pub(super) auth: Auth,
    /// A file with the token. Without: SLURM_JWT_FILE, else SLURM_JWT
    #[arg(long, value_name = "FILE", env = "STRAW_TOKEN_FILE", hide_env = true)]
    pub(super) token_file: Option<PathBuf>,
    /// The controllers' release, such as 24.11. Without: found out
    #[arg(long, value_name = "RELEASE", env = "STRAW_RELEASE", hide_env = true)]
    pub(super) release: Option<String>,

    /// Longest time for one attempt over all controllers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, env = "STRAW_TIMEOUT", hide_env = true)]
    pub(super) timeout: Duration,
    /// How long to keep trying while none can be reached
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, env = "STRAW_WAIT", hide_env = true)]
    pub(super) wait: Duration,
    /// Longest reply to read
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size, env = "STRAW_MAX_SIZE", hide_env = true)]
    pub(super) max_size: usize,
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

/// How to authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Auth {
    /// Whatever credential there is
    #[default]
    Auto,
    /// A token
    Jwt,
}

/// A span of time: a number of seconds, or `1m 30s` and the like.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "a time is written like 30s, 1m 30s or 2h".to_owned())?,
    };
    if duration > LONGEST {
        return Err("a year is the most".into());
    }
    Ok(duration)
}

/// The same, and more than nothing.
fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("no time is not enough".into()),
        duration => Ok(duration),
    }
}

/// A size in bytes, or with K, M or G behind it (powers of 1024): `64M`, `64MB` or `64MiB`.
fn size(text: &str) -> Result<usize, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        _ => None,
    };
    shift
        .zip(number.parse::<usize>().ok())
        .and_then(|(shift, number)| number.checked_mul(1 << shift))
        .filter(|size| (1..=slurm_protocol::MAX_FRAME).contains(size))
        .ok_or_else(|| "a size is written like 500K or 64M, and 1G is the most".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "-1", "soon", "99999999999", "10y"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(some_time("0").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1"), Ok(1));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("500k"), Ok(500 << 10));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in [
            "",
            "0",
            "M",
            "2G",
            "-1",
            "64X",
            "1KM",
            "1MKG",
            "5iii",
            "64 M",
            "99999999999G",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
