//! An exporter for Prometheus.

use std::time::Instant;

use lab::{Cluster, Container, FirstProcess, Output};
use libtest_mimic::Failed;
use serde_json::json;

use super::{TokenDirectory, USER, image, keeps_out};
use crate::clusters::{Clusters, expect, holds, lacks, now, same, until};

/// What Prometheus does, which gives up as prometheus.yml says (`scrape_timeout`).
const SCRAPE: &str = "import urllib.request as web
print(web.urlopen('http://127.0.0.1:9341/metrics', timeout=30).read().decode())";

/// Sixty that ask at once.
const CROWD: &str = "from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen
with ThreadPoolExecutor(60) as crowd:
    ask = lambda _: urlopen('http://127.0.0.1:9341/metrics', timeout=30).read()
    print(sum(b'slurm_up 1.0' in said for said in crowd.map(ask, range(60))))";

/// A place for commands that come before Slurm's.
const PATH: &str = "/run/before:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scripts there: one that notes its call, one that is slow, and one that never ends.
const NOTING: &str = "#!/bin/sh
echo ${0##*/} >> /tmp/calls
PATH=${PATH#*:} exec ${0##*/} \"$@\"
";
const SLOW: &str = "#!/bin/sh
sleep 15
PATH=${PATH#*:} exec ${0##*/} \"$@\"
";
const HANGING: &str = "#!/bin/sh
exec sleep 600
";

/// The set that the exporter's commands read.
const KEPT: &str = "cat /tmp/straw-1000/*/slurm.conf";

/// `examples/prometheus`: the metrics are the cluster's, with another token and another
/// configuration too, and where the token is of no use there are none.
pub fn exporter(clusters: &Clusters) -> Result<(), Failed> {
    keeps_out("prometheus", &["jwt/new", "jwt/token"])?;
    let image = image("prometheus", clusters.release)?;
    let cluster = Cluster::builder(clusters.release)
        .line("PartitionName=second Nodes=node1")
        .start()?;
    let directory = TokenDirectory::new(&cluster, "jwt")?;
    directory.put(&cluster.token("exporter", 600)?)?;
    let options = directory
        .mounted(&image)
        .env("SLURM_CONF_SERVER", "ctl1")
        .env("PATH", PATH)
        .env("STRAW_MAX_AGE", "1s");
    let exporter = cluster.first_process(&options, [] as [&str; 0])?;
    exporter.start()?;
    let scrape = || scrape(exporter.container());
    let begin = until("the exporter", scrape, Output::success)?.text();
    let idle = "slurm_cpus{partition=\"main\",state=\"idle\"} 4.0";
    let nodes = "slurm_nodes{partition=\"main\",state=\"idle\"} 1.0";
    holds(&begin, &["slurm_up 1.0", idle, nodes])?;
    lacks(&begin, &["slurm_jobs{"])?;

    let running = submit(&cluster, &["--wrap=sleep 600"])?;
    let running = ["squeue", "-h", "-o", "%T", "-j", &running];
    let state = || Ok(cluster.controller(0).exec(running).run()?);
    until("the job", state, |said| said.text() == "RUNNING")?;
    submit(&cluster, &["--hold", "--array=1-3", "--wrap=true"])?;
    let both = "--partition=main,second";
    submit(&cluster, &["--hold", both, "--wrap=true"])?;
    let now_there = [
        "slurm_up 1.0",
        "slurm_jobs{partition=\"main\",state=\"pending\"} 4.0",
        "slurm_jobs{partition=\"second\",state=\"pending\"} 1.0",
        "slurm_jobs{partition=\"main\",state=\"running\"} 1.0",
        "slurm_cpus{partition=\"main\",state=\"allocated\"} 1.0",
        "slurm_cpus{partition=\"main\",state=\"idle\"} 3.0",
        "slurm_nodes{partition=\"main\",state=\"mixed\"} 1.0",
    ];
    // An answer is good for some seconds.
    let all = |said: &Output| holds(&said.text(), &now_there).is_ok();
    until("the jobs", scrape, all)?;
    crowd(exporter.container())?;
    hanging(exporter.container())?;

    let expired = cluster.sign(&json!({"exp": now() - 60, "iat": 0, "sun": "exporter"}));
    directory.put(&expired)?;
    let down = |said: &Output| said.text().contains("slurm_up 0.0");
    let refused = until("the bad token", scrape, down)?.text();
    lacks(&refused, &["slurm_jobs", "slurm_nodes"])?;
    directory.put(&cluster.token("exporter", 600)?)?;
    until("the good token", scrape, all)?;

    let mut slurm_conf = cluster.controller_file("slurm.conf")?;
    slurm_conf.extend(b"PartitionName=other Nodes=node1\n");
    cluster.write_controller_file("slurm.conf", &slurm_conf)?;
    cluster.reconfigure()?;
    let other = "slurm_nodes{partition=\"other\",state=\"mixed\"} 1.0";
    let there = |said: &Output| said.text().contains(other);
    let said = until("the new partition", scrape, there)?;
    holds(&said.text(), &now_there)?;
    // What was fetched less than a second before is still good.
    let kept = || {
        expect(0, scrape()?)?;
        Ok(exporter.container().exec(["sh", "-c", KEPT]).run()?)
    };
    let new = |said: &Output| said.text().contains("PartitionName=other");
    until("the new configuration", kept, new)?;
    stops(&exporter, &expired)
}

fn scrape(exporter: &Container) -> Result<Output, Failed> {
    Ok(exporter.exec(["python3", "-c", SCRAPE]).run()?)
}

/// However many ask, the cluster is asked once, and again when the answer is five seconds old.
fn crowd(exporter: &Container) -> Result<(), Failed> {
    for command in ["squeue", "sinfo"] {
        exporter.put(&format!("/run/before/{command}"), NOTING, 0o755, USER)?;
    }
    // The answer of before may be good for all of them.
    let asked = || {
        let answered = exporter.exec(["python3", "-c", CROWD]).check()?;
        same("answers", answered.text().as_str(), "60")?;
        Ok(exporter.exec(["sh", "-c", "cat /tmp/calls || :"]).run()?)
    };
    let began = Instant::now();
    let calls = until("the calls", asked, |said| !said.text().is_empty())?;
    let calls = calls.text().lines().count();
    // Two commands each time. Some of the sixty come late, since few can wait to be let in.
    let most = 2 * (began.elapsed().as_secs() / 5 + 1);
    if calls as u64 > most {
        return Err(format!("{calls} commands for 60 who ask at once, not {most}").into());
    }
    Ok(())
}

/// Slurm is slow, then does not answer at all: Prometheus hears of it.
fn hanging(exporter: &Container) -> Result<(), Failed> {
    exporter.put("/run/before/squeue", SLOW, 0o755, USER)?;
    exporter.put("/run/before/sinfo", HANGING, 0o755, USER)?;
    // One that Prometheus has given up has failed.
    let down = |said: &Output| said.status != 0 || said.text().contains("slurm_up 0.0");
    let said = until("a cluster that hangs", || scrape(exporter), down)?;
    expect(0, said)?;
    let remove = ["rm", "-r", "/run/before"];
    exporter.exec(remove).user("0").check()?;
    let up = |said: &Output| said.text().contains("slurm_up 1.0");
    until("an answer again", || scrape(exporter), up).map(drop)
}

/// A job of alice's, as she submits it on the cluster.
fn submit(cluster: &Cluster, options: &[&str]) -> Result<String, Failed> {
    let quiet = ["sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null"];
    let line = [&quiet[..], options].concat();
    let submitted = cluster.controller(0).exec(line).user("alice").check()?;
    Ok(submitted.text())
}

/// It ends when it is told to, and has said of the bad token what straw says, and not the token.
fn stops(exporter: &FirstProcess, token: &str) -> Result<(), Failed> {
    exporter.stop()?;
    let said = expect(0, exporter.said()?)?;
    let log = said.error_text();
    holds(&log, &["(of exporter) expired", "status 4"])?;
    lacks(&log, &[token])?;
    same("stdout", said.text().as_str(), "")
}
