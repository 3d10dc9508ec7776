//! What `straw doctor` finds in a broken container, and what Slurm's own commands say there. Each
//! is in docs/guide/trouble.md, word for word.

use lab::{Cluster, Container, Release};
use libtest_mimic::Failed;
use serde_json::json;

use crate::clusters::{Clusters, client, expect, holds, lacks, now, plain, straw};

/// The page of symptoms.
const GUIDE: &str = include_str!("../../../../docs/guide/trouble.md");

/// `straw doctor` ends with this, and says all of that, however its lines are broken.
pub fn finds(
    client: &Container,
    token: &str,
    arguments: &str,
    status: i32,
    parts: &[&str],
) -> Result<(), Failed> {
    let run = match token.is_empty() {
        true => plain(client, &format!("doctor {arguments}")),
        false => straw(client, token, &format!("doctor {arguments}")),
    };
    let text = expect(status, run.run()?)?.text();
    let words: Vec<_> = text.split_whitespace().collect();
    holds(&words.join(" "), parts).map_err(|_| format!("{parts:?} expected in:\n{text}").into())
}

/// What is printed of one check, against `tests/golden/`. Addresses are made the same.
fn golden(name: &str, text: &str, check: &str, addresses: &[String]) -> Result<(), Failed> {
    // Two spaces, a mark, a space.
    let begins = |line: &str| line.starts_with("  ") && line.chars().nth(2) != Some(' ');
    let mut block = String::new();
    for line in text.lines() {
        let of_it = match begins(line) {
            true => line.chars().skip(4).collect::<String>().starts_with(check),
            // What follows is of the check before.
            false => !block.is_empty() && line.starts_with("   "),
        };
        match of_it {
            true => block.push_str(&format!("{line}\n")),
            false if block.is_empty() => {}
            false => break,
        }
    }
    for address in addresses {
        block = block.replace(address.as_str(), "[ADDRESS]");
    }
    // How far names are set off from what was seen goes by the longest of them, also of others.
    let words: Vec<_> = block.split_whitespace().collect();
    let block = format!("{}\n", words.join(" "));
    let path = format!(
        "{}/tests/golden/doctor-live-{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
        std::fs::write(&path, &block)?;
    }
    let expected = std::fs::read_to_string(&path)?;
    match expected == block {
        true => Ok(()),
        false => Err(format!("{path} has\n{expected}and it prints\n{block}in\n{text}").into()),
    }
}

/// What `straw doctor` prints.
fn prints(client: &Container, token: &str, arguments: &str) -> Result<String, Failed> {
    let run = straw(client, token, &format!("doctor {arguments}")).run()?;
    Ok(run.text())
}

/// A command of Slurm's that fails as it does without straw, and says this.
fn native(client: &Container, token: &str, script: &str, parts: &[&str]) -> Result<(), Failed> {
    let run = client.exec(["sh", "-c", script]).env("SLURM_JWT", token);
    let output = run.user("alice").workdir("/tmp").run()?;
    let said = format!("{}{}", output.text(), output.error_text());
    if output.success() {
        return Err(format!("`{script}` did not fail:\n{said}").into());
    }
    holds(&said, parts)
}

/// Both are on the page.
fn documented(parts: &[&str]) -> Result<(), Failed> {
    let words: Vec<_> = GUIDE.split_whitespace().collect();
    holds(&words.join(" "), parts)
}

/// What all of Slurm's releases say of a credential that they do not like.
fn refusal(release: Release) -> &'static str {
    match release {
        Release::V22_05 => "Zero Bytes were transmitted or received",
        _ => "Protocol authentication error",
    }
}

