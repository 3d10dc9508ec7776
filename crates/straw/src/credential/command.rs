//! A token from a command, the way kubectl's credential plugins work.

use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, wait, waitid,
};
use secrecy::SecretString;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::file::{ReadError, read_to_end};
use crate::signals::is_ignored;
use crate::text::{span, system_text};

/// How soon a signal is noticed that came at the wrong moment to interrupt a wait.
const SLICE: Duration = Duration::from_millis(100);

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
        let deadline = Instant::now() + limit;
        let guard = Guard::begin();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Of its own, to be killed as a whole.
            .process_group(0)
            .spawn()
            .map_err(CommandError::Start)?;
        let mut stdout = child.stdout.take();
        let end = watch(&child);
        let result = await_output(stdout.as_mut(), &end, deadline, limit, &guard);
        if result.is_err() || guard.caught().is_some() {
            kill(&child);
        }
        let status = child.wait();
        if std::process::id() == 1 {
            // What it left running comes to us as the first process of a container.
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
        guard.end();
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

/// Waits in a thread for a child to end, and leaves it to be reaped, so that its number cannot be
/// another's before it is killed.
fn watch(child: &Child) -> mpsc::Receiver<()> {
    let pid = Pid::from_child(child);
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        let _ = ended.send(());
    });
    end
}

/// The whole output of a child that has ended.
fn await_output(
    stdout: Option<&mut ChildStdout>,
    end: &mpsc::Receiver<()>,
    deadline: Instant,
    limit: Duration,
    guard: &Guard,
) -> Result<SecretString, CommandError> {
    let Some(stdout) = stdout else {
        return Err(CommandError::Start(io::ErrorKind::BrokenPipe.into()));
    };
    let output = read_to_end(stdout, deadline, || guard.caught().is_some());
    let output = match output {
        Ok(output) => output,
        Err(ReadError::TooLong(most)) => return Err(CommandError::TooLong(most)),
        Err(ReadError::Io(error)) => return Err(CommandError::Start(error)),
        Err(ReadError::Late) => {
            return Err(match end.try_recv() {
                Ok(()) => CommandError::Held,
                Err(_) => CommandError::Late(limit),
            });
        }
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match end.recv_timeout(left.min(SLICE)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(output),
            Err(RecvTimeoutError::Timeout) if left.is_zero() || guard.caught().is_some() => {
                return Err(CommandError::Late(limit));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Ends a child that was not reaped yet, and all of its group.
fn kill(child: &Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Holds signals that would end straw until the child is gone.
struct Guard {
    signals: &'static Signals,
}

/// What the handlers, which stay for good, go by.
struct Signals {
    /// Whether no command runs, so that signals do what they always do.
    idle: Arc<AtomicBool>,
    /// The last signal that came; 0 for none.
    caught: Arc<AtomicUsize>,
}

impl Guard {
    fn begin() -> Self {
        static SIGNALS: OnceLock<Signals> = OnceLock::new();
        let signals = SIGNALS.get_or_init(|| {
            let signals = Signals {
                idle: Arc::new(AtomicBool::new(true)),
                caught: Arc::default(),
            };
            for signal in [SIGHUP, SIGINT, SIGTERM] {
                if is_ignored(signal) {
                    continue;
                }
                let caught = Arc::clone(&signals.caught);
                let registered =
                    flag::register_usize(signal, caught, signal as usize).and_then(|_| {
                        flag::register_conditional_default(signal, Arc::clone(&signals.idle))
                    });
                if let Err(error) = registered {
                    log::debug!("signal {signal} cannot be handled: {error}");
                }
            }
            // Where whoever started us ignores it, nobody could wait for a child.
            let _ = flag::register(SIGCHLD, Arc::default());
            signals
        });
        signals.caught.store(0, Ordering::SeqCst);
        signals.idle.store(false, Ordering::SeqCst);
        Self { signals }
    }

    /// The signal that came meanwhile.
    fn caught(&self) -> Option<i32> {
        match self.signals.caught.load(Ordering::SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// The child is gone: what was held back happens now.
    fn end(&self) {
        self.signals.idle.store(true, Ordering::SeqCst);
        if let Some(signal) = self.caught() {
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

/// Also where the command could not even be started.
impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
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

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended with an error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
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
