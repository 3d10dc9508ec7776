//! Slurm's own commands on what straw fetched.

use std::time::{Duration, Instant};

use lab::{Cluster, Container};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, same, straw};

/// A container with only Slurm's client package becomes a client: commands answer, a job runs.
pub fn commands_and_a_job(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    for daemon in [
        "/etc/slurm/slurm.conf",
        "/etc/munge/munge.key",
        "/usr/sbin/slurmd",
    ] {
        expect(1, client.exec(["test", "-e", daemon]).run()?)?;
    }
    let token = cluster.token("alice", 600)?;
    expect(0, straw(&client, &token, "fetch ctl1 -o /etc/slurm").run()?)?;
    work_for_alice(&cluster, &client, &token)
}

/// With a token of hers and the files in `/etc/slurm`, alice is shown the node and runs a job on it.
pub fn work_for_alice(cluster: &Cluster, client: &Container, token: &str) -> Result<(), Failed> {
    let run = |command: &[&str]| {
        client
            .exec(command.iter().copied())
            .user("alice")
            .env("SLURM_JWT", token)
            .run()
    };
    let nodes = expect(0, run(&["sinfo", "-h", "-o", "%n %P"])?)?;
    same("sinfo", nodes.text().as_str(), "node1 main*")?;
    let submitted = expect(
        0,
        run(&[
            "sbatch",
            "--parsable",
            "--chdir=/tmp",
            "--output=/tmp/straw-%j",
            "--wrap=echo job of $(id -un) on $SLURMD_NODENAME",
        ])?,
    )?;
    let job = submitted.text();
    let queue = expect(
        0,
        run(&["squeue", "-h", "-j", &job, "-o", "%i", "-t", "all"])?,
    )?;
    same("squeue", queue.text(), job.clone())?;

    let output = format!("/tmp/straw-{job}");
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let state = expect(
            0,
            run(&["squeue", "-h", "-j", &job, "-o", "%T", "-t", "all"])?,
        )?;
        match state.text().as_str() {
            "COMPLETED" => break,
            state if Instant::now() > give_up => return Err(format!("job {state}").into()),
            "FAILED" => return Err("the job failed".into()),
            _ => {}
        }
    }
    let said = cluster.node().get(&output)?;
    holds(&String::from_utf8_lossy(&said), &["job of alice on node1"])
}
