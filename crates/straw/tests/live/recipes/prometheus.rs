//! An exporter for Prometheus.

use lab::{Cluster, Container, FirstProcess, Output};
use libtest_mimic::Failed;
use serde_json::json;

use super::{TokenDirectory, image};
use crate::clusters::{Clusters, expect, holds, lacks, now, same, until};

/// What Prometheus does.
const SCRAPE: &str = "import urllib.request as web
print(web.urlopen('http://127.0.0.1:9341/metrics').read().decode())";

/// The set that the exporter's commands read.
const KEPT: &str = "cat /tmp/straw-1000/*/slurm.conf";

/// `examples/prometheus`: the metrics are the cluster's, with another token and another
/// configuration too, and where the token is of no use there are none.
pub fn exporter(clusters: &Clusters) -> Result<(), Failed> {
    let image = image("prometheus", clusters.release)?;
    let cluster = Cluster::builder(clusters.release).start()?;
    let directory = TokenDirectory::new(&cluster, "jwt")?;
    directory.put(&cluster.token("exporter", 600)?)?;
    let options = directory
        .mounted(&image)
        .env("SLURM_CONF_SERVER", "ctl1")
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
    let now_there = [
        "slurm_up 1.0",
        "slurm_jobs{partition=\"main\",state=\"pending\"} 3.0",
        "slurm_jobs{partition=\"main\",state=\"running\"} 1.0",
        "slurm_cpus{partition=\"main\",state=\"allocated\"} 1.0",
        "slurm_cpus{partition=\"main\",state=\"idle\"} 3.0",
        "slurm_nodes{partition=\"main\",state=\"mixed\"} 1.0",
    ];
    holds(&expect(0, scrape()?)?.text(), &now_there)?;

    let expired = cluster.sign(&json!({"exp": now() - 60, "iat": 0, "sun": "exporter"}));
    directory.put(&expired)?;
    let refused = expect(0, scrape()?)?.text();
    holds(&refused, &["slurm_up 0.0"])?;
    lacks(&refused, &["slurm_jobs", "slurm_nodes"])?;
    directory.put(&cluster.token("exporter", 600)?)?;
    holds(&expect(0, scrape()?)?.text(), &now_there)?;

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
