//! `straw exec --refresh`: that it makes no difference to a command that straw stays beside it, and
//! what is done with it when the configuration changes. What a terminal has to do with it is in
//! `terminal`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{SIGKILL, SIGTERM, kill};
use nix::unistd::Pid;
use slurm_protocol::ProtocolVersion;

use crate::fake::{Fake, config};
use crate::straw::{Straw, program, sign, skip};

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

#[test]
fn ends_as_its_command_does() {
    let cluster = Cluster::start();
    for (end, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
        ("kill -37 $$", 128 + 37),
    ] {
        let end = format!("ulimit -c 0; cat; echo to stderr >&2; {end}");
        let straw = cluster.straw(&["1h"], &["sh", "-c", &end]);
        let mut running = Running::start(straw);
        let mut stdin = running.stdin.take().unwrap();
        stdin.write_all(b"through\n").unwrap();
        drop(stdin);
        let said = (vec!["through".to_owned()], "to stderr\n".to_owned());
        assert_eq!(running.end(), (Some(code), said.0, said.1), "{end}");
    }

    // Its end is noticed where whoever started straw wanted to know nothing of that.
    let mut straw = cluster.straw(&["1h"], &["sh", "-c", "exit 7"]);
    let mut ignorant = Command::new("perl");
    ignorant
        .args(["-e", r#"$SIG{CHLD} = "IGNORE"; exec @ARGV"#])
        .arg(program())
        .args(straw.command.get_args())
        .env_clear()
        .envs(variables(&straw))
        .current_dir(straw.path());
    straw.command = ignorant;
    assert_eq!(Running::start(straw).end().0, Some(7));

    // One that cannot be run.
    let code = |command: &str| {
        let mut straw = cluster.straw(&["1h"], &[command]);
        fs::write(straw.path().join("data"), "").unwrap();
        script(&straw.path().join("script"), "");
        fs::write(straw.path().join("script"), "#!/no/such/thing\n").unwrap();
        straw.run().status.code()
    };
    assert_eq!(code("nosuchcommand"), Some(127));
    assert_eq!(code("/no/such/command"), Some(127));
    assert_eq!(code("./data"), Some(126));
    assert_eq!(code("./script"), Some(126));
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
fn each_signal_is_handed_on_once() {
    let cluster = Cluster::start();
    // A token command again and again has straw itself get SIGCHLD.
    let token_command = format!("echo {}", token(600));
    let straw = cluster.counting(&["20ms", "--max-age", "0s", "--token-command", &token_command]);
    let running = Running::start(straw);
    running.number();
    forwards_each_once(running.pid(), || running.line());
    let (code, rest, said) = running.end();
    assert_eq!((code, rest, said), (Some(7), vec![], String::new()));
}

#[test]
fn many_signals_at_once_find_a_command_that_begins() {
    let cluster = Cluster::start();
    for round in 0..20 {
        let program = "$SIG{TERM} = sub { exit 7 }; sleep 1 while 1";
        let mut running = Running::start(cluster.perl(&["1h"], program));
        // Anywhere from before straw takes care of signals to after its command does.
        let shift = Duration::from_micros(700 * round);
        thread::sleep(shift);
        let give_up = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < give_up, "it does not end");
            let _ = kill(Pid::from_raw(running.pid()), SIGTERM);
            thread::sleep(Duration::from_millis(1));
        };
        let end = (status.code(), status.signal());
        assert!(
            [(Some(7), None), (Some(143), None), (None, Some(15))].contains(&end),
            "{end:?}"
        );
    }
}

#[test]
fn what_the_starter_ignores_stays_ignored() {
    let cluster = Cluster::start();
    let counting = cluster.counting(&["1h"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP USR1 CONT; exec \"$@\"", "sh"])
        .arg(program())
        .args(counting.command.get_args())
        .env_clear()
        .envs(variables(&counting))
        .current_dir(counting.path());
    let running = Running::start_command(&mut command);
    running.number();
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGCONT, libc::SIGUSR2] {
        running.signal(signal);
    }
    assert_eq!(running.line(), "USR2");
    running.signal(libc::SIGTERM);
    let (code, rest, said) = running.end();
    assert_eq!(
        (code, rest, said),
        (Some(7), vec!["TERM".into()], String::new())
    );
}

