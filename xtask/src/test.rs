//! Everything that must hold before a change lands.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::{Release, image, provision};

use crate::Result;
use crate::binary;
use crate::dist;
use crate::package;
use crate::run::{capture, cargo, check, root, say};

/// A step: its name, what it is for, and what it does.
type Step = (&'static str, &'static str, fn() -> Result<Outcome>);

const STEPS: &[Step] = &[
    ("format", "the formatting of all Rust code", format),
    ("clippy", "lints, warnings denied", clippy),
    ("docs", "the API's documentation, warnings denied", docs),
    ("links", "links in all Markdown files", links),
    ("licences", "the licences of all crates", licences),
    ("package", "the crates as crates.io would get them", package),
    (
        "unit",
        "unit tests, recorded exchanges, messages, faults",
        unit,
    ),
    ("binary", "static, small, no resolver of glibc's", gates),
    ("fuzz", "each decoder, some seconds each", fuzz),
    (
        "live",
        "real clusters of 22.05, 24.11 and 26.05 in Docker",
        live,
    ),
];

/// How a step can end well.
enum Outcome {
    Done,
    Skipped(String),
}

pub fn run(wanted: &[&str]) -> Result {
    if wanted == ["--list"] {
        for (name, what, _) in STEPS {
            println!("{name:9} {what}");
        }
        return Ok(());
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
    check(&mut cargo(&["fmt", "--check", "--manifest-path", FUZZ]))?;
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

/// Every crate that reaches a user must have one to choose that deny.toml allows. `cargo deny` looks
/// at more, and takes minutes to build.
fn licences() -> Result<Outcome> {
    let rules: toml::Table = fs::read_to_string(root().join("deny.toml"))?.parse()?;
    let allowed = rules.get("licenses").and_then(|rules| rules.get("allow"));
    let allowed = allowed.and_then(toml::Value::as_array);
    let allowed = allowed.ok_or("deny.toml has no list of licences")?;
    let tree = capture(&mut cargo(&[
        "tree",
        "--package=slurm-straw",
        "--edges=normal",
        "--prefix=none",
        "--format={p}|{l}",
    ]))?;
    let licences: BTreeMap<_, _> = tree
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .collect();
    let refused: Vec<_> = licences
        .iter()
        // All parts of an AND are needed, one of an OR.
        .filter(|(_, licence)| {
            !licence.split(" AND ").all(|part| {
                part.trim_matches(['(', ')'])
                    .split(" OR ")
                    .flat_map(|part| part.split('/'))
                    .map(|choice| choice.trim_matches(['(', ')']))
                    .any(|choice| allowed.iter().any(|one| one.as_str() == Some(choice)))
            })
        })
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    if refused.is_empty() {
        return Ok(Outcome::Done);
    }
    let refused = refused.join(", ");
    Err(format!("these crates have no licence that straw can be given out with: {refused}").into())
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

const FUZZ: &str = "crates/slurm-protocol/fuzz/Cargo.toml";

/// Seconds for each fuzz target.
const FUZZ_SECONDS: &str = "-max_total_time=5";

/// What `cargo fuzz` hands to the compiler, less the sanitizer, which a stable one has not.
const FUZZ_FLAGS: &str = "--cfg fuzzing -C debug-assertions -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table";

fn fuzz() -> Result<Outcome> {
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
    let host = binary::host()?;
    let target = binary::target().join("fuzz");
    check(
        cargo(&[
            "build",
            "--release",
            "--target",
            &host,
            "--manifest-path",
            FUZZ,
        ])
        .env("RUSTFLAGS", FUZZ_FLAGS)
        .env("CARGO_TARGET_DIR", &target),
    )?;
    let seeds = target.join("seeds");
    write_seeds(&seeds)?;
    let sources = root().join(FUZZ).with_file_name("fuzz_targets");
    for source in fs::read_dir(sources)? {
        let name = source?.path();
        let name = name.file_stem().unwrap_or_default().to_owned();
        let corpus = target.join("corpus").join(&name);
        fs::create_dir_all(&corpus)?;
        say(&format!("fuzz: {}", name.to_string_lossy()));
        let program = target.join(&host).join("release").join(&name);
        let log = target.join(format!("{}.log", name.to_string_lossy()));
        let status = Command::new(program)
            .arg(FUZZ_SECONDS)
            .arg(format!("-artifact_prefix={}/", target.display()))
            .args([&corpus, &seeds])
            .stderr(fs::File::create(&log)?)
            .status()?;
        if !status.success() {
            let said = fs::read_to_string(&log)?;
            let end: Vec<_> = said.lines().rev().take(30).collect();
            let end: Vec<_> = end.into_iter().rev().collect();
            return Err(format!("{}\n{}", end.join("\n"), log.display()).into());
        }
    }
    Ok(Outcome::Done)
}

/// The frames of the recorded replies, for the fuzzers to start from.
fn write_seeds(directory: &Path) -> Result {
    fs::create_dir_all(directory)?;
    let wire = root().join("crates/slurm-protocol/tests/wire");
    for file in fs::read_dir(wire)? {
        let path = file?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (at, line) in std::io::BufReader::new(fs::File::open(&path)?)
            .lines()
            .enumerate()
        {
            let exchange: serde_json::Value = serde_json::from_str(&line?)?;
            let reply = exchange["reply_b64"].as_str().unwrap_or_default();
            let reply = STANDARD.decode(reply)?;
            if let Some(frame) = reply.get(4..) {
                fs::write(directory.join(format!("{name}-{at}")), frame)?;
            }
        }
    }
    Ok(())
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
