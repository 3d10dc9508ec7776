//! What others may ask: `--health`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::SystemTime;

use rustix::process::Signal;

use super::{
    CONF, Controller, OF_A_TOKEN, PATIENCE, Running, State, again, count, serves, until, watch,
};
use crate::straw::Straw;

/// What is answered to a request for this path: the status, and the text.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains(OF_A_TOKEN), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn health_by_http() {
    let controller = Controller::serving();
    let (_, directory) = first_set(&controller);
    // With a set from before, it is ready while nobody answers; until that is too old.
    controller.is(State::Standby);
    let server = controller.address();
    let line = "-v watch -o store --refresh 2s --max-stale 2s --health 127.0.0.1:0";
    let line: Vec<_> = line.split(' ').chain([server.as_str()]).collect();
    let mut straw = Straw::with_token(&line);
    straw.command.current_dir(&directory);
    straw.directory = directory;
    // Some time has passed since then, or has not: it begins anew.
    touch(&straw.path().join("store/..data/.straw.json"));
    let running = Running::start(straw);
    let said = running.says("health: listening on ");
    let address = said.split("listening on ").nth(1).unwrap();
    let address: SocketAddr = address.lines().next().unwrap().parse().unwrap();
    let status = |path| get(address, path).0;
    let first = status("/readyz");
    let (not_ready, why) = until("not ready", || {
        let answer = get(address, "/readyz");
        (answer.0 != "200").then_some(answer)
    });
    assert_eq!((first.as_str(), not_ready.as_str()), ("200", "503"));
    assert!(why.contains("was last checked"), "{why}");
    running.says("more than --max-stale");
    assert_eq!(status("/healthz"), "200");
    controller.is(serves(CONF));
    until("ready again", || (status("/readyz") == "200").then_some(()));
    let (_, metrics) = get(address, "/metrics");
    assert!(metrics.contains("straw_ready 1"), "{metrics}");
    let (said, _) = running.end();
    assert_eq!(count(&said, "more than --max-stale"), 1, "{said}");
    assert_eq!(count(&said, "fresh again"), 1, "{said}");
}

#[test]
fn health_by_a_file() {
    let controller = Controller::start(State::Refuses);
    let running = Running::start(watch(&controller, "--health ./ready"));
    running.says("refused");
    let file = running.path("ready");
    assert!(!file.exists());
    controller.is(serves(CONF));
    running.signal(Signal::HUP);
    until("the file", || file.exists().then_some(()));
    let (_, directory) = running.end();
    assert!(!directory.path().join("ready").exists());

    controller.is(State::Standby);
    let running = Running::start(again(&controller, "--health ./ready", directory));
    until("the file", || running.path("ready").exists().then_some(()));
    running.signal(Signal::HUP);
    running.says("standby");
    let file = running.path("ready");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    until("why it fails", || text().contains("standby").then_some(()));
    running.end();
}

/// Has the first set come, and returns where it is.
fn first_set(controller: &Controller) -> (String, tempfile::TempDir) {
    let running = Running::start(watch(controller, ""));
    running.has_new(1);
    running.end()
}

fn touch(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}
