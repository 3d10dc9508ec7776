//! Handing over to a command: becoming it, standing in front of it, and staying beside it.
//!
//! Who [becomes](become_command) a command leaves nothing behind: the command has straw's process,
//! and with it its number, its standard streams, its signals and its exit code. A [`Supervisor`] does
//! what it can so that this makes no difference.

mod path;
mod ready;
mod shim;
mod supervise;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use path::is_straws_name;
pub use path::{find, find_behind};
pub use ready::{How, Ready, Wanted};
pub use shim::{CLIENT_COMMANDS, Outcome, Shim, ShimError, Shims};
pub use supervise::{Event, OnChange, Supervisor, Work};

use crate::text::system_text;

/// What a command needs to be a client of a cluster.
#[derive(Clone, Default)]
pub struct Variables {
    variables: Vec<(String, OsString)>,
    /// Those that the command is not to see.
    removed: Vec<String>,
}

impl Variables {
    /// Takes a variable away that straw itself was given.
    pub fn remove(&mut self, name: impl Into<String>) {
        self.removed.push(name.into());
    }

    /// Adds a variable, or replaces it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// Adds or replaces several.
    pub fn extend(&mut self, variables: impl IntoIterator<Item = (String, OsString)>) {
        self.variables.extend(variables);
    }
}

/// Becomes a command: `program`, called by the name and with the arguments in `line`.
///
/// Returns only where that fails.
pub fn become_command(program: &Path, line: &[OsString], variables: &Variables) -> LaunchError {
    let error = command(program, line, variables).exec();
    LaunchError::new(name(program, line), program, error)
}

fn command(program: &Path, line: &[OsString], variables: &Variables) -> Command {
    let mut command = Command::new(program);
    command
        .arg0(name(program, line))
        .args(line.iter().skip(1))
        .envs(
            variables
                .variables
                .iter()
                .map(|(name, value)| (name, value)),
        );
    for name in &variables.removed {
        command.env_remove(name);
    }
    command
}

/// What a command is called.
fn name<'a>(program: &'a Path, line: &'a [OsString]) -> &'a OsStr {
    line.first()
        .map_or(program.as_os_str(), OsString::as_os_str)
}

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is none of this name.
    #[error("the command `{}` was not found: {why}", name.escape_debug())]
    NotFound {
        /// The command, as it was called.
        name: String,
        /// Where it was looked for.
        why: String,
    },
    /// Straw was called by its name, and found nothing but straw.
    #[error("the command `{}` was not found: what has its name is straw, and straw again", name.escape_debug())]
    Circle {
        /// The command, as it was called.
        name: String,
    },
    /// It is there and cannot be run.
    #[error("the command {} cannot be run: {}", program.display(), system_text(error))]
    NotRun {
        /// The program.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl LaunchError {
    fn new(name: &OsStr, program: &Path, error: io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound && !program.exists() {
            return Self::NotFound {
                name: name.to_string_lossy().into_owned(),
                why: format!("there is no {}", program.display()),
            };
        }
        let program = program.to_owned();
        Self::NotRun { program, error }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::Circle { .. } => "command-not-found",
            Self::NotRun { .. } => "command-not-run",
        }
    }

    pub(crate) fn hint(&self) -> String {
        let text = match self {
            Self::Circle { .. } => {
                "install Slurm's client commands; and have links to straw rather than copies of it"
            }
            Self::NotFound { .. } => "is it installed in this container, and on the PATH?",
            // The kernel says so of the program, and means what is to run it.
            Self::NotRun { error, .. } if error.kind() == ErrorKind::NotFound => {
                "the program is there, but not its interpreter (the first line of a script) or its \
                 dynamic loader (a program for another C library)"
            }
            Self::NotRun { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
                "may this user execute it, and is it on a file system mounted with noexec?"
            }
            Self::NotRun { error, .. } if error.kind() == ErrorKind::WouldBlock => {
                "does a limit on processes forbid it (ulimit -u, one of the container's)?"
            }
            Self::NotRun { .. } => "is it a program for this machine?",
        };
        text.to_owned()
    }
}
