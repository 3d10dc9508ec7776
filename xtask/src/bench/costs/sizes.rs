//! Sets from a kilobyte to 50 megabytes, and a slurm.conf of 10,000 nodes.

use std::thread;
use std::time::{Duration, Instant};

use super::aim::Aim;
use super::plot::{Panel, Series};
use super::world::{Times, Trace, World, digits};
use crate::Result;
use crate::bench::table::Row;

/// Bytes of cli_filter.lua, which is comment all through, and how often a set with it is fetched.
const SIZES: [(usize, usize); 6] = [
    (0, 25),
    (10_000, 25),
    (100_000, 25),
    (1_000_000, 25),
    (10_000_000, 9),
    (50_000_000, 5),
];

/// Nodes, a line each.
const NODES: usize = 10_000;

/// Runs with them.
const RUNS: usize = 25;

/// The longest that a controller may take to serve what was written.
const PATIENCE: Duration = Duration::from_secs(120);

const NAMES: [&str; 3] = ["straw fetch", "the floor", "sinfo, configless"];

/// A set, and what it took.
struct Sized {
    bytes: u64,
    times: Vec<Times>,
    traces: Vec<Trace>,
}

pub struct Sizes(Vec<Sized>);

pub const HEAD: [&str; 9] = [
    "straw fetch",
    "its CPU",
    "its peak",
    "the floor",
    "its CPU",
    "its peak",
    "sinfo, configless",
    "its CPU",
    "its peak",
];

