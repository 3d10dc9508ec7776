//! Containers of users: Slurm's commands, perhaps straw, and nothing else.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::container::Container;
use crate::error::LabError;
use crate::process::{Output, Process, docker};
use crate::socket::{Auth, Socket, volume};
use crate::tar::{Entry, archive};

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
    sockets: Vec<Mount>,
    read_only: bool,
    tmpfs: Vec<String>,
    volumes: Vec<Volume>,
    user: Option<String>,
    env: Vec<(String, String)>,
    beside: Option<String>,
    options: Vec<String>,
}

/// A volume of the cluster's in a client.
#[derive(Clone, Debug)]
struct Volume {
    name: String,
    directory: String,
    read_only: bool,
}

/// A socket in a client.
#[derive(Clone, Debug)]
struct Mount {
    socket: Socket,
    directory: String,
    /// The cluster whose it is, if not the client's.
    owner: Option<Owner>,
}

/// What a cluster has sockets of.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) id: String,
    pub(crate) auth: Auth,
    pub(crate) controllers: usize,
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

    /// Has it share the network of another container, as the containers of a pod do.
    #[must_use]
    pub fn beside(mut self, container: &Container) -> Self {
        self.beside = Some(container.name().to_owned());
        self
    }

    /// Chooses another image than the client image of the cluster's release, such as
    /// [`Images::client`](crate::Images::client) of another release, or
    /// [`Images::debian`](crate::Images::debian), which has nothing of Slurm or munge.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }

    /// Mounts a socket where its host has it, read-only.
    #[must_use]
    pub fn socket(self, socket: Socket) -> Self {
        self.socket_at(socket, socket.directory())
    }

    /// Mounts a socket in another directory than its host, read-only.
    #[must_use]
    pub fn socket_at(mut self, socket: Socket, directory: &str) -> Self {
        self.mount(socket, directory, None);
        self
    }

    /// Mounts a socket of another cluster, read-only, in this directory. That cluster has to live as
    /// long as the client.
    #[must_use]
    pub fn socket_of(mut self, cluster: &Cluster, socket: Socket, directory: &str) -> Self {
        self.mount(socket, directory, Some(cluster.owner()));
        self
    }

    /// Makes the root file system read-only. `/usr/local/bin` is not where [`straw`](Self::straw) goes
    /// there.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Mounts a tmpfs: `/run`, or with options of Docker's, `/run:size=64k`.
    #[must_use]
    pub fn tmpfs(mut self, tmpfs: &str) -> Self {
        self.tmpfs.push(tmpfs.to_owned());
        self
    }

    /// Mounts a volume in a directory. Clients of one cluster that name the same share it, and it
    /// goes with the cluster.
    #[must_use]
    pub fn volume(mut self, name: &str, directory: &str, read_only: bool) -> Self {
        self.volumes.push(Volume {
            name: name.to_owned(),
            directory: directory.to_owned(),
            read_only,
        });
        self
    }

    /// Who runs the [first process](Cluster::first_process), root otherwise: a name or a number that
    /// the container need not know.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets a variable for all that is run. Its value is on no command line.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an option of `docker create` that nothing else here stands for: `--cap-drop=ALL`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    fn mount(&mut self, socket: Socket, directory: &str, owner: Option<Owner>) {
        self.sockets.push(Mount {
            socket,
            directory: directory.to_owned(),
            owner,
        });
    }
}

/// What a client needs to know of its cluster.
pub(crate) struct Surroundings<'a> {
    pub(crate) name: String,
    pub(crate) labels: &'a [String],
    pub(crate) network: &'a str,
    pub(crate) controllers: &'a [Container],
    pub(crate) image: &'a str,
    pub(crate) owner: Owner,
}

/// Starts a client.
pub(crate) fn start(
    options: &ClientOptions,
    around: &Surroundings<'_>,
) -> Result<Container, LabError> {
    run(options, around, &["run", "--detach", "--init"])?
        .args([image(options, around), "sleep", "infinity"])
        .check()?;
    let client = Container::owned(around.name.clone());
    if let Some(binary) = &options.straw {
        client.put(STRAW, read(binary)?, 0o755, "root:root")?;
    }
    Ok(client)
}

/// Makes a client whose first process is this command, and does not start it.
pub(crate) fn create(
    options: &ClientOptions,
    around: &Surroundings<'_>,
    argv: Vec<String>,
) -> Result<FirstProcess, LabError> {
    let user = options.user.iter().map(|user| format!("--user={user}"));
    run(options, around, &["create", "--interactive"])?
        .args(user)
        .args([image(options, around)])
        .args(argv)
        .check()?;
    let container = Container::owned(around.name.clone());
    if let Some(binary) = &options.straw {
        let entry = Entry::new(
            STRAW.rsplit('/').next().unwrap_or(STRAW),
            0o755,
            read(binary)?,
        );
        let directory = STRAW
            .rsplit_once('/')
            .map_or("/", |(directory, _)| directory);
        docker(["cp", "-", &format!("{}:{directory}", around.name)])
            .stdin(archive(&[entry]))
            .check()?;
    }
    Ok(FirstProcess { container })
}

