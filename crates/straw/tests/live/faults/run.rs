//! Running straw on this machine.

use std::fmt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::clusters::{holds, lacks, program, same};

/// Nothing takes as long that does not hang: every run is told to give up after a few seconds.
const HANGS: Duration = Duration::from_secs(60);

/// The program on this machine, with nothing in its environment but the token.
pub fn here(token: &str) -> Command {
    let mut command = Command::new(program());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SLURM_JWT", token);
    command
}

/// The same, where `ulimit` with this option allows little. It takes SIGHUP, even where whoever runs
/// the tests has it ignored.
pub fn limited(token: &str, limit: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("ulimit {limit} && exec env --default-signal=HUP \"$@\"");
    shell.args(["-c", &script, "sh"]).arg(program()).env_clear();
    for (name, value) in here(token).get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell
}

/// One message: an error, what caused it, and what to do.
pub fn one_error(stderr: &str) -> Result<(), Failed> {
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    same("errors", errors.count(), 1)?;
    same("begins with it", stderr.starts_with("error: "), true)?;
    lacks(stderr, &["warning: "])?;
    holds(stderr, &["\nhint: "])
}

/// How a run of straw ended.
pub struct Ended {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(
            f,
            "ended with {} after {:?}: {stdout}\n{}",
            self.code, self.took, self.stderr
        )
    }
}

impl Ended {
    /// The same without what a straw says that waits.
    pub fn without_rounds(mut self) -> Self {
        let lines = self.stderr.split_inclusive('\n');
        let lines = lines.filter(|line| !line.contains("; trying again in "));
        self.stderr = lines.collect();
        self
    }

    /// Runs it; one that hangs is an error.
    pub fn of(command: &mut Command) -> Result<Self, Failed> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut pause = Duration::from_micros(500);
        while child.try_wait()?.is_none() {
            if began.elapsed() > HANGS {
                child.kill()?;
                let output = child.wait_with_output()?;
                return Err(format!("{command:?} hangs: {output:?}").into());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        let took = began.elapsed();
        let output = child.wait_with_output()?;
        Ok(Self {
            // One that a signal ended has no code.
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr)?,
            took,
        })
    }
}
