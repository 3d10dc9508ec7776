//! The ways to make a container a client of a cluster, measured side by side in one run, which
//! writes `docs/comparison.md`.
//!
//! ```text
//! world: two clusters, slurmrestd ─▶ contents ─▶ faults ─▶ page
//! way: what a container needs         inside, leaks, costs   what breaks
//! ```

mod contents;
mod faults;
mod way;
mod world;

use std::fs;
use std::time::Instant;

use lab::{Release, image, provision};

use crate::Result;
use crate::bench::facts::Facts;
use crate::bench::table::{Row, table};
use crate::binary;
use crate::run::{root, say};
use faults::{Fault, Message};
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
    let facts = Facts::now()?;
    let sections = contents::look(&world, &measure, &mut tell)?;
    let trials = faults::try_all(&world, &older, &mut tell)?;

    let mut breaks = vec![trials.change];
    breaks.extend(trials.faults.iter().map(Fault::row));
    let mut said = Vec::new();
    for fault in &trials.faults {
        fault.messages(&mut said);
    }
    let text = page(&Run {
        facts,
        version: world.munge.version().to_owned(),
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

/// What a run has to say.
struct Run {
    facts: Facts,
    version: String,
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
        ("{date}", run.facts.date.clone()),
        ("{commit}", run.facts.commit.clone()),
        ("{version}", run.version.clone()),
        ("{machine}", run.facts.machine.clone()),
        ("{load}", run.facts.load.clone()),
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
            facts: Facts::example(),
            version: "26.05.5".to_owned(),
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
