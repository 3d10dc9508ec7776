//! Processes that straw starts, and those that come to it as the first process of a container.
//!
//! The system tells the first process of the end of whatever nobody else waits for, and it has to take
//! note (to reap), or their numbers run out. What straw itself has started is left to the code that
//! waits for it: that is what the list is for.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::Pid as NixPid;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid,
};

use crate::signals::{self, Hold};
use crate::text::span;

/// How soon a signal is noticed that came at the wrong moment to interrupt a wait.
const SLICE: Duration = Duration::from_millis(100);

/// The processes that somebody in straw waits for.
struct Ours {
    /// Their numbers.
    numbers: BTreeSet<i32>,
    /// Whether straw ends, so that there are to be no more.
    closed: bool,
}

static OURS: Mutex<Ours> = Mutex::new(Ours {
    numbers: BTreeSet::new(),
    closed: false,
});

fn ours() -> MutexGuard<'static, Ours> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a command that somebody will wait for, and then [`forget`].
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Nobody reaps between its start and its entry into the list.
    let mut ours = ours();
    if ours.closed {
        drop(ours);
        await_our_end();
    }
    let child = command.spawn()?;
    let number = Pid::from_child(&child).as_raw_nonzero().get();
    ours.numbers.insert(number);
    Ok(child)
}

/// It has been waited for.
pub(crate) fn forget(pid: Pid) {
    ours().numbers.remove(&pid.as_raw_nonzero().get());
}

/// As the first process of a container: reaps what has come to straw and has ended.
pub(crate) fn reap_strangers() {
    if std::process::id() == 1 {
        while reap_one() {}
    }
}

fn reap_one() -> bool {
    let ours = ours();
    match one_that_has_ended() {
        // One of ours hides the others until it is reaped: then this is called again.
        Some(pid) if !ours.numbers.contains(&pid.as_raw_nonzero().get()) => {
            matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)))
        }
        _ => false,
    }
}

/// A child that has ended, and is not reaped by this.
#[allow(
    unsafe_code,
    reason = "of the safe wrappers one tells no number, and the other knows no real-time signals"
)]
fn one_that_has_ended() -> Option<Pid> {
    let look = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    let mut about = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes into what is there for it, and nowhere else.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, about.as_mut_ptr(), look) };
    // SAFETY: it is made of numbers, which are zero where the kernel wrote nothing.
    let about = unsafe { about.assume_init() };
    // SAFETY: after waitid() the number of a process is what the field holds.
    let number = unsafe { about.si_pid() };
    Pid::from_raw(number).filter(|_| result == 0)
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
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if matches!(waitid(WaitId::All, look), Err(Errno::CHILD)) {
                return;
            }
            thread::sleep(SLICE / 10);
        }
    }
}

/// Kills the helpers that are still at work, because straw ends. From now on none is started.
pub(crate) fn kill_helpers() {
    let mut ours = ours();
    ours.closed = true;
    for number in &ours.numbers {
        if let Some(pid) = Pid::from_raw(*number) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Whoever works beside the thread that ends straw has nothing more to do or say.
fn await_our_end() -> ! {
    loop {
        thread::park();
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
        let mut child = spawn(command.process_group(0))?;
        let end = match watch(&child) {
            Ok(end) => end,
            Err(error) => {
                // There is no room for a thread.
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ = reap(&mut child);
                return Err(error);
            }
        };
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
        let status = reap(&mut self.child);
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
fn watch(child: &Child) -> io::Result<mpsc::Receiver<()>> {
    let pid = Pid::from_child(child);
    let (ended, end) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        await_end(pid);
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// Waits for a helper, and takes it off the list.
fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(child);
    await_end(pid);
    // In one step, so that nobody kills another process which has got its number.
    let mut ours = ours();
    let status = child.wait();
    ours.numbers.remove(&pid.as_raw_nonzero().get());
    if ours.closed {
        drop(ours);
        await_our_end();
    }
    status
}

/// Waits for a child to end, without reaping it.
fn await_end(pid: Pid) {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), look) {}
}

/// How a command failed, as a person would say it.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended with an error".to_owned(),
    }
}