#[test]
fn a_command_begins_as_without_straw() {
    // Signals, descriptors, limits, and what else a process inherits.
    let probe = r#"use Cwd;
        sub say { for (@_) { open my $file, "<", $_ or die; print <$file> } }
        open my $status, "<", "/proc/self/status";
        print grep /^(Sig(Blk|Ign|Cgt)|ShdPnd|NoNewPrivs|Seccomp|Umask|Cap|Groups)/, <$status>;
        close $status; opendir my $open, "/proc/self/fd";
        print "open: $_\n" for sort grep /\d/, readdir $open;
        say("/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/timerslack_ns");
        open my $stat, "<", "/proc/self/stat"; <$stat> =~ /.*\) (.*)/;
        # Session, terminal, priority, nice, scheduling.
        print join(" ", (split / /, $1)[3, 4, 15, 16, 38]), "\n", getcwd, "\n"; say("/proc/self/cmdline")"#;
    // Some are ignored already, and others blocked.
    let starter = r#"use POSIX;
        $SIG{$_} = "IGNORE" for "HUP", "USR2", "TTOU";
        sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1, SIGTERM, SIGCHLD, SIGTTIN));
        exec @ARGV"#;
    let cluster = Cluster::start();
    let straw = cluster.straw(&["1h"], &[]);
    let begin = |before: &[&str]| {
        let mut command = Command::new("perl");
        command
            .args(["-e", starter])
            .args(before)
            .args(["perl", "-e", probe])
            .env_clear()
            .envs(variables(&straw))
            .current_dir(straw.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
        String::from_utf8(output.stdout).unwrap()
    };
    let straws = program();
    let straws = straws.to_str().unwrap();
    let without = begin(&[]);
    assert!(without.contains("SigBlk:\t0000000000114200"), "{without}");
    assert_eq!(begin(&[straws, "exec", "--refresh", "1h", "--"]), without);
    assert_eq!(begin(&[straws, "exec", "--"]), without);
}

