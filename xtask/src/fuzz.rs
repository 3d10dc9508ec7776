//! Fuzzing: the targets in `fuzz/` built for it, given something to begin with, and run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use straw::slurm_protocol::{Message, Reply};

use crate::Result;
use crate::binary;
use crate::run::{cargo, check, root};

/// The crate with the targets.
pub const MANIFEST: &str = "fuzz/Cargo.toml";

/// What `cargo fuzz` hands to the compiler, less the sanitizer, which a stable one has not.
const FLAGS: &str = "--cfg fuzzing -C debug-assertions -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";

/// An input that takes longer, in seconds, or more memory, in megabytes, is a fault like a crash.
const LONGEST: &str = "-timeout=20";
const MOST_MEMORY: &str = "-rss_limit_mb=1024";

/// Runs each target so long, or only those that are named, as many at once as there are processors.
pub fn run(time: Duration, names: &[&str]) -> Result {
    let targets = choose(targets()?, names)?;
    build()?;
    let place = place();
    let seeds = place.join("seeds");
    write_seeds(&seeds)?;
    let left = Mutex::new(targets.iter());
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                // The lock is free again before the target runs.
                let next = || left.lock().ok()?.next();
                while let Some(target) = next() {
                    let outcome = fuzz(target, &seeds.join(target), time);
                    let outcome = outcome.map_err(|error| error.to_string());
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.insert(target, outcome);
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().map_err(|_| "a fuzzer panicked")?;
    let mut faults = Vec::new();
    println!("target              executions  coverage  corpus");
    for (target, outcome) in outcomes {
        match outcome {
            Ok(Figures {
                executions,
                coverage,
                corpus,
            }) => println!("{target:18} {executions:>11} {coverage:>9} {corpus:>7}"),
            Err(fault) => faults.push(fault),
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("\n").into()),
    }
}

/// What a run of a target did: inputs that it tried, places in the program that it reached, inputs
/// that it kept.
struct Figures {
    executions: String,
    coverage: String,
    corpus: String,
}

fn fuzz(target: &str, seeds: &Path, time: Duration) -> Result<Figures> {
    let place = place();
    let corpus = place.join("corpus").join(target);
    let faults = place.join("faults").join(target);
    for directory in [&corpus, &faults, seeds] {
        fs::create_dir_all(directory)?;
    }
    let program = program(target)?;
    let log = place.join(format!("{target}.log"));
    let status = Command::new(&program)
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-artifact_prefix={}/", faults.display()))
        .args([LONGEST, MOST_MEMORY, "-print_final_stats=1"])
        .args([corpus.as_path(), seeds])
        .stderr(File::create(&log)?)
        .status()?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        return Ok(figures(&said));
    }
    let input = said.lines().find_map(|line| {
        let (_, path) = line.split_once("Test unit written to ")?;
        Some(path.trim().to_owned())
    });
    // What went wrong stands before the fuzzer's own words.
    let what = said
        .lines()
        .position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    let what = said.lines().skip(what.unwrap_or(0)).take(3);
    Err(format!(
        "{target}: {}\nsee {}; to repeat it: {} {}",
        what.collect::<Vec<_>>().join("\n"),
        log.display(),
        program.display(),
        input.as_deref().unwrap_or("INPUT"),
    )
    .into())
}

fn figures(said: &str) -> Figures {
    let last = said.lines().rev().find(|line| line.contains(" cov: "));
    let behind = |word: &str| {
        let mut words = last.unwrap_or_default().split_whitespace();
        words.find(|other| *other == word);
        words.next().unwrap_or("?").to_owned()
    };
    let executions = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Figures {
        executions: executions.unwrap_or("?").trim().to_owned(),
        coverage: behind("cov:"),
        corpus: behind("corp:").split('/').next().unwrap_or("?").to_owned(),
    }
}

/// Lints and builds all targets: libFuzzer's C++ is built for either.
fn build() -> Result {
    check(
        cargo(&["clippy", "--manifest-path", MANIFEST])
            .args(["--", "--deny=warnings"])
            .env("RUSTFLAGS", "--cfg fuzzing")
            .env("CARGO_TARGET_DIR", place()),
    )?;
    check(
        cargo(&["build", "--release", "--manifest-path", MANIFEST])
            .args(["--target", &binary::host()?])
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_TARGET_DIR", place()),
    )
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let sources = files_in("fuzz/src/bin", "rs")?;
    let mut targets: Vec<String> = sources.iter().map(|source| stem(source)).collect();
    targets.sort();
    Ok(targets)
}

