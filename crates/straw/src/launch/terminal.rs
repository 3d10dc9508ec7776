//! The terminal that straw and its command share, where there is one.
//!
//! A command that straw stays beside has a process group of its own, so that what is typed at the
//! terminal (^C, ^Z) reaches it once, and not by way of straw as well. Then straw has to do what a
//! shell does: the group that may read from the terminal is the command's while it runs, and straw's
//! own again when it is stopped or has ended.
//!
//! Straw's own group can hold others, which a shell started in one line with it (`straw exec … | less`).
//! The kernel stops who wants the terminal and may not have it, and tells the whole group: so straw
//! learns of it, on either side, and hands the terminal to whoever wanted it last.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::unistd::{Pid as NixPid, getpgid, getsid};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, Signal, getpid, getppid, kill_current_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The controlling terminal of this process.
pub(super) struct Terminal {
    descriptor: Arc<OwnedFd>,
}

impl Terminal {
    /// `None` where there is none, or none that could be taken back. From now on SIGTTOU is blocked in
    /// this thread, and in those that it starts: or handing over the terminal, and a word of straw's
    /// at it, would stop straw.
    pub(super) fn open() -> Option<Self> {
        own_group()?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = openat(CWD, "/dev/tty", flags, Mode::empty()).ok()?.into();
        SigSet::from(NixSignal::SIGTTOU).thread_block().ok()?;
        Some(Self { descriptor })
    }

    /// The process group that may read from it.
    pub(super) fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(&self.descriptor).ok()
    }

    /// Whether straw's own process group may.
    pub(super) fn is_ours(&self) -> bool {
        own_group().is_some_and(|own| self.is_of(own))
    }

    /// Whether a process group may.
    pub(super) fn is_of(&self, group: Pid) -> bool {
        self.foreground() == Some(group)
    }

    /// Lets a process group read from it. `false` where that cannot be.
    pub(super) fn give(&self, group: Pid) -> bool {
        let result = tcsetpgrp(&self.descriptor, group);
        if let Err(error) = result {
            log::debug!("the terminal cannot be handed over: {error}");
        }
        result.is_ok()
    }

    /// Takes it back from whoever has it. `false` where that cannot be.
    pub(super) fn take_back(&self) -> bool {
        self.is_ours() || own_group().is_some_and(|own| self.give(own))
    }
}

/// Has a command that is to lead a process group begin with these signals blocked, and with the
/// terminal, where there is one to give.
pub(super) fn prepare(command: &mut Command, mask: SigSet, terminal: Option<&Terminal>) {
    let descriptor = terminal.map(|terminal| Arc::clone(&terminal.descriptor));
    let prepare = move || {
        if let Some(descriptor) = &descriptor {
            let _ = tcsetpgrp(descriptor, getpid());
        }
        let _ = mask.thread_set_mask();
        Ok(())
    };
    // SAFETY: between fork and exec there are three system calls, and nothing is allocated.
    #[allow(unsafe_code, reason = "there is no other way between fork and exec")]
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Stops straw, and all that was started in one line with it, as ^Z does. Returns when it goes on, or
/// with `false` at once where nobody would ever have it go on: that takes a shell, in the same session.
pub(super) fn stop_with_group() -> bool {
    let stops = shell().is_some();
    if stops {
        let _ = kill_current_process_group(Signal::STOP);
    }
    stops
}

/// The process group of the process in this session, outside of this process group, that started it.
pub(super) fn shell() -> Option<Pid> {
    let session = session_of(None)?;
    let own = own_group()?;
    let mut ancestor = getppid();
    while let Some(process) = ancestor {
        if session_of(Some(process))? != session {
            return None;
        }
        let group = getpgid(Some(to_nix(process))).ok()?;
        let group = Pid::from_raw(group.as_raw())?;
        if group != own {
            return Some(group);
        }
        ancestor = parent_of(process);
    }
    None
}

/// Straw's own process group. It has no number where its leader is outside of the container, which shares
/// the session of whoever started it (`unshare --pid`, some of apptainer's ways).
pub(super) fn own_group() -> Option<Pid> {
    // Those of rustix do not expect that.
    Pid::from_raw(nix::unistd::getpgrp().as_raw())
}

/// The session of a process, or of this one. All those that begin outside of the container are one: 0.
fn session_of(process: Option<Pid>) -> Option<NixPid> {
    getsid(process.map(to_nix)).ok()
}

fn to_nix(pid: Pid) -> NixPid {
    NixPid::from_raw(pid.as_raw_nonzero().get())
}

fn parent_of(process: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = fs::read_to_string(path).ok()?;
    // The name before it is in parentheses, and can hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    Pid::from_raw(fields.split_whitespace().nth(1)?.parse().ok()?)
}