/// Whoever is at the other end of its streams notices when the command closes them.
#[test]
fn its_streams_are_its_own() {
    let cluster = Cluster::start();
    let program = r#"$| = 1; print "$$\n"; close STDIN; close STDOUT; sleep 1 while 1"#;
    let mut running = Running::start(cluster.perl(&["1h"], program));
    let pid = running.number();
    let line = running.lines.recv_timeout(LONG);
    assert_eq!(line, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    let mut stdin = running.stdin.take().unwrap();
    until("nobody reads", || (&stdin).write_all(b"x").is_err());
    assert_eq!(stdin.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_ne!(state(pid), None);
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(128 + libc::SIGTERM));
}

#[test]
fn signals_that_the_starter_blocks_find_the_command() {
    let cluster = Cluster::start();
    let straw = cluster.perl(
        &["1h"],
        r#"use POSIX; $| = 1;
        $SIG{TERM} = sub { print "TERM\n"; exit 7 };
        print "$$\n"; <STDIN>;
        sigprocmask(SIG_UNBLOCK, POSIX::SigSet->new(SIGTERM));
        sleep 1 while 1"#,
    );
    let mut command = Command::new("perl");
    command
        .args([
            "-e",
            "use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM)); exec @ARGV",
        ])
        .arg(program())
        .args(straw.command.get_args())
        .env_clear()
        .envs(variables(&straw))
        .current_dir(straw.path());
    let mut running = Running::start_command(&mut command);
    let child = running.number();
    running.signal(libc::SIGTERM);
    let pending = || {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & (1 << 14) != 0
    };
    until("it is pending", pending);
    running.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(running.line(), "TERM");
    assert_eq!(running.end().0, Some(7));
}

#[test]
fn stops_and_goes_on_with_its_command() {
    let cluster = Cluster::start();
    let straw = cluster.perl(
        &["1h"],
        r#"$| = 1; $SIG{USR1} = sub { print "USR1\n" }; print "$$\n"; sleep 1 while 1"#,
    );
    let running = Running::start(straw);
    let (straw, child) = (running.pid(), running.number());
    for _ in 0..3 {
        send(straw, libc::SIGTSTP);
        for pid in [child, straw] {
            until("it is stopped", || state(pid) == Some('T'));
        }
        // It waits, as all signals do.
        send(straw, libc::SIGUSR1);
        send(straw, libc::SIGCONT);
        assert_eq!(running.line(), "USR1");
        for pid in [child, straw] {
            until("it goes on", || state(pid) != Some('T'));
        }
    }
    // One right after the other, before anybody can have stopped. What is said last counts, where it
    // comes when the stop is done.
    for _ in 0..50 {
        send(straw, libc::SIGTSTP);
        send(straw, libc::SIGCONT);
    }
    send(straw, libc::SIGUSR1);
    let give_up = Instant::now() + LONG;
    while running.lines.try_recv().as_deref() != Ok("USR1") {
        assert!(Instant::now() < give_up, "it is stopped for good");
        thread::sleep(Duration::from_millis(50));
        send(straw, libc::SIGCONT);
    }
    until("both go on", || {
        state(child) != Some('T') && state(straw) != Some('T')
    });

    // One that somebody else stops is not straw's doing, and straw still hands on what ends it.
    until("it is stopped by somebody else", || {
        // What was said last may not have arrived yet.
        send(child, libc::SIGSTOP);
        state(child) == Some('T')
    });
    send(straw, libc::SIGTERM);
    send(child, libc::SIGCONT);
    assert_eq!(running.end().0, Some(128 + 15));
}

#[test]
fn one_that_does_not_end_is_killed_if_somebody_says_so() {
    const STAYS: &str = r#"$| = 1; $SIG{TERM} = sub { print "TERM\n" };
        $SIG{USR1} = sub { exit 3 };
        print "$$\n"; sleep 1 while 1"#;
    let cluster = Cluster::start();
    let running = Running::start(cluster.perl(&["1h", "--kill-after", "300ms"], STAYS));
    running.number();
    // Saying it again does not put it off.
    let told = Instant::now();
    let mut running = running;
    while running.child.try_wait().unwrap().is_none() {
        assert!(told.elapsed() < LONG, "it does not end");
        let _ = kill(Pid::from_raw(running.pid()), SIGTERM);
        thread::sleep(Duration::from_millis(50));
    }
    let (code, _, said) = running.end();
    assert_eq!(code, Some(128 + 9));
    assert!(said.contains("it is killed"), "{said}");

    // With what it has started.
    let with_others = r#"fork || do { sleep 1 while 1 }; $| = 1; $SIG{TERM} = "IGNORE";
        print "$$\n"; sleep 1 while 1"#;
    let running = Running::start(cluster.perl(&["1h", "--kill-after", "10ms"], with_others));
    let group = running.number();
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(128 + 9));
    until("nothing of it is left", || {
        kill(Pid::from_raw(-group), None).is_err()
    });

    // Without a word, it may take its time.
    let running = Running::start(cluster.perl(&["1h"], STAYS));
    running.number();
    for _ in 0..3 {
        running.signal(libc::SIGTERM);
        assert_eq!(running.line(), "TERM");
    }
    running.signal(libc::SIGUSR1);
    assert_eq!(running.end(), (Some(3), vec![], String::new()));
}

/// Says its number, what it finds, and each SIGHUP; ends at SIGTERM with 7.
const READS: &str = r#"$| = 1;
    sub conf { open my $file, "<", $ENV{SLURM_CONF} or die; local $/; <$file> =~ /# (\d+)/; $1 }
    $SIG{HUP} = sub { print "HUP ", conf(), "\n" };
    $SIG{TERM} = sub { print "TERM\n"; exit 7 };
    print "$$ ", conf(), " $ENV{SLURM_JWT}\n";
    sleep 1 while 1"#;

#[test]
fn a_command_is_told_of_changes_by_a_signal() {
    let cluster = Cluster::start();
    let running = Running::start(cluster.perl(&["100ms", "--on-change", "signal:HUP"], READS));
    assert!(running.line().contains(" 0 "));
    for change in 1..4 {
        cluster.change();
        assert_eq!(running.line(), format!("HUP {change}"));
    }
    running.signal(libc::SIGTERM);
    let (code, rest, said) = running.end();
    assert_eq!(
        (code, rest, said),
        (Some(7), vec!["TERM".into()], String::new())
    );
}

#[test]
fn a_command_is_started_again_after_changes() {
    let cluster = Cluster::start();
    let options = [
        "100ms",
        "--on-change",
        "restart",
        "--token-command",
        "./token",
    ];
    let straw = cluster.perl(&options, READS);
    let directory = straw.path().to_owned();
    let tokens = [token(600), token(1200)];
    fs::write(directory.join("secret"), &tokens[0]).unwrap();
    script(&directory.join("token"), "cat secret");
    let running = Running::start(straw);
    let split = |line: String| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let [pid, conf, token] = <[String; 3]>::try_from(words).unwrap();
        (pid.parse::<i32>().unwrap(), conf, token)
    };
    let (first, conf, secret) = split(running.line());
    assert_eq!((conf.as_str(), &secret), ("0", &tokens[0]));
    fs::write(directory.join("secret.new"), &tokens[1]).unwrap();
    fs::rename(directory.join("secret.new"), directory.join("secret")).unwrap();
    cluster.change();
    assert_eq!(running.line(), "TERM");
    let (second, conf, secret) = split(running.line());
    assert_eq!((conf.as_str(), &secret), ("1", &tokens[1]));
    assert_ne!(first, second);
    assert_eq!(state(first), None);

    // Nothing is ended that could not be started again; and signals do not wait for that.
    script(&directory.join("token.new"), "touch asked; exec sleep 1000");
    fs::rename(directory.join("token.new"), directory.join("token")).unwrap();
    running.signal(libc::SIGHUP);
    assert_eq!(running.line(), "HUP 1");
    until("the token command is run", || {
        directory.join("asked").exists()
    });
    running.signal(libc::SIGHUP);
    assert_eq!(running.line(), "HUP 1");
    running.signal(libc::SIGTERM);
    assert_eq!(running.line(), "TERM");
    assert_eq!(running.end().0, Some(7));
}

