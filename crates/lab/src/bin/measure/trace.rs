//! One run of a command under `ptrace`: its system calls, processes, threads, memory, and what it sent
//! and got over TCP.

use std::collections::{HashMap, HashSet};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use crate::Result;
use crate::line::Line;

/// What this program is called with in the process that becomes the command.
pub const TRACED: &str = "traced";

/// Becomes the command, with somebody above that traces it.
pub fn become_traced(words: &[&str]) -> Result {
    let mut command = Line::parse(words)?.command(1);
    ptrace::traceme()?;
    Err(command.exec().into())
}

pub fn run(words: &[&str]) -> Result {
    let child = Command::new(std::env::current_exe()?)
        .arg(TRACED)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let first = Pid::from_raw(child.id().try_into()?);
    let mut tracer = Tracer::default();
    let status = tracer.follow(first)?;
    if status != Some(0) {
        return Err(format!("{words:?} failed: {status:?}").into());
    }
    println!("{}", tracer.told());
    Ok(())
}

/// A call that a thread is in: its number, and the arguments.
#[derive(Clone, Copy)]
struct Call {
    number: i64,
    arguments: [u64; 4],
}

/// A thread that is traced.
struct Task {
    /// Whose sockets it sees.
    table: usize,
    inside: Option<Call>,
    /// It has not stopped for the first time.
    is_new: bool,
}

#[derive(Default)]
struct Tracer {
    tasks: HashMap<Pid, Task>,
    /// Those that stopped before their parent said that there are any.
    early: HashSet<Pid>,
    /// The sockets of TCP of each process, and whether it connected them.
    tables: Vec<HashMap<u64, bool>>,
    calls: u64,
    /// Beside the first of each process.
    threads: u64,
    processes: u64,
    peak_kib: u64,
    connections: u64,
    sent: u64,
    received: u64,
}

