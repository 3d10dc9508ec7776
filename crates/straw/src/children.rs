//! Processes that straw starts, and those that come to it as the first process of a container.
//!
//! The system tells the first process of the end of whatever nobody else waits for, and it has to take
//! note (to reap), or their numbers run out. What straw itself has started is left to the code that
//! waits for it: that is what the list is for.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal as NixSignal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid as NixPid;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::signals::{self, Hold};
use crate::text::span;

/// How soon a signal is noticed that came at the wrong moment to interrupt a wait.
const SLICE: Duration = Duration::from_millis(100);

/// The numbers of the processes that somebody in straw waits for.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<i32>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a command that somebody will wait for, and then [`forget`].
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Nobody reaps between its start and its entry into the list.
    let mut ours = ours();
    let child = command.spawn()?;
    ours.insert(Pid::from_child(&child).as_raw_nonzero().get());
    Ok(child)
}

/// It has been waited for.
pub(crate) fn forget(pid: Pid) {
    ours().remove(&pid.as_raw_nonzero().get());
}

/// As the first process of a container: reaps what has come to straw and has ended.
pub(crate) fn reap_strangers() {
    if std::process::id() == 1 {
        while reap_one(WaitPidFlag::WNOHANG) {}
    }
}

fn reap_one(how: WaitPidFlag) -> bool {
    let ours = ours();
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | how;
    let ended = match waitid(Id::All, look) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
        Err(Errno::EINTR) => return true,
        _ => return false,
    };
    // One of ours hides the others until it is reaped: then this is called again.
    !ours.contains(&ended.as_raw()) && waitid(Id::Pid(ended), WaitPidFlag::WEXITED).is_ok()
}

/// As the first process of a container: asks all others in it to end, and kills those that are still
/// there after `patience`.
pub(crate) fn end_all(patience: Duration) {
    if std::process::id() != 1 {
        return;
    }
    let all = NixPid::from_raw(-1);
    for (signal, patience) in [
        (NixSignal::SIGTERM, patience),
        (NixSignal::SIGKILL, Duration::from_secs(1)),
    ] {
        if kill(all, signal).is_err() {
            return;
        }
        // What was stopped hears nothing before it goes on.
        let _ = kill(all, NixSignal::SIGCONT);
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            reap_strangers();
            let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            if waitid(Id::All, look) == Err(Errno::ECHILD) {
                return;
            }
            thread::sleep(SLICE / 10);
        }
    }
}

/// Kills the helpers that are still at work, because straw ends.
pub(crate) fn kill_helpers() {
    for number in ours().iter() {
        if let Some(pid) = Pid::from_raw(*number) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// A command that does a piece of work for straw: in a process group of its own, so that it can be
/// killed as a whole. Signals that would end straw wait until it is gone.
pub(crate) struct Helper {
    child: Child,
    end: mpsc::Receiver<()>,
    deadline: Instant,
    limit: Duration,
    hold: Hold,
}

impl Helper {
    /// Starts it. It has `limit` to end.
    pub(crate) fn start(command: &mut Command, limit: Duration) -> io::Result<Self> {
        let hold = signals::hold();
        let child = spawn(command.process_group(0))?;
        let end = watch(&child);
        Ok(Self {
            child,
            end,
            deadline: Instant::now() + limit,
            limit,
            hold,
        })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a signal came that is to end straw.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.hold.caught()
    }

    /// Whether it has ended; it was not reaped.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.end.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    /// Waits for it to end; `false` where it does not in time.
    pub(crate) fn wait(&self) -> bool {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.end.recv_timeout(left.min(SLICE)) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if left.is_zero() || self.is_interrupted() => {
                    return false;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Takes note of its end. With `kill` it, and all that it started, is killed first; so it is
    /// where straw is to end.
    pub(crate) fn reap(mut self, kill: bool) -> io::Result<ExitStatus> {
        if kill || self.is_interrupted() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        let status = self.child.wait();
        forget(Pid::from_child(&self.child));
        // What it left running comes to us, and some of it has ended behind it.
        reap_strangers();
        status
    }

    /// Waits for it, and kills it where it takes too long.
    ///
    /// # Errors
    ///
    /// How it failed, as a person would say it.
    pub(crate) fn finish(self) -> Result<(), String> {
        let in_time = self.wait();
        let limit = self.limit;
        match self.reap(!in_time) {
            _ if !in_time => Err(format!(
                "did not end within {}, and was killed",
                span(limit)
            )),
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(describe(status)),
            Err(error) => Err(crate::text::system_text(&error)),
        }
    }
}

/// Waits in a thread for a child to end, and leaves it to be reaped, so that its number cannot be
/// another's before it is killed.
fn watch(child: &Child) -> mpsc::Receiver<()> {
    let pid = NixPid::from_raw(Pid::from_child(child).as_raw_nonzero().get());
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while let Err(Errno::EINTR) = waitid(Id::Pid(pid), look) {}
        let _ = ended.send(());
    });
    end
}

/// How a command failed, as a person would say it.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended with an error".to_owned(),
    }
}