/// On a cluster and in a container in which all is well, all is well but what a token is not for.
pub fn all_is_well(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let release = clusters.release;
    let parts = [
        &format!("✓ ctl1:6817 Slurm {release}, for clients of")[..],
        &format!("to {release}; in charge; no TLS"),
        "✓ configless on",
        "✓ token of alice, signed with HS256, issued",
        "✓ accepted by ctl1:6817",
        "✓ clock within",
        "✓ slurmd set not for this user",
        "✓ Include every file that is named is there",
        "✓ adapting nothing in it would end Slurm's commands here",
        &format!("✓ release Slurm {release}, and the controller is {release}"),
        "✓ secrets no key",
        "! srun",
        "1 warning",
    ];
    finds(&client, &token, "ctl1", 0, &parts)?;
    let ping = expect(0, straw(&client, &token, "ping ctl1 ctl9").run()?)?.text();
    let release = match release {
        Release::V22_05 => "22.05 or 23.02".to_owned(),
        release => release.to_string(),
    };
    holds(
        &ping,
        &[
            cluster.controller_ip(0),
            "in charge",
            &release,
            " ms",
            "ctl9:6817",
            "no such name",
        ],
    )?;
    // Those that answer nobody without a credential do not.
    let status = match clusters.release {
        Release::V22_05 => 4,
        _ => 0,
    };
    expect(status, plain(&client, "ping ctl1").run()?)?;
    // It leaves nothing behind.
    let find = "find / -xdev -newer /usr/local/bin/straw -type f ! -path '/proc/*' | sort";
    let left = client.exec(["sh", "-c", find]).check()?.text();
    lacks(&left, &["straw", "slurm.conf"])
}

/// A credential and the way to the controller, broken one after the other.
pub fn on_the_way(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let good = cluster.token("alice", 600)?;
    let refused = refusal(clusters.release);

    let expired = cluster.sign(&json!({"exp": now() - 7300, "iat": 1, "sun": "alice"}));
    let sinfo = "SLURM_CONF_SERVER=ctl1 timeout 20 sinfo";
    native(&client, &expired, sinfo, &[refused])?;
    let parts = ["✗ token the token in SLURM_JWT (of alice) expired 2h 1m ago"];
    finds(&client, &expired, "ctl1", 4, &parts)?;

    let claims = json!({"exp": now() + 600, "iat": now() + 300, "sun": "alice"});
    let forged = lab::jwt::sign(b"a key of this test, not the cluster's", &claims);
    native(&client, &forged, sinfo, &[refused])?;
    let said = match clusters.release {
        Release::V22_05 => "it closed the connection without a word",
        _ => "it refused the token (SLURM_PROTOCOL_AUTHENTICATION_ERROR, error 1007)",
    };
    let clock = "behind that of whoever made the token";
    finds(
        &client,
        &forged,
        "ctl1",
        4,
        &[
            &format!("✗ accepted no configuration from ctl1:6817: {said}"),
            clock,
        ],
    )?;

    let other = "SLURM_CONF_SERVER=ctl1:1 timeout 20 sinfo";
    native(&client, &good, other, &["sinfo: "])?;
    finds(
        &client,
        &good,
        "ctl1:1",
        3,
        &["connection refused the host is there"],
    )?;
    finds(
        &client,
        &good,
        "ctl9 --timeout 5s",
        3,
        &["✗ ctl9 no such name: ctl9"],
    )?;
    let servers = "127.0.0.11".to_owned();
    golden(
        "no-such-name",
        &prints(&client, &good, "ctl9 --timeout 5s")?,
        "ctl9 ",
        &[servers],
    )?;
    // slurmd, which is no controller.
    finds(
        &client,
        &good,
        "node1:6818",
        5,
        &["6818 is the port of slurmd"],
    )?;
    // Another daemon of another protocol: dnsmasq.
    let dns = [
        "dnsmasq",
        "--no-resolv",
        "--no-hosts",
        "--port=5353",
        "--pid-file=/run/dns.pid",
    ];
    cluster.node().exec(dns).check()?;
    let foreign = finds(
        &client,
        &good,
        "node1:5353 --timeout 2s",
        5,
        &["✗ node1:5353"],
    );
    let stop = "kill $(cat /run/dns.pid)";
    cluster.node().exec(["sh", "-c", stop]).check()?;
    // What it makes of the bytes is its own matter: it closes, or waits for more.
    foreign.or_else(|_| {
        finds(
            &client,
            &good,
            "node1:5353 --timeout 2s",
            3,
            &["✗ node1:5353"],
        )
    })?;
    finds(
        &client,
        "",
        "ctl1",
        4,
        &["✗ chosen no credential was found", "scontrol token"],
    )?;
    for part in [
        "expired 2h 1m ago",
        "the host is there",
        "no such name",
        "6818 is the port of slurmd",
    ] {
        documented(&[part])?;
    }
    documented(&[refused, said])
}

