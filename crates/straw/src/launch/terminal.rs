//! The terminal that straw and its command share, where there is one.
//!
//! A command that straw stays beside has a process group of its own, so that what is typed at the
//! terminal (^C, ^Z) reaches it once, and not by way of straw as well. Then straw has to do what a
//! shell does: the group that may read from the terminal is the command's while it runs, and straw's
//! own again when it is stopped or has ended.

use std::fs;
use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, Signal, getpgid, getpgrp, getppid, getsid, kill_current_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The controlling terminal of this process.
pub(super) struct Terminal {
    descriptor: OwnedFd,
}

impl Terminal {
    /// `None` where there is none.
    pub(super) fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = openat(CWD, "/dev/tty", flags, Mode::empty()).ok()?;
        Some(Self { descriptor })
    }

    /// Whether a process group may read from it.
    pub(super) fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.descriptor) == Ok(group)
    }

    /// Lets a process group read from it.
    pub(super) fn give(&self, group: Pid) {
        // Who is not allowed to read is stopped for this, unless the signal is blocked.
        let blocked = SigSet::from(NixSignal::SIGTTOU);
        let _ = blocked.thread_block();
        if let Err(error) = tcsetpgrp(&self.descriptor, group) {
            log::debug!("the terminal cannot be handed over: {error}");
        }
        let _ = blocked.thread_unblock();
    }
}

/// Stops straw, and all that was started in one line with it, as ^Z does. Returns when it goes on, or
/// with `false` at once where nobody would ever have it go on: that takes a shell, in the same session.
pub(super) fn stop_with_group() -> bool {
    let stops = is_controlled();
    if stops {
        let _ = kill_current_process_group(Signal::STOP);
    }
    stops
}

/// Whether there is a process in this session, outside of this process group, that started it.
fn is_controlled() -> bool {
    let (Ok(session), group) = (getsid(None), getpgrp()) else {
        return false;
    };
    let mut ancestor = getppid();
    while let Some(process) = ancestor {
        if getsid(Some(process)) != Ok(session) {
            return false;
        }
        if getpgid(Some(process)) != Ok(group) {
            return true;
        }
        ancestor = parent_of(process);
    }
    false
}

fn parent_of(process: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = fs::read_to_string(path).ok()?;
    // The name before it is in parentheses, and can hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    Pid::from_raw(fields.split_whitespace().nth(1)?.parse().ok()?)
}
