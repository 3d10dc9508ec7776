//! `examples/kubernetes`: its manifests are as the API wants them, and their pods work.

mod manifest;
mod pod;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::EnvVar;
use lab::identity::IdentityProvider;
use lab::{Cluster, Output};
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

/// What `job.yaml` submits, and what stands for it: what the job's environment has, in its comment; and
/// a job that would run for long.
const SUBMITTED: &str = "--wrap=hostname";
const TELLING: &str = "--wrap='scontrol update job=$SLURM_JOB_ID comment=\"secret:${A_SECRET-none},${SLURM_JWT+token}.\"'";
const LONG: &str = "--wrap='sleep 600'";

/// `job.yaml`: an init container fetches, with a user's token out of a Secret; then a job of that
/// user's runs, without the variables of the pod. The end of the pod is that of the job.
pub fn job(clusters: &Clusters) -> Result<(), Failed> {
    let path = folder("kubernetes").join("job.yaml");
    let text = std::fs::read_to_string(&path)?;
    holds(&text, &[SUBMITTED])?;
    let image = image("docker-shims", clusters.release)?;
    let cluster = clusters.shared()?;
    let secrets = HashMap::from([("slurm-token/SLURM_JWT", cluster.token("alice", 600)?)]);
    let show = |job: &str| -> Result<String, Failed> {
        let show = ["scontrol", "show", "job", job];
        Ok(cluster.controller(0).exec(show).check()?.text())
    };

    let spec = manifest::pod(&path)?;
    let pod = Pod::new(&cluster, &spec, image.name(), "job", secrets.clone())?;
    let ended = submit(&pod)?.process.wait(Duration::from_secs(60))?;
    let shown = show(&submitted(&expect(0, ended)?)?)?;
    holds(&shown, &["UserId=alice(", "JobState=COMPLETED"])?;

    let mut spec = manifest::parse(&text.replace(SUBMITTED, TELLING))?;
    spec.containers[0].env.get_or_insert_default().push(EnvVar {
        name: "A_SECRET".to_owned(),
        value: Some("of the pod".to_owned()),
        value_from: None,
    });
    let pod = Pod::new(&cluster, &spec, image.name(), "telling", secrets.clone())?;
    let ended = submit(&pod)?.process.wait(Duration::from_secs(60))?;
    let shown = show(&submitted(&expect(0, ended)?)?)?;
    holds(&shown, &["JobState=COMPLETED", "Comment=secret:none,."])?;

    let spec = manifest::parse(&text.replace(SUBMITTED, LONG))?;
    let pod = Pod::new(&cluster, &spec, image.name(), "cancelled", secrets)?;
    let running = submit(&pod)?;
    let job = until("the job", || {
        let job = submitted(&running.process.said()?).ok();
        let shown = job.as_deref().map(&show).transpose()?;
        let runs = shown.is_some_and(|shown| shown.contains("JobState=RUNNING"));
        Ok(job.filter(|_| runs))
    })?;
    let begin = Instant::now();
    let ends = Pod::end(vec![running])?;
    let took = begin.elapsed();
    for end in ends {
        expect(128 + 15, end)?;
    }
    holds(&show(&job)?, &["JobState=CANCELLED"])?;
    match took < Duration::from_secs(5) {
        true => Ok(()),
        false => Err(format!("the pod ended {took:?} after SIGTERM").into()),
    }
}

/// Starts a pod of one container.
fn submit<'a>(pod: &Pod<'a>) -> Result<Running<'a>, Failed> {
    let mut running = pod.start()?;
    match (running.pop(), running.is_empty()) {
        (Some(submit), true) => Ok(submit),
        _ => Err("one container expected".into()),
    }
}

/// The job that `sbatch` tells of.
fn submitted(said: &Output) -> Result<String, Failed> {
    let text = said.text();
    let job = text.strip_prefix("Submitted batch job ");
    Ok(job.ok_or(said.to_string())?.to_owned())
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
