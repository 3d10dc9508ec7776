//! What is in a container of each way, what that is worth to a thief, and what it costs.

use std::time::Instant;

use lab::{ClientOptions, Container};
use serde_json::Value;

use super::way::{WAYS, Way};
use super::world::{Special, World};
use crate::Result;
use crate::bench::sdiag;
use crate::bench::table::{Row, seconds};

/// Rounds over all ways, so that what else the machine does hits each of them: runs of the command
/// in each, and starts of a container.
const ROUNDS: u32 = 8;
const RUNS: u32 = 5;
const STARTS: usize = 5;

/// What was found out about one way.
struct Found {
    packages: u64,
    processes: Vec<Process>,
    ports: Vec<String>,
    nodes: u64,
    readable: String,
    root: String,
    stolen: String,
    cost: Cost,
    first: f64,
    /// Time on the processor in a minute in which nothing is asked of it.
    idle: Option<f64>,
}

/// What a command costs: its times in milliseconds, of each round, and the RPCs of all runs.
#[derive(Default)]
struct Cost {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    calls: u64,
    for_configuration: u64,
}

struct Process {
    name: String,
    kib: u64,
    ticks: u64,
}

/// The rows of each section.
pub struct Sections {
    pub inside: Vec<Row>,
    pub leaks: Vec<Row>,
    pub costs: Vec<Row>,
}

pub fn look(world: &World, measure: &[u8], tell: &mut dyn FnMut(&str)) -> Result<Sections> {
    let base = {
        let options = ClientOptions::default().image(&world.munge.images().debian);
        packages(&world.munge.client(&options)?)?
    };
    // The daemons of all ways idle for as long as it takes to look at the ways one by one.
    let mut containers = Vec::new();
    for way in &WAYS {
        let before = nodes(world, way)?;
        let container = world.container(way, &Special::default())?;
        let up = world.up(way, &container)?;
        if up.status != 0 {
            return Err(format!("{} does not get ready: {}", way.title, up.said).into());
        }
        let answer = world.run(&container, &way.sinfo(&world.rest))?;
        if answer.status != 0 {
            return Err(format!("{}: sinfo: {}", way.title, answer.said).into());
        }
        let more = nodes(world, way)?.saturating_sub(before);
        let (processes, _) = inside(&container)?;
        let ticks: u64 = processes.iter().map(|process| process.ticks).sum();
        containers.push((container, more, ticks, Instant::now()));
    }
    tell("from a container's start to its first answer");
    let mut firsts = WAYS.map(|_| Vec::new());
    for _ in 0..STARTS {
        for (way, firsts) in WAYS.iter().zip(&mut firsts) {
            firsts.push(first_answer(world, way)?);
        }
    }
    tell("what a command costs");
    let mut costs = WAYS.map(|_| Cost::default());
    for (container, ..) in &containers {
        container.put("/usr/local/bin/measure", measure, 0o755, "root")?;
    }
    for _ in 0..ROUNDS {
        for ((way, (container, ..)), cost) in WAYS.iter().zip(&containers).zip(&mut costs) {
            cost.add(world, way, container)?;
        }
    }
    tell("what is inside, and what a thief can do with it");
    let mut found = Vec::new();
    let looked = WAYS
        .iter()
        .zip(&containers)
        .zip(firsts.into_iter().zip(costs));
    for ((way, (container, nodes, ticks, since)), (firsts, cost)) in looked {
        let (processes, ports) = inside(container)?;
        let spent: u64 = processes.iter().map(|process| process.ticks).sum();
        let minutes = since.elapsed().as_secs_f64() / 60.0;
        // There are a hundred ticks in a second, to whoever asks Linux.
        let idle =
            (!processes.is_empty()).then(|| spent.saturating_sub(*ticks) as f64 / 100.0 / minutes);
        found.push(Found {
            packages: packages(container)? - base,
            processes,
            ports,
            nodes: *nodes,
            readable: readable(way, container)?,
            root: theft(world, way, false)?,
            stolen: theft(world, way, true)?,
            cost,
            first: median(firsts),
            idle,
        });
    }
    drop(containers);
    world.tidy()?;
    Ok(sections(world, &found))
}

