//! Signals that are handed on.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SIGTERM, kill};
use nix::unistd::Pid;

use super::{Cluster, LONG, READS, Running, forwards_each_once, script, send, state, token, until};

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
