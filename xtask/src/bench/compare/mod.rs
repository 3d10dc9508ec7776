//! The ways to make a container a client of a cluster, measured side by side in one run, which
//! writes `docs/comparison.md`.
//!
//! ```text
//! world: two clusters, slurmrestd ─▶ contents ─▶ faults ─▶ page
//! way: what a container needs         inside, leaks, costs   what breaks
//! ```

mod contents;
mod faults;
mod page;
mod way;
mod world;

use std::fs;
use std::process::Command;
use std::time::Instant;

use lab::{Release, image, provision};

use crate::Result;
use crate::binary;
use crate::run::{capture, root, say};
use faults::{Fault, Message};
use page::{Row, table};
use way::WAYS;
use world::World;

/// The release of the clusters, and that of older clients.
const RELEASE: Release = Release::V26_05;
const OLDER: Release = Release::V24_11;

pub fn run() -> Result {
    let mut tell = |line: &str| say(line);
    say("building straw and the tool that measures");
    let straw = match std::env::var_os("STRAW_BIN") {
        Some(binary) => binary.into(),
        None => binary::straw()?,
    };
    let measure = fs::read(binary::build("lab", "measure")?)?;
    provision::docker(&mut tell)?;
    image::prepare(RELEASE, &mut tell)?;
    let older = world::images(OLDER, &mut tell)?;

    let world = World::new(RELEASE, straw, &mut tell)?;
    let began = Instant::now();
    let load = load()?;
    let sections = contents::look(&world, &measure, &mut tell)?;
    let trials = faults::try_all(&world, &older, &mut tell)?;

    let mut breaks = vec![trials.change];
    breaks.extend(trials.faults.iter().map(Fault::row));
    let mut said = Vec::new();
    for fault in &trials.faults {
        fault.messages(&mut said);
    }
    let text = page(&Run {
        machine: machine()?,
        commit: commit()?,
        date: capture(Command::new("date").args(["-u", "+%F"]))?
            .trim()
            .to_owned(),
        version: world.munge.version().to_owned(),
        load,
        minutes: began.elapsed().as_secs_f64() / 60.0,
        inside: sections.inside,
        leaks: sections.leaks,
        breaks,
        said,
        costs: sections.costs,
    });
    print!("{text}");
    let path = root().join("docs/comparison.md");
    fs::write(&path, text)?;
    say(&format!("written: {}", path.display()));
    Ok(())
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// The last change of what straw is made of.
fn commit() -> Result<String> {
    let git = |command: &[&str]| {
        let mut git = Command::new("git");
        let paths = ["--", "crates/straw", "crates/slurm-protocol"];
        capture(git.current_dir(root()).args(command).args(paths))
    };
    let last = git(&["log", "-1", "--format=%h"])?;
    let changed = git(&["status", "--porcelain"])?;
    let changed = if changed.is_empty() { "" } else { ", changed" };
    Ok(format!("{}{changed}", last.trim()))
}

/// The machine, as far as it matters to times.
fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpus
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split_once(": "))
        .map(|(_, model)| model.trim())
        .collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let docker = capture(Command::new("docker").args(["version", "--format={{.Server.Version}}"]))?;
    Ok(format!(
        "{} × {}, Linux {}, Docker {}",
        models.len(),
        models.first().unwrap_or(&"a processor without a name"),
        kernel.trim(),
        docker.trim()
    ))
}

/// What a run has to say.
struct Run {
    date: String,
    commit: String,
    version: String,
    machine: String,
    load: String,
    minutes: f64,
    inside: Vec<Row>,
    leaks: Vec<Row>,
    breaks: Vec<Row>,
    said: Vec<Message>,
    costs: Vec<Row>,
}

/// The page: what stands in `page.md`, with the run's tables in their places.
fn page(run: &Run) -> String {
    let ways: Vec<&str> = WAYS.iter().map(|way| way.title).collect();
    let said: String = run
        .said
        .chunk_by(|one, other| one.fault == other.fault)
        .map(said)
        .collect();
    let places = [
        ("{date}", run.date.clone()),
        ("{commit}", run.commit.clone()),
        ("{version}", run.version.clone()),
        ("{machine}", run.machine.clone()),
        ("{load}", run.load.clone()),
        ("{minutes}", format!("{:.0}", run.minutes)),
        ("{refresh}", faults::REFRESH.to_owned()),
        ("{inside}", table(&ways, &run.inside)),
        ("{leaks}", table(&ways, &run.leaks)),
        ("{breaks}", table(&ways, &run.breaks)),
        ("{said}", said),
        ("{costs}", table(&ways, &run.costs)),
    ];
    places.into_iter().fold(
        include_str!("page.md").to_owned(),
        |text, (place, value)| text.replace(place, value.trim_end()),
    )
}

/// What was said in one fault.
fn said(messages: &[Message]) -> String {
    let fault = messages.first().map_or("", |message| message.fault);
    let said: Vec<String> = messages
        .iter()
        .map(|message| format!("{} ({})", message.text, message.ways.join(", ")))
        .collect();
    format!("- {fault}: {}\n", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_the_page_is_filled() {
        let row = |name: &str| vec![Row::new(name, WAYS.iter().map(|_| "yes".to_owned()))];
        let text = page(&Run {
            date: "2026-01-02".to_owned(),
            commit: "abc".to_owned(),
            version: "26.05.5".to_owned(),
            machine: "2 × x".to_owned(),
            load: "0.1".to_owned(),
            minutes: 4.2,
            inside: row("inside"),
            leaks: row("leaks"),
            breaks: row("breaks"),
            said: vec![Message {
                fault: "a fault",
                text: "`no`".to_owned(),
                ways: vec!["one", "two"],
            }],
            costs: row("costs"),
        });
        assert!(text.contains("- a fault: `no` (one, two)\n"), "{text}");
        for name in ["inside", "leaks", "breaks", "costs"] {
            assert!(text.contains(&format!("| {name} | yes |")), "{text}");
        }
        assert!(!text.contains('{'), "{text}");
    }
}
