//! Staying beside a command: its signals, its end, and what it leaves behind.
//!
//! ```text
//!   signals ──────────┐
//!   SIGCHLD ──────────┤             ┌─▶ to the command, once each
//!   a new set ────────┼─▶ one queue ┼─▶ its end: its exit code is ours
//!   time to kill ─────┘             └─▶ stopped: we stop as well, and go on with it
//! ```

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal as _, stdin};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_current_process_group, kill_process, kill_process_group,
    waitpid,
};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use signal_hook::consts::{
    SIGCHLD, SIGCONT, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
};

use super::terminal::{Terminal, own_group, prepare, shell, stop_with_group};
use super::{LaunchError, Variables, command, name};
use crate::children;
use crate::error::Error;
use crate::signals;
use crate::text::{span, system_text};

/// How long what is to end may take, where nobody says.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// How long after SIGTSTP a command that stops does so because of it. One that does not stop then has
/// made something else of it.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

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
                        .filter(|number| signals::is_signal(*number))
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

/// Makes the variables that a command is started with.
pub type Prepare = dyn Fn() -> Result<Variables, Error> + Send + Sync;

/// What is done beside the command.
pub type Work = Box<dyn FnOnce() + Send>;

/// What a supervisor is told.
pub enum Event {
    /// Straw itself got a signal.
    Signal(i32),
    /// There is a new set.
    Changed,
    /// The command can be started again, with these.
    Restart(Variables),
}

/// Straw beside a command.
pub struct Supervisor {
    /// The program.
    pub program: PathBuf,
    /// What it is called, and its arguments.
    pub line: Vec<OsString>,
    /// What it needs to be a client of the cluster, each time it is started.
    pub variables: Arc<Prepare>,
    /// What it is told of a new set.
    pub on_change: OnChange,
    /// How long it may take to end after SIGTERM. Without, as long as it likes.
    pub kill_after: Option<Duration>,
}

/// The command, as it runs.
struct Running<'a> {
    supervisor: &'a Supervisor,
    to_events: Sender<Event>,
    /// The signals that were blocked when straw was started.
    mask: SigSet,
    terminal: Option<Terminal>,
    pid: Pid,
    /// Whether straw has handed it the terminal, and no shell has taken it since.
    lent: bool,
    stopped: bool,
    /// When somebody told straw to stop, and not the command.
    told_to_stop: Option<Instant>,
    /// Whether the next SIGCONT is straw's own, for others in its process group.
    own_cont: bool,
    /// Whether somebody told straw to end.
    ending: bool,
    /// What it is to be started with again once it has ended.
    restart: Option<Variables>,
    kill_at: Option<Instant>,
}

