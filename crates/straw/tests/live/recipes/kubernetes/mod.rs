//! `examples/kubernetes`: its manifests are as the API wants them, and their pods work.

mod manifest;
mod pod;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lab::Cluster;
use lab::identity::IdentityProvider;
use libtest_mimic::Failed;

use super::{folder, image};
use crate::clusters::{Clusters, expect, holds, lacks};
use crate::identity::service_account;
use crate::watch::{OF_A_TOKEN, change, until};
use pod::{Pod, Running};

/// A mistake, made where it is easily made.
struct Mistake {
    right: &'static str,
    wrong: &'static str,
    says: &'static str,
}

/// Each of them is to be found in `dashboard.yaml`.
const MISTAKES: &[Mistake] = &[
    Mistake {
        right: "volumeMounts:",
        wrong: "volumeMount:",
        says: ".volumeMount is unknown",
    },
    Mistake {
        right: "periodSeconds: 1",
        wrong: "periodSeconds: 1s",
        says: "invalid type: string \"1s\"",
    },
    Mistake {
        right: "                  path: token",
        wrong: "                  name: token",
        says: "serviceAccountToken",
    },
    Mistake {
        right: "apiVersion: apps/v1",
        wrong: "apiVersion: v1",
        says: "expected apps/v1",
    },
    Mistake {
        right: "allowPrivilegeEscalation: false",
        wrong: "allowPrivilegeEscalation: true",
        says: "allowPrivilegeEscalation of straw",
    },
];

/// `job.yaml`: an init container fetches, with a user's token out of a Secret; then a job of that
/// user's runs.
pub fn job(clusters: &Clusters) -> Result<(), Failed> {
    let spec = manifest::pod(&folder("kubernetes").join("job.yaml"))?;
    let image = image("docker-shims", clusters.release)?;
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let secrets = HashMap::from([("slurm-token/SLURM_JWT", token)]);
    let pod = Pod::new(&cluster, &spec, image.name(), "job", secrets)?;
    let running = pod.start()?;
    let [submit] = &running[..] else {
        return Err("one container expected".into());
    };
    let said = expect(0, submit.process.wait(Duration::from_secs(60))?)?;
    let job = said.text();
    let job = job
        .strip_prefix("Submitted batch job ")
        .ok_or(said.to_string())?;
    let show = ["scontrol", "show", "job", job];
    let shown = cluster.controller(0).exec(show).check()?.text();
    holds(&shown, &["UserId=alice(", "JobState=COMPLETED"])
}

/// `dashboard.yaml`: a sidecar keeps the configuration fresh, and the service account's token is all
/// that the pod has.
pub fn dashboard(clusters: &Clusters) -> Result<(), Failed> {
    let path = folder("kubernetes").join("dashboard.yaml");
    let spec = manifest::pod(&path)?;
    let text = std::fs::read_to_string(path)?;
    for Mistake { right, wrong, says } in MISTAKES {
        holds(&text, &[right])?;
        let Err(why) = manifest::parse(&text.replacen(right, wrong, 1)) else {
            return Err(format!("`{wrong}` passes for `{right}`").into());
        };
        holds(&why, &[says])?;
    }

    let image = image("docker-shims", clusters.release)?;
    let provider = IdentityProvider::start(clusters.release)?;
    let cluster = Cluster::builder(clusters.release)
        .identity_provider(&provider)
        .alt_parameter("userclaimfield=sub")
        .start()?;
    let pod = Pod::new(&cluster, &spec, image.name(), "dashboard", HashMap::new())?;
    pod.project(&provider.sign(&service_account())?)?;
    let running = pod.start()?;
    let [sidecar, dashboard] = &running[..] else {
        return Err("a sidecar and a container expected".into());
    };
    for probe in [
        &sidecar.manifest.readiness_probe,
        &sidecar.manifest.liveness_probe,
    ] {
        let probe = probe.as_ref().ok_or("a probe expected")?;
        pod.await_probe(probe, sidecar.manifest)?;
    }
    shows(dashboard, "main*")?;

    // What changes reaches the container that was there before, and so does another token.
    change(&cluster, "PartitionName=more Nodes=node1 State=UP")?;
    pod.project(&provider.sign(&service_account())?)?;
    sidecar.process.signal("HUP")?;
    until("the new configuration", || {
        let conf = ["sh", "-c", "cat \"$SLURM_CONF\""];
        let conf = dashboard.process.container().exec(conf).run()?.text();
        Ok(conf.contains("PartitionName=more").then_some(()))
    })?;
    let user = spec
        .security_context
        .as_ref()
        .and_then(|own| own.run_as_user);
    let command = "SLURM_JWT=$(cat /identity/token) exec sinfo --noheader --partition=more";
    let sinfo = dashboard.process.container().exec(["sh", "-c", command]);
    let sinfo = sinfo.user(&user.unwrap_or_default().to_string()).run()?;
    holds(&expect(0, sinfo)?.text(), &["node1"])?;

    let begin = Instant::now();
    let ends = Pod::end(running)?;
    let took = begin.elapsed();
    for end in ends {
        let said = expect(0, end)?.to_string();
        lacks(&said, &["warning", "error", OF_A_TOKEN])?;
    }
    match took < Duration::from_secs(10) {
        true => Ok(()),
        false => Err(format!("the pod ended {took:?} after SIGTERM").into()),
    }
}

/// Waits until a container has written this.
fn shows(running: &Running<'_>, part: &str) -> Result<(), Failed> {
    until(part, || {
        let said = running.process.said()?.to_string();
        Ok(said.contains(part).then_some(()))
    })
}