fn sections(world: &World, found: &[Found]) -> Sections {
    let straw = world.straw_bytes as f64 / 1e6;
    let inside = vec![
        Row::new(
            "packages asked for",
            WAYS.iter().map(|way| {
                let straw = if way.straw { " + straw" } else { "" };
                format!("{}{straw}", way.packages.join(", "))
            }),
        ),
        Row::new(
            "packages added, with all that they need",
            found.iter().map(|found| found.packages.to_string()),
        ),
        Row::new(
            "size added to the base image",
            WAYS.iter().zip(&world.images).map(|(way, image)| {
                let packages = image.added as f64 / 1e6;
                match way.straw {
                    true => format!("{:.0} MB, {straw:.1} of it straw", packages + straw),
                    false => format!("{packages:.0} MB"),
                }
            }),
        ),
        Row::new(
            "daemons, with their memory",
            found.iter().map(|found| {
                list(found.processes.iter().map(|process| {
                    format!(
                        "{} {:.1} MB",
                        process.name,
                        process.kib as f64 * 1024.0 / 1e6
                    )
                }))
            }),
        ),
        Row::new(
            "ports it listens on",
            found.iter().map(|found| list(found.ports.iter().cloned())),
        ),
        Row::new(
            "secrets of the cluster",
            WAYS.iter().map(|way| list(copies(way, true))),
        ),
        Row::new(
            "a user's secret",
            WAYS.iter()
                .map(|way| if way.token { "token" } else { "none" }.to_owned()),
        ),
        Row::new(
            "configuration copied by hand",
            WAYS.iter().map(|way| match way.host.is_empty() {
                true => list(copies(way, false)),
                false => "none".to_owned(),
            }),
        ),
        Row::new(
            "mounted from its host, a member of the cluster",
            WAYS.iter()
                .map(|way| list(way.host.iter().map(|&directory| directory.to_owned()))),
        ),
        Row::new(
            "nodes it adds to the cluster",
            found.iter().map(|found| match found.nodes {
                0 => "none".to_owned(),
                nodes => nodes.to_string(),
            }),
        ),
    ];
    let leaks = vec![
        Row::new(
            "who can read the secret inside",
            found.iter().map(|found| found.readable.clone()),
        ),
        Row::new(
            "root in the container is",
            found.iter().map(|found| found.root.clone()),
        ),
        Row::new(
            "who takes along what is in it becomes",
            found.iter().map(|found| found.stolen.clone()),
        ),
    ];
    let costs = vec![
        Row::new(
            "the command itself, median",
            found
                .iter()
                .map(|found| milliseconds(median(found.cost.wall.clone()))),
        ),
        Row::new(
            format!("the same in the quietest of {ROUNDS} rounds"),
            found.iter().map(|found| {
                milliseconds(found.cost.wall.iter().copied().fold(f64::MAX, f64::min))
            }),
        ),
        Row::new(
            "its time on the processor, median",
            found
                .iter()
                .map(|found| milliseconds(median(found.cost.cpu.clone()))),
        ),
        Row::new(
            "a container's start to its first answer",
            found.iter().map(|found| seconds(found.first)),
        ),
        Row::new(
            "RPCs to the controller, a command",
            found.iter().map(|found| a_run(found.cost.calls)),
        ),
        Row::new(
            "of these for the configuration",
            found
                .iter()
                .map(|found| a_run(found.cost.for_configuration)),
        ),
        Row::new(
            "its daemons on the processor, in a minute",
            found.iter().map(|found| match found.idle {
                None => "–".to_owned(),
                Some(0.0) => "less than can be measured".to_owned(),
                Some(seconds) => format!("{:.0} ms", seconds * 1000.0),
            }),
        ),
    ];
    Sections {
        inside,
        leaks,
        costs,
    }
}

/// The names of the files that it needs of a controller: those that are secrets, or the others.
fn copies(way: &Way, secrets: bool) -> impl Iterator<Item = String> {
    let copies = way
        .copies
        .iter()
        .filter(move |copy| copy.ends_with(".key") == secrets);
    copies.map(move |copy| {
        let name = copy.rsplit('/').next().unwrap_or(copy);
        if secrets {
            format!("**{name}**")
        } else {
            name.to_owned()
        }
    })
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(", "),
    }
}

fn packages(container: &Container) -> Result<u64> {
    let script = "dpkg-query --show --showformat='x\\n' | wc -l";
    let text = container.exec(["sh", "-c", script]).check()?.text();
    Ok(text.parse()?)
}

/// How many nodes the cluster has.
fn nodes(world: &World, way: &Way) -> Result<u64> {
    let script = "scontrol -o show nodes | grep -c ^NodeName";
    let controller = world.cluster(way).controller(0);
    let text = controller.exec(["sh", "-c", script]).check()?.text();
    Ok(text.parse()?)
}

