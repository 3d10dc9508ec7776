//! Images of Docker's.

use std::time::Duration;

use libtest_mimic::Failed;

use super::{TokenDirectory, USER, image, keeps_out};
use crate::clusters::{Clusters, expect, holds, same, until};

/// `examples/docker-shims`: Slurm's commands work in a container of the image, for its user.
pub fn shims(clusters: &Clusters) -> Result<(), Failed> {
    keeps_out("docker-shims", &["jwt/new", "jwt/token"])?;
    let image = image("docker-shims", clusters.release)?;
    let cluster = clusters.shared()?;
    let directory = TokenDirectory::new(&cluster, "jwt-shims")?;
    directory.put(&cluster.token("alice", 600)?)?;
    let options = directory
        .mounted(&image)
        .env("SLURM_CONF_SERVER", "ctl1")
        .env("STRAW_TOKEN_FILE", "/run/jwt/token");
    let command = ["sinfo", "-h", "-o", "%n"];
    let first = cluster.first_process(&options, command)?.run("")?;
    same("sinfo", expect(0, first)?.text().as_str(), "node1")?;

    let client = cluster.client(&options)?;
    let said = |line: &[&str]| -> Result<String, Failed> {
        Ok(expect(0, client.exec(line.iter().copied()).run()?)?.text())
    };
    same("user", said(&["id", "-u"])?.as_str(), USER)?;
    let submit = ["sbatch", "--parsable", "--hold", "--chdir=/tmp"];
    let options = [
        "--export-file=/dev/null",
        "--output=/dev/null",
        "--wrap=true",
    ];
    let job = said(&[&submit[..], &options].concat())?;
    let queue = said(&["squeue", "-h", "-j", &job, "-o", "%i %T"])?;
    same("squeue", queue, format!("{job} PENDING"))?;
    // It is the token's user who has the job, whatever number the container's has.
    let asked = cluster.controller(0);
    let asked = asked.exec(["squeue", "-h", "-j", &job, "-o", "%u"]);
    same("whose", asked.check()?.text().as_str(), "alice")?;
    said(&["scancel", &job]).map(drop)
}

/// `examples/docker-entrypoint`: a command in the place of the dashboard ends as it ends, the
/// dashboard ends when it is told to, and without a token neither begins.
pub fn entrypoint(clusters: &Clusters) -> Result<(), Failed> {
    keeps_out("docker-entrypoint", &["jwt/new", "jwt/token"])?;
    let image = image("docker-entrypoint", clusters.release)?;
    let cluster = clusters.shared()?;
    let directory = TokenDirectory::new(&cluster, "jwt-entrypoint")?;
    let options = directory.mounted(&image).env("SLURM_CONF_SERVER", "ctl1");
    let line = ["sh", "-c", "sinfo -h -o %n; exit 7"];
    let command = cluster.first_process(&options, line)?;
    let none = expect(4, command.run("")?)?;
    holds(&none.error_text(), &["/run/jwt/token"])?;
    same("before", none.text().as_str(), "")?;

    directory.put(&cluster.token("alice", 600)?)?;
    let said = expect(7, command.run("")?)?;
    same("sinfo", said.text().as_str(), "node1")?;

    let dashboard = cluster.first_process(&options, [] as [&str; 0])?;
    dashboard.start()?;
    let shown = |said: &lab::Output| said.text().contains("JOBID");
    until("the dashboard", || Ok(dashboard.said()?), shown)?;
    let took = dashboard.stop()?;
    if took > Duration::from_secs(5) {
        return Err(format!("`docker stop` took {took:?}").into());
    }
    let said = expect(128 + 15, dashboard.said()?)?;
    holds(&said.text(), &["node1"])
}
