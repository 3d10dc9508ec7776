//! A watch after many refreshes: whether anything grows.

use std::thread;
use std::time::{Duration, Instant};

use super::aim::Aim;
use super::world::World;
use crate::Result;
use crate::bench::table::Row;

/// Refreshes that are aimed at.
const REFRESHES: u64 = 10_000;

/// Those before the first look, after which everything has been used once.
const FIRST: u64 = 20;

/// Between two refreshes, so that one takes hardly more time than it needs.
const INTERVAL: &str = "1ms";

/// The longest that it may take; what was done by then is what there is.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the system says of a process.
struct Figures {
    refreshes: u64,
    cpu_seconds: f64,
    resident_kib: f64,
    peak_kib: f64,
    descriptors: u64,
    threads: u64,
}

/// A watch at its start, and at its end.
struct Watched {
    name: &'static str,
    before: Figures,
    after: Figures,
}

pub struct Watches(Vec<Watched>);

pub const HEAD: [&str; 6] = [
    "refreshes",
    "CPU of a refresh",
    "memory",
    "its peak",
    "descriptors",
    "threads",
];

/// A watch as it is, and one that adapts nothing, side by side.
pub fn measure(world: &World) -> Result<Watches> {
    world.clean()?;
    let mut started = Vec::new();
    for (name, port, option) in [
        ("straw watch --verbatim", "9101", "--verbatim"),
        ("straw watch", "9102", ""),
    ] {
        let line = format!(
            "straw watch ctl1 -o /bench/watch-{port} --refresh {INTERVAL} \
             --health 127.0.0.1:{port} {option}"
        );
        // One that left descriptors open would come to an end soon.
        let script =
            format!("ulimit -n 32; {line} </dev/null >/tmp/watch-{port}.log 2>&1 & echo $!");
        let start = world.client.exec(["sh", "-c", &script]);
        let process = start.env("SLURM_JWT", &world.token).check()?.text();
        started.push((name, port, process));
    }
    let give_up = Instant::now() + PATIENCE;
    let mut before = Vec::new();
    for (_, port, process) in &started {
        wait(world, port, FIRST, give_up)?;
        before.push(figures(world, port, process)?);
    }
    let mut watched = Vec::new();
    for ((name, port, process), before) in started.into_iter().zip(before) {
        wait(world, port, REFRESHES, give_up)?;
        let after = figures(world, port, &process)?;
        world.client.exec(["kill", &process]).check()?;
        watched.push(Watched {
            name,
            before,
            after,
        });
    }
    Ok(Watches(watched))
}

/// Waits until a watch has refreshed so often, as it says itself, or until there is no more patience.
fn wait(world: &World, port: &str, refreshes: u64, give_up: Instant) -> Result {
    while refreshed(world, port)? < refreshes && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

fn refreshed(world: &World, port: &str) -> Result<u64> {
    let script = "exec 3<>/dev/tcp/127.0.0.1/$0 && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && \
                  cat <&3";
    let answer = world
        .client
        .exec(["bash", "-c", script, port])
        .run()?
        .text();
    let of = |line: &str| line.split_whitespace().last()?.parse::<u64>().ok();
    Ok(answer
        .lines()
        .filter(|line| line.starts_with("straw_refreshes_total") && !line.contains("failed"))
        .filter_map(of)
        .sum())
}

fn figures(world: &World, port: &str, process: &str) -> Result<Figures> {
    let script = "cat /proc/$0/status && echo \"Ticks: $(cut -d' ' -f14,15 /proc/$0/stat)\" && \
                  echo \"Hertz: $(getconf CLK_TCK)\" && echo \"Open: $(ls /proc/$0/fd | wc -l)\"";
    let told = world
        .client
        .exec(["sh", "-c", script, process])
        .check()?
        .text();
    let numbers = |name: &str| -> Vec<f64> {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let number = |name: &str| {
        let number = numbers(name).first().copied();
        number.ok_or_else(|| format!("no {name} in {told}"))
    };
    Ok(Figures {
        refreshes: refreshed(world, port)?,
        cpu_seconds: numbers("Ticks:").iter().sum::<f64>() / number("Hertz:")?,
        resident_kib: number("VmRSS:")?,
        peak_kib: number("VmHWM:")?,
        descriptors: number("Open:")? as u64,
        threads: number("Threads:")? as u64,
    })
}

impl Watched {
    fn row(&self) -> Row {
        let Self { before, after, .. } = self;
        let refreshes = after.refreshes - before.refreshes;
        let cpu = (after.cpu_seconds - before.cpu_seconds) / refreshes.max(1) as f64;
        let mib = |kib: f64| kib / 1024.0;
        Row::new(
            self.name,
            [
                format!("{}, then {}", before.refreshes, after.refreshes),
                format!("{:.2} ms", cpu * 1000.0),
                format!(
                    "{:.2} MiB, then {:.2}",
                    mib(before.resident_kib),
                    mib(after.resident_kib)
                ),
                format!(
                    "{:.2} MiB, then {:.2}",
                    mib(before.peak_kib),
                    mib(after.peak_kib)
                ),
                format!("{}, then {}", before.descriptors, after.descriptors),
                format!("{}, then {}", before.threads, after.threads),
            ],
        )
    }
}

impl Watches {
    pub fn rows(&self) -> Vec<Row> {
        self.0.iter().map(Watched::row).collect()
    }

    pub fn aims(&self) -> Vec<Aim> {
        let mut aims = Vec::new();
        for Watched {
            name,
            before,
            after,
        } in &self.0
        {
            let refreshes = after.refreshes as f64;
            aims.push(Aim {
                what: format!("{name}: refreshes that were measured"),
                aim: format!("at least {REFRESHES}"),
                got: format!("{refreshes}"),
                met: after.refreshes >= REFRESHES,
            });
            // What the allocator has once had may come and go, a page for each refresh may not.
            let grown = after.resident_kib - before.resident_kib;
            aims.push(Aim::at_most(
                &format!("{name}: memory that they left behind"),
                256.0,
                grown,
                " KiB",
            ));
            let threads = after.threads.saturating_sub(before.threads);
            // One more than at the start may be open while a refresh is under way.
            let descriptors = after.descriptors.saturating_sub(before.descriptors);
            aims.push(Aim::at_most(
                &format!("{name}: threads that they left behind"),
                0.0,
                threads as f64,
                "",
            ));
            aims.push(Aim::at_most(
                &format!("{name}: descriptors more, with a refresh under way or not"),
                6.0,
                descriptors as f64,
                "",
            ));
        }
        aims
    }
}