/// Those that are named; all of them, where none is.
fn choose(mut targets: Vec<String>, names: &[&str]) -> Result<Vec<String>> {
    for name in names {
        if !targets.iter().any(|target| target == name) {
            let all = targets.join(", ");
            return Err(format!("there is no fuzz target `{name}`: there are {all}").into());
        }
    }
    targets.retain(|target| names.is_empty() || names.contains(&target.as_str()));
    Ok(targets)
}

fn place() -> PathBuf {
    binary::target().join("fuzz")
}

fn program(target: &str) -> Result<PathBuf> {
    Ok(place().join(binary::host()?).join("release").join(target))
}

/// What the fuzzers begin with: all that was recorded of real clusters, and files as people have
/// them. Targets that read a structure of their own begin with nothing.
fn write_seeds(directory: &Path) -> Result {
    // Where a target takes several things, the first byte says what follows.
    let put = |target: &str, name: &str, kind: Option<u8>, bytes: &[u8]| -> Result {
        let directory = directory.join(target);
        fs::create_dir_all(&directory)?;
        let seed: Vec<u8> = kind.into_iter().chain(bytes.iter().copied()).collect();
        Ok(fs::write(directory.join(name), seed)?)
    };
    for file in files_in("crates/slurm-protocol/tests/wire", "jsonl")? {
        let release = stem(&file);
        for (at, line) in fs::read_to_string(&file)?.lines().enumerate() {
            let exchange: Value = serde_json::from_str(line)?;
            let bytes = |field: &str| STANDARD.decode(exchange[field].as_str().unwrap_or_default());
            let name = format!("{release}-{at}");
            for field in ["reply_b64", "request_b64", "push_b64"] {
                let bytes = bytes(field)?;
                let Some(frame) = bytes.get(4..) else {
                    continue;
                };
                put("frames", &format!("{name}-{field}"), None, frame)?;
                let Ok(Ok(Message::Config(config))) =
                    Reply::decode(frame).map(|reply| reply.message())
                else {
                    continue;
                };
                for (number, file) in config.files.iter().enumerate() {
                    let name = format!("{name}-{number}");
                    put("slurm_conf", &name, Some(1), &file.content)?;
                    put("adapt", &name, Some(5), &file.content)?;
                }
            }
            for (kind, field) in [(0, "munge_reply_b64"), (1, "sack_reply_b64")] {
                let answer = bytes(field)?;
                if !answer.is_empty() {
                    put(
                        "credential_sockets",
                        &format!("{name}-{kind}"),
                        Some(kind),
                        &answer,
                    )?;
                }
            }
        }
    }
    for file in files_in("crates/straw/src/transport/tls/tests", "pem")? {
        let pem = fs::read_to_string(&file)?;
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(base64)?;
        for kind in 0..4 {
            put(
                "certificates",
                &format!("{}-{kind}", stem(&file)),
                Some(kind),
                &der,
            )?;
        }
    }
    for (number, request) in REQUESTS.iter().enumerate() {
        put("http", &number.to_string(), None, request.as_bytes())?;
    }
    for (number, (kind, notes)) in NOTES.iter().enumerate() {
        put("notes", &number.to_string(), Some(*kind), notes.as_bytes())?;
    }
    Ok(())
}

const REQUESTS: [&str; 4] = [
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HEAD /readyz?x HTTP/1.0\r\nAccept: */*\r\n\r\n",
    "GET http://localhost/metrics HTTP/1.1\r\nhost: localhost\r\nUser-Agent: Prometheus/3\r\n\r\n",
    "POST /metrics HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1\r\n\r\nx",
];

const NOTES: [(u8, &str); 4] = [
    (
        0,
        "servers = [\"ctl1\", \"ctl2:6818\"]\ntimeout = '1m' # a comment\njson = true\n",
    ),
    (
        1,
        r#"{"files":["slurm.conf","sub/x","../outside","link/outside"],"controllers":{"ctl1:6817":45},"ca":"x"}"#,
    ),
    (
        2,
        r#"{"key":"k","controller":"ctl1:6817","address":"10.0.0.1:6817","version":45,"tls":true,"fetched":1}"#,
    ),
    (
        3,
        r#"{"key":"k","exit_code":3,"kind":"network","message":"m","causes":["c"],"hint":"h"}"#,
    ),
];

fn files_in(directory: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(root().join(directory))? {
        let path = file?.path();
        if path.extension().is_some_and(|other| other == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_that_are_named() {
        let all = targets().unwrap();
        assert!(all.iter().any(|target| target == "frames"), "{all:?}");
        assert_eq!(choose(all.clone(), &[]).unwrap(), all);
        assert_eq!(
            choose(all.clone(), &["texts", "frames"]).unwrap(),
            ["frames", "texts"]
        );
        let error = choose(all.clone(), &["frames", "frame"]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no fuzz target `frame`"), "{error}");
        assert!(error.ends_with(&all.join(", ")), "{error}");
    }
}
