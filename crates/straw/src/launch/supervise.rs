//! Staying beside a command: its signals, its end, and what it leaves behind.
//!
//! ```text
//!   signals ──────────┐
//!   SIGCHLD ──────────┤             ┌─▶ to the command, once each
//!   a new set ────────┼─▶ one queue ┼─▶ its end: its exit code is ours
//!   time to kill ─────┘             └─▶ stopped: we stop as well, and go on with it
//! ```

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as NixSignal;
use rustix::process::{
    Pid, Signal, WaitOptions, getpgrp, getpid, kill_process, kill_process_group, waitpid,
};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};

use super::terminal::{Terminal, stop_with_group};
use super::{LaunchError, Variables, command, name};
use crate::children;
use crate::error::Error;
use crate::signals;
use crate::text::span;

/// How long what is to end may take, where nobody says.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// What is done when the set has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// The command finds it by itself.
    Nothing,
    /// The command gets a signal, by its number.
    Signal(i32),
    /// The command is ended, and started again.
    Restart,
    /// Another command is run: its name, and its arguments.
    Run(Vec<String>),
}

/// `nothing`, `signal:HUP`, `restart`, or a command line, which is split without a shell.
impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "nothing" => return Ok(Self::Nothing),
            "restart" => return Ok(Self::Restart),
            "" => return Err("say nothing, signal:HUP, restart, or a command".into()),
            _ => {}
        }
        if let Some(signal) = text.trim().strip_prefix("signal:") {
            let upper = signal.to_uppercase();
            let named = |name: &str| name.parse::<NixSignal>().ok().map(|named| named as i32);
            return named(&upper)
                .or_else(|| named(&format!("SIG{upper}")))
                .or_else(|| {
                    signal
                        .parse()
                        .ok()
                        .filter(|number| (1..=64).contains(number))
                })
                .map(Self::Signal)
                .ok_or_else(|| "there is no signal of this name".into());
        }
        match shlex::split(text) {
            Some(words) if !words.is_empty() => Ok(Self::Run(words)),
            _ => Err("a quote in it is not closed".into()),
        }
    }
}

/// What a supervisor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Straw itself got a signal.
    Signal(i32),
    /// There is a new set.
    Changed,
}

/// Straw beside a command.
pub struct Supervisor<'a> {
    /// The program.
    pub program: PathBuf,
    /// What it is called, and its arguments.
    pub line: Vec<OsString>,
    /// What it needs to be a client of the cluster, each time it is started.
    pub variables: &'a dyn Fn() -> Result<Variables, Error>,
    /// What it is told of a new set.
    pub on_change: OnChange,
    /// How long it may take to end after SIGTERM. Without, as long as it likes.
    pub kill_after: Option<Duration>,
}

/// The command, as it runs.
struct Running<'a> {
    supervisor: &'a Supervisor<'a>,
    terminal: Option<Terminal>,
    pid: Pid,
    stopped: bool,
    /// Whether somebody told straw to stop, and not the command.
    told_to_stop: bool,
    /// What it is to be started with again once it has ended.
    restart: Option<Variables>,
    kill_at: Option<Instant>,
}

impl Supervisor<'_> {
    /// Starts the command, and stays until it ends. Returns the exit code: its own, or 128 and the
    /// number of the signal that ended it. `background` is begun once the command runs.
    ///
    /// # Errors
    ///
    /// Where it cannot be started, at first or again.
    pub fn run(
        &self,
        events: &Receiver<Event>,
        to_events: Sender<Event>,
        background: impl FnOnce(),
    ) -> Result<u8, Error> {
        let variables = (self.variables)()?;
        let mut signals = signals::take().map_err(|error| self.not_run(error))?;
        let terminal = Terminal::open();
        let pid = self.start(&variables, terminal.as_ref())?;
        thread::spawn(move || {
            for signal in signals.forever() {
                if to_events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        });
        background();
        let running = Running {
            supervisor: self,
            terminal,
            pid,
            stopped: false,
            told_to_stop: false,
            restart: None,
            kill_at: None,
        };
        let code = running.until_end(events);
        children::kill_helpers();
        children::end_all(self.kill_after.unwrap_or(KILL_AFTER));
        code
    }

    fn start(
        &self,
        variables: &Variables,
        terminal: Option<&Terminal>,
    ) -> Result<Pid, LaunchError> {
        use std::os::unix::process::CommandExt as _;

        let mut command = command(&self.program, &self.line, variables);
        let child =
            children::spawn(command.process_group(0)).map_err(|error| self.not_run(error))?;
        let pid = Pid::from_child(&child);
        if let Some(terminal) = terminal.filter(|terminal| terminal.is_of(getpgrp())) {
            terminal.give(pid);
            // It may have wanted to read already.
            let _ = kill_process_group(pid, Signal::CONT);
        }
        Ok(pid)
    }

    fn not_run(&self, error: std::io::Error) -> LaunchError {
        LaunchError::new(name(&self.program, &self.line), &self.program, error)
    }
}

