//! Signals: which are not straw's to change, what they do while straw works for itself, and how they
//! are taken in while it stays beside a command or a directory.
//!
//! ```text
//!   straw fetch, token …        what they always do; as the first process of a container, HUP, INT
//!                               and TERM end straw, which they would not do there by themselves
//!   while a helper runs (hold)  HUP, INT and TERM wait until it has been killed
//!   supervising (take)          all that can be caught come out of one queue, for good
//! ```

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Pid;
use signal_hook::consts::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGSEGV,
    SIGSTOP, SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGTTOU, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

/// Those that would end straw at once, in its common work.
const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Those that say what a process itself has done, and those that nobody can catch. SIGTTOU, because a
/// terminal would send it again and again to who catches it.
const OWN: [i32; 13] = [
    SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGPIPE, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP, SIGTTOU,
    SIGXCPU, SIGXFSZ,
];

/// The highest one, and those that the C library keeps for itself.
const HIGHEST: i32 = 64;
const OF_THE_LIBRARY: [i32; 2] = [32, 33];

/// Whether a signal is ignored now, as `nohup` has it: that is not straw's to change. Where that
/// cannot be told, it is not.
pub(crate) fn is_ignored(signal: i32) -> bool {
    is_in(ignored(), signal)
}

/// The signals that are ignored, a bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

fn is_in(mask: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal - 1).unwrap_or(u32::MAX);
    mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1)
}

/// What the handlers, which stay for good, go by.
struct Switches {
    /// Whether signals end the first process of a container.
    end_first: Arc<AtomicBool>,
    /// Whether they do what they always do.
    by_default: Arc<AtomicBool>,
    /// The last one that came while they did not; 0 for none.
    caught: Arc<AtomicUsize>,
    /// Whether they come out of the queue.
    taken: AtomicBool,
    /// Which came last, SIGTSTP or SIGCONT: the queue does not tell.
    last_switch: Arc<AtomicUsize>,
}

fn switches() -> &'static Switches {
    static SWITCHES: OnceLock<Switches> = OnceLock::new();
    SWITCHES.get_or_init(|| Switches {
        end_first: Arc::new(AtomicBool::new(true)),
        by_default: Arc::new(AtomicBool::new(true)),
        caught: Arc::default(),
        taken: AtomicBool::new(false),
        last_switch: Arc::default(),
    })
}

/// As the first process of a container, straw is ended only by signals that it handles.
pub(crate) fn end_first_process() {
    if std::process::id() != 1 {
        return;
    }
    for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
        let end_first = Arc::clone(&switches().end_first);
        if let Err(error) = flag::register_conditional_shutdown(signal, 128 + signal, end_first) {
            log::warn!("signal {signal} cannot be handled: {error}");
        }
    }
}

/// Has a limit on the size of files (`ulimit -f`) be an error like any other, and not an end without a
/// word. What straw becomes finds the signal as it was.
pub(crate) fn outlive_file_limit() {
    if !is_ignored(SIGXFSZ) {
        let _ = flag::register(SIGXFSZ, Arc::default());
    }
}

/// Holds back signals that would end straw, as long as this lives.
pub(crate) struct Hold(());

/// Holds back signals that would end straw, until what it has started is gone.
pub(crate) fn hold() -> Hold {
    static ONCE: OnceLock<()> = OnceLock::new();
    let switches = switches();
    if switches.taken.load(Ordering::SeqCst) {
        return Hold(());
    }
    ONCE.get_or_init(|| {
        for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
            let caught = Arc::clone(&switches.caught);
            let by_default = Arc::clone(&switches.by_default);
            let registered = flag::register_usize(signal, caught, signal as usize)
                .and_then(|_| flag::register_conditional_default(signal, by_default));
            if let Err(error) = registered {
                log::debug!("signal {signal} cannot be handled: {error}");
            }
        }
        // Where whoever started us ignores it, nobody could wait for a child.
        let _ = flag::register(SIGCHLD, Arc::default());
    });
    switches.caught.store(0, Ordering::SeqCst);
    switches.by_default.store(false, Ordering::SeqCst);
    Hold(())
}

impl Hold {
    /// Whether one came meanwhile. One that was taken in is for whoever reads the queue.
    pub(crate) fn caught(&self) -> bool {
        let switches = switches();
        !switches.taken.load(Ordering::SeqCst) && switches.caught.load(Ordering::SeqCst) != 0
    }
}

/// What was held back happens now.
impl Drop for Hold {
    fn drop(&mut self) {
        let switches = switches();
        if switches.taken.load(Ordering::SeqCst) {
            return;
        }
        switches.by_default.store(true, Ordering::SeqCst);
        let caught = switches.caught.load(Ordering::SeqCst);
        if let Some(signal) = i32::try_from(caught).ok().filter(|signal| *signal != 0) {
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

/// Takes in all signals that can be caught, for good: they do nothing by themselves any more. Those
/// that whoever started straw has it ignore stay ignored, by commands that it starts as well.
///
/// # Errors
///
/// Where the system refuses a handler.
pub(crate) fn take() -> io::Result<Signals> {
    let ignored = ignored();
    let switches = switches();
    for signal in [SIGTSTP, SIGCONT] {
        if !is_in(ignored, signal) {
            let last = Arc::clone(&switches.last_switch);
            flag::register_usize(signal, last, signal as usize)?;
        }
    }
    let wanted = (1..=HIGHEST)
        .filter(|signal| is_signal(*signal) && !OWN.contains(signal))
        .filter(|signal| *signal == SIGCHLD || !is_in(ignored, *signal));
    let signals = Signals::new(wanted)?;
    switches.taken.store(true, Ordering::SeqCst);
    switches.by_default.store(false, Ordering::SeqCst);
    switches.end_first.store(false, Ordering::SeqCst);
    Ok(signals)
}

/// Whether the last word was to go on, of those to stop and to go on.
pub(crate) fn is_to_go_on() -> bool {
    switches().last_switch.load(Ordering::SeqCst) == SIGCONT as usize
}

/// Whether it is a number that a process can be sent.
pub(crate) fn is_signal(signal: i32) -> bool {
    (1..=HIGHEST).contains(&signal) && !OF_THE_LIBRARY.contains(&signal)
}

/// Sends a process a signal, a real-time one as well. What does not exist is not sent.
pub(crate) fn send(pid: Pid, signal: i32) {
    if !is_signal(signal) {
        return;
    }
    let number = pid.as_raw_nonzero().get();
    // SAFETY: it takes two numbers, and touches no memory of ours.
    #[allow(unsafe_code, reason = "safe wrappers know no real-time signals")]
    let result = unsafe { libc::kill(number, signal) };
    if result != 0 {
        log::debug!("process {number} got no signal {signal}");
    }
}
