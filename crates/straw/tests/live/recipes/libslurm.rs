//! A program that is linked with libslurm.

use libtest_mimic::Failed;

use super::{TokenDirectory, image, keeps_out};
use crate::clusters::{Clusters, expect, holds, same};

/// `examples/libslurm`: the program finds the cluster, and without straw it does not.
pub fn program(clusters: &Clusters) -> Result<(), Failed> {
    keeps_out("libslurm", &["jwt/new", "jwt/token"])?;
    let image = image("libslurm", clusters.release)?;
    let cluster = clusters.shared()?;
    let directory = TokenDirectory::new(&cluster, "jwt-libslurm")?;
    directory.put(&cluster.token("alice", 600)?)?;
    let options = directory.mounted(&image).env("STRAW_SERVERS", "ctl1");
    let nodes = cluster.first_process(&options, [] as [&str; 0])?;
    let said = expect(0, nodes.run("")?)?;
    same("nodes", said.text().as_str(), "node1 4")?;

    let without = ["env", "--unset=SLURM_CONF", "nodes"];
    let without = cluster.first_process(&options, without)?.run("")?;
    holds(&expect(1, without)?.error_text(), &["configuration source"])
}
