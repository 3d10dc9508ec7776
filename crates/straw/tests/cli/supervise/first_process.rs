//! straw as the first process of a container.

use std::fs;
use std::process::Command;

use super::{Cluster, Running, script, send, token, until, variables};
use crate::straw::{Straw, program, skip};

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