impl Supervisor {
    /// Starts the command, and stays until it ends. Returns the exit code: its own, or 128 and the
    /// number of the signal that ended it. Each piece of `work` is begun, in a thread of its own,
    /// once the command runs.
    ///
    /// # Errors
    ///
    /// Where it cannot be started, at first or again.
    pub fn run(
        &self,
        events: &Receiver<Event>,
        to_events: Sender<Event>,
        work: Vec<Work>,
    ) -> Result<u8, Error> {
        let variables = (self.variables)()?;
        let mask = SigSet::thread_get_mask().map_err(|error| self.not_run(error.into()))?;
        let terminal = Terminal::open();
        let mut signals = signals::take().map_err(|error| self.not_run(error))?;
        if terminal.is_some() && !signals::is_ignored(SIGTTOU) {
            // Somebody beside straw may want the terminal. Only the thread that does nothing with it
            // is told: to others the kernel would tell it again and again.
            signals
                .add_signal(SIGTTOU)
                .map_err(|error| self.not_run(error))?;
        }
        let to_us = to_events.clone();
        let tell = move || {
            // Those that whoever started straw has blocked are the command's all the same: it has
            // them blocked as well, and can change that. And straw itself needs SIGCHLD.
            let _ = SigSet::all().thread_unblock();
            for signal in signals.forever() {
                if to_us.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        };
        // Where there is no room for threads, nothing has been started yet.
        thread::Builder::new()
            .spawn(tell)
            .map_err(|error| self.not_run(error))?;
        let work = work.into_iter().map(begun_later);
        let work: Vec<_> = work
            .collect::<Result<_, _>>()
            .map_err(|error| self.not_run(error))?;
        let (pid, lent) = self.start(&variables, mask, terminal.as_ref())?;
        if self.on_change != OnChange::Restart {
            let_go_of_streams();
        }
        for begin in work {
            let _ = begin.send(());
        }
        let running = Running {
            supervisor: self,
            to_events,
            mask,
            terminal,
            pid,
            lent,
            stopped: false,
            told_to_stop: None,
            own_cont: false,
            ending: false,
            restart: None,
            kill_at: None,
        };
        let code = running.until_end(events);
        children::kill_helpers();
        children::end_all(self.kill_after.unwrap_or(KILL_AFTER));
        code
    }

    /// Starts the command, with these signals blocked, and with the terminal where straw has it and
    /// reads from it: says whether so. Who is in a pipeline, or in the background of a script, is
    /// rather not the one that is meant to read, and gets it when it wants to.
    fn start(
        &self,
        variables: &Variables,
        mask: SigSet,
        terminal: Option<&Terminal>,
    ) -> Result<(Pid, bool), LaunchError> {
        use std::os::unix::process::CommandExt as _;

        let mut command = command(&self.program, &self.line, variables);
        // Without a number of its own straw's group could never take the terminal back.
        if own_group().is_some() {
            command.process_group(0);
        }
        let terminal = terminal.filter(|terminal| terminal.is_ours() && stdin().is_terminal());
        prepare(&mut command, mask, terminal);
        match children::spawn(&mut command) {
            Ok(child) => Ok((Pid::from_child(&child), terminal.is_some())),
            Err(error) => {
                if let Some(terminal) = terminal {
                    terminal.take_back();
                }
                Err(self.not_run(error))
            }
        }
    }

    fn not_run(&self, error: io::Error) -> LaunchError {
        LaunchError::new(name(&self.program, &self.line), &self.program, error)
    }
}

/// A thread for a piece of work, which begins when it is told to, and ends where nobody can tell it any
/// more.
fn begun_later(work: Work) -> io::Result<Sender<()>> {
    let (begin, begun) = mpsc::channel();
    let work = move || {
        if begun.recv().is_ok() {
            work();
        }
    };
    thread::Builder::new().spawn(work)?;
    Ok(begin)
}

/// The standard input and output are the command's alone: whoever is at their other end is to notice
/// when it closes them. One that is started again needs straw's.
fn let_go_of_streams() {
    let nothing = openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let let_go = nothing.and_then(|nothing| {
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)
    });
    if let Err(error) = let_go {
        log::debug!("/dev/null: {error}");
    }
}

