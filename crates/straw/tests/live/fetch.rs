//! Which files come out, of whom, and where they land.

use libtest_mimic::Failed;
use serde_json::Value;

use lab::{Cluster, Release};

use crate::clusters::{Clusters, client, expect, holds, same, same_set, straw, with_straw};
use crate::doctor::finds;

/// An ordinary user's token gets the client set, byte for byte what the controller has.
pub fn client_set(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    expect(0, straw(&client, &token, "fetch ctl1 -o /etc/slurm").run()?)?;
    for name in ["slurm.conf", "partitions.conf", "plugstack.conf"] {
        let fetched = client.get(&format!("/etc/slurm/{name}"))?;
        let original = cluster.controller_file(name)?;
        if fetched != original {
            return Err(format!("{name} is not what the controller has").into());
        }
    }
    let listed = client
        .exec([
            "stat",
            "-c",
            "%n %a",
            "slurm.conf",
            "partitions.conf",
            "plugstack.conf",
        ])
        .workdir("/etc/slurm")
        .check()?
        .text();
    same(
        "modes",
        listed.as_str(),
        "slurm.conf 644\npartitions.conf 644\nplugstack.conf 644",
    )?;
    // Nothing but straw's own notes beside them (Debian's package has a directory there).
    let listed = client
        .exec(["sh", "-c", "ls -A /etc/slurm | grep -v plugstack.conf.d"])
        .check()?;
    same(
        "files",
        listed.text().as_str(),
        ".straw.json\npartitions.conf\nplugstack.conf\nslurm.conf",
    )
}

/// The slurmd set is refused to an ordinary user and given to root, scripts executable.
pub fn slurmd_set(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let arguments = "fetch ctl1 --files slurmd -o /tmp/slurmd";

    let alice = cluster.token("alice", 600)?;
    let refused = expect(6, straw(&client, &alice, arguments).run()?)?;
    holds(
        &refused.error_text(),
        &["ESLURM_USER_ID_MISSING, error 2010", "the token is alice's"],
    )?;
    expect(1, client.exec(["test", "-e", "/tmp/slurmd"]).run()?)?;

    let root = cluster.token("root", 600)?;
    expect(0, straw(&client, &root, arguments).run()?)?;
    let original = cluster.controller_file("slurm.conf")?;
    same(
        "slurm.conf",
        client.get("/tmp/slurmd/slurm.conf")?,
        original,
    )?;
    if clusters.sends_scripts() {
        let script = client
            .exec(["stat", "-c", "%a", "/tmp/slurmd/prolog.sh"])
            .check()?;
        same("mode of the prolog", script.text().as_str(), "755")?;
        let original = cluster.controller_file("prolog.sh")?;
        same("prolog.sh", client.get("/tmp/slurmd/prolog.sh")?, original)?;
    }
    Ok(())
}

/// A changed file arrives, and one that is no longer there goes; what is not straw's stays.
pub fn changes_at_the_controller(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).plugstack(true).start()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let fetch = || straw(&client, &token, "fetch ctl1 -o /etc/slurm").run();
    expect(0, fetch()?)?;
    client.put("/etc/slurm/mine.conf", b"mine", 0o600, "root")?;
    let again = expect(0, fetch()?)?;
    holds(
        &again.error_text(),
        &["unchanged plugstack.conf, slurm.conf"],
    )?;

    let mut conf = cluster.controller_file("slurm.conf")?;
    conf.extend(b"# another line\n");
    cluster.write_controller_file("slurm.conf", &conf)?;
    cluster
        .controller(0)
        .exec(["rm", "/etc/slurm/plugstack.conf"])
        .check()?;
    cluster.reconfigure()?;
    let changed = expect(0, fetch()?)?;
    holds(
        &changed.error_text(),
        &["written slurm.conf", "removed plugstack.conf"],
    )?;
    same("slurm.conf", client.get("/etc/slurm/slurm.conf")?, conf)?;
    same(
        "mine.conf",
        client.get("/etc/slurm/mine.conf")?,
        b"mine".to_vec(),
    )
}

/// A controller with configless off says so, and straw says what to do about it.
pub fn configless_off(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release)
        .configless(false)
        .start()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let refused = expect(6, straw(&client, &token, "fetch ctl1").run()?)?;
    holds(
        &refused.error_text(),
        &[
            "ESLURM_CONFIGLESS_DISABLED, error 2126",
            "enable_configless",
        ],
    )?;
    finds(&client, &token, "ctl1", 6, &["✗ configless off"])
}

