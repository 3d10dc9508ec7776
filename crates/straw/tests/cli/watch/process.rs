//! The process: signals, its files, and the service manager that it tells of itself.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;

use super::{
    CONF, Controller, OF_A_TOKEN, PATIENCE, Running, State, again, count, serves, until, watch,
};
use crate::straw::Straw;

#[test]
fn signals_and_the_files_that_go_with_it() {
    let controller = Controller::serving();
    let files = "--pid-file pid --health ./health";
    let mut running = Running::start(watch(&controller, files));
    running.has_new(1);
    let pid = fs::read_to_string(running.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", running.child.id()));
    let health = running.path("health");
    until("the health file", || health.exists().then_some(()));

    // Another one for the same directory.
    let server = controller.address();
    let line = ["watch", &server, "-o", "store", "--pid-file", "pid"];
    let mut second = Straw::with_token(&line);
    second.command.current_dir(running.directory.path());
    let output = second.run();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(9), "{stderr}");
    let process = format!("is held by process {}", running.child.id());
    assert!(stderr.contains(&process), "{stderr}");

    // Any number of signals is one refresh more, or some; and others do nothing.
    for signal in [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT] {
        running.signal(signal);
    }
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.has_new(2);
    let conf = fs::read_to_string(running.path("store/slurm.conf")).unwrap();
    assert_eq!(conf, "ClusterName=other\n");
    assert!(running.child.try_wait().unwrap().is_none());

    let (_, directory) = running.end();
    for file in ["pid", "health"] {
        assert!(!directory.path().join(file).exists(), "{file}");
    }
    // What one left that was killed is in nobody's way.
    running = Running::start(again(&controller, files, directory));
    running.says("keeping");
    running.child.kill().unwrap();
    running.ended();
    assert!(running.path("pid").exists());
    let directory = std::mem::replace(&mut running.directory, tempfile::tempdir().unwrap());
    let third = Running::start(again(&controller, files, directory));
    third.says("keeping");
    let pid = fs::read_to_string(third.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", third.child.id()));
    third.end();
}

#[test]
fn a_service_manager() {
    let controller = Controller::start(State::Standby);
    let straw = watch(&controller, "");
    let path = straw.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    // Its number is known only once it is there.
    let Straw { command, directory } = straw;
    let mut shell = Command::new("/bin/sh");
    let script = "WATCHDOG_PID=$$ exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(command.get_program());
    shell.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .current_dir(&directory);
    let running = Running::run(&mut shell, directory);
    running.says("standby");
    // It lives, and has nothing yet.
    let mut heard = String::new();
    while count(&heard, "WATCHDOG=1") < 2 || !heard.contains("STATUS=no configuration") {
        heard.push_str(&next());
    }
    assert!(!heard.contains("READY=1"), "{heard}");
    controller.is(serves(CONF));
    while !heard.contains("READY=1") {
        heard.push_str(&next());
    }
    assert!(running.path("store/slurm.conf").exists());
    running.signal(Signal::TERM);
    while !heard.contains("STOPPING=1") {
        heard.push_str(&next());
    }
    assert!(!heard.contains(OF_A_TOKEN), "{heard}");
}
