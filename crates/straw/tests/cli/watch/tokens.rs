//! Tokens that expire, are refused, are replaced or renewed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::{CONF, Controller, Running, State, count, until, watch};
use crate::straw::{Straw, sign, token};

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token of alice's that was made so many seconds ago and lives so many seconds more.
fn token_of(age: u64, left: u64) -> String {
    let (issued, expires) = (now() - age, now() + left);
    sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &format!(r#"{{"exp":{expires},"iat":{issued},"sun":"alice"}}"#),
    )
}

/// Writes a file in one step, for its owner alone.
fn put(path: &Path, text: &str) {
    let part = path.with_extension("part");
    fs::write(&part, text).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(part, path).unwrap();
}

/// With tokens in a file: what a watch says, and what it does with them.
fn with_file(controller: &Controller, first: &str, arguments: &[&str]) -> Straw {
    let server = controller.address();
    let line = ["watch", &server, "-o", "store", "--refresh", "1h"];
    let line = [&line[..], &["--token-file", "token"], arguments].concat();
    let straw = Straw::new(&line).env("PATH", "/usr/bin:/bin");
    if !first.is_empty() {
        put(&straw.path().join("token"), first);
    }
    straw
}

#[test]
fn a_token_that_is_refused_is_replaced() {
    let (old, new) = (token(3000), token(3600));
    let controller = Controller::start(State::ServesOnly(new.clone(), CONF.to_owned()));
    // As Kubernetes has it: a link to a link that is switched.
    let straw = with_file(&controller, "", &["-vvv"]);
    let at = |name: &str| straw.path().join(name);
    for (name, token) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(at(name)).unwrap();
        put(&at(name).join("token"), token);
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/token", at("token")).unwrap();
    let running = Running::start(straw);
    running.says("refused");
    symlink("..2", running.path("..new")).unwrap();
    fs::rename(running.path("..new"), running.path("..data")).unwrap();
    running.says("new configuration of");
    let (said, directory) = running.end();
    assert_eq!(count(&said, " is here, "), 1, "{said}");
    assert_eq!(count(&said, "\nwarning: "), 1, "{said}");

    // The same without a token for a while.
    let path = directory.path().join("token");
    fs::remove_file(&path).unwrap();
    let mut straw = with_file(&controller, "", &[]);
    straw.command.current_dir(&directory);
    straw.directory = directory;
    let running = Running::start(straw);
    running.signal(Signal::HUP);
    running.says("cannot be read");
    put(&path, &new);
    running.says("fresh again");
    // The set was there all the time, and nothing came of it.
    let (said, _) = running.end();
    assert_eq!(count(&said, "new configuration"), 0, "{said}");
}

#[test]
fn a_token_that_nobody_renews() {
    let controller = Controller::serving();
    let running = Running::start(with_file(&controller, &token_of(1700, 100), &[]));
    let said = running.says("what needs it stops then");
    let line = said
        .lines()
        .find(|line| line.contains("expires at"))
        .unwrap();
    assert!(
        line.starts_with("warning: the token in token expires at 2"),
        "{line}"
    );
    assert!(line.contains("--renew-token"), "{line}");
    for _ in 0..3 {
        running.refresh(&controller);
    }
    let (said, _) = running.end();
    assert_eq!(count(&said, "expires at"), 1, "{said}");

    // In a variable it is in a place where nobody can renew it.
    let mut straw = watch(&controller, "");
    straw.command.env("SLURM_JWT", token_of(1700, 100));
    let running = Running::start(straw);
    running.says("a variable cannot be renewed");
    running.end();

    // Nor does one become good there that is not.
    for useless in ["rubbish".to_owned(), token_of(100, 0)] {
        let mut straw = watch(&controller, "");
        straw.command.env("SLURM_JWT", useless);
        assert_eq!(straw.run().status.code(), Some(4));
    }

    // What lives for long enough is nothing to speak of.
    let running = Running::start(with_file(&controller, &token_of(100, 1700), &[]));
    running.has_new(1);
    let (said, _) = running.end();
    assert!(!said.contains("expires"), "{said}");
}

const RENEWS: [&str; 3] = ["--renew-token", "--token-command", "cat next"];