/// Through bytes of ours: what cargo builds may be a link, or not readable by others.
fn read(binary: &Path) -> Result<Vec<u8>, LabError> {
    std::fs::read(binary).map_err(LabError::io(format!("read {}", binary.display())))
}

fn image<'a>(options: &'a ClientOptions, around: &Surroundings<'a>) -> &'a str {
    options.image.as_deref().unwrap_or(around.image)
}

/// What makes a client's container, up to its image.
fn run(
    options: &ClientOptions,
    around: &Surroundings<'_>,
    how: &[&str],
) -> Result<Process, LabError> {
    let network = match (&options.beside, options.network) {
        (Some(container), _) => format!("--network=container:{container}"),
        (None, ClientNetwork::Cluster) => format!("--network={}", around.network),
        (None, ClientNetwork::Controller(index)) => {
            format!("--network=container:{}", around.controllers[index].name())
        }
    };
    let mut mounts = Vec::new();
    for mount in &options.sockets {
        let (socket, directory) = (mount.socket, &mount.directory);
        let owner = mount.owner.as_ref().unwrap_or(&around.owner);
        if socket.auth() != owner.auth || socket.controller() >= owner.controllers {
            return Err(LabError::NoSocket {
                directory: socket.directory(),
                host: socket.host(),
                auth: owner.auth.word(),
            });
        }
        let volume = volume(&owner.id, &socket.host());
        // Nothing that the image may have in that place goes into the volume.
        mounts.push(format!(
            "--mount=type=volume,source={volume},target={directory},readonly,volume-nocopy"
        ));
    }
    for Volume {
        name,
        directory,
        read_only,
    } in &options.volumes
    {
        let name = volume(&around.owner.id, name);
        docker(["volume", "create", "--name", &name])
            .args(around.labels)
            .check()?;
        let read_only = if *read_only { ",readonly" } else { "" };
        mounts.push(format!(
            "--mount=type=volume,source={name},target={directory}{read_only}"
        ));
    }
    if options.read_only {
        mounts.push("--read-only".to_owned());
        // A volume without a name, which goes with the container.
        let bin = STRAW
            .rsplit_once('/')
            .map_or("/", |(directory, _)| directory);
        mounts.extend(options.straw.iter().map(|_| format!("--volume={bin}")));
    }
    mounts.extend(options.tmpfs.iter().map(|tmpfs| format!("--tmpfs={tmpfs}")));
    let mut run = docker(how.iter().copied())
        .args(["--name", &around.name, &network])
        .args(around.labels)
        .args(mounts)
        .args(options.options.iter().cloned());
    for (name, value) in &options.env {
        run = run.args([format!("--env={name}")]).env(name, value);
    }
    Ok(run)
}

/// A command that is the first process of its container, without an init above it.
#[derive(Debug)]
pub struct FirstProcess {
    container: Container,
}

impl FirstProcess {
    /// Starts it with this on its standard input, and waits for its end; any exit status is a
    /// result.
    ///
    /// # Errors
    ///
    /// When it does not end within 60 s, or Docker cannot start it.
    pub fn run(&self, stdin: impl Into<Vec<u8>>) -> Result<Output, LabError> {
        docker(["start", "--attach", "--interactive", self.container.name()])
            .stdin(stdin.into())
            .run()
    }

    /// Starts it and leaves it to itself.
    ///
    /// # Errors
    ///
    /// When Docker cannot start it.
    pub fn start(&self) -> Result<(), LabError> {
        docker(["start", self.container.name()]).check().map(drop)
    }

    /// Waits for its end, and returns what it has left behind; any exit status is a result.
    ///
    /// # Errors
    ///
    /// When it does not end in this time.
    pub fn wait(&self, limit: Duration) -> Result<Output, LabError> {
        let status = docker(["wait", self.container.name()]).limit(limit);
        let status = status.check()?.text();
        Ok(Output {
            // Docker's own number, which always is one.
            status: status.parse().unwrap_or(-1),
            ..self.said()?
        })
    }

    /// What it has said since it was [started](Self::start), and its exit status if it has ended, 0
    /// otherwise.
    ///
    /// # Errors
    ///
    /// When Docker does not answer.
    pub fn said(&self) -> Result<Output, LabError> {
        let mut said = docker(["logs", self.container.name()]).check()?;
        let format = "--format={{.State.ExitCode}}";
        let state = docker(["container", "inspect", format, self.container.name()]).check()?;
        said.status = state.text().parse().unwrap_or(-1);
        Ok(said)
    }

    /// Ends it as `docker stop` does, with SIGTERM and ten seconds later with SIGKILL, and returns
    /// how long that took.
    ///
    /// # Errors
    ///
    /// When Docker does not answer.
    pub fn stop(&self) -> Result<Duration, LabError> {
        let began = Instant::now();
        docker(["stop", self.container.name()]).check()?;
        Ok(began.elapsed())
    }

    /// Its container, for commands beside it.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Sends it a signal, as `docker stop` does.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, signal: &str) -> Result<(), LabError> {
        docker(["kill", "--signal", signal, self.container.name()])
            .check()
            .map(drop)
    }
}
