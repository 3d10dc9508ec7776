//! What straw costs, beside Slurm's own way to be configless, in one run on one cluster.

use std::thread;
use std::time::{Duration, Instant};

use lab::{ClientNetwork, ClientOptions, Cluster, Container, Release, image, provision};
use serde_json::Value;

use super::sdiag;
use crate::Result;
use crate::binary;
use crate::run::say;

/// Runs of each command.
const RUNS: &str = "50";

pub fn run() -> Result {
    let mut tell = |line: &str| say(line);
    say("building straw and the tool that measures");
    let straw = binary::straw()?;
    let measure = binary::build("lab", "measure")?;
    provision::docker(&mut tell)?;
    let release = Release::V26_05;
    image::prepare(release, &mut tell)?;
    let cluster = Cluster::builder(release).start()?;
    // The client shares the controller's network, so that all goes over loopback.
    let options = ClientOptions::default()
        .straw(&straw)
        .network(ClientNetwork::Controller(0));
    let client = cluster.client(&options)?;
    let tool = std::fs::read(measure)?;
    client.put("/usr/local/bin/measure", tool, 0o755, "root")?;
    let token = cluster.token("alice", 3600)?;

    say(&format!("Slurm {}, {RUNS} runs each", cluster.version()));
    println!("| command | wall, median | CPU, median | peak memory |");
    println!("|---|---|---|---|");
    client.exec(["straw", "shim", "install", "sinfo"]).check()?;
    let fetch = ["straw", "-q", "fetch", "127.0.0.1", "-o"];
    let local = [
        "env",
        "SLURM_CONF=/tmp/known/slurm.conf",
        "/usr/bin/sinfo",
        "-h",
    ];
    let native = ["/usr/bin/sinfo", "-h"];
    let shim = ["/usr/local/bin/sinfo", "-h"];
    let rows: [(&str, Vec<&str>); 5] = [
        (
            "straw fetch (version unknown, nothing kept)",
            [&fetch[..4], &["--stdout", "slurm.conf"]].concat(),
        ),
        (
            "straw fetch (version known, files unchanged)",
            [&fetch[..], &["/tmp/known"]].concat(),
        ),
        ("sinfo with a local slurm.conf", local.to_vec()),
        ("sinfo through a warm shim", shim.to_vec()),
        ("sinfo with SLURM_CONF_SERVER", native.to_vec()),
    ];
    for (what, command) in rows {
        let cost = cost(&client, &token, &command)?;
        println!(
            "| {what} | {} ms | {} ms | {:.1} MiB |",
            cost["wall_ms"],
            cost["cpu_ms"],
            cost["peak_kib"].as_f64().unwrap_or_default() / 1024.0
        );
    }

    println!();
    println!("| {CALLS} calls of sinfo | RPCs to the controller |");
    println!("|---|---|");
    for (what, command) in [
        ("with a local slurm.conf", &local[..]),
        ("through a shim, from a cold store on", &shim),
        ("with SLURM_CONF_SERVER", &native),
    ] {
        let calls = calls(&cluster, &client, &token, command)?;
        println!("| {what} | {calls} |");
    }

    println!();
    println!(
        "| {REFRESHES} refreshes, an hour of --refresh 5s | CPU in all | peak memory | \
         room for descriptors | threads |"
    );
    println!("|---|---|---|---|---|");
    watches(&client, &token)?;
    let cost = cost_of(
        &client,
        &token,
        REFRESHES,
        &[&fetch[..], &["/tmp/known"]].concat(),
    )?;
    println!(
        "| as many runs of straw fetch | {:.2} s | {:.1} MiB | | |",
        cost["cpu_all_ms"].as_f64().unwrap_or_default() / 1000.0,
        cost["peak_kib"].as_f64().unwrap_or_default() / 1024.0
    );
    Ok(())
}

/// Refreshes of a watch: those of an hour with `--refresh 5s`.
const REFRESHES: &str = "720";

/// How often a watch refreshes here, so that the hour is over soon.
const INTERVAL: &str = "75ms";

/// The longest that its hour may take.
const HOUR: Duration = Duration::from_secs(180);

/// What a process has and had.
struct Figures {
    cpu_seconds: f64,
    peak_mib: f64,
    descriptors: usize,
    threads: usize,
}

