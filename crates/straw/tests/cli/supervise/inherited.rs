//! What a command begins with.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::{Cluster, LONG, Running, state, token, until, variables};
use crate::straw::program;

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
        "--log-format",
        "json",
        "--json",
        "-q",
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
        // It stands in the same stream.
        ("STRAW_LOG_FORMAT", "json".into()),
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
        "JSON",
        "QUIET",
    ] {
        let name = format!("STRAW_{name}");
        assert!(!variables.contains_key(name.as_str()), "{name}");
    }
}
