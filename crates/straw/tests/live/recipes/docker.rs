//! Images of Docker's.

use lab::ClientOptions;
use libtest_mimic::Failed;

use super::image;
use crate::clusters::{Clusters, expect, same};

/// `examples/docker-shims`: Slurm's commands work in a container of the image.
pub fn shims(clusters: &Clusters) -> Result<(), Failed> {
    let image = image("docker-shims", clusters.release)?;
    let cluster = clusters.shared()?;
    let options = ClientOptions::default()
        .image(image.name())
        .env("SLURM_CONF_SERVER", "ctl1")
        .env("SLURM_JWT", &cluster.token("alice", 600)?);
    let command = ["sinfo", "-h", "-o", "%n"];
    let first = cluster.first_process(&options, command)?.run("")?;
    same("sinfo", expect(0, first)?.text().as_str(), "node1")
}
