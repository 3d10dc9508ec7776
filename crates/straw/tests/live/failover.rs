//! The night the controller fails.

use std::time::{Duration, Instant};

use lab::{Cluster, Container, Release};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, straw};
use crate::doctor::finds;

/// The longest that a backup of the lab may take to take over. Half a minute is what it takes where
/// nothing else runs.
const TAKE_OVER: Duration = Duration::from_secs(180);

/// A cluster with a backup, of which straw is shown that it stands by.
fn with_backup(clusters: &Clusters) -> Result<(Cluster, Container, String), Failed> {
    let cluster = Cluster::builder(clusters.release).backup(true).start()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let standby = expect(3, straw(&client, &token, "fetch ctl2").run()?)?;
    holds(&standby.error_text(), &["standby", "name the primary"])?;
    finds(&client, &token, "ctl2", 3, &["; standby: "])?;
    finds(
        &client,
        &token,
        "ctl2,ctl1",
        0,
        &["; standby", "; in charge"],
    )?;
    let ping = straw(&client, &token, "ping ctl2 ctl1").run()?;
    holds(&expect(0, ping)?.text(), &["standby", "in charge"])?;
    let handed_over = straw(&client, &token, "fetch -v ctl2 ctl1 -o /tmp/primary").run()?;
    holds(
        &expect(0, handed_over)?.error_text(),
        &[
            "ctl2:6817: the controller is a backup in standby",
            "configuration of ctl1",
        ],
    )?;
    Ok((cluster, client, token))
}

/// What straw says that waits until a controller is in charge.
fn until_in_charge(
    cluster: &Cluster,
    client: &Container,
    token: &str,
    fetch: &str,
) -> Result<String, Failed> {
    let waiting = format!("{fetch} --wait {}s", TAKE_OVER.as_secs());
    // Longer than straw waits, so that it is straw who says what it has met.
    let waiting = straw(client, token, &waiting).limit(TAKE_OVER + Duration::from_secs(60));
    let output = waiting.run()?;
    if output.success() {
        return Ok(output.error_text());
    }
    let log = cluster.controller_log(1)?;
    Err(format!("nobody is in charge: {output}\n--- ctl2's log:\n{log}").into())
}

/// Both controllers are named, the primary is gone: the backup's answer comes in bounded time.
fn backup_answers(
    cluster: &Cluster,
    client: &Container,
    token: &str,
    primary: &str,
) -> Result<(), Failed> {
    // Before the backup has taken over, --wait bridges the time.
    let first = format!("fetch {primary},ctl2 -o /tmp/backup");
    let said = until_in_charge(cluster, client, token, &first)?;
    holds(&said, &["configuration of ctl2:6817"])?;
    let original = cluster.controller(1).get("/etc/slurm/slurm.conf")?;
    if client.get("/tmp/backup/slurm.conf")? != original {
        return Err("slurm.conf is not what the backup has".into());
    }
    // And after that the default time is enough, dead primary and all.
    let then = format!("fetch {primary},ctl2 -o /tmp/again");
    let begin = Instant::now();
    expect(0, straw(client, token, &then).run()?)?;
    if begin.elapsed() > Duration::from_secs(30) {
        return Err(format!("it took {:?}", begin.elapsed()).into());
    }
    Ok(())
}

/// slurmctld is stopped on the primary: connections are refused.
pub fn primary_stopped(clusters: &Clusters) -> Result<(), Failed> {
    let (cluster, client, token) = with_backup(clusters)?;
    cluster.stop(0)?;
    let alone = straw(&client, &token, "fetch ctl1").run()?;
    holds(&expect(3, alone)?.error_text(), &["connection refused"])?;
    backup_answers(&cluster, &client, &token, "ctl1")
}

/// The primary hangs: connections are accepted, and nothing answers.
pub fn primary_paused(clusters: &Clusters) -> Result<(), Failed> {
    let (cluster, client, token) = with_backup(clusters)?;
    cluster.pause(0)?;
    let alone = straw(&client, &token, "fetch ctl1 --timeout 2s").run()?;
    holds(&expect(3, alone)?.error_text(), &["did not answer in time"])?;
    backup_answers(&cluster, &client, &token, "ctl1")
}

/// The primary's network is gone, and comes back: nothing answers at its address meanwhile. The
/// backups of 24.11 and later do not take over then, because they see the primary's heartbeat on
/// the disk that both share.
pub fn primary_cut_off(clusters: &Clusters) -> Result<(), Failed> {
    let (cluster, client, token) = with_backup(clusters)?;
    let primary = cluster.controller_ip(0).to_owned();
    cluster.cut_off(0)?;
    let alone = straw(&client, &token, &format!("fetch {primary} --timeout 2s")).run()?;
    holds(&expect(3, alone)?.error_text(), &[&primary])?;
    let parts = [&format!("✗ {primary}:6817 {primary}:")[..], "– configless"];
    finds(
        &client,
        &token,
        &format!("{primary} --timeout 2s"),
        3,
        &parts,
    )?;
    let both = format!("fetch {primary},ctl2 -o /tmp/both");
    let meanwhile = straw(&client, &token, &both).run()?;
    // Only the backup of 22.05 may have taken over by now.
    if clusters.release != Release::V22_05 {
        let said = expect(3, meanwhile)?.error_text();
        holds(&said, &["any of 2 controllers", &primary, "standby"])?;
    }
    cluster.reconnect(0)?;
    let said = until_in_charge(&cluster, &client, &token, &both)?;
    holds(&said, &["configuration of "])
}
