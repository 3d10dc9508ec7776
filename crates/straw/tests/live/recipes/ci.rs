//! Runners of GitLab and GitHub that submit jobs.

use std::{fs, thread};

use lab::{ClientOptions, Cluster, Container, Output};
use libtest_mimic::Failed;

use super::{folder, image};
use crate::clusters::{Clusters, PATIENCE, expect, holds, lacks, same, until};

/// The number of alice, who has the files, the token and the jobs.
const ALICE: &str = "2001";

/// Where the runner has checked out the project.
const PROJECT: &str = "/builds/project";

/// Where it puts a variable of type File.
const VARIABLE: &str = "/builds/project.tmp/SLURM_JWT_FILE";

/// Another secret of the pipeline.
const SECRET: &str = "nobody-else-may-read-this";

/// `examples/ci`: the line that both services run shows what the Slurm job wrote, and ends as it
/// ended. No secret goes with the job, and a pipeline that is cancelled leaves none behind.
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

    // That no secret is in the log is seen by `run`.
    let job = "#!/bin/sh\necho here it is:\nenv\n";
    runner.put(&format!("{PROJECT}/ci/test.job"), job, 0o644, ALICE)?;
    let environment = run(&runner, &lines[0], ("SLURM_JWT_FILE", VARIABLE), 0, &token)?;
    holds(&environment, &["here it is:", "SLURM_JOB_ID="])?;
    lacks(&environment, &["SLURM_JWT", "DEPLOY_KEY"])?;

    let job = "#!/bin/sh\nexec sleep 600\n";
    runner.put(&format!("{PROJECT}/ci/test.job"), job, 0o644, ALICE)?;
    cancelled(&cluster, &runner, &lines[0], "RUNNING", &token)?;
    let held = format!("{} --hold", lines[0]);
    cancelled(&cluster, &runner, &held, "PENDING", &token)?;
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
    let run = run.workdir(PROJECT).env("DEPLOY_KEY", SECRET);
    let said = expect(status, run.env(variable, value).limit(PATIENCE).run()?)?;
    let log = format!("{}\n{}", said.text(), said.error_text());
    lacks(&log, &[token, SECRET])?;
    Ok(log)
}

/// Ends the line as a service does when its job is in this state. The job is cancelled.
fn cancelled(
    cluster: &Cluster,
    runner: &Container,
    line: &str,
    state: &str,
    token: &str,
) -> Result<(), Failed> {
    let line = format!("echo $$ > /tmp/pid && exec {line}");
    let jobs = |format: &str, states: &str| -> Result<Output, Failed> {
        let line = ["squeue", "-h", "-u", "alice", "-o", format, "-t", states];
        Ok(cluster.controller(0).exec(line).run()?)
    };
    thread::scope(|scope| {
        let ends = scope.spawn(|| run(runner, &line, ("SLURM_JWT", token), 128 + 15, token));
        let there = |said: &Output| said.text() == state;
        until("the job", || jobs("%T", "PENDING,RUNNING"), there)?;
        let job = jobs("%i", "PENDING,RUNNING")?.text();
        let kill = "kill -TERM $(cat /tmp/pid)";
        runner.exec(["sh", "-c", kill]).user(ALICE).check()?;
        ends.join().expect("it does not panic")?;
        let asked = ["squeue", "-h", "-t", "all", "-o", "%T", "-j", &job];
        let end = || Ok(cluster.controller(0).exec(asked).run()?);
        until("the end", end, |said| said.text() == "CANCELLED").map(drop)
    })
}
