//! Bringing a cluster up.
//!
//! ```text
//! network, volumes ─▶ ctl1, ctl2, node1: run, munged ─▶ slurmctld on ctl1 ─▶ heartbeat ─▶ that on ctl2
//!                     (all at the same time)                              └▶ slurmd ─▶ node idle
//! ```

use std::sync::atomic::AtomicU32;
use std::thread;

use super::builder::Builder;
use super::{Cluster, HEARTBEAT, JWKS, JWT_KEY, LOG_FILE, SLURM_KEY, STATE, config};
use crate::container::Container;
use crate::error::LabError;
use crate::image::Images;
use crate::keeper::Keeper;
use crate::owner::labels;
use crate::process::docker;
use crate::random;
use crate::socket::{Auth, volume};
use crate::tar::{Entry, archive};

/// A host before it runs.
struct Host {
    name: &'static str,
    address: String,
    files: Vec<Entry>,
}

pub(super) fn boot(options: Builder, images: Images) -> Result<Cluster, LabError> {
    let id = random::name()?;
    let labels = labels(&id)?;
    // From here on, whatever fails, it clears up.
    let keeper = Keeper::start(&id)?;

    let network = format!("straw-lab-{id}");
    let subnet = make_network(&network, &labels)?;
    let state = format!("straw-lab-{id}");
    if options.backup {
        make_volume(&state, &labels)?;
    }
    let home = volume(&id, "home");
    if options.home {
        make_volume(&home, &labels)?;
    }

    let jwt_key = match &options.jwt_key {
        None => random::bytes::<32>()?.to_vec(),
        Some(key) => key.clone(),
    };
    let auth_key = match options.auth {
        Auth::Munge => Entry::new("/etc/munge/munge.key", 0o400, random::bytes::<128>()?),
        Auth::Slurm => Entry::new(SLURM_KEY, 0o600, random::bytes::<1024>()?),
    };
    let slurm = || config::files(&options, &images.series);
    let mut hosts = Vec::new();
    for (index, name) in ["ctl1", "ctl2"].into_iter().enumerate() {
        if index == 0 || options.backup {
            let mut files = slurm();
            files.push(auth_key.clone());
            files.push(match &options.jwks {
                None => Entry::new(JWT_KEY, 0o400, jwt_key.clone()),
                Some(jwks) => Entry::new(JWKS, 0o644, jwks.as_bytes()),
            });
            hosts.push(Host {
                name,
                address: subnet.host(2 + index as u32),
                files,
            });
        }
    }
    let mut files = if options.configless {
        Vec::new()
    } else {
        slurm()
    };
    files.push(auth_key);
    hosts.push(Host {
        name: "node1",
        address: subnet.host(8),
        files,
    });

    let run = |host: Host| -> Result<(Container, String), LabError> {
        let name = format!("straw-lab-{id}-{}", host.name);
        let state =
            (options.backup && host.name != "node1").then(|| format!("--volume={state}:{STATE}"));
        let home = options.home.then(|| format!("--volume={home}:/home"));
        let socket = volume(&id, host.name);
        make_volume(&socket, &labels)?;
        let directory = options.auth.directory(host.name);
        docker(["run", "--detach", "--init", "--name", &name])
            .args(["--hostname", host.name, "--network-alias", host.name])
            .args(["--network", &network, "--ip", &host.address])
            // Daemons close every descriptor that they might have, and some Docker allows a thousand
            // million of them.
            .args(["--ulimit", "nofile=4096"])
            .args(state)
            .args(home)
            .args([format!("--volume={socket}:{directory}")])
            .args(&labels)
            .args([images.controller.as_str(), "sleep", "infinity"])
            .check()?;
        let container = Container::host(name);
        let script = include_str!("../scripts/host.sh");
        let (user, auth) = (options.slurm_user.name(), options.auth.word());
        container
            .exec(["sh", "-c", script, "host", user, auth])
            .stdin(archive(&host.files))
            .check()?;
        Ok((container, host.address))
    };
    let started = thread::scope(|scope| {
        let workers: Vec<_> = hosts
            .into_iter()
            .map(|host| scope.spawn(|| run(host)))
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    let (mut controllers, addresses): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    let node = controllers
        .pop()
        .expect("the node is the last of the hosts");

    let cluster = Cluster {
        keeper,
        id,
        labels,
        images,
        network,
        controllers,
        addresses,
        node,
        jwt_key,
        clients: AtomicU32::new(0),
        configless: options.configless,
        auth: options.auth,
    };
    start_daemons(&cluster)?;
    Ok(cluster)
}

fn make_volume(name: &str, labels: &[String]) -> Result<(), LabError> {
    docker(["volume", "create", "--name", name])
        .args(labels)
        .check()
        .map(drop)
}

/// Starts Slurm's daemons in an order in which none has to wait for another and try again.
fn start_daemons(cluster: &Cluster) -> Result<(), LabError> {
    cluster.launch(0)?;
    thread::scope(|scope| {
        let backups: Vec<_> = (1..cluster.controllers.len())
            .map(|index| {
                scope.spawn(move || {
                    cluster.wait_for_heartbeat()?;
                    cluster.launch(index)
                })
            })
            .collect();
        let slurmd: &[&str] = if cluster.configless {
            &["slurmd", "--conf-server", "ctl1"]
        } else {
            &["slurmd"]
        };
        cluster
            .node
            .exec(slurmd.iter().copied())
            .check()
            .map_err(|error| cluster.not_up(0, &format!("slurmd does not start: {error}")))?;
        for backup in backups {
            backup
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok::<(), LabError>(())
    })?;

    let out = cluster.controllers[0]
        .exec(["sh", "-c", include_str!("../scripts/idle.sh")])
        .run()?;
    if out.success() {
        return Ok(());
    }
    let slurmd = cluster.node.tail("/var/log/slurm/slurmd.log", 15);
    let what = format!(
        "the node is not idle: {}\n--- slurmd's log:\n{slurmd}",
        out.error_text()
    );
    Err(cluster.not_up(0, &what))
}

/// The addresses of a cluster: 64 of those set aside for tests of networks, 198.18.0.0/15, which no
/// real network has. Docker's own choice would not let a host keep its address when it is cut off and
/// comes back, and it runs out after thirty networks.
#[derive(Clone, Copy)]
struct Subnet(u32);

impl Subnet {
    const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);

    fn at_random() -> Result<Self, LabError> {
        let index = u16::from_be_bytes(random::bytes()?) % 2048;
        Ok(Self(Self::FIRST + u32::from(index) * 64))
    }

    fn host(self, index: u32) -> String {
        std::net::Ipv4Addr::from(self.0 + index).to_string()
    }
}

fn make_network(name: &str, labels: &[String]) -> Result<Subnet, LabError> {
    let mut tries = 0;
    loop {
        let subnet = Subnet::at_random()?;
        let made = docker(["network", "create"])
            .args([
                format!("--subnet={}/26", subnet.host(0)),
                // Those that Docker gives to clients; the hosts' are below.
                format!("--ip-range={}/27", subnet.host(32)),
                format!("--gateway={}", subnet.host(1)),
            ])
            .args(labels)
            .args([name])
            .check();
        tries += 1;
        match made {
            Ok(_) => return Ok(subnet),
            Err(LabError::Command { ref stderr, .. })
                if stderr.contains("overlaps") && tries < 20 => {}
            Err(error) => return Err(error),
        }
    }
}

impl Cluster {
    /// Starts slurmctld on a controller, and returns when it listens.
    pub(super) fn launch(&self, index: usize) -> Result<(), LabError> {
        self.controllers[index]
            .exec(["sh", "-c", include_str!("../scripts/slurmctld.sh")])
            .check()
            .map(drop)
            .map_err(|error| self.not_up(index, &format!("slurmctld does not start: {error}")))
    }

    /// Waits until the primary is in charge. A backup of 24.11 and later that finds no heartbeat yet
    /// listens and does not answer. The primary, where it finds somebody listening before it takes
    /// charge, asks for control and waits 30 s for that answer: each would wait for the other.
    fn wait_for_heartbeat(&self) -> Result<(), LabError> {
        let script = include_str!("../scripts/heartbeat.sh");
        self.controllers[0]
            .exec(["sh", "-c", script, "heartbeat", HEARTBEAT])
            .check()
            .map(drop)
            .map_err(|error| self.not_up(0, &format!("ctl1 is not in charge: {error}")))
    }

    /// An error with the end of a controller's log.
    pub(super) fn not_up(&self, index: usize, what: &str) -> LabError {
        LabError::NotUp {
            what: what.to_owned(),
            log: self.controllers[index].tail(LOG_FILE, 30),
        }
    }
}
