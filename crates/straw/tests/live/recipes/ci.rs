//! Runners of GitLab and GitHub that submit jobs.

use std::fs;

use lab::{ClientOptions, Cluster, Container};
use libtest_mimic::Failed;

use super::{folder, image};
use crate::clusters::{Clusters, expect, holds, lacks, same};

/// The number of alice, who has the files, the token and the jobs.
const ALICE: &str = "2001";

/// Where the runner has checked out the project.
const PROJECT: &str = "/builds/project";

/// Where it puts a variable of type File.
const VARIABLE: &str = "/builds/project.tmp/SLURM_JWT_FILE";

/// `examples/ci`: the line that both services run shows what the Slurm job wrote, and ends as it ended.
pub fn jobs(clusters: &Clusters) -> Result<(), Failed> {
    let image = image("docker-shims", clusters.release)?;
    let cluster = Cluster::builder(clusters.release).home(true).start()?;
    let options = ClientOptions::default()
        .image(image.name())
        .volume("home", "/home", false)
        .env("SLURM_CONF_SERVER", "ctl1")
        .env("SLURM_SHARED", "/home/alice");
    let runner = cluster.client(&options)?;
    for file in ["submit.sh", "test.job"] {
        let path = format!("{PROJECT}/ci/{file}");
        runner.put(&path, fs::read(folder("ci").join(file))?, 0o644, ALICE)?;
    }
    let token = cluster.token("alice", 600)?;
    // With umask 0, as runners of GitLab with Docker write it.
    runner.put(VARIABLE, token.as_str(), 0o666, ALICE)?;

    let mut lines = Vec::new();
    for (definition, variable, value) in [
        ("gitlab-ci.yml", "SLURM_JWT_FILE", VARIABLE),
        ("github-workflow.yml", "SLURM_JWT", &token),
    ] {
        let line = line(definition)?;
        let good = run(&runner, &line, (variable, value), 0, &token)?;
        holds(&good, &["on node1, as alice"])?;
        lines.push(line);
    }
    same("the lines", &lines[0], &lines[1])?;
    let job = "#!/bin/sh\necho it went wrong\nexit 3\n";
    runner.put(&format!("{PROJECT}/ci/test.job"), job, 0o644, ALICE)?;
    let bad = run(&runner, &lines[0], ("SLURM_JWT", &token), 3, &token)?;
    holds(&bad, &["it went wrong"])?;
    // Nothing is left where the nodes can see it.
    let left = runner.exec(["ls", "-A", "/home/alice"]).user("0");
    lacks(&left.check()?.text(), &["job-"])
}

/// The line of a definition that submits.
fn line(definition: &str) -> Result<String, Failed> {
    let text = fs::read_to_string(folder("ci").join(definition))?;
    let mut lines = text.lines().map(str::trim);
    lines
        .find_map(|line| {
            let line = line.strip_prefix("- ").or(line.strip_prefix("run: "))?;
            line.contains("submit.sh").then(|| line.to_owned())
        })
        .ok_or_else(|| format!("{definition} submits nothing").into())
}

/// Runs it as a runner does, and returns what goes into the service's log.
fn run(
    runner: &Container,
    line: &str,
    (variable, value): (&str, &str),
    status: i32,
    token: &str,
) -> Result<String, Failed> {
    let run = runner.exec(["sh", "-e", "-c", line]).user(ALICE);
    let said = expect(status, run.workdir(PROJECT).env(variable, value).run()?)?;
    let log = format!("{}\n{}", said.text(), said.error_text());
    lacks(&log, &[token])?;
    Ok(log)
}
