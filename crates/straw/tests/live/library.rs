//! The examples of both crates, in a client container: what other programs can do with them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Cluster, Container};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, lacks, same};

const TOKEN: &str = "/run/slurm-jwt";

/// They fetch what the controller has, notice a change, and say what is wrong with a token.
pub fn examples(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    for name in ["configless", "fetch", "watch"] {
        let program = beside_the_tests(name)?;
        client.put(&format!("/opt/{name}"), program, 0o755, "root")?;
    }
    client.put(TOKEN, cluster.token("alice", 600)?, 0o600, "root")?;
    protocol(&cluster, &client)?;
    fetch(&cluster, &client)?;
    watch(&cluster, &client)
}

/// An example, where `cargo build --examples` has put it.
fn beside_the_tests(name: &str) -> Result<Vec<u8>, Failed> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let path = profile.join("examples").join(name);
    fs::read(&path).map_err(|error| {
        let build = "cargo build -p slurm-protocol -p slurm-straw --examples";
        format!("{}: {error}: run `{build}` first", path.display()).into()
    })
}

/// slurm-protocol and `std::net`.
fn protocol(cluster: &Cluster, client: &Container) -> Result<(), Failed> {
    let address = format!("{}:6817", cluster.controller_ip(0));
    let ask = |token: &str, file: Option<&str>| {
        let line = ["/opt/configless", &address].into_iter().chain(file);
        client.exec(line).env("SLURM_JWT", token).run()
    };
    let token = cluster.token("alice", 600)?;
    let listed = expect(0, ask(&token, None)?)?;
    holds(&listed.text(), &[" slurm.conf", " partitions.conf"])?;
    let fetched = expect(0, ask(&token, Some("slurm.conf"))?)?;
    let original = cluster.controller_file("slurm.conf")?;
    same("slurm.conf", fetched.stdout, original)?;

    let expired = cluster.sign(&serde_json::json!({ "sun": "alice", "iat": 1, "exp": 2 }));
    let refused = expect(1, ask(&expired, None)?)?.error_text();
    holds(&refused, &["it refused the token"])?;
    lacks(&refused, &[&expired])
}

/// The library's way from controllers to flat files, in a container without Slurm's account.
fn fetch(cluster: &Cluster, client: &Container) -> Result<(), Failed> {
    client.exec(["userdel", "slurm"]).check()?;
    let ask = |token: &str| {
        client
            .exec(["/opt/fetch", "ctl1", token, "/tmp/flat"])
            .run()
    };
    let written = expect(0, ask(TOKEN)?)?;
    holds(
        &written.text(),
        &[
            "SlurmUser=slurm",
            "written slurm.conf",
            "written partitions.conf",
        ],
    )?;
    let original = cluster.controller_file("partitions.conf")?;
    same(
        "partitions.conf",
        client.get("/tmp/flat/partitions.conf")?,
        original,
    )?;
    let none = expect(4, ask("/run/none")?)?.error_text();
    holds(&none, &["error: ", "/run/none", "\nhint: "])
}

/// A store that follows the controller.
fn watch(cluster: &Cluster, client: &Container) -> Result<(), Failed> {
    let start = "/opt/watch \"$@\" >/tmp/watch.log 2>&1 </dev/null & echo $!";
    let line = ["sh", "-c", start, "sh", "ctl1", TOKEN, "/tmp/store", "1"];
    let process = client.exec(line).check()?.text();
    let generations = |count: usize| {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let said = String::from_utf8(client.get("/tmp/watch.log")?)?;
            let lines = said.lines().filter(|line| line.starts_with("new: "));
            if lines.count() == count {
                return Ok(());
            }
            if Instant::now() > give_up {
                return Err::<_, Failed>(format!("{count} sets expected in:\n{said}").into());
            }
        }
    };
    generations(1)?;
    let original = cluster.controller_file("partitions.conf")?;
    let changed = [&original[..], b"# another line\n"].concat();
    for (content, count) in [(&changed, 2), (&original, 3)] {
        cluster.write_controller_file("partitions.conf", content)?;
        cluster.reconfigure()?;
        generations(count)?;
        let kept = client.get("/tmp/store/partitions.conf")?;
        same("partitions.conf", &kept, content)?;
    }
    client.exec(["sh", "-c", "kill $0", &process]).check()?;
    Ok(())
}
