//! The directory, where somebody else has a hand in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::process::Signal;

use super::{CONF, Controller, Running, until, watch};

#[test]
fn a_directory_that_is_replaced_or_removed() {
    let controller = Controller::serving();
    let mut straw = watch(&controller, "--on-change");
    straw.command.arg("sh -c 'echo >> called'");
    let running = Running::start(straw);
    running.has_new(1);
    let store = running.path("store");
    let is_there = || {
        let conf = fs::read_to_string(store.join("slurm.conf"));
        conf.is_ok_and(|conf| conf == CONF).then_some(())
    };
    fs::remove_dir_all(&store).unwrap();
    running.refresh(&controller);
    until("the same set in a new directory", is_there);
    running.has_new(2);
    fs::rename(&store, running.path("elsewhere")).unwrap();
    fs::create_dir(&store).unwrap();
    running.refresh(&controller);
    until("the same set in another directory", is_there);
    running.has_new(3);
    // What reads it there is told each time.
    let called = || fs::read_to_string(running.path("called")).unwrap_or_default();
    until("the command", || (called() == "\n\n\n").then_some(()));

    // A link to elsewhere, and something that is no directory.
    fs::remove_dir_all(&store).unwrap();
    symlink("elsewhere", &store).unwrap();
    running.refresh(&controller);
    until("the set behind the link", is_there);
    fs::remove_file(&store).unwrap();
    fs::write(&store, "").unwrap();
    running.signal(Signal::HUP);
    running.says("store cannot be used");
    fs::remove_file(&store).unwrap();
    running.signal(Signal::HUP);
    running.says("fresh again");
    until("the set in a directory", is_there);
    running.end();
}

#[test]
fn a_directory_where_it_may_not_write() {
    let controller = Controller::serving();
    let straw = watch(&controller, "").bound_by_permissions();
    let store = straw.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o555)).unwrap();
    let mut running = Running::start(straw);
    running.says(" is read-only here: permission denied");
    assert_eq!(running.ended().code(), Some(9));
}
