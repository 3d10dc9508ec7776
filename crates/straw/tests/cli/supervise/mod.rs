//! `straw exec --refresh`: that it makes no difference to a command that straw stays beside it, and
//! what is done with it when the configuration changes. What a terminal has to do with it is in
//! `terminal`.

mod end;
mod first_process;
mod inherited;
mod on_change;
mod signals;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{SIGKILL, kill};
use nix::unistd::Pid;
use slurm_protocol::ProtocolVersion;

use crate::fake::{Fake, config};
use crate::straw::{Straw, sign};

const CONF: &str = "ClusterName=lab\nSlurmctldHost=localhost\n";

/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(60);

/// All that a process can be sent and straw hands on, by their names in Perl, and their numbers.
const SIGNALS: [(&str, i32); 18] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("ALRM", libc::SIGALRM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CONT", libc::SIGCONT),
    ("TSTP", libc::SIGTSTP),
    ("URG", libc::SIGURG),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    // What the C library calls SIGRTMIN, the third after it, and the last one.
    ("RTMIN", 34),
    ("NUM37", 37),
    ("RTMAX", 64),
];

/// Says its number, and each signal that it gets; ends at SIGTERM with 7.
pub const COUNTS: &str = r#"$| = 1;
    for my $name (@ARGV, "CHLD") { $SIG{$name} = sub { print "$name\n" } }
    $SIG{TERM} = sub { print "TERM\n"; exit 7 };
    print "$$\n";
    sleep 1 while 1"#;

/// Says its number, what it finds, and each SIGHUP; ends at SIGTERM with 7.
const READS: &str = r#"$| = 1;
    sub conf { open my $file, "<", $ENV{SLURM_CONF} or die; local $/; <$file> =~ /# (\d+)/; $1 }
    $SIG{HUP} = sub { print "HUP ", conf(), "\n" };
    $SIG{TERM} = sub { print "TERM\n"; exit 7 };
    print "$$ ", conf(), " $ENV{SLURM_JWT}\n";
    sleep 1 while 1"#;

/// Their names.
pub fn names() -> [&'static str; 18] {
    SIGNALS.map(|(name, _)| name)
}

/// The environment that a straw would have.
pub fn variables(straw: &Straw) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let variables = straw.command.get_envs();
    variables.filter_map(|(name, value)| Some((name, value?)))
}

/// A controller whose configuration can change.
pub struct Cluster {
    fake: Fake,
    changes: Arc<AtomicU32>,
}

impl Cluster {
    pub fn start() -> Self {
        let changes = Arc::new(AtomicU32::new(0));
        let now = Arc::clone(&changes);
        let fake = Fake::answers(move |version| {
            let number = now.load(Ordering::SeqCst);
            config(
                version,
                &[
                    ("slurm.conf", &format!("{CONF}# {number}\n")),
                    ("x", &String::new()),
                ],
            )
        });
        Self { fake, changes }
    }

    pub fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Asked at the newest version it has been asked for something with a credential so often.
    fn fetched(&self) -> usize {
        let requests = self.fake.requests();
        let real = |seen: &&crate::fake::Seen| {
            seen.has_credential && seen.version >= ProtocolVersion::V22_05
        };
        requests.iter().filter(real).count()
    }

    /// straw beside a command.
    pub fn straw(&self, options: &[&str], command: &[&str]) -> Straw {
        let line = ["exec", "--refresh"].iter().chain(options).chain(&["--"]);
        let line: Vec<_> = line.chain(command).copied().collect();
        Straw::new(&line)
            .env("SLURM_JWT", token(3600))
            .env("PATH", "/usr/bin:/bin")
            .env("STRAW_STORE", "store")
            .env("STRAW_SERVERS", self.fake.address.to_string())
    }

    /// straw beside a Perl program.
    fn perl(&self, options: &[&str], program: &str) -> Straw {
        self.straw(options, &["perl", "-e", program])
    }

    /// straw beside a program that counts what it gets.
    fn counting(&self, options: &[&str]) -> Straw {
        let names = SIGNALS.map(|(name, _)| name);
        self.straw(options, &[&["perl", "-e", COUNTS][..], &names[..]].concat())
    }
}

