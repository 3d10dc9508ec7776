//! `straw shim`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const INSTALL_EXAMPLE: &str = "\
Example: in a Dockerfile, after Slurm's client commands
  RUN straw shim install

A shim makes sure that the configuration is there and fresh, then becomes the command of its
name that comes next on the PATH. It is configured by STRAW_… variables or /etc/straw.toml,
whose keys are the names of the options of `straw exec`.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Shim {
    /// Make links to straw under the names of Slurm's commands
    Install(InstallShims),
    /// List them, and the commands that they stand in front of
    List(ListShims),
    /// Remove them
    Remove(RemoveShims),
}

#[derive(Debug, Args)]
#[command(after_help = INSTALL_EXAMPLE)]
pub(in crate::cli) struct InstallShims {
    /// Names of commands. Without: those of Slurm's that are on the PATH
    #[arg(value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) place: Place,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListShims {
    #[command(flatten)]
    pub(in crate::cli) place: Place,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveShims {
    /// Names of commands. Without: all that are there
    #[arg(value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) place: Place,
}

/// Where shims are.
#[derive(Debug, Args)]
pub(in crate::cli) struct Place {
    /// The directory for shims, which comes before the commands' own on the PATH
    #[arg(
        long = "dir",
        value_name = "DIR",
        default_value = "/usr/local/bin",
        env = "STRAW_DIR",
        hide_env = true
    )]
    pub(in crate::cli) directory: PathBuf,
}
