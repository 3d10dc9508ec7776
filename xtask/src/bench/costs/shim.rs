//! What a warm shim adds to a command.

use super::aim::Aim;
use super::world::{Times, World, digits, messages};
use crate::Result;
use crate::bench::table::Row;

/// Runs of each command.
const RUNS: usize = 150;

/// Calls of which the controller's share is counted.
const CALLS: usize = 100;

const NAMES: [&str; 4] = [
    "sinfo with files that are there",
    "sinfo through a shim, its store warm",
    "sinfo, configless",
    "straw releases: straw's start, and nothing else",
];

const SHIM: usize = 1;

pub struct Shim {
    times: Vec<Times>,
    instructions: Vec<Option<u64>>,
    /// Of the first three, what the controller counted.
    calls: Vec<String>,
}

pub const HEAD: [&str; 5] = [
    "wall",
    "CPU",
    "more than with files that are there",
    "instructions",
    "messages of 100 calls",
];

pub fn measure(world: &World) -> Result<Shim> {
    world.clean()?;
    world.runs(1, &["straw -q fetch ctl1 -o /bench/local"])?;
    let lines = [
        "SLURM_CONF=/bench/local/slurm.conf /usr/bin/sinfo -h",
        "SLURM_CONF_SERVER=ctl1 STRAW_STORE=/bench/store /usr/local/bin/sinfo -h",
        "SLURM_CONF_SERVER=ctl1 /usr/bin/sinfo -h",
        "straw releases",
    ];
    let mut calls = Vec::new();
    for line in &lines[..3] {
        // From a cold store on.
        let (_, counts) = world.counted(|| world.runs(CALLS, &[line]))?;
        calls.push(messages(&counts));
    }
    let times = world.runs(RUNS, &lines)?;
    let instructions = lines
        .iter()
        .enumerate()
        // What becomes another program leaves no count behind.
        .map(|(at, line)| match at {
            SHIM => Ok(None),
            _ => world.instructions(line),
        });
    Ok(Shim {
        instructions: instructions.collect::<Result<_>>()?,
        times,
        calls,
    })
}

impl Shim {
    pub fn rows(&self) -> Vec<Row> {
        let row = |(at, name): (usize, &&str)| {
            let times = &self.times[at];
            let calls = self.calls.get(at);
            Row::new(
                *name,
                [
                    times.spread(),
                    format!("{} ms", digits(times.cpu)),
                    match at {
                        SHIM | 2 => format!("{:.2} ms, CPU {:.2} ms", times.more, times.more_cpu),
                        _ => "–".to_owned(),
                    },
                    self.instructions[at].map_or_else(
                        || "–".to_owned(),
                        |count| format!("{:.1} M", count as f64 / 1e6),
                    ),
                    calls.cloned().unwrap_or_else(|| "–".to_owned()),
                ],
            )
        };
        NAMES.iter().enumerate().map(row).collect()
    }

    pub fn aim(&self) -> Aim {
        // The other quarters say how often slurmctld took its time, which is several milliseconds then.
        Aim::at_most(
            "what a warm shim adds to sinfo, in the quicker quarters",
            2.0,
            self.times[SHIM].low - self.times[0].low,
            " ms",
        )
    }
}