/// A program that runs, and what it says.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    /// Its directory, which is to live as long.
    _straw: Option<Straw>,
}

impl Running {
    fn start(mut straw: Straw) -> Self {
        let mut running = Self::start_command(&mut straw.command);
        running._straw = Some(straw);
        running
    }

    fn start_command(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        Self {
            stdin: child.stdin.take(),
            lines: lines(child.stdout.take().unwrap()),
            errors: Some(thread::spawn(move || {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text);
                text
            })),
            child,
            _straw: None,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn signal(&self, signal: i32) {
        send(self.pid(), signal);
    }

    /// The next line that it writes.
    fn line(&self) -> String {
        let line = self.lines.recv_timeout(LONG);
        line.unwrap_or_else(|_| panic!("nothing more is said"))
    }

    /// The number that it says next.
    fn number(&self) -> i32 {
        let line = self.line();
        line.parse()
            .unwrap_or_else(|_| panic!("a number, not {line}"))
    }

    /// Waits for its end: its exit status, what it wrote since, and what it said on stderr beside
    /// that there is a new set.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        drop(self.stdin.take());
        let status = await_end(&mut self.child);
        let rest = self.lines.iter().collect();
        let said = self.errors.take().unwrap().join().unwrap();
        // Its end may cut such a line short.
        let new = |line: &&str| !line.starts_with("notice");
        let said = said.split_inclusive('\n').filter(new).collect();
        (status.code(), rest, said)
    }
}

/// Nothing is left of a test that fails.
impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_with_children(self.pid());
            let _ = self.child.wait();
        }
    }
}

fn kill_with_children(pid: i32) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        kill_with_children(child.parse().unwrap());
    }
    let _ = kill(Pid::from_raw(pid), SIGKILL);
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Sends a process a signal, a real-time one as well.
pub fn send(pid: i32, signal: i32) {
    let sent = match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => kill(Pid::from_raw(pid), signal).is_ok(),
        Err(_) => Command::new("/bin/kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status()
            .unwrap()
            .success(),
    };
    assert!(sent, "process {pid} can be sent no signal {signal}");
}

/// A token of alice's that was made now, and expires in so many seconds: nobody has anything to say
/// about it.
fn token(lifespan: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (from, to) = (now.as_secs(), now.as_secs() + lifespan);
    sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &format!(r#"{{"exp":{to},"iat":{from},"sun":"alice"}}"#),
    )
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < give_up, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a child; one that does not end is killed.
pub fn await_end(child: &mut Child) -> ExitStatus {
    let give_up = Instant::now() + LONG;
    while Instant::now() < give_up {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    panic!("it does not end");
}

/// What a process does, in the kernel's letters: R, S, T (stopped), Z; nothing where there is none.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Sends every signal, one after the other, and fails unless each arrives just once.
pub fn forwards_each_once(straw: i32, line: impl Fn() -> String) {
    for (name, number) in SIGNALS {
        send(straw, number);
        assert_eq!(line(), name);
    }
    // This one is straw's own business.
    send(straw, libc::SIGCHLD);
    send(straw, libc::SIGUSR1);
    assert_eq!(line(), "USR1");
    send(straw, libc::SIGTERM);
    assert_eq!(line(), "TERM");
}

#[test]
fn what_only_a_supervisor_can_do_takes_one() {
    for option in [
        &["--kill-after", "1s"][..],
        &["--on-change", "restart"],
        &["--renew-token"],
    ] {
        let line = [&["exec"], option, &["--", "true"]].concat();
        let output = Straw::new(&line).env("PATH", "/bin").run();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--refresh TIME"), "{said}");
    }
    let line = ["exec", "--refresh", "1h", "--lifespan", "1h", "--", "true"];
    let output = Straw::new(&line).env("PATH", "/bin").run();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--renew-token"), "{said}");
    for action in [
        "signal:NOSUCH",
        "signal:0",
        "signal:33",
        "signal:65",
        "",
        "a 'b",
    ] {
        let line = [
            "exec",
            "--refresh",
            "1h",
            "--on-change",
            action,
            "--",
            "true",
        ];
        let output = Straw::new(&line).env("PATH", "/bin").run();
        assert_eq!(output.status.code(), Some(2), "{action}");
    }
}
