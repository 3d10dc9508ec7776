//! A command that is run when there is a new set.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::children::Helper;
use crate::launch::{self, LaunchError};

/// How long it may take before it is killed.
const LIMIT: Duration = Duration::from_secs(300);

/// A command for each change. It finds the new set by `SLURM_CONF`, has nothing to read, and what it
/// prints goes where straw's own messages go.
#[derive(Clone, Debug)]
pub struct Hook {
    program: PathBuf,
    words: Vec<String>,
}

impl Hook {
    /// A command by its words, of which the first is looked for on this `PATH`.
    ///
    /// # Errors
    ///
    /// [`LaunchError`] where there is none of that name.
    pub fn new(words: Vec<String>, path: &OsStr) -> Result<Self, LaunchError> {
        let name = words.first().map(OsString::from).unwrap_or_default();
        let program = launch::find(&name, path)?;
        Ok(Self { program, words })
    }

    /// Runs it for each change, as long as somebody can tell of one; of several that come while it
    /// runs, for the last one. That is for a thread of its own: tokens are renewed meanwhile.
    pub fn run_for_each(&self, changes: &Receiver<PathBuf>) {
        while let Ok(change) = changes.recv() {
            self.run(&changes.try_iter().last().unwrap_or(change));
        }
    }

    /// Runs it, and says what came of it.
    pub fn run(&self, slurm_conf: &Path) {
        let name = self.program.display();
        match self.start(slurm_conf).map(Helper::finish) {
            Ok(Ok(())) => log::info!("{name}, which is run on changes, has done its work"),
            Ok(Err(how)) => log::warn!("{name}, which is run on changes, {how}"),
            Err(error) => {
                let error = crate::text::system_text(&error);
                log::warn!("{name}, which is run on changes, cannot be run: {error}");
            }
        }
    }

    fn start(&self, slurm_conf: &Path) -> io::Result<Helper> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let mut command = Command::new(&self.program);
        let command = command
            .args(self.words.iter().skip(1))
            .env("SLURM_CONF", slurm_conf)
            .stdin(Stdio::null())
            .stdout(stderr);
        Helper::start(command, LIMIT)
    }
}
