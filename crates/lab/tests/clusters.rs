//! The lab keeps what it promises, on every release. Without Docker there is nothing to try: then the
//! tests pass with a line that says so, unless `CI=true`, where Docker is installed or the tests fail.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{ClientNetwork, ClientOptions, Cluster, EmptyRoot, Release};
use serde_json::json;

use support::{have_docker, until};

/// This crate's own program: like straw it is linked statically.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lab");

fn serves_its_users(release: Release) {
    if !have_docker() {
        return;
    }
    let began = Instant::now();
    let cluster = Cluster::builder(release).start().unwrap();
    eprintln!("{} is up after {:?}", cluster.version(), began.elapsed());
    if let Some(moved) = &cluster.images().moved {
        eprintln!("note: {moved}");
    }

    // On the controller, with munge.
    let sinfo = ["sinfo", "--noheader", "--format=%n %t"];
    let out = cluster
        .controller(0)
        .exec(sinfo)
        .user("alice")
        .check()
        .unwrap();
    assert_eq!(out.text(), "node1 idle");

    // In a client, which has no key.
    let client = cluster.client(&ClientOptions::default()).unwrap();
    assert!(
        !client
            .exec(["test", "-e", "/etc/munge/munge.key"])
            .run()
            .unwrap()
            .success()
    );
    // No host knows mallory, and a valid token of hers is good enough to ask with, whoever signed it.
    for token in [
        cluster.token("mallory", 600).unwrap(),
        cluster.sign(&json!({"sun": "mallory", "exp": 4_102_444_800_u64})),
    ] {
        let out = client
            .exec(sinfo)
            .user("4000")
            .env("SLURM_JWT", &token)
            .env("SLURM_CONF_SERVER", "ctl1")
            .check()
            .unwrap();
        assert_eq!(out.text(), "node1 idle");
    }

    // With a copied slurm.conf.
    let conf = cluster.controller_file("slurm.conf").unwrap();
    client
        .put("/etc/slurm/slurm.conf", conf, 0o644, "root")
        .unwrap();
    let token = cluster.token("alice", 600).unwrap();
    let as_alice = |argv: &[&str]| {
        client
            .exec(argv.iter().copied())
            .user("alice")
            .env("SLURM_JWT", &token)
            .check()
            .unwrap()
            .text()
    };
    assert_eq!(as_alice(&sinfo), "node1 idle");
    assert!(as_alice(&["scontrol", "ping"]).contains("UP"));

    // A job runs, as alice, on the node.
    let job = as_alice(&[
        "sbatch",
        "--parsable",
        "--chdir=/tmp",
        "--output=/tmp/%j.out",
        "--wrap=id -un; hostname; echo done",
    ]);
    let output = until("the job's output", Duration::from_secs(20), || {
        let bytes = cluster.node().get(&format!("/tmp/{job}.out")).ok()?;
        String::from_utf8(bytes)
            .ok()
            .filter(|text| text.ends_with("done\n"))
    });
    assert_eq!(output, "alice\nnode1\ndone\n");
}

#[test]
fn cluster_of_22_05() {
    serves_its_users(Release::V22_05);
}

#[test]
fn cluster_of_24_11() {
    serves_its_users(Release::V24_11);
}

#[test]
fn cluster_of_26_05() {
    serves_its_users(Release::V26_05);
}

#[test]
fn options_show_in_what_the_node_was_sent() {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(Release::V26_05)
        .include(true)
        .prolog(true)
        .plugstack(true)
        .slurm_user_root()
        .line("MaxJobCount=77")
        .start()
        .unwrap();
    let list = cluster
        .node()
        .exec(["ls", "/run/slurm/conf"])
        .check()
        .unwrap()
        .text();
    let files: Vec<&str> = list.lines().collect();
    for file in [
        "slurm.conf",
        "cgroup.conf",
        "partitions.conf",
        "plugstack.conf",
        "prolog.sh",
    ] {
        assert!(files.contains(&file), "{file} is not in {files:?}");
    }

    // A change reaches the node with the next reconfiguration.
    let conf = String::from_utf8(cluster.controller_file("slurm.conf").unwrap()).unwrap();
    assert!(
        conf.contains("SlurmUser=root") && conf.contains("MaxJobCount=77"),
        "{conf}"
    );
    cluster
        .write_controller_file("slurm.conf", conf.replace("=77", "=78").as_bytes())
        .unwrap();
    cluster.reconfigure().unwrap();
    until("the change at the node", Duration::from_secs(20), || {
        let conf = cluster.node().get("/run/slurm/conf/slurm.conf").ok()?;
        String::from_utf8_lossy(&conf)
            .contains("MaxJobCount=78")
            .then_some(())
    });
}