impl Tracer {
    /// Until all have ended; the exit status of the first.
    fn follow(&mut self, first: Pid) -> Result<Option<i32>> {
        let mut status = None;
        waitpid(first, None)?;
        ptrace::setoptions(
            first,
            Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACEEXIT
                | Options::PTRACE_O_EXITKILL,
        )?;
        self.tables.push(HashMap::new());
        self.add(first, 0, false);
        self.processes = 1;
        go_on(first, None);
        while !self.tasks.is_empty() {
            match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(task, code) => {
                    self.tasks.remove(&task);
                    if task == first {
                        status = Some(code);
                    }
                }
                WaitStatus::Signaled(task, _, _) => drop(self.tasks.remove(&task)),
                WaitStatus::PtraceSyscall(task) => {
                    self.call(task);
                    go_on(task, None);
                }
                WaitStatus::PtraceEvent(task, _, event) => {
                    self.event(task, event)?;
                    go_on(task, None);
                }
                WaitStatus::Stopped(task, signal) => match self.tasks.get_mut(&task) {
                    None => drop(self.early.insert(task)),
                    Some(known) if known.is_new && signal == Signal::SIGSTOP => {
                        known.is_new = false;
                        go_on(task, None);
                    }
                    Some(_) => go_on(task, signal),
                },
                _ => {}
            }
        }
        Ok(status)
    }

    fn add(&mut self, task: Pid, table: usize, is_new: bool) {
        let inside = None;
        let of_it = Task {
            table,
            inside,
            is_new,
        };
        self.tasks.insert(task, of_it);
    }

    fn event(&mut self, task: Pid, event: i32) -> Result {
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                let new = Pid::from_raw(ptrace::getevent(task)?.try_into()?);
                let mut table = self.tasks[&task].table;
                if event == libc::PTRACE_EVENT_CLONE {
                    self.threads += 1;
                } else {
                    self.processes += 1;
                    self.tables.push(self.tables[table].clone());
                    table = self.tables.len() - 1;
                }
                let stopped = self.early.remove(&new);
                self.add(new, table, !stopped);
                if stopped {
                    go_on(new, None);
                }
            }
            libc::PTRACE_EVENT_EXIT => self.look_at_memory(task),
            _ => {}
        }
        Ok(())
    }

    /// What memory it has had at most.
    fn look_at_memory(&mut self, task: Pid) {
        let status = std::fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        self.peak_kib = self.peak_kib.max(peak.unwrap_or_default());
    }

    /// A call begins or ends.
    fn call(&mut self, task: Pid) {
        let Ok((call, result)) = registers(task) else {
            // It was killed meanwhile.
            return;
        };
        let Some(known) = self.tasks.get_mut(&task) else {
            return;
        };
        let Some(began) = known.inside.take() else {
            known.inside = Some(call);
            self.calls += 1;
            // Where it succeeds, the memory is that of another program.
            if call.number == libc::SYS_execve {
                self.look_at_memory(task);
            }
            return;
        };
        let sockets = &mut self.tables[known.table];
        let [first, second, third, fourth] = began.arguments;
        let (ok, count) = (result >= 0, result.max(0).unsigned_abs());
        match began.number {
            libc::SYS_socket if ok => {
                let internet = [libc::AF_INET, libc::AF_INET6].map(|family| family as u64);
                let stream = second & 0xf == libc::SOCK_STREAM as u64;
                if internet.contains(&first) && stream {
                    sockets.insert(count, false);
                } else {
                    sockets.remove(&count);
                }
            }
            libc::SYS_close => drop(sockets.remove(&first)),
            number if ok && is_dup(number, second) => {
                match sockets.get(&first).copied() {
                    Some(connected) => sockets.insert(count, connected),
                    None => sockets.remove(&count),
                };
            }
            libc::SYS_connect => {
                if let Some(connected @ false) = sockets.get_mut(&first) {
                    *connected = true;
                    self.connections += 1;
                }
            }
            libc::SYS_read | libc::SYS_readv if sockets.contains_key(&first) => {
                self.received += count;
            }
            // What is only looked at comes again.
            libc::SYS_recvfrom if fourth & PEEK == 0 && sockets.contains_key(&first) => {
                self.received += count;
            }
            libc::SYS_recvmsg if third & PEEK == 0 && sockets.contains_key(&first) => {
                self.received += count;
            }
            libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg
                if sockets.contains_key(&first) =>
            {
                self.sent += count;
            }
            _ => {}
        }
    }

    fn told(&self) -> serde_json::Value {
        json!({
            "calls": self.calls,
            "threads": self.threads,
            "processes": self.processes,
            "peak_kib": self.peak_kib,
            "connections": self.connections,
            "sent": self.sent,
            "received": self.received,
        })
    }
}

/// Whether a call gives a descriptor another number, which it returns.
fn is_dup(number: i64, second: u64) -> bool {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_dup2 {
        return true;
    }
    let copies = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].map(|command| command as u64);
    match number {
        libc::SYS_dup | libc::SYS_dup3 => true,
        libc::SYS_fcntl => copies.contains(&second),
        _ => false,
    }
}

const PEEK: u64 = libc::MSG_PEEK as u64;

/// One that was killed need not go on.
fn go_on(task: Pid, signal: impl Into<Option<Signal>>) {
    let _ = ptrace::syscall(task, signal);
}

/// The call that a thread is in, and its result where that is there.
#[cfg(target_arch = "x86_64")]
fn registers(task: Pid) -> nix::Result<(Call, i64)> {
    let registers = ptrace::getregs(task)?;
    let call = Call {
        number: registers.orig_rax.cast_signed(),
        arguments: [registers.rdi, registers.rsi, registers.rdx, registers.r10],
    };
    Ok((call, registers.rax.cast_signed()))
}

#[cfg(target_arch = "aarch64")]
fn registers(task: Pid) -> nix::Result<(Call, i64)> {
    let registers = ptrace::getregs(task)?.regs;
    let call = Call {
        number: registers[8].cast_signed(),
        arguments: [registers[0], registers[1], registers[2], registers[3]],
    };
    Ok((call, registers[0].cast_signed()))
}
