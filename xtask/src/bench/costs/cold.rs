//! One fetch, beside the least that it could cost and beside Slurm's own way.

use super::aim::Aim;
use super::world::{Times, Trace, World, digits};
use crate::Result;
use crate::bench::table::Row;

/// Runs of each command.
const RUNS: usize = 40;

/// A command that is looked at.
struct Subject {
    name: String,
    line: String,
    times: Times,
    trace: Trace,
    instructions: Option<u64>,
}

/// What came out for a release.
pub struct Cold {
    subjects: Vec<Subject>,
}

/// Its columns.
pub const HEAD: [&str; 9] = [
    "wall",
    "CPU",
    "instructions",
    "peak memory",
    "system calls",
    "connections",
    "sent",
    "received",
    "further processes, threads",
];

const ONE: usize = 0;
const ALL: usize = 1;
const STDOUT: usize = 2;
const DIRECTORY: usize = 3;
const ADAPTED: usize = 4;
const KNOWN: usize = 5;

pub fn measure(world: &World) -> Result<Cold> {
    world.clean()?;
    let floor = world.record()?;
    let exchanges = floor.exchanges;
    let fetch = "straw -q fetch ctl1";
    let native = "/usr/bin/sinfo -h";
    // In the order of the constants.
    let lines = [
        ("the floor, one exchange".to_owned(), floor.line(false)),
        (
            format!("the floor, {exchanges} exchanges as straw's first"),
            floor.line(true),
        ),
        (
            "straw fetch, version unknown, onto stdout".to_owned(),
            format!("{fetch} --stdout slurm.conf"),
        ),
        (
            "straw fetch, version unknown, into a new directory".to_owned(),
            format!("{fetch} -o /bench/cold-{{run}}"),
        ),
        (
            "the same with --adapt".to_owned(),
            format!("{fetch} --adapt -o /bench/adapted-{{run}}"),
        ),
        (
            "straw fetch, version known, files unchanged".to_owned(),
            format!("{fetch} -o /bench/known"),
        ),
        (
            "straw fetch, version unknown, into a new directory on disk".to_owned(),
            format!("{fetch} -o /tmp/cold-{{run}}"),
        ),
        (
            "sinfo with files that are there".to_owned(),
            format!("SLURM_CONF=/bench/known/slurm.conf {native}"),
        ),
        (
            "sinfo, configless".to_owned(),
            format!("SLURM_CONF_SERVER=ctl1 {native}"),
        ),
    ];
    // Files that are known have to be there.
    world.runs(1, &[&lines[KNOWN].1])?;
    let commands: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    let times = world.runs(RUNS, &commands)?;
    let mut subjects = Vec::new();
    for ((name, line), times) in lines.into_iter().zip(times) {
        subjects.push(Subject {
            trace: world.trace(&line.replace("{run}", "traced"))?,
            instructions: world.instructions(&line)?,
            name,
            line,
            times,
        });
    }
    let script = "rm -rf /tmp/cold-*";
    world.client.exec(["sh", "-c", script]).check()?;
    Ok(Cold { subjects })
}

impl Cold {
    pub fn rows(&self) -> Vec<Row> {
        self.subjects.iter().map(Subject::row).collect()
    }

    /// The commands, for those who want to repeat it by hand.
    pub fn lines(&self) -> String {
        let line = |subject: &Subject| format!("- {}: `{}`\n", subject.name, subject.line);
        self.subjects.iter().map(line).collect()
    }

    pub fn aims(&self, release: &str) -> Vec<Aim> {
        let wall = |at: usize| self.subjects[at].times.wall;
        let mut aims = Vec::new();
        for (at, name, floor) in [
            (STDOUT, "a cold fetch onto stdout", ALL),
            (DIRECTORY, "a cold fetch into a directory", ALL),
            (ADAPTED, "a cold fetch with --adapt", ALL),
            (KNOWN, "a fetch with the version known", ONE),
        ] {
            let what =
                format!("{release}: wall time of {name}, by the floor with as many exchanges");
            aims.push(Aim::at_most(&what, 2.0, wall(at) / wall(floor), " times"));
        }
        for (at, name) in [
            (DIRECTORY, "a cold fetch into a directory"),
            (ADAPTED, "a cold fetch with --adapt"),
        ] {
            let trace = &self.subjects[at].trace;
            let what = format!("{release}: peak memory of {name}");
            aims.push(Aim::at_most(&what, 4.0, trace.peak_mib(), " MiB"));
        }
        let threads = self.subjects[ADAPTED].trace.threads as f64;
        let what = format!("{release}: threads beside the first, in a cold fetch with --adapt");
        aims.push(Aim::at_most(&what, 0.0, threads, ""));
        aims
    }
}

impl Subject {
    fn row(&self) -> Row {
        let trace = &self.trace;
        let instructions = self.instructions.map_or_else(
            || "–".to_owned(),
            |count| format!("{:.1} M", count as f64 / 1e6),
        );
        Row::new(
            &self.name,
            [
                self.times.spread(),
                format!("{} ms", digits(self.times.cpu)),
                instructions,
                format!("{:.1} MiB", trace.peak_mib()),
                trace.calls.to_string(),
                trace.connections.to_string(),
                trace.sent.to_string(),
                trace.received.to_string(),
                format!("{}, {}", trace.processes - 1, trace.threads),
            ],
        )
    }
}