/// A container that is broken one way after the other, with the files fetched into it.
pub fn in_the_container(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let sh = |script: &str| client.exec(["sh", "-c", script]).check();
    let sinfo = "SLURM_CONF=/etc/slurm/slurm.conf timeout 20 sinfo";

    // A slurm.conf of another day, which wins over the controller's.
    sh("echo ClusterName=old > /etc/slurm/slurm.conf")?;
    let stale = "! /etc/slurm/slurm.conf is not what the controller sends";
    native(&client, &token, sinfo, &["fatal"])?;
    finds(&client, &token, "ctl1", 0, &[stale])?;
    golden(
        "stale",
        &prints(&client, &token, "ctl1")?,
        "/etc/slurm/slurm.conf",
        &[],
    )?;
    expect(0, straw(&client, &token, "fetch ctl1 -o /etc/slurm").run()?)?;
    finds(
        &client,
        &token,
        "ctl1",
        0,
        &["✓ /etc/slurm/slurm.conf what the controller sends"],
    )?;
    sh("mkdir -p /run/slurm/conf && mv /etc/slurm/slurm.conf /run/slurm/conf")?;
    finds(
        &client,
        &token,
        "ctl1",
        0,
        &["✓ /run/slurm/conf/slurm.conf what"],
    )?;
    sh("mv /run/slurm/conf/slurm.conf /etc/slurm && rm -r /run/slurm")?;

    // No account for SlurmUser.
    sh("sed -i.bak /^slurm:/d /etc/passwd")?;
    native(
        &client,
        &token,
        sinfo,
        &["Invalid user for SlurmUser slurm, ignored"],
    )?;
    let account = "`SlurmUser=slurm` is commented out: no account slurm here";
    finds(
        &client,
        &token,
        "ctl1",
        0,
        &["! adapting without adapting commands end:", account],
    )?;
    sh("mv /etc/passwd.bak /etc/passwd")?;

    // SLURM_CONF that leads nowhere.
    let gone = "SLURM_CONF=/etc/slurm/gone.conf timeout 3 sinfo";
    native(&client, &token, gone, &["retrying in 1sec up to 60sec"])?;
    let run = straw(&client, &token, "doctor ctl1").env("SLURM_CONF", "/etc/slurm/gone.conf");
    let text = expect(9, run.run()?)?.text();
    holds(
        &text,
        &["it names /etc/slurm/gone.conf, which cannot be read"],
    )?;

    // Keys of the cluster.
    sh(
        "rm /etc/slurm/slurm.conf; echo key > /etc/slurm/slurm.key; mkdir -p /etc/munge; \
        echo key > /etc/munge/munge.key; chmod 0644 /etc/slurm/slurm.key",
    )?;
    let mut parts = vec![
        "! secrets whoever gets into this container can read",
        "/etc/munge/munge.key",
    ];
    if clusters.release != Release::V22_05 {
        let fetch = "SLURM_CONF_SERVER=ctl1 timeout 20 sinfo";
        native(
            &client,
            &token,
            fetch,
            &["failed to connect to any sack sockets"],
        )?;
        parts.push("! keys /etc/slurm/slurm.key: where Slurm's commands fetch");
    }
    finds(&client, &token, "ctl1", 0, &parts)?;
    let text = prints(&client, &token, "ctl1")?;
    golden("secrets", &text, "secrets", &[])?;
    if clusters.release != Release::V22_05 {
        golden("keys", &text, "keys", &[])?;
    }
    sh("rm /etc/slurm/slurm.key /etc/munge/munge.key")?;

    // srun with a token.
    expect(0, straw(&client, &token, "fetch ctl1 -o /tmp/conf").run()?)?;
    let srun = "SLURM_CONF=/tmp/conf/slurm.conf timeout 30 srun hostname";
    let (said, found) = match clusters.release {
        Release::V26_05 => (
            "auth/jwt is not supported for use with srun",
            "! srun it refuses to work with a token",
        ),
        _ => (
            "Task launch for StepId=",
            "! srun with a token its steps do not start: nodes accept none",
        ),
    };
    native(&client, &token, srun, &[said])?;
    finds(&client, &token, "ctl1", 0, &[found])?;
    let name = match clusters.release {
        Release::V26_05 => "srun-refuses",
        _ => "srun-starts-none",
    };
    golden(name, &prints(&client, &token, "ctl1")?, "srun", &[])?;

    // Shims that are behind the commands, and what they keep.
    expect(0, plain(&client, "shim install").run()?)?;
    // What they adapt is no matter of concern.
    sh("sed -i.bak /^slurm:/d /etc/passwd")?;
    let parts = [account, "(by the shims)", "✓ shims sacct", "1 warning"];
    finds(&client, &token, "ctl1", 0, &parts)?;
    sh("mv /etc/passwd.bak /etc/passwd")?;
    let behind = straw(&client, &token, "doctor ctl1").env("PATH", "/usr/bin:/usr/local/bin");
    let text = expect(0, behind.run()?)?.text();
    holds(&text, &["the command itself comes first on the PATH"])?;
    expect(
        0,
        straw(&client, &token, "exec --servers ctl1 -- true").run()?,
    )?;
    finds(
        &client,
        &token,
        "ctl1",
        0,
        &["✓ store /run/straw/", "gen-1, from ctl1:6817, checked"],
    )?;
    documented(&[
        "retrying in 1sec up to 60sec",
        "Invalid user for SlurmUser slurm, ignored",
        "no account slurm here",
        "failed to connect to any sack sockets",
        "is not what the controller sends",
        said,
    ])
}

