//! Containers of users: Slurm's commands, perhaps straw, and nothing else.

use std::path::{Path, PathBuf};

use crate::container::Container;
use crate::error::LabError;
use crate::process::docker;

/// Where straw is in a client that has it.
const STRAW: &str = "/usr/local/bin/straw";

/// How a client reaches the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientNetwork {
    /// It is a host of its own in the cluster's network, and knows the others by name.
    #[default]
    Cluster,
    /// It shares the network of the controller with this index, and finds it on 127.0.0.1 too.
    Controller(usize),
}

/// What a client container is to be.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    straw: Option<PathBuf>,
    network: ClientNetwork,
    image: Option<String>,
}

impl ClientOptions {
    /// Copies this binary to `/usr/local/bin/straw`.
    #[must_use]
    pub fn straw(mut self, binary: &Path) -> Self {
        self.straw = Some(binary.to_owned());
        self
    }

    /// Chooses the network; by default the cluster's.
    #[must_use]
    pub fn network(mut self, network: ClientNetwork) -> Self {
        self.network = network;
        self
    }

    /// Chooses another image than the client image of the cluster's release, such as
    /// [`Images::client`](crate::Images::client) of another release.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }
}

/// What a client needs to know of its cluster.
pub(crate) struct Surroundings<'a> {
    pub(crate) name: String,
    pub(crate) labels: &'a [String],
    pub(crate) network: &'a str,
    pub(crate) controllers: &'a [Container],
    pub(crate) image: &'a str,
}

/// Starts a client.
pub(crate) fn start(
    options: &ClientOptions,
    around: &Surroundings<'_>,
) -> Result<Container, LabError> {
    let network = match options.network {
        ClientNetwork::Cluster => format!("--network={}", around.network),
        ClientNetwork::Controller(index) => {
            format!("--network=container:{}", around.controllers[index].name())
        }
    };
    let image = options.image.as_deref().unwrap_or(around.image);
    docker([
        "run",
        "--detach",
        "--init",
        "--name",
        &around.name,
        &network,
    ])
    .args(around.labels)
    .args([image, "sleep", "infinity"])
    .check()?;
    let client = Container::owned(around.name.clone());
    if let Some(binary) = &options.straw {
        // Through a plain file of ours: what cargo builds may be a link, or not readable by others.
        let bytes =
            std::fs::read(binary).map_err(LabError::io(format!("read {}", binary.display())))?;
        client.put(STRAW, bytes, 0o755, "root:root")?;
    }
    Ok(client)
}
