//! What straw costs: each figure beside its peer, taken in one run against one real controller, which
//! writes `docs/benchmarks.md` and its picture.
//!
//! ```text
//! world: a controller,   ─▶ cold, shim, artefacts, ─▶ aims  ─▶ page
//! a client, what is         sizes, storm, watches     plot
//! measured with
//! ```

mod aim;
mod artefacts;
mod cold;
mod page;
mod plot;
mod shim;
mod sizes;
mod storm;
mod watches;
mod world;

use std::fs;
use std::time::Instant;

use lab::{Release, image, provision};

use super::facts::{self, Facts};
use super::table::table;
use crate::Result;
use crate::run::{root, say};
use page::Page;
use world::{Tools, World};

/// The release of the controller, and an older one that answers otherwise.
const RELEASE: Release = Release::V26_05;
const OLDER: Release = Release::V22_05;

pub fn run() -> Result {
    let mut tell = |line: &str| say(line);
    say("building straw, the floor and the tool that measures");
    let tools = Tools::build()?;
    provision::docker(&mut tell)?;
    image::prepare_all(&[RELEASE, OLDER], &mut tell)?;

    let facts = Facts::now()?;
    let began = Instant::now();
    let world = World::new(RELEASE, &tools)?;
    say(&format!("Slurm {}: one fetch", world.cluster.version()));
    let cold = cold::measure(&world)?;
    say("a warm shim");
    let shim = shim::measure(&world)?;
    say("how large straw is");
    let artefacts = artefacts::measure(&tools)?;
    say("sets from a kilobyte to 50 megabytes");
    let sizes = sizes::measure(&world)?;
    say("10,000 nodes");
    let nodes = sizes::nodes(&world)?;
    say("a thousand at once");
    let storms = storm::measure(&world)?;
    say("thousands of refreshes");
    let watches = watches::measure(&world)?;
    let version = world.cluster.version().to_owned();
    drop(world);

    let world = World::new(OLDER, &tools)?;
    say(&format!("Slurm {}: one fetch", world.cluster.version()));
    let older = cold::measure(&world)?;
    let older_version = world.cluster.version().to_owned();
    drop(world);

    let mut aims = cold.aims(&version);
    aims.extend(older.aims(&older_version));
    aims.push(shim.aim());
    aims.extend(artefacts.aims());
    aims.extend(sizes.aims());
    aims.push(nodes.aim());
    aims.push(storms.aim());
    aims.extend(watches.aims());
    let (straw, floor) = sizes.memory_of_a_byte();
    let text = Page {
        facts,
        load_after: facts::load()?,
        minutes: began.elapsed().as_secs_f64() / 60.0,
        version,
        older_version,
        aims,
        lines: cold.lines(),
        failures: storms.failures(),
        memory: [straw, floor],
        tables: [
            ("cold", table(&cold::HEAD, &cold.rows())),
            ("older", table(&cold::HEAD, &older.rows())),
            ("shim", table(&shim::HEAD, &shim.rows())),
            ("artefacts", table(&artefacts::HEAD, &artefacts.rows())),
            ("sizes", table(&sizes::HEAD, &sizes.rows())),
            ("nodes", table(&sizes::NODES_HEAD, &nodes.rows())),
            ("storms", table(&storm::HEAD, &storms.rows())),
            ("watches", table(&watches::HEAD, &watches.rows())),
        ]
        .into(),
    }
    .text();
    let picture = plot::svg(
        "Wall time and memory over the size of the set",
        "bytes of the set",
        &sizes.panels(),
    );
    print!("{text}");
    for (name, text) in [("benchmarks.md", text), ("benchmarks.svg", picture)] {
        let path = root().join("docs").join(name);
        fs::write(&path, text)?;
        say(&format!("written: {}", path.display()));
    }
    Ok(())
}
