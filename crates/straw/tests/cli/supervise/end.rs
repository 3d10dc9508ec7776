//! How a command ends, and straw with it.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SIGTERM, kill};
use nix::unistd::Pid;

use super::{Cluster, LONG, Running, script, send, state, until, variables};
use crate::straw::program;

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
