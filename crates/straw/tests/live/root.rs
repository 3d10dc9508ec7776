//! The program alone in an empty root: no libc, no resolver, no certificate, no `/etc/passwd`.

use lab::EmptyRoot;
use libtest_mimic::Failed;

use crate::clusters::{Clusters, expect, holds, program, same};

/// It runs there, as any user, resolves names, and fetches.
pub fn empty(clusters: &Clusters) -> Result<(), Failed> {
    let alone = EmptyRoot::of(&program())?;
    let output = expect(0, alone.run(["--version"])?)?;
    same(
        "version",
        output.text(),
        format!("straw {}", env!("CARGO_PKG_VERSION")),
    )?;

    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let root = alone
        .network(&cluster)
        .user("54321")
        .env("SLURM_JWT", &token);
    let output = expect(0, root.run(["fetch", "ctl1", "--stdout", "slurm.conf"])?)?;
    same(
        "slurm.conf",
        output.stdout,
        cluster.controller_file("slurm.conf")?,
    )?;
    let denied = expect(9, root.run(["fetch", "ctl1", "-o", "/etc/slurm"])?)?;
    holds(&denied.error_text(), &["permission denied"])?;
    let output = root
        .user("0")
        .run(["fetch", "ctl1", "-o", "/a/b", "--json"])?;
    holds(&expect(0, output)?.text(), &["\"written\""])
}
