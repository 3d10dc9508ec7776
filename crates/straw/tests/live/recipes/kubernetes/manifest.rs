//! Reading manifests as an API server would: against the types of Kubernetes' own API description,
//! and against what the Pod Security Standard "restricted" asks for.

use std::fs;
use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec, ServiceAccount, Volume};
use libtest_mimic::Failed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The pod that the manifests in a file are for. Each of them is checked.
pub fn pod(path: &Path) -> Result<PodSpec, Failed> {
    let text = fs::read_to_string(path)?;
    parse(&text).map_err(|why| format!("{}: {why}", path.display()).into())
}

/// As [`pod`], of a text.
pub fn parse(text: &str) -> Result<PodSpec, String> {
    let mut pods = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document).map_err(|error| error.to_string())?;
        match document["kind"].as_str().unwrap_or_default() {
            "Deployment" => {
                let deployment: Deployment = checked(&document)?;
                pods.extend(deployment.spec.and_then(|spec| spec.template.spec));
            }
            "Job" => {
                let job: Job = checked(&document)?;
                pods.extend(job.spec.and_then(|spec| spec.template.spec));
            }
            "ServiceAccount" => drop(checked::<ServiceAccount>(&document)?),
            other => return Err(format!("a manifest of kind `{other}`")),
        }
    }
    let [pod] = &pods[..] else {
        return Err(format!("{} pods", pods.len()));
    };
    restricted(pod)?;
    Ok(pod.clone())
}

/// A value as its type has it. What the type does not know is lost on the way there, and what it
/// needs and has not got comes out of it empty; so both ways have to end in the same.
fn checked<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    same("", value, &known)?;
    Ok(typed)
}

fn same(path: &str, given: &Value, known: &Value) -> Result<(), String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            let lacking = known.keys().find(|key| !given.contains_key(*key));
            if let Some(key) = lacking {
                return Err(format!("{path}.{key} is missing"));
            }
            given.iter().try_for_each(|(key, value)| {
                let path = format!("{path}.{key}");
                let other = known.get(key).ok_or(format!("{path} is unknown"))?;
                same(&path, value, other)
            })
        }
        (Value::Array(given), Value::Array(known)) if given.len() == known.len() => {
            let mut pairs = given.iter().zip(known).enumerate();
            pairs.try_for_each(|(index, (given, known))| {
                same(&format!("{path}[{index}]"), given, known)
            })
        }
        (given, known) if given == known => Ok(()),
        (given, known) => Err(format!("{path}: {given} is read as {known}")),
    }
}

/// What the Pod Security Standard "restricted" wants of a pod, and a root file system that nobody
/// writes to besides.
fn restricted(pod: &PodSpec) -> Result<(), String> {
    let wants = |what: &str, fine: bool| match fine {
        true => Ok(()),
        false => Err(format!("{what} is not as \"restricted\" wants it")),
    };
    let own = pod.security_context.clone().unwrap_or_default();
    wants("runAsNonRoot", own.run_as_non_root == Some(true))?;
    wants("runAsUser", own.run_as_user != Some(0))?;
    let profile = own.seccomp_profile.map(|profile| profile.type_);
    wants(
        "seccompProfile",
        profile.as_deref() == Some("RuntimeDefault"),
    )?;
    let host = [pod.host_network, pod.host_pid, pod.host_ipc];
    wants("the host's namespaces", !host.contains(&Some(true)))?;
    wants("a volume", volumes(pod).all(is_harmless))?;
    for container in containers(pod) {
        let name = &container.name;
        let own = container.security_context.clone().unwrap_or_default();
        let wants = |what: &str, fine| wants(&format!("{what} of {name}"), fine);
        wants(
            "allowPrivilegeEscalation",
            own.allow_privilege_escalation == Some(false),
        )?;
        let capabilities = own.capabilities.unwrap_or_default();
        wants(
            "capabilities",
            capabilities.add.is_none() && capabilities.drop == Some(vec!["ALL".to_owned()]),
        )?;
        wants("privileged", own.privileged != Some(true))?;
        wants("runAsNonRoot", own.run_as_non_root != Some(false))?;
        wants("runAsUser", own.run_as_user != Some(0))?;
        wants("seccompProfile", own.seccomp_profile.is_none())?;
        let ports = container.ports.iter().flatten();
        wants(
            "hostPort",
            ports.flat_map(|port| port.host_port).count() == 0,
        )?;
        wants(
            "readOnlyRootFilesystem",
            own.read_only_root_filesystem == Some(true),
        )?;
    }
    Ok(())
}

/// Those that the recipes have.
fn is_harmless(volume: &Volume) -> bool {
    [
        volume.empty_dir.is_some(),
        volume.projected.is_some(),
        volume.secret.is_some(),
    ]
    .contains(&true)
}

fn volumes(pod: &PodSpec) -> impl Iterator<Item = &Volume> {
    pod.volumes.iter().flatten()
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}