impl Running<'_> {
    fn until_end(mut self, events: &Receiver<Event>) -> Result<u8, Error> {
        loop {
            let event = match self.kill_at {
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Signal(SIGCHLD)) => {
                    if let Some(code) = self.look() {
                        self.take_terminal_back();
                        match self.restart.take() {
                            None => return Ok(code),
                            Some(variables) => self.start_again(&variables)?,
                        }
                    }
                    children::reap_strangers();
                }
                Ok(Event::Signal(SIGCONT)) => self.go_on(),
                Ok(Event::Signal(signal)) => self.forward(signal),
                Ok(Event::Changed) => self.changed(),
                Err(RecvTimeoutError::Timeout) => {
                    self.kill_at = None;
                    log::warn!("the command has not ended: it is killed");
                    let _ = kill_process_group(self.pid, Signal::KILL);
                }
                // Whoever tells of signals holds on to the other end.
                Err(RecvTimeoutError::Disconnected) => return Err(self.lost()),
            }
        }
    }

    fn lost(&self) -> Error {
        let error = ErrorKind::BrokenPipe.into();
        self.supervisor.not_run(error).into()
    }

    /// What has become of the command: its exit code, where it has ended.
    fn look(&mut self) -> Option<u8> {
        let how = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Ok(Some((_, status))) = waitpid(Some(self.pid), how) {
            if let Some(signal) = status.stopping_signal() {
                self.has_stopped(signal);
                continue;
            }
            children::forget(self.pid);
            let code = status.exit_status();
            let code = code.or_else(|| Some(128 + status.terminating_signal()?));
            return Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        None
    }

    fn has_stopped(&mut self, signal: i32) {
        self.stopped = true;
        let told = std::mem::take(&mut self.told_to_stop);
        let Some(terminal) = &self.terminal else {
            // Whoever stopped straw and not the command waits for straw to stop.
            if told && getpid() != Pid::INIT {
                let _ = kill_process(getpid(), Signal::STOP);
            }
            return;
        };
        let reads = terminal.is_of(self.pid);
        if [SIGTTIN, SIGTTOU].contains(&signal) && (reads || terminal.is_of(getpgrp())) {
            // It wanted to, a moment before it was allowed to.
            self.go_on();
            return;
        }
        if reads {
            terminal.give(getpgrp());
        }
        if !stop_with_group() && reads && !told {
            // There is no shell to have it go on.
            self.go_on();
        }
    }

    /// The command goes on, and has the terminal where straw has.
    fn go_on(&mut self) {
        if let Some(terminal) = &self.terminal
            && terminal.is_of(getpgrp())
        {
            terminal.give(self.pid);
        }
        if std::mem::take(&mut self.stopped) {
            let _ = kill_process_group(self.pid, Signal::CONT);
        } else {
            self.send(SIGCONT);
        }
    }

    fn forward(&mut self, signal: i32) {
        if signal == SIGTSTP {
            self.told_to_stop = true;
        }
        if signal == SIGTERM {
            self.restart = None;
            self.kill_at = self
                .supervisor
                .kill_after
                .map(|patience| Instant::now() + patience);
        }
        self.send(signal);
    }

    fn send(&self, signal: i32) {
        // It has not been reaped, so the number is still its own.
        signals::send(self.pid, signal);
    }

    fn changed(&mut self) {
        match &self.supervisor.on_change {
            OnChange::Signal(signal) => self.send(*signal),
            OnChange::Restart if self.kill_at.is_none() => self.restart(),
            OnChange::Restart | OnChange::Nothing | OnChange::Run(_) => {}
        }
    }

    fn restart(&mut self) {
        // Not ended before it is certain that it can be started.
        let variables = match (self.supervisor.variables)() {
            Ok(variables) => variables,
            Err(error) => {
                log::warn!("{error}; the command is not started again");
                return;
            }
        };
        let patience = self.supervisor.kill_after.unwrap_or(KILL_AFTER);
        log::info!(
            "the command is started again; it has {} to end",
            span(patience)
        );
        self.restart = Some(variables);
        self.kill_at = Some(Instant::now() + patience);
        self.send(SIGTERM);
        if self.stopped {
            self.go_on();
        }
    }

    fn start_again(&mut self, variables: &Variables) -> Result<(), Error> {
        self.pid = self.supervisor.start(variables, self.terminal.as_ref())?;
        self.stopped = false;
        self.kill_at = None;
        Ok(())
    }

    fn take_terminal_back(&self) {
        if let Some(terminal) = &self.terminal
            && terminal.is_of(self.pid)
        {
            terminal.give(getpgrp());
        }
    }
}
