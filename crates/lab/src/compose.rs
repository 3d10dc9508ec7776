//! Several containers at once, as somebody's compose file describes them, in the network of a cluster.
//!
//! Both Composes will do: the second, `docker compose`, and the last of the first, `docker-compose`
//! 1.29, which Debian bookworm has.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::error::{LabError, Unavailable};
use crate::process::{Output, Process, docker};
use crate::provision::{has, install, is_debian, is_root};
use crate::random;

/// How long the containers may take to be there, one after the other.
const UP: Duration = Duration::from_secs(180);

/// The containers of a compose file. They go with this value, or with their cluster.
#[derive(Debug)]
pub struct Compose {
    program: &'static [&'static str],
    project: String,
    file: PathBuf,
    /// Where the file is that makes them the cluster's, and those with what is secret.
    directory: PathBuf,
    env: Vec<(String, String)>,
    images: Vec<(String, String)>,
}

impl Compose {
    /// The compose file in a directory. Nothing is started yet. Where there is no Compose, and we are
    /// root on Debian, it is installed.
    ///
    /// # Errors
    ///
    /// [`LabError::Unavailable`] when there is none and it cannot be installed.
    pub fn new(directory: &Path) -> Result<Self, LabError> {
        let project = format!("straw-lab-{}", random::name()?);
        let compose = Self {
            program: program()?,
            file: directory.join("docker-compose.yml"),
            directory: std::env::temp_dir().join(&project),
            project,
            env: Vec::new(),
            images: Vec::new(),
        };
        let doing = format!("make {}", compose.directory.display());
        fs::create_dir(&compose.directory).map_err(LabError::io(doing))?;
        Ok(compose)
    }

    /// Sets a variable that the file asks for.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a service run this image, rather than build one.
    #[must_use]
    pub fn image(mut self, service: &str, image: &str) -> Self {
        self.images.push((service.to_owned(), image.to_owned()));
        self
    }

    /// Sets a variable to the name of a file that holds this, and that one user alone can read.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or given to that user.
    pub fn secret(self, name: &str, secret: &str, uid: u32) -> Result<Self, LabError> {
        let path = self.directory.join(name);
        let doing = format!("write {}", path.display());
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options
            .open(&path)
            .and_then(|mut file| file.write_all(secret.as_bytes()))
            .and_then(|()| chown(&path, Some(uid), None))
            .map_err(LabError::io(doing))?;
        let path = path.to_string_lossy().into_owned();
        Ok(self.env(name, &path))
    }

    /// Starts it in the network of a cluster, and returns when all services run that the file lets
    /// wait for nobody, or for others that are well by now.
    ///
    /// # Errors
    ///
    /// When Compose says so.
    pub fn up(self, cluster: &Cluster) -> Result<Self, LabError> {
        let text = self.ours(cluster)?.to_string();
        let path = self.our_file();
        let doing = format!("write {}", path.display());
        fs::write(&path, text).map_err(LabError::io(doing))?;
        self.command(["up", "--detach"]).limit(UP).check()?;
        Ok(self)
    }

    /// A command of Compose's, such as `logs` or `exec -T SERVICE COMMAND`. Any exit status is a
    /// result.
    ///
    /// # Errors
    ///
    /// When it does not end within 60 s.
    pub fn run<I, S>(&self, args: I) -> Result<Output, LabError>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.command(args).run()
    }

    /// A user who is not root, and whose files we can make: ourselves, or anyone if we are root.
    pub fn user() -> u32 {
        match fs::metadata("/proc/self").map(|meta| meta.uid()) {
            Ok(uid) if uid != 0 => uid,
            _ => 1000,
        }
    }

    /// What makes the file's services the cluster's: its network, its labels. Volumes have no label,
    /// since the first Compose forgets what else the file says of one that two files name; those of a
    /// test that is killed stay.
    fn ours(&self, cluster: &Cluster) -> Result<Value, LabError> {
        let labels: Map<String, Value> = cluster
            .labels()
            .iter()
            .filter_map(|option| option.strip_prefix("--label=")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let config = self
            .with_files(&[&self.file])
            .args(["config", "--services"]);
        let mut services: Map<String, Value> = config
            .check()?
            .text()
            .lines()
            .map(|name| (name.to_owned(), json!({ "labels": labels })))
            .collect();
        for (service, image) in &self.images {
            if let Some(service) = services.get_mut(service) {
                service["image"] = image.as_str().into();
            }
        }
        let network = json!({ "default": { "external": true, "name": cluster.network() } });
        Ok(json!({ "services": services, "networks": network }))
    }

    /// JSON is YAML.
    fn our_file(&self) -> PathBuf {
        self.directory.join("ours.json")
    }

    fn command<I, S>(&self, args: I) -> Process
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.with_files(&[&self.file, &self.our_file()]).args(args)
    }

    fn with_files(&self, files: &[&Path]) -> Process {
        let mut process = Process::new(self.program[0])
            .args(self.program[1..].iter().copied())
            .args(["--project-name", &self.project]);
        for file in files {
            process = process.args(["--file", &file.to_string_lossy()]);
        }
        for (name, value) in &self.env {
            process = process.env(name, value);
        }
        process
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        // They may have gone with their cluster already.
        drop(self.command(["down", "--volumes", "--timeout=1"]).run());
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The Compose of this machine.
fn program() -> Result<&'static [&'static str], Unavailable> {
    let found = || -> Option<&'static [&'static str]> {
        let second = docker(["compose", "version"]).run();
        if second.is_ok_and(|out| out.success()) {
            return Some(&["docker", "compose"]);
        }
        has("docker-compose").then_some(&["docker-compose"])
    };
    if let Some(program) = found() {
        return Ok(program);
    }
    let unavailable = || {
        Unavailable::new(
            "there is no Docker Compose",
            "install it (docker-compose on Debian), or run as root on Debian, where the lab does that",
        )
    };
    if !is_root() || !is_debian() {
        return Err(unavailable());
    }
    let mut log = |line: &str| eprintln!("{line}");
    install(&mut log, &["docker-compose"], "docker-compose")?;
    found().ok_or_else(unavailable)
}
