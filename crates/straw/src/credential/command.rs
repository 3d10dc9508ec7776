//! A token from a command, the way kubectl's credential plugins work.

use std::fmt;
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::file::{ReadError, read_to_end};
use crate::children::{Helper, describe};
use crate::text::{span, system_text};

/// A command whose standard output is a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenCommand {
    program: String,
    arguments: Vec<String>,
}

/// Splits a line into program and arguments. Quotes and backslashes work as in a shell; nothing
/// else does.
impl FromStr for TokenCommand {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words = shlex::split(line).ok_or("a quote in it is not closed")?;
        let mut words = words.into_iter();
        let program = words.next().ok_or("it names no command")?;
        let arguments = words.collect();
        Ok(Self { program, arguments })
    }
}

impl TokenCommand {
    /// Runs the command and takes what it writes to its standard output. Its standard error is
    /// ours: it may have something to say.
    ///
    /// # Errors
    ///
    /// Where it cannot be run, fails, or does not end within `limit`: then it, and what it
    /// started, is killed. So it is when straw is ended by a signal meanwhile.
    pub(super) fn run(&self, limit: Duration) -> Result<SecretString, CommandError> {
        let mut command = Command::new(&self.program);
        let command = command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut helper = Helper::start(command, limit).map_err(CommandError::Start)?;
        let result = await_output(&mut helper, limit);
        let status = helper.reap(result.is_err());
        let output = result?;
        match status {
            Ok(status) if !status.success() => Err(CommandError::Failed(status)),
            _ => Ok(output),
        }
    }

    /// Its name, without its arguments, which may say more than others need to know.
    pub fn name(&self) -> &str {
        &self.program
    }
}

impl fmt::Debug for TokenCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCommand({})", self.program)
    }
}

/// The whole output of a helper that has ended.
fn await_output(helper: &mut Helper, limit: Duration) -> Result<SecretString, CommandError> {
    let Some(stdout) = helper.child().stdout.take() else {
        return Err(CommandError::Start(io::ErrorKind::BrokenPipe.into()));
    };
    let output = read_to_end(&stdout, helper.deadline(), || helper.is_interrupted());
    match output {
        Ok(output) if helper.wait() => Ok(output),
        Ok(_) => Err(CommandError::Late(limit)),
        Err(ReadError::TooLong(most)) => Err(CommandError::TooLong(most)),
        Err(ReadError::Io(error)) => Err(CommandError::Start(error)),
        Err(ReadError::Late) if helper.has_ended() => Err(CommandError::Held),
        Err(ReadError::Late) => Err(CommandError::Late(limit)),
    }
}

/// Why a command gave no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It cannot be run.
    #[error("cannot be run: {}", system_text(.0))]
    Start(io::Error),
    /// It ended with an error.
    #[error("{}", describe(*.0))]
    Failed(ExitStatus),
    /// It did not end in time.
    #[error("did not end within {}, and was killed", span(*.0))]
    Late(Duration),
    /// It ended, and something that it started keeps its output open.
    #[error("ended, but something that it started keeps its standard output open")]
    Held,
    /// It wrote more than any token has.
    #[error("wrote more than {0} bytes, and was killed")]
    TooLong(usize),
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use rustix::process::Pid;
    use secrecy::ExposeSecret as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(60);

    fn run(line: &str, limit: Duration) -> Result<String, String> {
        let command: TokenCommand = line.parse()?;
        command
            .run(limit)
            .map(|output| output.expose_secret().to_owned())
            .map_err(|error| error.to_string())
    }

    /// Waits until nothing of a process group is left.
    fn assert_gone(group: Pid) {
        // They are gone as soon as the kernel, or who adopted them, has reaped them.
        let give_up = Instant::now() + LONG;
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < give_up, "something of it is still there");
            thread::yield_now();
        }
    }

    #[test]
    fn its_output_is_taken_without_a_shell() {
        assert_eq!(run("printf a.b.c", LONG), Ok("a.b.c".into()));
        assert_eq!(
            run("printf '%s|' 'a b' $HOME", LONG),
            Ok("a b|$HOME|".into())
        );
        assert_eq!(run("true", LONG), Ok(String::new()));
    }

    #[test]
    fn what_goes_wrong_is_said() {
        assert_eq!(run(" ", LONG), Err("it names no command".into()));
        assert_eq!(run("a 'b", LONG), Err("a quote in it is not closed".into()));
        let error = run("/nowhere/token", LONG).unwrap_err();
        assert_eq!(error, "cannot be run: no such file or directory");
        assert_eq!(run("false", LONG), Err("ended with exit code 1".into()));
        let killed = run("sh -c 'kill -9 $$'", LONG);
        assert_eq!(killed, Err("was ended by signal 9".into()));
        let endless = run("yes", LONG).unwrap_err();
        assert_eq!(endless, "wrote more than 65536 bytes, and was killed");
        let held = run("sh -c 'sleep 1000 & echo x'", SOON).unwrap_err();
        assert_eq!(
            held,
            "ended, but something that it started keeps its standard output open"
        );
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        // One holds the pipe open, the other closes it and stays.
        let line = format!("sh -c 'echo $$ > {0}; sleep 1000; true'", mark.display());
        let error = run(&line, SOON).unwrap_err();
        assert_eq!(error, "did not end within 300ms, and was killed");
        let group = std::fs::read_to_string(&mark).unwrap();
        assert_gone(Pid::from_raw(group.trim().parse().unwrap()).unwrap());
        let error = run("sh -c 'exec >&-; sleep 1000'", SOON).unwrap_err();
        assert_eq!(error, "did not end within 300ms, and was killed");
    }
}