/// A client that is older than the controllers accept, or newer.
pub fn another_release(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let (other, parts) = match clusters.release {
        Release::V26_05 => (
            Release::V22_05,
            [
                "✗ release Slurm 22.05, and the controller is 26.05, which accepts none before \
                 24.11",
                "install Slurm's commands in a release from 24.11 to 26.05 here",
            ],
        ),
        _ => (
            Release::V26_05,
            [
                "✗ release Slurm 26.05, and the controller is 24.11: a client must not be newer \
                 than its controller",
                "install Slurm's commands in a release from 23.02 to 24.11 here",
            ],
        ),
    };
    let client = of_release(&cluster, other)?;
    let sinfo = "SLURM_CONF_SERVER=ctl1 timeout 20 sinfo";
    native(&client, &token, sinfo, &["sinfo: "])?;
    finds(&client, &token, "ctl1", 5, &parts)?;
    let name = format!("release-{other}-{}", clusters.release);
    golden(&name, &prints(&client, &token, "ctl1")?, "release", &[])?;
    documented(&[
        "which accepts none before",
        "a client must not be newer than its controller",
    ])
}

/// A client with Slurm's commands of this release.
fn of_release(cluster: &Cluster, release: Release) -> Result<Container, Failed> {
    let images = lab::image::prepare(release, &mut |_| {})?;
    let options = crate::clusters::with_straw().image(&images.client);
    Ok(cluster.client(&options)?)
}
