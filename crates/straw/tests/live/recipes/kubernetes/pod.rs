//! A pod without Kubernetes: Docker runs its containers as the kubelet would have them run, with the
//! mounts, users, variables and confinement that the manifest gives them.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container as Manifest, EnvVar, PodSpec, Probe, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab::{ClientOptions, Cluster, Container, FirstProcess, Output};
use libtest_mimic::Failed;

use crate::clusters::expect;

/// Where the kubelet has the pod's volumes.
const VOLUMES: &str = "/volumes";

/// How long the kubelet waits after SIGTERM where the pod does not say.
const GRACE: Duration = Duration::from_secs(30);

/// A pod in a cluster's network.
pub struct Pod<'a> {
    cluster: &'a Cluster,
    spec: &'a PodSpec,
    image: &'a str,
    name: &'static str,
    /// What the Secrets hold, by `NAME/KEY`.
    secrets: HashMap<&'static str, String>,
    /// Has the network that the containers share, and all of their volumes.
    kubelet: Container,
}

/// A container that runs.
pub struct Running<'a> {
    pub manifest: &'a Manifest,
    pub process: FirstProcess,
}

impl<'a> Pod<'a> {
    /// One with its volumes, of whose containers none runs yet. They are all of one image.
    pub fn new(
        cluster: &'a Cluster,
        spec: &'a PodSpec,
        image: &'a str,
        name: &'static str,
        secrets: HashMap<&'static str, String>,
    ) -> Result<Self, Failed> {
        let volumes = || spec.volumes.iter().flatten();
        let options = volumes().fold(ClientOptions::default(), |options, volume| {
            let directory = format!("{VOLUMES}/{}", volume.name);
            options.volume(&format!("{name}-{}", volume.name), &directory, false)
        });
        let kubelet = cluster.client(&options)?;
        let pod = Self {
            cluster,
            spec,
            image,
            name,
            secrets,
            kubelet,
        };
        volumes().try_for_each(|volume| pod.lay_out(volume))?;
        Ok(pod)
    }

    /// Gives a volume the owner and the mode that it begins with.
    fn lay_out(&self, volume: &Volume) -> Result<(), Failed> {
        let script = r#"chown "root:$2" "$1" && chmod "$3" "$1""#;
        let directory = format!("{VOLUMES}/{}", volume.name);
        let (group, mode) = match self.fs_group() {
            None => ("0".to_owned(), "0777"),
            Some(group) => (group.to_string(), "2777"),
        };
        let shell = ["sh", "-c", script, "sh", &directory, &group, mode];
        self.kubelet.exec(shell).check()?;
        Ok(())
    }

    /// Puts the service account's token where the volumes want it, as the kubelet does: in a directory
    /// that a link is switched to, for the one user that all the containers have, or for root, and
    /// readable for the group of the pod.
    pub fn project(&self, token: &str) -> Result<(), Failed> {
        let mode = match (self.one_user(), self.fs_group()) {
            (_, Some(_)) => "0640",
            (Some(_), None) => "0600",
            (None, None) => "0644",
        };
        let user = self.one_user().unwrap_or_default();
        let owner = format!("{user}:{}", self.fs_group().unwrap_or_default());
        let script = r#"set -e; cd "$1"
            new=$(mktemp -d ..token.XXXXXX); chmod 755 "$new"
            umask 077; cat > "$new/$2"; chown "$3" "$new/$2"; chmod "$4" "$new/$2"
            ln -s "$new" ..data_tmp; mv -T ..data_tmp ..data; ln -sfn "..data/$2" "$2""#;
        for volume in self.spec.volumes.iter().flatten() {
            let projected = volume.projected.clone().unwrap_or_default();
            for source in projected.sources.unwrap_or_default() {
                let wanted = source
                    .service_account_token
                    .ok_or("only tokens are projected here")?;
                let directory = format!("{VOLUMES}/{}", volume.name);
                let shell = ["sh", "-c", script, "sh", &directory, &wanted.path];
                let shell = self.kubelet.exec(shell.into_iter().chain([&*owner, mode]));
                shell.stdin(token).check()?;
            }
        }
        Ok(())
    }