#[test]
fn a_node_without_configless_has_a_copy() {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(Release::V22_05)
        .configless(false)
        .start()
        .unwrap();
    assert_eq!(
        cluster.node().get("/etc/slurm/slurm.conf").unwrap(),
        cluster.controller_file("slurm.conf").unwrap()
    );
    assert!(
        Cluster::builder(Release::V22_05)
            .prolog(true)
            .start()
            .is_err()
    );
}

#[test]
fn a_backup_takes_over_and_a_lost_controller_comes_back() {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(Release::V26_05)
        .backup(true)
        .start()
        .unwrap();

    cluster.stop(0).unwrap();
    let taken = cluster
        .wait_for_answer(1, Duration::from_secs(180))
        .unwrap();
    eprintln!("the backup has taken over after {taken:?}");
    // It listens at once. That it is in charge again is not waited for: see `Cluster::start`.
    cluster.start(0).unwrap();

    let port = "exec 3<>/dev/tcp/ctl1/6817";
    let client = cluster.client(&ClientOptions::default()).unwrap();
    let connects = || {
        let argv = ["timeout", "5", "bash", "-c", port];
        client.exec(argv).run().unwrap().success()
    };
    assert!(connects());
    let before = cluster.controller(0).ip().unwrap();
    assert_eq!(before, cluster.controller_ip(0));
    cluster.cut_off(0).unwrap();
    assert!(!connects());
    cluster.reconnect(0).unwrap();
    assert!(connects());
    assert_eq!(cluster.controller(0).ip().unwrap(), before);

    // The kernel answers for a frozen host, and no one else does.
    cluster.pause(0).unwrap();
    assert!(connects());
    cluster.unpause(0).unwrap();

    let beside = ClientOptions::default()
        .network(ClientNetwork::Controller(0))
        .straw(Path::new(PROGRAM));
    let beside = cluster.client(&beside).unwrap();
    beside
        .exec(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6817"])
        .check()
        .unwrap();
    let out = beside.exec(["straw"]).user("alice").run().unwrap();
    assert_eq!(out.status, 2, "{out}");
}

#[test]
fn an_empty_root_holds_a_static_binary() {
    if !have_docker() {
        return;
    }
    let out = EmptyRoot::of(Path::new(PROGRAM))
        .unwrap()
        .user("2001")
        .run(["no-such-command"])
        .unwrap();
    assert_eq!(out.status, 2, "{out}");
    assert!(out.error_text().starts_with("usage: lab"), "{out}");
}

/// Everything in Docker whose owner is the process with this number.
fn left_by(pid: u32) -> Vec<String> {
    let label = "{{.Label \"straw-lab-owner\"}}";
    let lists = [
        ("ps", format!("ps --all --format {{{{.Names}}}}#{label}")),
        (
            "network",
            format!("network ls --format {{{{.Name}}}}#{label}"),
        ),
        (
            "volume",
            format!("volume ls --format {{{{.Name}}}}#{label}"),
        ),
    ];
    let mut found = Vec::new();
    for (kind, list) in lists {
        // Only the label in the format has a space.
        let (argv, format) = list.split_once(" --format ").unwrap();
        let out = Command::new("docker")
            .args(argv.split(' '))
            .args(["--filter=label=straw-lab", "--format", format])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let owner = format!("/{pid}/");
        found.extend(
            text.lines()
                .filter(|line| line.contains(&owner))
                .map(|line| format!("{kind} {line}")),
        );
    }
    found
}

fn start_by_hand() -> Child {
    Command::new(PROGRAM)
        .args(["up", "26.05", "--backup"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills, with a signal that cannot be caught, and waits until Docker has nothing of it any more.
fn kill_and_look(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    until("nothing is left", Duration::from_secs(60), || {
        left_by(child.id()).is_empty().then_some(())
    });
    eprintln!("nothing is left after {:?}", began.elapsed());
}

#[test]
fn a_killed_process_leaves_nothing() {
    if !have_docker() {
        return;
    }
    let mut child = start_by_hand();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    // The token is the last it prints: it is up then.
    let up = stdout
        .lines()
        .any(|line| line.unwrap().contains("SLURM_JWT"));
    assert!(up, "the cluster did not come up");
    let before = left_by(child.id());
    for kind in ["ps", "network", "volume"] {
        assert!(
            before.iter().any(|thing| thing.starts_with(kind)),
            "no {kind} in {before:?}"
        );
    }
    kill_and_look(child);
}

#[test]
fn a_process_killed_while_it_starts_leaves_nothing() {
    if !have_docker() {
        return;
    }
    lab::image::prepare(Release::V26_05, &mut |line| eprintln!("{line}")).unwrap();
    let child = start_by_hand();
    until("its first container", Duration::from_secs(60), || {
        left_by(child.id())
            .iter()
            .any(|thing| thing.starts_with("ps"))
            .then_some(())
    });
    kill_and_look(child);
}