/// What runs in a container, and where it listens.
fn inside(container: &Container) -> Result<(Vec<Process>, Vec<String>)> {
    let script = include_str!("scripts/inside.sh");
    let text = container.exec(["sh", "-c", script]).check()?.text();
    let (mut processes, mut ports) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["process", name, kib, ticks] => processes.push(Process {
                name: (*name).to_owned(),
                kib: kib.parse()?,
                ticks: ticks.parse()?,
            }),
            ["port", port] => ports.push((*port).to_owned()),
            _ => return Err(format!("what is inside: {text}").into()),
        }
    }
    Ok((processes, ports))
}

/// Whether a user in the container can read what authenticates it.
fn readable(way: &Way, container: &Container) -> Result<String> {
    let script = match way.copies.first() {
        _ if !way.host.is_empty() => return Ok("–".to_owned()),
        Some(key) => format!("test -r /{key}"),
        None => "test -n \"$SLURM_JWT\"".to_owned(),
    };
    let out = container.exec(["sh", "-c", &script]).user("alice").run()?;
    Ok(match out.success() {
        true => "its user".to_owned(),
        false => "root in it".to_owned(),
    })
}

/// Whom the cluster takes somebody for who is root in a container: in this one, or elsewhere in one
/// of their own, with the content of this.
fn theft(world: &World, way: &Way, elsewhere: bool) -> Result<String> {
    let special = Special {
        elsewhere,
        ..Special::default()
    };
    let container = world.container(way, &special)?;
    let up = world.up(way, &container)?;
    let mut done = Vec::new();
    for command in way.privileged(&world.rest) {
        let out = container.exec(command).run()?;
        done.push(up.status == 0 && out.success());
    }
    let answered = container.exec(way.sinfo(&world.rest)).run()?.success();
    world.forget(way, &container)?;
    match (done.iter().all(|&done| done), done.iter().any(|&done| done)) {
        (true, _) => Ok("**root of the cluster**".to_owned()),
        (false, false) if answered => Ok("that user".to_owned()),
        (false, false) => Ok("nobody".to_owned()),
        (false, true) => Err(format!("{}: a thief is half a root", way.title).into()),
    }
}

impl Cost {
    /// Adds a round.
    fn add(&mut self, world: &World, way: &Way, container: &Container) -> Result {
        let controller = world.cluster(way).controller(0);
        controller.exec(["sdiag", "--reset"]).check()?;
        let measure = ["measure".to_owned(), "runs".to_owned(), RUNS.to_string()];
        let out = container
            .exec(measure.into_iter().chain(way.sinfo(&world.rest)))
            .user("alice")
            .check()?;
        let counted = controller.exec(["sdiag"]).check()?.text();
        let cost: Value = serde_json::from_slice(&out.stdout)?;
        for (times, name) in [(&mut self.wall, "wall_ms"), (&mut self.cpu, "cpu_ms")] {
            times.push(cost[name].as_f64().ok_or("no time was measured")?);
        }
        for of in sdiag::of_commands(&counted) {
            self.calls += of.count;
            if of.name == "REQUEST_CONFIG" {
                self.for_configuration += of.count;
            }
        }
        Ok(())
    }
}

fn milliseconds(time: f64) -> String {
    format!("{time:.0} ms")
}

fn a_run(count: u64) -> String {
    format!("{:.1}", count as f64 / f64::from(ROUNDS * RUNS))
}

/// From the first line of a container's first process to the first answer that alice gets.
fn first_answer(world: &World, way: &Way) -> Result<f64> {
    let script = format!(
        "{}begin=$(date +%s%N)\n{}{}",
        way.image(),
        way.up(),
        include_str!("scripts/first.sh")
    );
    let argv = ["sh", "-c", &script, "first"].map(str::to_owned);
    let cluster = world.cluster(way);
    let process = cluster.first_process(
        &world.options(way, &Special::default()),
        argv.into_iter().chain(way.sinfo(&world.rest)),
    )?;
    let out = process.run(world.copies(way)?)?;
    let text = out.text();
    let milliseconds = text
        .lines()
        .last()
        .and_then(|line| line.parse::<f64>().ok());
    let milliseconds = milliseconds.ok_or_else(|| format!("{}: {out}", way.title))?;
    Ok(milliseconds / 1000.0)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