    /// Runs the init containers, each to its end with status 0, or, if it is a sidecar, until its
    /// startup probe is content; then starts the others. Returns what runs in the order it was
    /// started.
    pub fn start(&self) -> Result<Vec<Running<'a>>, Failed> {
        let mut running = Vec::new();
        for manifest in self.spec.init_containers.iter().flatten() {
            let process = self.make(manifest)?;
            process.start()?;
            match manifest.restart_policy.as_deref() {
                None => drop(expect(0, process.wait(Duration::from_secs(120))?)?),
                Some("Always") => {
                    if let Some(probe) = &manifest.startup_probe {
                        self.await_probe(probe, manifest)
                            .map_err(|error| told(&error, &process))?;
                    }
                    running.push(Running { manifest, process });
                }
                Some(other) => return Err(format!("restartPolicy: {other}").into()),
            }
        }
        for manifest in &self.spec.containers {
            let process = self.make(manifest)?;
            process.start()?;
            running.push(Running { manifest, process });
        }
        Ok(running)
    }

    /// Ends what runs, the last first, and returns what each of them has left behind.
    pub fn end(running: Vec<Running<'_>>) -> Result<Vec<Output>, Failed> {
        let end = |running: Running<'_>| {
            running.process.signal("TERM")?;
            Ok(running.process.wait(GRACE)?)
        };
        running.into_iter().rev().map(end).collect()
    }

    /// Makes a container, and does not start it.
    fn make(&self, manifest: &Manifest) -> Result<FirstProcess, Failed> {
        let own = manifest.security_context.clone().unwrap_or_default();
        let pod = self.spec.security_context.clone().unwrap_or_default();
        let user = own.run_as_user.or(pod.run_as_user).ok_or("no runAsUser")?;
        let group = own.run_as_group.or(pod.run_as_group).unwrap_or_default();
        let mut options = ClientOptions::default()
            .image(self.image)
            .beside(&self.kubelet)
            .user(&format!("{user}:{group}"));
        if let Some(group) = self.fs_group() {
            options = options.option(&format!("--group-add={group}"));
        }
        let capabilities = own.capabilities.unwrap_or_default();
        for capability in capabilities.drop.unwrap_or_default() {
            options = options.option(&format!("--cap-drop={capability}"));
        }
        if own.allow_privilege_escalation == Some(false) {
            options = options.option("--security-opt=no-new-privileges");
        }
        if own.read_only_root_filesystem == Some(true) {
            options = options.read_only();
        }
        let limits = manifest.resources.clone().unwrap_or_default().limits;
        if let Some(memory) = limits.unwrap_or_default().get("memory") {
            let mebibytes = memory.0.strip_suffix("Mi").ok_or("memory in Mi")?;
            options = options.option(&format!("--memory={mebibytes}m"));
        }
        for variable in manifest.env.iter().flatten() {
            options = options.env(&variable.name, &self.value(variable)?);
        }
        for mount in manifest.volume_mounts.iter().flatten() {
            let mut volumes = self.spec.volumes.iter().flatten();
            volumes
                .find(|volume| volume.name == mount.name)
                .ok_or_else(|| format!("there is no volume {}", mount.name))?;
            let name = format!("{}-{}", self.name, mount.name);
            let read_only = mount.read_only == Some(true);
            options = options.volume(&name, &mount.mount_path, read_only);
        }
        // The images of the recipes have no entrypoint.
        let command = manifest.command.clone().ok_or("no command")?;
        let argv = command
            .into_iter()
            .chain(manifest.args.iter().flatten().cloned());
        Ok(self.cluster.first_process(&options, argv)?)
    }

    fn value(&self, variable: &EnvVar) -> Result<String, Failed> {
        if let Some(value) = &variable.value {
            return Ok(value.clone());
        }
        let from = variable.value_from.clone().unwrap_or_default();
        let wanted = from.secret_key_ref.ok_or("only Secrets give values here")?;
        let name = format!("{}/{}", wanted.name, wanted.key);
        let value = self.secrets.get(&*name);
        Ok(value.ok_or_else(|| format!("no Secret {name}"))?.clone())
    }

    /// Waits until a probe is content, for as often as it may fail.
    pub fn await_probe(&self, probe: &Probe, manifest: &Manifest) -> Result<(), Failed> {
        let period = Duration::from_secs(probe.period_seconds.unwrap_or(10).try_into()?);
        for _ in 0..probe.failure_threshold.unwrap_or(3) {
            let next = Instant::now() + period;
            if self.probe(probe, manifest)? {
                return Ok(());
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Err(format!("a probe of {} is not content", manifest.name).into())
    }

    /// Asks once, from outside the pod's loopback.
    fn probe(&self, probe: &Probe, manifest: &Manifest) -> Result<bool, Failed> {
        let get = probe
            .http_get
            .as_ref()
            .ok_or("only httpGet is asked here")?;
        let path = get.path.as_deref().unwrap_or("/");
        let port = match &get.port {
            IntOrString::Int(port) => Some(*port),
            IntOrString::String(name) => {
                let mut ports = manifest.ports.iter().flatten();
                let named = ports.find(|port| port.name.as_ref() == Some(name));
                named.map(|port| port.container_port)
            }
        };
        let port = port.ok_or("the probe's port has no number")?.to_string();
        let address = self.kubelet.ip()?;
        let script = r#"exec 3<>"/dev/tcp/$0/$1" || exit
            printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" "$0" >&3
            read -r _ status _ <&3; [ "$status" -ge 200 ] && [ "$status" -lt 400 ]"#;
        let seconds = probe.timeout_seconds.unwrap_or(1).to_string();
        let shell = [
            "timeout", &seconds, "bash", "-c", script, &address, &port, path,
        ];
        Ok(self.kubelet.exec(shell).run()?.success())
    }

    fn fs_group(&self) -> Option<i64> {
        self.spec.security_context.as_ref()?.fs_group
    }

    /// The user of all containers, if it is the same.
    fn one_user(&self) -> Option<i64> {
        let pod = self.spec.security_context.as_ref()?.run_as_user;
        let init = self.spec.init_containers.iter().flatten();
        let mut users = init.chain(&self.spec.containers).map(|container| {
            let own = container.security_context.as_ref();
            own.and_then(|own| own.run_as_user).or(pod)
        });
        let first = users.next()??;
        users.all(|user| user == Some(first)).then_some(first)
    }
}

/// A failure with what the process has said by now.
fn told(failure: &Failed, process: &FirstProcess) -> Failed {
    let said = process
        .said()
        .map_or_else(|error| error.to_string(), |said| said.to_string());
    format!("{}\n{said}", failure.message().unwrap_or_default()).into()
}