/// As few exchanges as promised, and one where the release is given or known.
pub fn round_trips(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let exchanges = |arguments: &str| -> Result<Value, Failed> {
        let output = expect(0, straw(&client, &token, arguments).run()?)?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(report["exchanges"].clone())
    };
    let promised = match clusters.release {
        Release::V22_05 => 3,
        Release::V24_11 | Release::V26_05 => 2,
    };
    let unknown = "fetch ctl1 --json -o /tmp/known";
    same("unknown", exchanges(unknown)?, promised.into())?;
    same("known", exchanges(unknown)?, 1.into())?;
    let given = format!(
        "fetch ctl1 --json -o /tmp/given --release {}",
        clusters.release
    );
    same("given", exchanges(&given)?, 1.into())?;
    // As the tool that straw replaces was called.
    let old = format!("ctl1 {} --auth jwt -o /tmp/old --json", clusters.release);
    same("old", exchanges(&old)?, 1.into())
}

/// Whatever release is given, right or wrong, the controller answers as it should and lives on.
pub fn every_release_pinned(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let own = clusters
        .release
        .to_string()
        .parse::<slurm_protocol::Release>()
        .map_err(|error| error.to_string())?;
    let accepted = own.version().accepted_by_controller();
    for release in slurm_protocol::Release::ALL {
        let arguments = format!("fetch ctl1 --release {release} -o /tmp/{release}");
        let output = straw(&client, &token, &arguments).run()?;
        let status = match (accepted.contains(&release.version()), clusters.release) {
            (true, _) => 0,
            // It closes the connection without a word.
            (false, Release::V22_05) => 4,
            (false, _) => 5,
        };
        expect(status, output)?;
    }
    expect(0, straw(&client, &token, "fetch ctl1 -o /tmp/after").run()?)?;
    Ok(())
}

/// A directory that may not be written, a disk that is full, one that has no inodes left, and one
/// that is read-only.
pub fn disk(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let few = with_straw().tmpfs("/few:nr_inodes=20");
    let client = cluster.client(&few)?;
    let token = cluster.token("alice", 600)?;
    let denied = straw(&client, &token, "fetch ctl1 -o /etc/slurm").user("alice");
    holds(
        &expect(9, denied.run()?)?.error_text(),
        &["permission denied", "write where this user may"],
    )?;

    // /dev/shm is a tmpfs of 64 MiB in every container. Fill it around the files of a first run.
    let fetch = || straw(&client, &token, "fetch ctl1 -o /dev/shm/slurm").run();
    expect(0, fetch()?)?;
    let fill = "printf old > /dev/shm/slurm/slurm.conf; cat /dev/zero > /dev/shm/fill; true";
    client.exec(["sh", "-c", fill]).check()?;
    holds(
        &expect(9, fetch()?)?.error_text(),
        &["no space left on device", "as they were"],
    )?;
    same(
        "slurm.conf",
        client.get("/dev/shm/slurm/slurm.conf")?,
        b"old".to_vec(),
    )?;
    let listed = client.exec(["ls", "-A", "/dev/shm/slurm"]).check()?.text();
    same(
        "files",
        listed.as_str(),
        ".straw.json\npartitions.conf\nplugstack.conf\nslurm.conf",
    )?;
    client.exec(["rm", "/dev/shm/fill"]).check()?;
    expect(0, fetch()?)?;

    let fetch = || straw(&client, &token, "fetch ctl1 -o /few/slurm").run();
    let fill = "cd /few; n=0; while touch fill$n; do n=$((n + 1)); done 2>/dev/null; true";
    client.exec(["sh", "-c", fill]).check()?;
    holds(
        &expect(9, fetch()?)?.error_text(),
        &["no space left on device", "make room"],
    )?;
    expect(1, client.exec(["test", "-e", "/few/slurm"]).run()?)?;
    client.exec(["sh", "-c", "rm /few/fill*"]).check()?;
    expect(0, fetch()?)?;
    same_set(&cluster, &client, "/few/slurm")?;

    let client = cluster.client(&with_straw().read_only())?;
    let fetch = straw(&client, &token, "fetch ctl1 -o /etc/slurm");
    holds(
        &expect(9, fetch.run()?)?.error_text(),
        &["read-only file system", "mount a writable volume there"],
    )
}
