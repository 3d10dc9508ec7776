//! A sidecar in a compose file.

use lab::{BuiltImage, Compose, LabError};
use libtest_mimic::Failed;

use super::{folder, image, keeps_out};
use crate::clusters::{Clusters, expect, holds, lacks, program, same, until};

/// Slurm's command, as the application calls it.
const SINFO: &str = "SLURM_JWT=$(cat /run/secrets/slurm-jwt) sinfo --noheader --format='%n %P'";

/// `examples/compose`: an application without straw has the configuration that straw keeps fresh
/// beside it, and cannot change it.
pub fn sidecar(clusters: &Clusters) -> Result<(), Failed> {
    let compose = match Compose::new(&folder("compose")) {
        Err(LabError::Unavailable(why)) if !lab::provision::in_ci() => {
            eprintln!("skipped: {why}");
            return Ok(());
        }
        compose => compose?,
    };
    keeps_out("compose", &[".env", "slurm-jwt", "slurm-jwt.new"])?;
    let straw = BuiltImage::straw(&program())?;
    let app = image("compose", clusters.release)?;
    let cluster = clusters.shared()?;
    let uid = Compose::user();
    let compose = compose
        .image("app", app.name())
        .env("STRAW", straw.name())
        .env("SLURM_CONF_SERVER", "ctl1")
        .env("SLURM_UID", &uid.to_string())
        .secret("SLURM_JWT_FILE", &cluster.token("alice", 600)?, uid)?
        .up(&cluster)?;
    let shown = |said: &lab::Output| said.text().contains("JOBID");
    until(
        "the application",
        || Ok(compose.run(["logs", "app"])?),
        shown,
    )?;

    let app = |script: &str| compose.run(["exec", "-T", "app", "sh", "-c", script]);
    let said = expect(0, app(SINFO)?)?;
    same("sinfo", said.text().as_str(), "node1 main*")?;
    let said = expect(
        0,
        app("id -u && ! touch /slurm/mine && ! command -v straw")?,
    )?;
    same("user", said.text(), uid.to_string())?;
    holds(&said.error_text(), &["Read-only file system"])?;

    let said = compose.run(["logs", "slurm-conf"])?;
    holds(&said.text(), &["new configuration of ctl1:6817"])?;
    lacks(&said.text(), &["warning"])
}
