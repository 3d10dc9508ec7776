//! The command for each change.

use std::fs;

use rustix::process::Pid;

use super::{CONF, Controller, Running, again, count, serves, until, watch};

#[test]
fn a_command_on_changes() {
    let controller = Controller::serving();
    let with_hook = |directory| {
        let mut straw = again(&controller, "--on-change", directory);
        straw
            .command
            .arg("sh -c 'cat \"$SLURM_CONF\" >> log; exit 3'");
        Running::start(straw)
    };
    let log = |running: &Running| fs::read_to_string(running.path("log")).unwrap_or_default();
    let running = with_hook(tempfile::tempdir().unwrap());
    // For the first set. That it fails is said, and nothing else comes of it.
    running.says("/sh, which is run on changes, ended with exit code 3");
    assert_eq!(log(&running), CONF);
    running.refresh(&controller);
    let (_, directory) = running.end();

    // Not where nothing has changed since then; but for what changes.
    let running = with_hook(directory);
    running.refresh(&controller);
    running.refresh(&controller);
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.says("which is run on changes");
    let expected = format!("{CONF}ClusterName=other\n");
    until("its work", || (log(&running) == expected).then_some(()));
    running.refresh(&controller);
    let (said, directory) = running.end();
    assert_eq!(count(&said, "which is run"), 1, "{said}");

    // Nor for what changed while nobody watched, before it is here.
    controller.is(serves(CONF));
    let running = with_hook(directory);
    running.refresh(&controller);
    let expected = format!("{expected}{CONF}");
    until("its work", || (log(&running) == expected).then_some(()));
    running.end();
}

/// A command that is at work keeps straw neither from its own work nor from ending.
#[test]
fn a_command_that_takes_its_time() {
    let controller = Controller::serving();
    let mut straw = watch(&controller, "--on-change");
    straw
        .command
        .arg("sh -c 'echo $$ > at-work; sleep 1000; true'");
    let running = Running::start(straw);
    let group = until("its start", || {
        let text = fs::read_to_string(running.path("at-work")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    });
    running.refresh(&controller);
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.has_new(2);
    running.end();
    until("its end", || {
        rustix::process::test_kill_process_group(group)
            .is_err()
            .then_some(())
    });
}
