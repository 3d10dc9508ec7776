//! What straw costs, beside Slurm's own way to be configless, in one run on one cluster.

use lab::{ClientNetwork, ClientOptions, Cluster, Container, Release, image, provision};
use serde_json::Value;

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
    Ok(())
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
    let by_type = counted
        .lines()
        .skip_while(|line| !line.contains("statistics by message type"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty());
    let mut types = Vec::new();
    for line in by_type {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let count = line
            .split("count:")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        // sdiag's own, and what nodes send.
        let by_users = [
            "REQUEST_STATS",
            "REQUEST_NODE_REG",
            "MESSAGE_NODE_REG",
            "REQUEST_PING",
        ];
        if let Some(count) = count
            && !by_users.iter().any(|other| name.starts_with(other))
        {
            types.push(format!("{count} {name}"));
        }
    }
    Ok(types.join(", "))
}

fn cost(client: &Container, token: &str, command: &[&str]) -> Result<Value> {
    let output = client
        .exec(["measure", RUNS].iter().chain(command).copied())
        .env("SLURM_JWT", token)
        .env("SLURM_CONF_SERVER", "127.0.0.1")
        .check()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