impl Running<'_> {
    fn until_end(mut self, events: &Receiver<Event>) -> Result<u8, Error> {
        children::reap_strangers();
        loop {
            let event = match self.kill_at {
                Some(at) if at <= Instant::now() => Err(RecvTimeoutError::Timeout),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Signal(SIGCHLD)) => {
                    if let Some(code) = self.look() {
                        self.take_terminal_back();
                        match self.restart.take() {
                            Some(variables) if !is_typed_end(code) => {
                                self.start_again(&variables)?;
                            }
                            _ => return Ok(code),
                        }
                    }
                    children::reap_strangers();
                }
                Ok(Event::Signal(SIGCONT)) => {
                    if !std::mem::take(&mut self.own_cont) {
                        self.go_on();
                    }
                }
                Ok(Event::Signal(SIGTTIN | SIGTTOU)) if self.lend_to_others() => {}
                Ok(Event::Signal(signal)) => self.forward(signal),
                Ok(Event::Changed) => self.changed(),
                Ok(Event::Restart(variables)) => self.restart(variables),
                Err(RecvTimeoutError::Timeout) => self.kill(),
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
        let told = self.told_to_stop.take();
        let told = told.is_some_and(|when| when.elapsed() < STOPS_WITHIN);
        let mut had_terminal = false;
        if let Some(terminal) = &self.terminal {
            had_terminal = terminal.is_of(self.pid);
            if [SIGTTIN, SIGTTOU].contains(&signal)
                && (had_terminal || terminal.is_ours() && terminal.give(self.pid))
            {
                // It may have it after all.
                self.go_on();
                return;
            }
            if had_terminal {
                terminal.take_back();
            }
        }
        if told {
            if signals::is_to_go_on() {
                self.go_on();
            } else if getpid() != Pid::INIT {
                self.lent = false;
                // Whoever stopped straw and not the command waits for straw to stop; and nobody else.
                let _ = kill_process(getpid(), Signal::STOP);
            }
            return;
        }
        // Otherwise somebody stopped the command alone, and will have it go on.
        let by_terminal = had_terminal || [SIGTSTP, SIGTTIN, SIGTTOU].contains(&signal);
        if self.terminal.is_some() && by_terminal {
            self.lent = false;
            if !stop_with_group() && had_terminal {
                // There is no shell to have it go on.
                self.go_on();
            }
        }
    }

    /// Whether the terminal is straw's own process group's, or the command's.
    fn has_terminal(&self) -> bool {
        let terminal = self.terminal.as_ref();
        terminal.is_some_and(|terminal| terminal.is_ours() || terminal.is_of(self.pid))
    }

    /// The command goes on, and has the terminal where straw has.
    fn go_on(&mut self) {
        self.told_to_stop = None;
        if let Some(terminal) = &self.terminal {
            let ours = terminal.is_ours();
            self.lent = (ours && terminal.give(self.pid)) || terminal.is_of(self.pid);
        }
        let all = std::mem::take(&mut self.stopped);
        if !all || kill_process_group(self.pid, Signal::CONT).is_err() {
            self.send(SIGCONT);
        }
    }

    /// Whether somebody in straw's own process group wanted the terminal, which the command has: then
    /// they have it now, and the command gets it as soon as it wants it again.
    fn lend_to_others(&mut self) -> bool {
        let Some(terminal) = &self.terminal else {
            return false;
        };
        let foreground = terminal.foreground();
        let to_others = terminal.is_ours() || (self.lent && foreground != shell());
        let to_others = to_others && terminal.take_back();
        if to_others {
            self.own_cont = kill_current_process_group(Signal::CONT).is_ok();
        }
        to_others
    }

    fn forward(&mut self, signal: i32) {
        match signal {
            SIGTSTP => self.told_to_stop = Some(Instant::now()),
            SIGTERM => {
                self.restart = None;
                if !std::mem::replace(&mut self.ending, true) {
                    let patience = self.supervisor.kill_after;
                    self.kill_at = patience.map(|patience| Instant::now() + patience);
                }
            }
            SIGINT | SIGQUIT => self.restart = None,
            _ => {}
        }
        let typed = [SIGINT, SIGQUIT, SIGTSTP, SIGWINCH].contains(&signal);
        match Signal::from_named_raw(signal) {
            Some(typed_one) if typed && self.has_terminal() => {
                // The terminal tells whole groups, and would have told this one. (It may have got the
                // terminal since.)
                let _ = kill_process_group(self.pid, typed_one);
            }
            _ => self.send(signal),
        }
        if signal == SIGTSTP && signals::is_to_go_on() {
            // It came first, and the queue had it the other way round.
            self.go_on();
        }
    }

    fn send(&self, signal: i32) {
        // It has not been reaped, so the number is still its own.
        signals::send(self.pid, signal);
    }

    fn changed(&mut self) {
        match &self.supervisor.on_change {
            OnChange::Signal(signal) => self.send(*signal),
            OnChange::Restart => self.prepare_restart(),
            OnChange::Nothing | OnChange::Run(_) => {}
        }
    }

    /// It is not ended before it is certain that it can be started; and signals do not wait for that.
    fn prepare_restart(&self) {
        let prepare = Arc::clone(&self.supervisor.variables);
        let to_events = self.to_events.clone();
        let prepare = move || match prepare() {
            Ok(variables) => {
                let _ = to_events.send(Event::Restart(variables));
            }
            Err(error) => log::warn!("{error}; the command is not started again"),
        };
        if let Err(error) = thread::Builder::new().spawn(prepare) {
            let error = system_text(&error);
            log::warn!("no thread can be started: {error}; the command is not started again");
        }
    }

    fn restart(&mut self, variables: Variables) {
        if self.ending || self.restart.replace(variables).is_some() {
            return;
        }
        let patience = self.supervisor.kill_after.unwrap_or(KILL_AFTER);
        log::info!(
            "the command is started again; it has {} to end",
            span(patience)
        );
        self.kill_at = Some(Instant::now() + patience);
        self.send(SIGTERM);
        if self.stopped {
            self.go_on();
        }
    }

    fn start_again(&mut self, variables: &Variables) -> Result<(), Error> {
        let terminal = self.terminal.as_ref();
        (self.pid, self.lent) = self.supervisor.start(variables, self.mask, terminal)?;
        self.stopped = false;
        self.told_to_stop = None;
        self.kill_at = None;
        Ok(())
    }

    fn kill(&mut self) {
        self.kill_at = None;
        log::warn!("the command has not ended: it is killed");
        // It may have left its group.
        self.send(Signal::KILL.as_raw());
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// From the command, or from what it has handed the terminal to; not from a shell above straw.
    fn take_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            let foreground = terminal.foreground();
            if foreground == Some(self.pid) || (self.lent && foreground != shell()) {
                terminal.take_back();
            }
        }
    }
}

/// Whether a command with this exit code was ended by somebody at the terminal.
fn is_typed_end(code: u8) -> bool {
    [SIGINT, SIGQUIT].contains(&(i32::from(code) - 128))
}
