//! What is done with a command, or beside it, when the configuration changes.

use std::fs;

use super::{Cluster, READS, Running, script, state, token, until};

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
