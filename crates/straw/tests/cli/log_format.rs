//! `--log-format json`: whatever straw itself says on stderr is an object a line. Beside these, each
//! message in `tests/golden` is looked at in that form by `messages`, and what a watch says by `watch`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Output;

use serde_json::Value;
use slurm_protocol::ProtocolVersion;

use crate::fake::{self, Fake};
use crate::messages::assert_objects;
use crate::straw::{Straw, token};

/// The only object that was said.
#[track_caller]
fn object(output: &Output) -> Value {
    let mut objects = assert_objects(&output.stderr);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

#[test]
fn what_was_done() {
    let done = |line: &str, straw: &mut Straw, expected: &str| {
        let output = straw.run();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        let said = object(&output);
        assert_eq!(said["level"], "notice", "{line}");
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(expected), "{line}: {message}");
    };
    let split = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let straw = |line: &str| {
        let words = split(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Straw::with_token(&words)
            .env("STRAW_LOG_FORMAT", "json")
            .env("PATH", "/usr/bin:/bin")
    };
    let fake = Fake::controller(ProtocolVersion::V26_05, &[("slurm.conf", "a")]);
    let line = format!("fetch {} -o etc", fake.address);
    let in_etc = format!("configuration of {} in etc: ", fake.address);
    let mut fetch = straw(&line);
    done(&line, &mut fetch, &format!("{in_etc}written slurm.conf"));
    done(&line, &mut fetch, &format!("{in_etc}unchanged slurm.conf"));

    let fake = Fake::answers(|version| fake::token(version, &token(3600)));
    let line = format!("token renew {} --write token --if-under 1m", fake.address);
    let mut renew = straw(&line);
    done(&line, &mut renew, ", in token");
    done(&line, &mut renew, "not renewed");

    // Each in the directory of the one before.
    let shims = tempfile::tempdir().unwrap();
    for (command, expected) in [
        ("list", "no shims in "),
        ("install", "installed: sinfo"),
        ("install", "unchanged: sinfo"),
        ("remove", "removed: sinfo"),
    ] {
        let names = if command == "list" { "" } else { " sinfo" };
        let line = format!("shim {command} --dir {}{names}", shims.path().display());
        // There is no such command yet, which is a warning of its own.
        let output = straw(&line).run();
        let said = assert_objects(&output.stderr);
        let said = said.last().unwrap();
        assert_eq!(said["level"], "notice", "{line}");
        let message = said["message"].as_str().unwrap();
        assert!(message.starts_with(expected), "{line}: {message}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn what_is_wrong_with_the_arguments() {
    let with = |line: &str, settings: &str, variable: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let straw = Straw::new(&words)
            .env("STRAW_CONFIG", "straw.toml")
            .env("STRAW_LOG_FORMAT", variable);
        fs::write(straw.path().join("straw.toml"), settings).unwrap();
        straw
    };
    let json = "log-format = \"json\"";
    for (line, settings, variable) in [
        ("fetch ctl1 --bogus", "", "json"),
        ("fetch ctl1 --bogus --log-format json", "", ""),
        ("--log-format=json fetch ctl1 --bogus", "", ""),
        ("fetch ctl1 --bogus", json, ""),
        ("fetch ctl1 --timeout soon", json, ""),
        ("fetc ctl1", "", "json"),
        ("", "", "json"),
        ("", json, ""),
        ("token", "", "json"),
        ("--log-format text fetch --log-format json --bogus", "", ""),
        ("fetch --log-format=xml ctl1", "", "json"),
        ("fetch --log-format", "", "json"),
        ("--log-format exec fetch ctl1 --timeout 3s", "", "json"),
        ("--log-format json watch ctl1 -l --bogus", "", ""),
        ("exec --kill-after 5s squeue --log-format text", "", "json"),
    ] {
        let output = with(line, settings, variable).run();
        assert_eq!(output.status.code(), Some(2), "{line}");
        let said = object(&output);
        assert_eq!(
            (&said["level"], &said["kind"]),
            (&"error".into(), &"usage".into())
        );
        assert_eq!(said["exit_code"], 2, "{line}");
        let text = said["message"].as_str().unwrap();
        assert!(
            !text.starts_with("error: ") && !text.contains("Usage"),
            "{said}"
        );
        let hint = said["hint"].as_str().unwrap();
        assert!(
            hint.ends_with("--help tells more") && !hint.contains('\n'),
            "{said}"
        );
    }
    // Settings that are of no use say nothing of it.
    for (line, variable) in [("fetch ctl1 --log-format json", ""), ("fetch ctl1", "json")] {
        let said = object(&with(line, "bogus = 1", variable).run());
        assert_eq!(said["kind"], "bad-settings");
    }
    // As text where nobody wants it otherwise, or the word is a command's.
    for (line, settings, variable) in [
        ("fetch ctl1 --bogus", "", ""),
        ("fetch ctl1 --bogus", json, "text"),
        ("fetch ctl1 --bogus --log-format text", "", "json"),
        ("exec --bogus -- squeue --log-format json", "", ""),
        ("exec --timeout soon squeue --log-format json", "", ""),
    ] {
        let output = with(line, settings, variable).run();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: "), "{line}: {said}");
    }
    // Help is what was asked for.
    let output = with("fetch --help", json, "json").run();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(!output.stdout.starts_with(b"{"));
}

#[test]
fn a_shim() {
    let called = |name: &str, value: &str, settings: &str| {
        let mut straw = Straw::new(&[])
            .env("STRAW_LOG_FORMAT", "json")
            .env("STRAW_CONFIG", "straw.toml")
            .env("PATH", "/no/such/directory")
            .env(name, value);
        fs::write(straw.path().join("straw.toml"), settings).unwrap();
        straw.command.arg0("sinfo").arg("--all");
        let output = straw.run();
        assert!(output.stdout.is_empty());
        let said = object(&output);
        assert_eq!(
            (&said["level"], &said["command"]),
            (&"error".into(), &"sinfo".into())
        );
        assert_eq!(said["exit_code"], output.status.code().unwrap());
        said
    };
    assert_eq!(called("X", "", "")["kind"], "command-not-found");
    let said = called("STRAW_TIMEOUT", "soon", "");
    assert_eq!(said["kind"], "usage");
    // `--help` would be sinfo's.
    let hint = said["hint"].as_str().unwrap();
    assert!(
        hint.contains("STRAW_TOKEN_FILE") && !hint.contains("--help"),
        "{hint}"
    );
    assert_eq!(called("X", "", "bogus = 1")["kind"], "bad-settings");
    // Where there is a command, and the hint names options that are not its own.
    let bin = tempfile::tempdir().unwrap();
    let sinfo = bin.path().join("sinfo");
    fs::write(&sinfo, "").unwrap();
    fs::set_permissions(&sinfo, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = "auth = \"jwt\"\nstore = \"store\"\nservers = \"127.0.0.1:1\"";
    let said = called("PATH", bin.path().to_str().unwrap(), settings);
    assert_eq!(said["kind"], "no-credential", "{said}");
    let hint = said["hint"].as_str().unwrap();
    assert!(
        hint.contains("--token-file") && hint.contains("STRAW_TOKEN_FILE"),
        "{hint}"
    );
}