/// A watch as it is, and one that adapts nothing, side by side.
fn watches(client: &Container, token: &str) -> Result {
    let mut watches = Vec::new();
    for (port, option) in [("9101", "--verbatim"), ("9102", "")] {
        let line = format!(
            "straw watch 127.0.0.1 -o /tmp/watch-{port} --refresh {INTERVAL} \
             --health 127.0.0.1:{port} {option}"
        );
        // One that left descriptors open would come to an end soon.
        let script =
            format!("ulimit -n 32; {line} </dev/null >/tmp/watch-{port}.log 2>&1 & echo $!");
        let start = client.exec(["sh", "-c", &script]).env("SLURM_JWT", token);
        let process = start.check()?.text();
        wait(client, port, 2)?;
        let before = figures(client, &process)?;
        watches.push((port, option, process, before));
    }
    for (port, option, process, before) in watches {
        wait(client, port, REFRESHES.parse()?)?;
        let after = figures(client, &process)?;
        client.exec(["kill", &process]).check()?;
        println!(
            "| straw watch {option} | {:.2} s | {:.1} MiB | {}, then {} | {}, then {} |",
            after.cpu_seconds,
            after.peak_mib,
            before.descriptors,
            after.descriptors,
            before.threads,
            after.threads,
        );
    }
    Ok(())
}

/// Waits until a watch has refreshed so often, as it says itself.
fn wait(client: &Container, port: &str, refreshes: u64) -> Result {
    let script = "exec 3<>/dev/tcp/127.0.0.1/$0 && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && \
                  cat <&3";
    let give_up = Instant::now() + HOUR;
    loop {
        let answer = client.exec(["bash", "-c", script, port]).run()?.text();
        let of = |line: &str| line.split_whitespace().last()?.parse::<u64>().ok();
        let done: u64 = answer
            .lines()
            .filter(|line| line.starts_with("straw_refreshes_total") && !line.contains("failed"))
            .filter_map(of)
            .sum();
        if done >= refreshes {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(format!("{done} of {refreshes} refreshes: {answer}").into());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// What the system says of a process. A straw keeps others from looking at the descriptors that it
/// has; how large the table of them has grown is for all to see.
fn figures(client: &Container, process: &str) -> Result<Figures> {
    let script = "cat /proc/$0/status && echo \"Ticks: $(cut -d' ' -f14,15 /proc/$0/stat)\" && \
                  echo \"Hertz: $(getconf CLK_TCK)\"";
    let told = client.exec(["sh", "-c", script, process]).check()?.text();
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
        cpu_seconds: numbers("Ticks:").iter().sum::<f64>() / number("Hertz:")?,
        peak_mib: number("VmHWM:")? / 1024.0,
        descriptors: number("FDSize:")? as usize,
        threads: number("Threads:")? as usize,
    })
}

/// Calls of which the controller's share is counted.
const CALLS: &str = "100";

/// What the controller counts while a command is run many times: `sdiag`'s messages by type.
fn calls(cluster: &Cluster, client: &Container, token: &str, command: &[&str]) -> Result<String> {
    let controller = cluster.controller(0);
    // What is kept is kept in the user's own place.
    client.exec(["sh", "-c", "rm -rf /tmp/straw-*"]).check()?;
    controller.exec(["sdiag", "--reset"]).check()?;
    let run = ["measure", CALLS]
        .into_iter()
        .chain(command.iter().copied());
    client
        .exec(run)
        .user("alice")
        .env("SLURM_JWT", token)
        .env("SLURM_CONF_SERVER", "127.0.0.1")
        .check()?;
    let counted = controller.exec(["sdiag"]).check()?.text();
    let types: Vec<String> = sdiag::of_commands(&counted)
        .into_iter()
        .map(|of| format!("{} {}", of.count, of.name))
        .collect();
    Ok(types.join(", "))
}

fn cost(client: &Container, token: &str, command: &[&str]) -> Result<Value> {
    cost_of(client, token, RUNS, command)
}

fn cost_of(client: &Container, token: &str, runs: &str, command: &[&str]) -> Result<Value> {
    let output = client
        .exec(["measure", runs].iter().chain(command).copied())
        .limit(HOUR)
        .env("SLURM_JWT", token)
        .env("SLURM_CONF_SERVER", "127.0.0.1")
        .check()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
