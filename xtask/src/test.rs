//! Everything that must hold before a change lands.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{Release, image, provision};

use crate::Result;
use crate::binary;
use crate::deny;
use crate::dist;
use crate::fuzz;
use crate::package;
use crate::run::{capture, cargo, check, say};

/// A step: its name, what it is for, and what it does.
type Step = (&'static str, &'static str, fn() -> Result<Outcome>);

const STEPS: &[Step] = &[
    ("format", "the formatting of all Rust code", format),
    ("clippy", "lints, warnings denied", clippy),
    ("docs", "the API's documentation, warnings denied", docs),
    ("links", "links in all Markdown files", links),
    (
        "deny",
        "licences, sources, duplicates and advisories of the workspace",
        deny,
    ),
    ("package", "the crates as crates.io would get them", package),
    (
        "unit",
        "unit tests, recorded exchanges, messages, faults",
        unit,
    ),
    ("binary", "static, small, no resolver of glibc's", gates),
    (
        "fuzz",
        "all that reads what others wrote, some seconds each; --fuzz: a minute",
        fuzz,
    ),
    (
        "live",
        "real clusters of 22.05, 24.11 and 26.05 in Docker",
        live,
    ),
];

/// How a step can end well.
enum Outcome {
    Done,
    /// With what was left out, and why.
    Partly(String),
    Skipped(String),
}

pub fn run(wanted: &[&str]) -> Result {
    if wanted == ["--list"] {
        for (name, what, _) in STEPS {
            println!("{name:9} {what}");
        }
        return Ok(());
    }
    if let ["--fuzz", targets @ ..] = wanted {
        return match fuzz_for(LOOK, targets)? {
            Outcome::Skipped(why) => Err(why.into()),
            Outcome::Done | Outcome::Partly(_) => Ok(()),
        };
    }
    if let Some(unknown) = wanted
        .iter()
        .find(|wanted| !STEPS.iter().any(|(name, ..)| name == *wanted))
    {
        return Err(format!("there is no step `{unknown}`: see `cargo xtask test --list`").into());
    }
    let begin = Instant::now();
    let mut lines = Vec::new();
    for (name, what, step) in STEPS {
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        say(&format!("{name}: {what}"));
        let started = Instant::now();
        let outcome = step().map_err(|error| format!("{name}: {error}"))?;
        let time = seconds(started.elapsed());
        lines.push(match outcome {
            Outcome::Done => format!("{name:9} ok       {time}"),
            Outcome::Partly(left_out) => format!("{name:9} ok       {time}; {left_out}"),
            Outcome::Skipped(why) => format!("{name:9} SKIPPED  {why}"),
        });
    }
    lines.push(format!("{:9} {:8} {}", "all", "", seconds(begin.elapsed())));
    println!("\n{}", lines.join("\n"));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

fn format() -> Result<Outcome> {
    for component in ["fmt", "clippy"] {
        if capture(&mut cargo(&[component, "--version"])).is_err() {
            let remedy = "install it: rustup component add rustfmt clippy";
            return Err(format!("cargo has no `{component}`; {remedy}").into());
        }
    }
    check(&mut cargo(&["fmt", "--all", "--check"]))?;
    check(&mut cargo(&[
        "fmt",
        "--check",
        "--manifest-path",
        fuzz::MANIFEST,
    ]))?;
    Ok(Outcome::Done)
}

fn clippy() -> Result<Outcome> {
    check(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]))?;
    Ok(Outcome::Done)
}

fn docs() -> Result<Outcome> {
    check(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Done)
}

fn links() -> Result<Outcome> {
    crate::links::check()?;
    Ok(Outcome::Done)
}

fn deny() -> Result<Outcome> {
    Ok(match deny::run()? {
        None => Outcome::Done,
        Some(left_out) => Outcome::Partly(left_out),
    })
}

fn package() -> Result<Outcome> {
    package::run()?;
    Ok(Outcome::Done)
}

fn unit() -> Result<Outcome> {
    // Tests make file systems; where they cannot, they say that they are skipped.
    for (package, program) in [("btrfs-progs", "mkfs.btrfs"), ("e2fsprogs", "mke2fs")] {
        if let Err(why) = provision::install(&mut |line| say(line), &[package], program) {
            say(&format!("no file systems of {package} are tested: {why}"));
        }
    }
    check(&mut cargo(&["test", "--quiet", "--package=slurm-protocol"]))?;
    check(&mut cargo(&[
        "test",
        "--quiet",
        "--package=slurm-straw",
        "--lib",
        "--test=cli",
    ]))?;
    check(&mut cargo(&[
        "test",
        "--quiet",
        "--package=slurm-straw",
        "--doc",
    ]))?;
    check(&mut cargo(&[
        "test",
        "--quiet",
        "--package=lab",
        "--package=xtask",
        "--lib",
        "--bins",
        "--test=measure",
    ]))?;
    check(&mut cargo(&["test", "--quiet", "--package=lab", "--doc"]))?;
    Ok(Outcome::Done)
}

fn gates() -> Result<Outcome> {
    binary::gates()?;
    Ok(Outcome::Done)
}

/// How long each target is fuzzed among the other steps, and by `--fuzz`.
const GLANCE: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_secs(60);

fn fuzz() -> Result<Outcome> {
    fuzz_for(GLANCE, &[])
}

fn fuzz_for(time: Duration, targets: &[&str]) -> Result<Outcome> {
    if Command::new("c++").arg("--version").output().is_err() {
        let installed = provision::install(&mut |line| say(line), &["g++"], "c++");
        if let Err(why) = installed {
            return if provision::in_ci() {
                Err(why.into())
            } else {
                Ok(Outcome::Skipped(format!(
                    "no C++ compiler for libFuzzer: {why}"
                )))
            };
        }
    }
    fuzz::run(time, targets)?;
    Ok(Outcome::Done)
}

fn live() -> Result<Outcome> {
    if let Err(why) = provision::docker(&mut |line| say(line)) {
        if provision::in_ci() {
            return Err(why.into());
        }
        // Each is named by its own harness.
        check(&mut cargo(&[
            "test",
            "--quiet",
            "--package=slurm-straw",
            "--test=live",
        ]))?;
        return Ok(Outcome::Skipped(why.to_string()));
    }
    let (all, machine) = thread::scope(|scope| {
        // What the artefacts are installed on: made beside the others, since all of that is waiting.
        let machine =
            scope.spawn(|| lab::artefact::machine(Release::V26_05, &mut |line| say(line)));
        let all = image::prepare_all(&Release::ALL, &mut |line| say(line));
        let machine = machine.join();
        (
            all,
            machine.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    let all = all?;
    machine?;
    for moved in all.values().filter_map(|images| images.moved.as_ref()) {
        say(&format!("note: {moved}"));
    }
    check(&mut cargo(&[
        "test",
        "--quiet",
        "--package=lab",
        "--test=clusters",
        "--test=authentication",
        "--",
        // They wait, most of their time.
        "--test-threads=4",
    ]))?;
    // Its tests run the examples, which cargo puts beside them.
    check(&mut cargo(&[
        "build",
        "--quiet",
        "--package=slurm-protocol",
        "--package=slurm-straw",
        "--examples",
    ]))?;
    let program = binary::straw()?;
    check(
        cargo(&["test", "--quiet", "--package=slurm-straw", "--test=live"])
            .env("STRAW_DIST", dist::make(&program)?)
            .env("STRAW_BIN", program),
    )?;
    Ok(Outcome::Done)
}