#[test]
fn a_command_that_is_told_to_end_is_not_started_again() {
    // Takes its time after the first SIGTERM.
    const SLOW: &str = r#"$| = 1;
        $SIG{TERM} = sub { print "TERM\n"; exit 9 if $told++ };
        $SIG{INT} = sub { print "INT\n" };
        $SIG{USR1} = sub { exit 3 };
        print "$$\n"; sleep 1 while 1"#;
    let cluster = Cluster::start();
    let restart = ["100ms", "--on-change", "restart", "--kill-after", "50s"];

    // While it ends to be started again.
    let running = Running::start(cluster.perl(&restart, SLOW));
    running.number();
    cluster.change();
    assert_eq!(running.line(), "TERM");
    running.signal(libc::SIGTERM);
    let end = (Some(9), vec!["TERM".to_owned()], String::new());
    assert_eq!(running.end(), end);
    let running = Running::start(cluster.perl(&restart, SLOW));
    running.number();
    cluster.change();
    assert_eq!(running.line(), "TERM");
    running.signal(libc::SIGINT);
    assert_eq!(running.line(), "INT");
    running.signal(libc::SIGUSR1);
    assert_eq!(running.end(), (Some(3), vec![], String::new()));

    // Before there is a change, with a bound on its time and without.
    for options in [&restart[..], &restart[..3]] {
        let running = Running::start(cluster.perl(options, SLOW));
        running.number();
        running.signal(libc::SIGTERM);
        assert_eq!(running.line(), "TERM");
        cluster.change();
        // Straw has made the change known to itself by the time that it asks again, and again.
        let _ = cluster.fetched();
        let asked = std::cell::Cell::new(0);
        until("straw asks again", || {
            asked.set(asked.get() + cluster.fetched());
            asked.get() >= 4
        });
        running.signal(libc::SIGUSR1);
        assert_eq!(running.end(), (Some(3), vec![], String::new()));
    }

    // One that ends by itself meanwhile is started again all the same, and one that is slow is killed.
    let ignores = r#"$| = 1; $SIG{TERM} = "IGNORE"; $SIG{INT} = sub { exit 5 };
        print "$$\n"; sleep 1 while 1"#;
    let restart = ["100ms", "--on-change", "restart", "--kill-after", "200ms"];
    let running = Running::start(cluster.perl(&restart, ignores));
    let first = running.number();
    cluster.change();
    let second = running.number();
    assert_ne!(first, second);
    until("the first one is gone", || state(first).is_none());
    running.signal(libc::SIGINT);
    let (code, _, said) = running.end();
    assert_eq!(code, Some(5));
    assert_eq!(said.matches("it is killed").count(), 1, "{said}");
}

