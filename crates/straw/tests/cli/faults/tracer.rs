//! Running a program from one system call to the next, and having a say in what becomes of each.
//!
//! With `ptrace`, not with strace: between two calls the program stands still, so that a reader's
//! view can be looked at without a race; a call can be made and then said to have failed, as a
//! file server does it whose answer is lost; and nothing has to be installed.
//!
//! On x86-64 only: where a call's number and its result are, and how it is kept from being made, is each
//! architecture's own. Elsewhere the tests that trace are ignored, by an attribute of each that says why.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use libc::c_long;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// It hangs that takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is made.
    Go,
    /// The program is killed instead.
    Kill,
    /// It is not made, and fails.
    Fail(Errno),
    /// It is made, and fails all the same.
    GoAndFail(Errno),
    /// It is made, and no other is shown.
    GoOn,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub stderr: String,
}

/// Runs a program. Each of its system calls is shown to `before`, by number; and `after` is called
/// when it was made. What the program becomes by `execve` is left alone.
pub fn trace(
    command: &mut Command,
    mut before: impl FnMut(c_long) -> Then,
    mut after: impl FnMut(),
) -> Ended {
    let traced = || Ok(ptrace::traceme()?);
    // SAFETY: between fork and exec it makes system calls alone.
    #[allow(unsafe_code, reason = "there is no other way between fork and exec")]
    unsafe {
        command.pre_exec(traced);
    }
    #[allow(
        clippy::zombie_processes,
        reason = "it is waited for, with its threads"
    )]
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    // Only those that this thread started: other tests wait for theirs.
    let wait = |pid| waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
    assert_eq!(wait(Some(pid)), WaitStatus::Stopped(pid, Signal::SIGTRAP));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    ptrace::syscall(pid, None).unwrap();

    let (ended, running) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if running.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        // The threads that are in a call, and what it shall be said to have failed with.
        let mut calling = BTreeMap::new();
        let code = loop {
            let (thread, signal) = match wait(None) {
                WaitStatus::Exited(one, code) if one == pid => break Some(code),
                WaitStatus::Signaled(one, ..) if one == pid => break None,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_EXEC) => {
                    ptrace::detach(thread, None).unwrap();
                    continue;
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                // So a new thread begins.
                WaitStatus::Stopped(thread, Signal::SIGSTOP) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::PtraceSyscall(thread) => {
                    // Each call is reported twice.
                    if let Some(errno) = calling.remove(&thread) {
                        if let Some(errno) = errno {
                            registers::fail(thread, errno);
                        }
                        after();
                    } else {
                        let errno = match before(registers::call(thread)) {
                            Then::Go => None,
                            Then::GoOn => {
                                ptrace::detach(thread, None).unwrap();
                                continue;
                            }
                            Then::Kill => {
                                kill(pid, Signal::SIGKILL).unwrap();
                                None
                            }
                            Then::GoAndFail(errno) => Some(errno),
                            Then::Fail(errno) => {
                                registers::make_none(thread);
                                Some(errno)
                            }
                        };
                        calling.insert(thread, errno);
                    }
                    (thread, None)
                }
                other => panic!("{other:?}"),
            };
            match ptrace::syscall(thread, signal) {
                // It was killed.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => panic!("{errno}"),
            }
        };
        drop(ended);
        let mut stderr = String::new();
        let mut said = child.stderr.take().unwrap();
        said.read_to_string(&mut stderr).unwrap();
        Ended { code, stderr }
    })
}

/// The call that a thread is in.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::*;

    pub fn call(thread: Pid) -> c_long {
        ptrace::getregs(thread).unwrap().orig_rax.cast_signed()
    }

    /// Has none be made in its place.
    pub fn make_none(thread: Pid) {
        let mut registers = ptrace::getregs(thread).unwrap();
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers).unwrap();
    }

    /// Has it return this, once it was made.
    pub fn fail(thread: Pid, errno: Errno) {
        let mut registers = ptrace::getregs(thread).unwrap();
        registers.rax = (-i64::from(errno as i32)).cast_unsigned();
        ptrace::setregs(thread, registers).unwrap();
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use super::*;

    pub fn call(_: Pid) -> c_long {
        panic!("the tracer knows the registers of x86-64 only")
    }

    pub fn make_none(_: Pid) {
        unreachable!()
    }

    pub fn fail(_: Pid, _: Errno) {
        unreachable!()
    }
}