pub fn measure(world: &World) -> Result<Sizes> {
    let mut all = Vec::new();
    for (size, runs) in SIZES {
        world.clean()?;
        serve(world, "cli_filter.lua", &comments(size))?;
        let floor = world.record()?;
        let lines = [
            "straw -q fetch ctl1 -o /bench/set-{run}".to_owned(),
            floor.line(true),
            "SLURM_CONF_SERVER=ctl1 /usr/bin/sinfo -h".to_owned(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let times = world.runs(runs, &lines)?;
        let script = "rm -rf /bench/set-* /bench/floor-*";
        world.client.exec(["sh", "-c", script]).check()?;
        let traces = lines
            .iter()
            .map(|line| world.trace(&line.replace("{run}", "traced")));
        all.push(Sized {
            bytes: floor.bytes,
            traces: traces.collect::<Result<_>>()?,
            times,
        });
    }
    serve(world, "cli_filter.lua", b"-- nothing\n")?;
    Ok(Sizes(all))
}

/// So many bytes, of which no beginning stands anywhere else.
fn comments(size: usize) -> Vec<u8> {
    let mut text = format!("-- {size} bytes\n").into_bytes();
    while text.len() < size {
        text.extend_from_slice(
            b"-- Jobs without a time limit are refused, and told why in a word.\n",
        );
    }
    if size > 0 {
        text.truncate(size);
    }
    text
}

/// Has the controller serve a file, and waits until it does.
fn serve(world: &World, name: &str, bytes: &[u8]) -> Result {
    world.cluster.write_controller_file(name, bytes)?;
    // With large files it takes longer than scontrol waits: what counts is what is served then.
    let told = world.cluster.reconfigure();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let script = "straw -q fetch ctl1 -o /bench/served >&2 && cat /bench/served/$0 | wc -c";
        let out = world
            .client
            .exec(["sh", "-c", script, name])
            .env("SLURM_JWT", &world.token)
            .run()?;
        if out.success() && out.text().parse() == Ok(bytes.len()) {
            return Ok(());
        }
        if Instant::now() > give_up {
            told?;
            return Err(format!("the controller does not serve {name}: {out}").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

impl Sizes {
    pub fn rows(&self) -> Vec<Row> {
        let row = |set: &Sized| {
            let cells = set
                .times
                .iter()
                .zip(&set.traces)
                .flat_map(|(times, trace)| {
                    [
                        times.spread(),
                        format!("{} ms", digits(times.cpu)),
                        format!("{:.1} MiB", trace.peak_mib()),
                    ]
                });
            Row::new(bytes(set.bytes), cells)
        };
        self.0.iter().map(row).collect()
    }

    /// What a further megabyte costs, between a set and the next larger one.
    fn slope(&self, at: usize, of: impl Fn(&Sized) -> f64) -> f64 {
        let (small, large) = (&self.0[at], &self.0[at + 1]);
        let megabytes = (large.bytes - small.bytes) as f64 / 1e6;
        (of(large) - of(small)) / megabytes
    }

    pub fn aims(&self) -> Vec<Aim> {
        let last = self.0.len() - 2;
        // Of few runs the quicker quarter says more of straw than of what else the machine did.
        let wall = |at| self.slope(at, |set| set.times[0].low);
        let peak = |at| self.slope(at, |set| set.traces[0].peak_mib());
        vec![
            Aim::at_most(
                "wall time of a further megabyte, in the quicker quarter: from 10 to 50 MB, by that from 1 to 10 MB",
                1.5,
                wall(last) / wall(last - 1),
                " times",
            ),
            Aim::at_most(
                "memory of a further megabyte: from 10 to 50 MB, by that from 1 to 10 MB",
                1.5,
                peak(last) / peak(last - 1),
                " times",
            ),
        ]
    }

    /// What a further byte of a large set takes of memory, straw's and the floor's.
    pub fn memory_of_a_byte(&self) -> (f64, f64) {
        let mib = f64::from(1 << 20) / 1e6;
        let of = |who: usize| self.slope(self.0.len() - 2, |set| set.traces[who].peak_mib()) * mib;
        (of(0), of(1))
    }

    pub fn panels(&self) -> [Panel; 2] {
        let series = |of: &dyn Fn(&Sized, usize) -> f64| {
            let one = |(who, name): (usize, &&'static str)| Series {
                name,
                points: self
                    .0
                    .iter()
                    .map(|set| (set.bytes as f64, of(set, who)))
                    .collect(),
            };
            NAMES.iter().enumerate().map(one).collect()
        };
        [
            Panel {
                title: "wall time, ms",
                series: series(&|set, who| set.times[who].wall),
            },
            Panel {
                title: "peak memory, MiB",
                series: series(&|set, who| set.traces[who].peak_mib()),
            },
        ]
    }
}

pub fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        small if small < 999.5 => format!("{small:.0} B"),
        medium if medium < 999_500.0 => format!("{} kB", digits(medium / 1e3)),
        large => format!("{} MB", digits(large / 1e6)),
    }
}

/// What adapting adds, with few nodes and with many.
pub struct Nodes(Vec<(String, Vec<Times>)>);

pub const NODES_HEAD: [&str; 4] = [
    "straw fetch onto stdout",
    "with --adapt",
    "adapting: more wall time",
    "more CPU",
];

pub fn nodes(world: &World) -> Result<Nodes> {
    world.clean()?;
    let lines = [
        "straw -q fetch ctl1 --stdout slurm.conf",
        "straw -q fetch ctl1 --adapt --stdout slurm.conf",
    ];
    let few = world.cluster.controller_file("slurm.conf")?;
    let mut many = few.clone();
    for node in 1..=NODES {
        // Nodes that are to come: the controller looks for none of them.
        let line = format!(
            "NodeName=cn{node:05} CPUs=64 Sockets=2 CoresPerSocket=32 ThreadsPerCore=1 \
             RealMemory=257000 State=FUTURE\n"
        );
        many.extend_from_slice(line.as_bytes());
    }
    let mut all = Vec::new();
    for (name, conf) in [("1 node", &few), ("10,001 nodes, a line each", &many)] {
        serve(world, "slurm.conf", conf)?;
        let name = format!("{name} ({})", bytes(conf.len() as u64));
        all.push((name, world.runs(RUNS, &lines)?));
    }
    serve(world, "slurm.conf", &few)?;
    Ok(Nodes(all))
}

impl Nodes {
    pub fn rows(&self) -> Vec<Row> {
        let row = |(name, times): &(String, Vec<Times>)| {
            let cells = [
                times[0].spread(),
                times[1].spread(),
                format!("{:.1} ms", times[1].more),
                format!("{:.1} ms", times[1].more_cpu),
            ];
            Row::new(name, cells)
        };
        self.0.iter().map(row).collect()
    }

    pub fn aim(&self) -> Aim {
        let added = self.0.last().map(|(_, times)| times[1].more);
        let what = "adapting a slurm.conf of 10,001 nodes";
        Aim::at_most(what, 10.0, added.unwrap_or(f64::NAN), " ms")
    }
}
