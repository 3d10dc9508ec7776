//! `straw doctor` and `straw ping`.

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::Keep;
use super::access::Access;

const DOCTOR_EXAMPLE: &str = "\
Example: in the container in which something does not work
  straw doctor ctl1,ctl2

Each check has a line, with the remedy below where it is not well: what stands first is to be
mended first. It writes no file and changes nothing; to compare the clocks it has the controller
make a token that lives for a second. A controller's log shows that it was asked.

Exit codes: that of the first check that failed, as of the other commands: 3 no controller
reached, 4 credential, 5 no common version, 6 not served, 7 TLS, 8 bad reply, 9 files,
126 Slurm's commands cannot run here; 0 without one, warnings or not.";

const PING_EXAMPLE: &str = "\
Example: a readiness probe that needs an answer within two seconds
  straw ping ctl1,ctl2 --timeout 2s

A controller answers if it says anything as a slurmctld does, be it that it is a backup in
standby or that it wants another credential. Whether it is in charge it says only to who has a
credential, and up to Slurm 24.05 it says nothing at all without one.

Exit codes: 0 one answers, 2 usage, 3 none could be reached, 4 none without a credential,
5 none is a slurmctld, 7 TLS, 8 bad reply.";

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLE)]
pub(in crate::cli) struct Doctor {
    /// Controllers: host, host:port, [IPv6]:port; then perhaps the release.
    /// Without any: SLURM_CONF_SERVER, else DNS (SRV _slurmctld._tcp)
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) servers: Vec<String>,

    /// When to use colours: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        env = "STRAW_COLOR",
        hide_env = true
    )]
    pub(in crate::cli) color: Color,
    /// Examine how the files do just as the controller sends them, as with exec --verbatim
    #[arg(long, env = "STRAW_VERBATIM", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(in crate::cli) verbatim: bool,
    #[command(flatten)]
    pub(in crate::cli) keep: Keep,
    #[command(flatten)]
    pub(in crate::cli) access: Access,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// In any case
    Always,
    /// In no case
    Never,
}

#[derive(Debug, Args)]
#[command(after_help = PING_EXAMPLE)]
pub(in crate::cli) struct Ping {
    /// Controllers: host, host:port, [IPv6]:port; then perhaps the release.
    /// Without any: SLURM_CONF_SERVER, else DNS (SRV _slurmctld._tcp)
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) servers: Vec<String>,

    #[command(flatten)]
    pub(in crate::cli) access: Access,
}
