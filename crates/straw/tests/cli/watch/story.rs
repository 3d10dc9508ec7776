//! What it says in its life: a line for each change, each kind of failure and each recovery.

use rustix::process::Signal;
use slurm_protocol::ProtocolVersion;
use snapbox::{Assert, Data};

use super::{CONF, Controller, Running, State, serves};
use crate::straw::Straw;

/// Two controllers, and what comes to pass in a watch's life.
fn story(name: &str, options: &str) {
    let (first, second) = (Controller::serving(), Controller::start(State::Standby));
    let servers = format!("{},{}", first.address(), second.address());
    let line = format!("{options} watch -o store --refresh 1h {servers}");
    let straw = Straw::with_token(&line.split_whitespace().collect::<Vec<_>>());
    let directory = straw.path().canonicalize().unwrap();
    let running = Running::start(straw);
    running.has_new(1);

    // Nothing is new.
    for _ in 0..3 {
        running.refresh(&first);
    }
    first.is(serves(&format!("{CONF}# another line\n")));
    running.refresh(&first);
    running.has_new(2);

    // Failures of two kinds, in turn, several times each.
    for _ in 0..2 {
        first.is(State::Standby);
        for _ in 0..2 {
            running.refresh(&first);
        }
        running.says("standby");
        first.is(State::Refuses);
        for _ in 0..2 {
            running.refresh(&first);
        }
        running.says("refused");
    }

    // Another controller goes on, with the set that is there.
    let conf = format!("{CONF}# another line\n");
    first.is(State::Standby);
    second.is(serves(&conf));
    running.signal(Signal::HUP);
    running.says("no longer from");
    // It becomes one of another release, and then there is another set.
    second.is(State::Serves(ProtocolVersion::V24_11, conf.clone()));
    running.refresh(&second);
    running.says("speaks 42");
    second.is(State::Serves(ProtocolVersion::V24_11, CONF.to_owned()));
    running.refresh(&second);
    running.has_new(3);
    let (said, _directory) = running.end();

    let mut text = format!("$ straw {}\n{said}", line.trim_start());
    for (value, label) in [
        (directory.to_str().unwrap(), "[DIR]"),
        (&first.fake.address.port().to_string(), "[PORT]"),
        (&second.fake.address.port().to_string(), "[OTHER]"),
    ] {
        text = text.replace(value, label);
    }
    // How long it failed is not ours to say.
    let lines = text.lines().map(|line| {
        let line = between(line, "fresh again, ", " later", "[TIME]");
        between(&line, "\"time\":\"", "\"", "[TIME]") + "\n"
    });
    let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .normalize_paths(false)
        .eq(
            lines.collect::<String>(),
            Data::read_from(path.as_ref(), None),
        );
}

/// A line with something else in a place of it.
fn between(line: &str, before: &str, after: &str, there: &str) -> String {
    let parts = line.split_once(before).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(after)?;
        Some(format!("{head}{before}{there}{after}{tail}"))
    });
    parts.unwrap_or_else(|| line.to_owned())
}

#[test]
fn a_line_for_each_change_failure_and_recovery() {
    story("watch-story", "");
}

#[test]
fn the_same_lines_as_objects() {
    story("watch-story-json", "--log-format json");
}
