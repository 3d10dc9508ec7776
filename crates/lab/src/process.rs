//! Commands of this machine, each with a bound on its time; above all `docker`.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::LabError;

/// The time a command has where nobody says otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status, or minus the number of the signal that ended the command. `docker` uses 125
    /// to 127 for commands that it could not start.
    pub status: i32,
    /// Everything written to standard output.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the command ended with status 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Standard output as text, without the white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard error as text, without the white space around it.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "status {}", self.status)?;
        writeln!(f, "--- stdout:\n{}", self.text())?;
        write!(f, "--- stderr:\n{}", self.error_text())
    }
}

/// A command that has not been run yet.
#[derive(Clone)]
pub(crate) struct Process {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// A `docker` command with these arguments.
pub(crate) fn docker<I, S>(args: I) -> Process
where
    I: IntoIterator<Item = S>,
    S: Into<String>,
{
    Process::new("docker").args(args)
}

impl Process {
    pub(crate) fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            limit: LIMIT,
        }
    }

    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in the environment of the command. It is never printed.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it; any exit status is a result.
    pub(crate) fn run(self) -> Result<Output, LabError> {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LabError::io(format!("run {}", self.program)))?;

        // All three pipes at once, or a command that fills one while we serve another stands still.
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.clone(), child.stdin.take()) {
            // A command that ends without reading its input has said so by its status.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }

        let status = wait(&mut child, self.limit)
            .map_err(LabError::io(format!("wait for {}", self.program)))?;
        let Some(status) = status else {
            return Err(LabError::Timeout {
                command: self.to_string(),
                limit: self.limit,
            });
        };
        Ok(Output {
            status: number(status),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        })
    }

    /// Runs it; any exit status but 0 is an error.
    pub(crate) fn check(self) -> Result<Output, LabError> {
        let command = self.to_string();
        let out = self.run()?;
        if out.success() {
            return Ok(out);
        }
        let said = if out.stderr.trim_ascii().is_empty() {
            out.text()
        } else {
            out.error_text()
        };
        Err(LabError::Command {
            command,
            status: out.status,
            stderr: tail(&said, 20),
        })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Reads a pipe to its end on a thread of its own.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is still worth having.
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

/// Waits until the child ends, or kills it once its time is over and returns `None`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn number(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => -signal,
        (None, None) => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_ended_at_the_end_of_its_time() {
        let slow = Process::new("sleep")
            .args(["20"])
            .limit(Duration::from_millis(50));
        assert!(matches!(slow.run(), Err(LabError::Timeout { .. })));
    }

    #[test]
    fn an_error_shows_the_command_and_no_variable() {
        let error = Process::new("sh")
            .args(["-c", "echo sorry >&2; exit 3"])
            .env("SECRET", "abc")
            .check()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`sh -c echo sorry >&2; exit 3` ended with status 3: sorry"
        );
    }

    #[test]
    fn input_larger_than_a_pipe_comes_back_whole() {
        let bytes = vec![7; 300_000];
        let out = Process::new("cat").stdin(bytes.clone()).check().unwrap();
        assert_eq!(out.stdout, bytes);
    }
}