#[test]
fn another_command_is_run_after_changes() {
    let cluster = Cluster::start();
    let on_change = "./hook 'a b'";
    let mut options = vec!["100ms", "--on-change", on_change];
    let start = |options: &[&str], hook: &str| {
        let straw = cluster.perl(options, READS);
        script(&straw.path().join("hook"), hook);
        let directory = straw.path().to_owned();
        let running = Running::start(straw);
        running.line();
        (directory, running)
    };
    let hook = r#"cat >&2; echo "hook $1, $(sed -n 's/# //p' "$SLURM_CONF")"; echo >> done"#;
    let (directory, running) = start(&options, hook);
    cluster.change();
    until("it is run", || directory.join("done").exists());
    running.signal(libc::SIGHUP);
    assert_eq!(running.line(), "HUP 1");
    running.signal(libc::SIGTERM);
    let (code, rest, said) = running.end();
    // Its standard output is not the command's.
    assert_eq!((code, rest), (Some(7), vec!["TERM".into()]));
    assert_eq!(said, "hook a b, 1\n");

    // Its failure is one warning for each time, and the command runs on.
    let (directory, running) = start(&options, "echo >> done; exit 3");
    let runs = || fs::read_to_string(directory.join("done")).map_or(0, |done| done.len());
    for number in 1..=2 {
        cluster.change();
        until("it is run", || runs() == number);
    }
    // The watch goes on with the next fetch after it has said so.
    let _ = cluster.fetched();
    until("straw asks again", || cluster.fetched() > 0);
    running.signal(libc::SIGTERM);
    let (code, _, said) = running.end();
    assert_eq!(code, Some(7));
    assert_eq!(said.matches("warning:").count(), 2, "{said}");
    assert_eq!(said.matches("ended with exit code 3").count(), 2, "{said}");

    // One that is still at work when the command ends is killed, and nothing is said.
    let (directory, running) = start(&options, "echo $$ > pid; mv pid done; exec sleep 1000");
    cluster.change();
    until("it is run", || directory.join("done").exists());
    let hook = fs::read_to_string(directory.join("done")).unwrap();
    let hook: i32 = hook.trim().parse().unwrap();
    running.signal(libc::SIGTERM);
    assert_eq!(running.end(), (Some(7), vec!["TERM".into()], String::new()));
    until("it is gone", || {
        state(hook).is_none_or(|state| state == 'Z')
    });

    // One that is not there is told of before anything is begun.
    options[2] = "nosuchhook";
    let output = cluster.perl(&options, READS).run();
    assert_eq!((output.status.code(), output.stdout), (Some(127), vec![]));
}

#[test]
fn signals_for_the_command_are_no_matter_of_helpers() {
    let cluster = Cluster::start();
    let options = ["50ms", "--max-age", "0s", "--token-command", "./token"];
    let straw = cluster.perl(&options, READS);
    let directory = straw.path().to_owned();
    // It takes so long that straw looks for signals meanwhile.
    let slow = format!("sleep 0.4; echo {}", token(600));
    script(&directory.join("token"), &slow);
    let running = Running::start(straw);
    running.line();
    running.signal(libc::SIGHUP);
    assert_eq!(running.line(), "HUP 0");
    cluster.change();
    let conf = directory.join("store/slurm.conf");
    until("the new set is there", || {
        fs::read_to_string(&conf).unwrap().contains("# 1")
    });
    running.signal(libc::SIGTERM);
    assert_eq!(running.end(), (Some(7), vec!["TERM".into()], String::new()));
}

