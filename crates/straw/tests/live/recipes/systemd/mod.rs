//! `examples/systemd`: its units under a real systemd, on a login node.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::{ClientOptions, Cluster, Container, Output, Socket};
use libtest_mimic::Failed;

use super::{built, folder};
use crate::clusters::{Clusters, expect, holds, lacks, same};
use crate::watch::{OF_A_TOKEN, change, until};

/// As the README says, each of them with its own way to be known: the watch by munged's socket, the
/// fetch by a token.
pub fn units(clusters: &Clusters) -> Result<(), Failed> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/recipes/systemd");
    let image = built(&tests, clusters.release)?;
    let cluster = Cluster::builder(clusters.release).start()?;
    let options = ClientOptions::default()
        .image(image.name())
        .socket(Socket::Munge(0))
        .tmpfs("/run")
        .option("--cap-add=SYS_ADMIN")
        .option("--security-opt=seccomp=unconfined")
        .option("--security-opt=apparmor=unconfined")
        // By this systemd knows that it has no machine to itself.
        .env("container", "docker");
    let boot = ["sh", "-c", include_str!("boot.sh")];
    let process = cluster.first_process(&options, boot)?;
    process.start()?;
    let node = process.container();
    until("systemd", || {
        let state = node.exec(["systemctl", "is-system-running"]).run()?.text();
        Ok((state == "running").then_some(()))
    })
    .map_err(|error| match systemctl(node, "--failed") {
        Ok(failed) => format!("{error:?}\n{failed}").into(),
        Err(_) => error,
    })?;

    let mut units = Vec::new();
    for entry in fs::read_dir(folder("systemd"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".service") || name.ends_with(".timer") {
            let place = format!("/etc/systemd/system/{name}");
            node.put(&place, fs::read(&path)?, 0o644, "root")?;
            units.push(name.into_owned());
        }
    }
    let settings = "servers = [\"ctl1\", \"ctl2\"]\n";
    node.put("/etc/straw.toml", settings, 0o644, "root")?;
    let first = "straw token renew --for nobody --lifespan 1h --write /etc/straw/token";
    let first = format!("mkdir -p /etc/straw && {first}");
    expect(0, node.exec(["sh", "-c", &first]).run()?)?;
    let first = node.get("/etc/straw/token")?;
    expect(0, systemctl(node, "daemon-reload")?)?;
    let verify = ["systemd-analyze", "verify"].into_iter();
    let verify = node.exec(verify.chain(units.iter().map(String::as_str)));
    same(
        "what verify says",
        expect(0, verify.run()?)?.error_text().as_str(),
        "",
    )?;
    for unit in units.iter().filter(|unit| unit.ends_with(".service")) {
        // Ten times what it calls the exposure level; without any confinement it is 96.
        let security = [
            "systemd-analyze",
            "security",
            "--no-pager",
            "--threshold=20",
        ];
        expect(0, node.exec(security.into_iter().chain([&**unit])).run()?)?;
    }

    // It returns when there is a configuration. Nobody has to set anything.
    expect(0, systemctl(node, "enable --now straw-watch")?)?;
    // Nothing waits for it at boot.
    let boot = systemctl(node, "show multi-user.target --property=Wants,After")?;
    let boot = expect(0, boot)?.text();
    let (wants, after) = boot.split_once("After=").ok_or(&*boot)?;
    holds(wants, &["straw-watch.service"])?;
    lacks(after, &["straw-watch.service"])?;
    same(
        "state",
        systemctl(node, "is-active straw-watch")?.text().as_str(),
        "active",
    )?;
    let sinfo = node.exec(["sinfo", "-h", "-o", "%n"]).user("user").run()?;
    same("sinfo", expect(0, sinfo)?.text().as_str(), "node1")?;
    change(&cluster, "# another line")?;
    expect(0, systemctl(node, "reload straw-watch")?)?;
    until("the new configuration", || {
        let conf = node.exec(["cat", "/run/slurm/conf/slurm.conf"]).run()?;
        Ok(conf.text().contains("# another line").then_some(()))
    })?;
    expect(0, systemctl(node, "stop straw-watch")?)?;
    let end = systemctl(node, "show straw-watch --property=Result,ExecMainStatus")?;
    holds(&end.text(), &["Result=success", "ExecMainStatus=0"])?;
    node.get("/run/slurm/conf/slurm.conf")?;

    expect(0, systemctl(node, "enable --now straw-fetch.timer")?)?;
    expect(0, systemctl(node, "start straw-fetch")?)?;
    let fetched = node.get("/etc/slurm/slurm.conf")?;
    same(
        "slurm.conf",
        fetched,
        cluster.controller_file("slurm.conf")?,
    )?;
    // It had less than twelve hours to live, and its successor has more.
    let renewed = node.get("/etc/straw/token")?;
    if renewed == first {
        return Err("the token is the same as before".into());
    }
    let shown = "show straw-fetch.timer --property=ActiveState,NextElapseUSecMonotonic";
    let timer = systemctl(node, shown)?.text();
    holds(&timer, &["ActiveState=active"])?;
    lacks(&timer, &["Monotonic=infinity"])?;

    let journal = ["journalctl", "--no-pager", "-o", "cat", "-u", "straw-*"];
    let said = expect(0, node.exec(journal).run()?)?.text();
    holds(
        &said,
        &[
            "notice: new configuration of ctl1:6817",
            "written slurm.conf",
        ],
    )?;
    lacks(&said, &["warning", "error", OF_A_TOKEN])?;

    of_somebody_else(node)?;
    same("the token", renewed, node.get("/etc/straw/token")?)?;
    process.signal("RTMIN+3")?;
    process.wait(Duration::from_secs(30))?;
    Ok(())
}

/// An `/etc/slurm` of SlurmUser's, as some sites have it.
fn of_somebody_else(node: &Container) -> Result<(), Failed> {
    let give = ["chown", "user", "/etc/slurm"];
    node.exec(give).check()?;
    node.exec(["chmod", "0755", "/etc/slurm"]).check()?;
    let drop_in = "[Service]\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\n";
    let place = "/etc/systemd/system/straw-fetch.service.d/owner.conf";
    node.put(place, drop_in, 0o644, "root")?;
    expect(0, systemctl(node, "daemon-reload")?)?;
    node.exec(["rm", "/etc/slurm/slurm.conf"]).check()?;
    expect(0, systemctl(node, "start straw-fetch")?)?;
    node.get("/etc/slurm/slurm.conf")
        .map(drop)
        .map_err(Failed::from)
}

fn systemctl(node: &Container, line: &str) -> Result<Output, Failed> {
    let words = ["systemctl"].into_iter().chain(line.split(' '));
    Ok(node.exec(words).run()?)
}
