//! `--once`: made fresh, and done.

use std::fs;

use super::{CONF, Controller, OF_A_TOKEN, State, again, count, serves};

#[test]
fn once() {
    let controller = Controller::start(State::Standby);
    let run = |arguments: &str, directory: tempfile::TempDir| {
        let mut straw = again(&controller, &format!("--once {arguments}"), directory);
        let output = straw.run();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains(OF_A_TOKEN) && !stdout.contains(OF_A_TOKEN));
        let code = output.status.code().unwrap();
        (code, stdout, stderr, straw.directory)
    };
    let directory = tempfile::tempdir().unwrap();
    // Without a set that is good, how it fails is its exit code.
    let (code, _, _, directory) = run("--wait 1s", directory);
    assert_eq!(code, 3);
    for (state, expected) in [(State::Refuses, 4), (State::ConfiglessOff, 6)] {
        controller.is(state);
        let (code, stdout, stderr, _) = run("--json", tempfile::tempdir().unwrap());
        assert_eq!(code, expected, "{stderr}");
        assert!(stdout.contains(&format!("\"exit_code\": {expected}")));
    }

    controller.is(serves(CONF));
    let mut first = again(&controller, "--once --on-change", directory);
    first.command.arg("touch called");
    let stderr = first.done();
    assert_eq!(count(&stderr, "configuration of"), 1, "{stderr}");
    assert!(stderr.ends_with("store: new\n"), "{stderr}");
    let called = first.path().join("called");
    assert!(called.exists());
    fs::remove_file(&called).unwrap();
    let (code, stdout, stderr, directory) = run("--on-change false", first.directory);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert_eq!(count(&stderr, "\n"), 1, "{stderr}");
    assert!(stderr.ends_with("store: unchanged\n"), "{stderr}");

    // The last good one will do; but not for whoever is refused.
    controller.is(State::Standby);
    let (code, stdout, stderr, directory) = run("--json", directory);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("using the configuration of"), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let store = directory.path().canonicalize().unwrap().join("store");
    let expected = serde_json::json!({
        "directory": store,
        "generation": store.join("..gen-1"),
        "controller": controller.address(),
        "protocol_version": 43,
        "changed": false,
        "stale": true,
    });
    assert_eq!(report, expected);
    let (code, _, _, directory) = run("--max-stale 0s", directory);
    assert_eq!(code, 3);
    controller.is(State::Refuses);
    let (code, ..) = run("", directory);
    assert_eq!(code, 4);
}
