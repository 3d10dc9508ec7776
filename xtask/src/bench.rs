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
    let fetch = ["straw", "-q", "fetch", "127.0.0.1", "-o"];
    let rows: [(&str, Vec<&str>); 4] = [
        (
            "straw fetch (version unknown, nothing kept)",
            [&fetch[..4], &["--stdout", "slurm.conf"]].concat(),
        ),
        (
            "straw fetch (version known, files unchanged)",
            [&fetch[..], &["/tmp/known"]].concat(),
        ),
        ("sinfo with SLURM_CONF_SERVER", vec!["sinfo", "-h"]),
        (
            "sinfo with the files that straw fetched",
            vec!["env", "SLURM_CONF=/tmp/known/slurm.conf", "sinfo", "-h"],
        ),
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
    Ok(())
}

fn cost(client: &Container, token: &str, command: &[&str]) -> Result<Value> {
    let output = client
        .exec(["measure", RUNS].iter().chain(command).copied())
        .env("SLURM_JWT", token)
        .env("SLURM_CONF_SERVER", "127.0.0.1")
        .check()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