#[test]
fn a_token_command_into_a_file() {
    let controller = Controller::serving();
    // It has lived for more than four fifths of its life, so it is its turn.
    let (old, new) = (token_of(900, 100), token_of(0, 1000));
    let straw = with_file(&controller, &old, &[&RENEWS[..], &["-vvv"]].concat());
    put(&straw.path().join("next"), &new);
    let running = Running::start(straw);
    running.says("the token in");
    let file = running.path("token");
    let is_there = |token: &str| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        (text.trim() == token).then_some(())
    };
    until("the new token", || is_there(&new));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is used; and not replaced before its time.
    controller.is(State::ServesOnly(new.clone(), CONF.to_owned()));
    running.refresh(&controller);
    put(&running.path("next"), &token_of(0, 2000));
    running.refresh(&controller);
    assert_eq!(is_there(&new), Some(()));
    // Nor is one that somebody else puts there.
    let theirs = token_of(1, 4000);
    controller.is(State::ServesOnly(theirs.clone(), CONF.to_owned()));
    put(&file, &theirs);
    running.refresh(&controller);
    running.says("another token in");
    assert_eq!(is_there(&theirs), Some(()));
    let (said, directory) = running.end();
    assert_eq!(count(&said, "is renewed, and good until"), 1, "{said}");
    assert_eq!(count(&said, "\nwarning: "), 0, "{said}");

    // Where there is none yet, or none that is a token, one is made.
    for rubbish in ["", "rubbish"] {
        put(&file_in(&directory), rubbish);
        let line = ["watch", "-o", "store", "--renew-token=token", "--once"];
        let line = [&line[..], &["--token-command", "cat next"]].concat();
        let server = controller.address();
        let mut straw = Straw::new(&[&line[..], &[server.as_str()]].concat());
        straw
            .command
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&directory);
        let made = fs::read_to_string(directory.path().join("next")).unwrap();
        controller.is(State::ServesOnly(made.clone(), CONF.to_owned()));
        straw.done();
        assert_eq!(
            fs::read_to_string(file_in(&directory)).unwrap().trim(),
            made
        );
    }
}

fn file_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("token")
}

/// Tokens that say that they were made at the beginning of time are not renewed all the time.
#[test]
fn a_token_command_that_does_not_know_the_time() {
    let controller = Controller::serving();
    let command = "sh -c 'echo >> runs; cat next'";
    let arguments = ["--renew-token", "--token-command", command];
    let straw = with_file(&controller, &token_of(900, 100), &arguments);
    let next = token(2000);
    put(&straw.path().join("next"), &next);
    let running = Running::start(straw);
    until("the new token", || {
        let text = fs::read_to_string(running.path("token")).ok()?;
        (text.trim() == next).then_some(())
    });
    // Each signal has it look at the token as well.
    for _ in 0..3 {
        running.refresh(&controller);
    }
    put(&running.path("next"), &token(3000));
    for _ in 0..3 {
        running.refresh(&controller);
    }
    let runs = fs::read_to_string(running.path("runs")).unwrap();
    assert_eq!(runs, "\n");
    running.end();
}

#[test]
fn a_token_that_cannot_be_renewed() {
    let controller = Controller::serving();
    for (next, why) in [
        ("cat token", "no longer than the one that is there"),
        ("exit 3", "ended with exit code 3"),
    ] {
        let command = format!("sh -c 'echo >> runs; [ -e next ] && exec cat next; {next}'");
        let arguments = ["--renew-token", "--token-command", &command];
        let old = token_of(900, 100);
        let running = Running::start(with_file(&controller, &old, &arguments));
        let said = running.says("cannot be renewed");
        let line = said.lines().find(|line| line.contains("cannot be renewed"));
        let line = line.unwrap();
        assert!(line.starts_with("warning: the token in "), "{line}");
        assert!(line.contains(why), "{line}");
        assert!(line.contains("; it expires at 2"), "{line}");
        assert!(line.contains("what needs it stops then"), "{line}");
        // It is tried again, and not told of again.
        let runs = || fs::read_to_string(running.path("runs")).unwrap().len();
        until("another try", || (runs() >= 2).then_some(()));
        put(&running.path("next"), &token_of(0, 1000));
        running.says("is renewed again, and good until");
        let (said, _) = running.end();
        assert_eq!(count(&said, "cannot be renewed"), 1, "{said}");
        assert_eq!(count(&said, "is renewed again"), 1, "{said}");
    }
    // Somebody else has it renewed.
    let arguments = ["--renew-token", "--token-command", "false"];
    let running = Running::start(with_file(&controller, &token_of(900, 100), &arguments));
    running.says("cannot be renewed");
    put(&running.path("token"), &token_of(0, 1000));
    running.says("another token in");
    // There is none, and none can be got.
    let running = Running::start(with_file(&controller, "", &arguments));
    running.says("there is none that is of use");
    running.end();
}