#[test]
fn what_is_for_straw_alone_is_not_handed_on() {
    let cluster = Cluster::start();
    let options = [
        "1h",
        "--on-change",
        "signal:HUP",
        "--kill-after",
        "1m",
        "--token-file",
        "token",
        "--renew-token",
        "--lifespan",
        "10m",
        "--timeout",
        "9s",
    ];
    let mut straw = cluster.straw(&options, &["env"]);
    straw.command.env_remove("SLURM_JWT");
    // Nor is what a variable says, where an argument says the same or something else.
    straw.command.env("STRAW_REFRESH", "2h");
    straw.command.env("STRAW_ON_CHANGE", "restart");
    let path = straw.path().join("token");
    fs::write(&path, token(600)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = straw.run();
    let text = String::from_utf8(output.stdout).unwrap();
    let variables: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let directory = straw.path().canonicalize().unwrap();
    let conf = directory.join("store/slurm.conf");
    assert_eq!(variables["SLURM_CONF"], conf.to_str().unwrap());
    assert!(variables.contains_key("SLURM_JWT"));
    for (name, value) in [
        ("STRAW_SERVERS", cluster.fake.address.to_string()),
        ("STRAW_TIMEOUT", "9s".into()),
        (
            "STRAW_TOKEN_FILE",
            directory.join("token").display().to_string(),
        ),
    ] {
        assert_eq!(variables.get(name), Some(&value.as_str()), "{name}");
    }
    for name in [
        "REFRESH",
        "ON_CHANGE",
        "KILL_AFTER",
        "RENEW_TOKEN",
        "LIFESPAN",
    ] {
        let name = format!("STRAW_{name}");
        assert!(!variables.contains_key(name.as_str()), "{name}");
    }
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

/// straw as the first process of a PID namespace; `None` where this user can make none.
fn first_process(straw: &Straw) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can make a PID namespace");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(program())
        .args(straw.command.get_args())
        .env_clear()
        .envs(variables(straw))
        .current_dir(straw.path());
    Some(command)
}

/// The number of the only child of a process.
fn first_child(pid: i32) -> i32 {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(children).unwrap();
    children.trim().parse().unwrap()
}

#[test]
fn as_the_first_process_it_reaps_what_comes_to_it() {
    let cluster = Cluster::start();
    // A hundred orphans, of which some are killed, by a real-time signal too.
    let orphans = r#"$| = 1; $SIG{USR1} = sub { exit 6 };
        for my $number (1..100) {
            next if fork;
            if (!fork) { select undef, undef, undef, 0.01; kill 37, $$ if $number % 3 == 0;
                kill 9, $$ if $number % 3 == 1; exit 0 }
            exit 0;
        }
        1 while wait != -1;
        print "made\n";
        while (1) {
            # This one; whatever straw has started is none of it.
            my @left = grep { open my $f, "<", "$_/status"; grep /^(State:\s+Z|Name:\s+perl)/, <$f> }
                glob "/proc/[0-9]*";
            last if @left == 1;
            select undef, undef, undef, 0.01;
        }
        print "none left\n"; sleep 1 while 1"#;
    let token_command = format!("echo {}", token(600));
    let mut options = vec!["20ms", "--max-age", "0s", "--token-command", &token_command];
    // Straw's own children are not reaped behind its back.
    options.extend(["--on-change", "./hook"]);
    let straw = cluster.perl(&options, orphans);
    let done = straw.path().join("done");
    script(&straw.path().join("hook"), "sleep 0.01; echo >> done");
    let Some(mut command) = first_process(&straw) else {
        return;
    };
    let running = Running::start_command(&mut command);
    for line in ["made", "none left"] {
        assert_eq!(running.line(), line);
        let runs = fs::read_to_string(&done).map_or(0, |done| done.len());
        cluster.change();
        until("the hook is run", || {
            fs::read_to_string(&done).is_ok_and(|done| done.len() > runs)
        });
    }
    send(first_child(running.pid()), libc::SIGUSR1);
    assert_eq!(running.end(), (Some(6), vec![], String::new()));
}

#[test]
fn as_the_first_process_it_ends_what_is_left() {
    let cluster = Cluster::start();
    // Two that went their own way: one writes when it is told to end, and one stays.
    let leaves = r#"use POSIX; $| = 1; pipe my $ready, my $is;
        for my $stays (0, 1) {
            next if fork;
            setsid();
            $SIG{TERM} = sub { print "told $stays\n"; exit 0 if !$stays };
            syswrite $is, "x";
            sleep 1 while 1;
        }
        sysread $ready, my $byte, 1 for 0, 1;
        print "left\n"; exit 5"#;
    let straw = cluster.perl(&["1h", "--kill-after", "500ms"], leaves);
    let Some(mut command) = first_process(&straw) else {
        return;
    };
    let running = Running::start_command(&mut command);
    assert_eq!(running.line(), "left");
    let (code, mut rest, said) = running.end();
    rest.sort();
    assert_eq!(rest, ["told 0", "told 1"]);
    assert_eq!((code, said.as_str()), (Some(5), ""));
}

#[test]
fn what_went_its_own_way_lives_on() {
    let cluster = Cluster::start();
    let daemon = "perl -e 'use POSIX; fork and exit; setsid; print \"$$\\n\"; close STDOUT; \
                  close STDERR; sleep 1000'; exit 5";
    let straw = cluster.straw(&["1h", "--kill-after", "10ms"], &["sh", "-c", daemon]);
    let running = Running::start(straw);
    let daemon = running.number();
    assert_eq!(running.end().0, Some(5));
    assert!(state(daemon).is_some_and(|state| state != 'Z'));
    send(daemon, libc::SIGKILL);
}
