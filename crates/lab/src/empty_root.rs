//! A container whose root directory holds one static binary and nothing else: no shell, no libraries,
//! no `/tmp`, no `/etc/passwd`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::LabError;
use crate::owner::labels;
use crate::process::{Output, docker};
use crate::tar::{Entry, archive};

/// A binary to be run in an empty root.
pub struct EmptyRoot<'a> {
    bytes: Vec<u8>,
    cluster: Option<&'a Cluster>,
    user: Option<String>,
    env: Vec<(String, String)>,
    limit: Duration,
}

impl<'a> EmptyRoot<'a> {
    /// The path of the binary in the container.
    pub const PATH: &'static str = "/straw";

    /// An empty root with this binary, and no network.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn of(binary: &Path) -> Result<Self, LabError> {
        let doing = format!("read {}", binary.display());
        Ok(Self {
            bytes: fs::read(binary).map_err(LabError::io(doing))?,
            cluster: None,
            user: None,
            env: Vec::new(),
            limit: Duration::from_secs(60),
        })
    }

    /// Puts it in the network of a cluster.
    #[must_use]
    pub fn network(mut self, cluster: &'a Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Runs as this user; a number, since there are no names.
    #[must_use]
    pub fn user(mut self, uid: &str) -> Self {
        self.user = Some(uid.to_owned());
        self
    }

    /// Sets a variable. Its value is on no command line.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long it may take, 60 s otherwise.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the binary with these arguments, and removes the container and its image afterwards.
    ///
    /// # Errors
    ///
    /// When Docker fails, or the binary does not end in its time. Any exit status of it is a result.
    pub fn run<I, S>(&self, args: I) -> Result<Output, LabError>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let id = format!("root-{}", crate::random::name()?);
        let labels = match self.cluster {
            Some(cluster) => cluster.labels().to_vec(),
            None => labels(&id)?,
        };
        let root = Root::import(&self.bytes, &id, &labels)?;
        let network = self.cluster.map_or("none", Cluster::network);
        let mut run = docker(["run", "--init", "--name", &id, "--network", network])
            .args(labels)
            .args(self.user.as_ref().map(|user| format!("--user={user}")))
            .limit(self.limit);
        for (name, value) in &self.env {
            run = run.args([format!("--env={name}")]).env(name, value);
        }
        run.args([root.image.as_str(), Self::PATH]).args(args).run()
    }
}

/// The image of an empty root, with the container made from it.
struct Root {
    image: String,
    container: String,
}

impl Root {
    fn import(binary: &[u8], id: &str, labels: &[String]) -> Result<Self, LabError> {
        let changes = labels.iter().map(|label| {
            // `--label=NAME=VALUE` for a container is `LABEL NAME=VALUE` for an image.
            format!("--change=LABEL {}", label.trim_start_matches("--label="))
        });
        let path = EmptyRoot::PATH;
        let image = docker(["import"])
            .args(changes)
            .args(["-"])
            .stdin(archive(&[Entry::new(path, 0o755, binary)]))
            .check()?
            .text();
        Ok(Self {
            image,
            container: id.to_owned(),
        })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // What cannot be removed now is labelled, and goes with a later sweep.
        drop(docker(["rm", "-f", "-v", &self.container]).run());
        drop(docker(["rmi", "-f", &self.image]).run());
    }
}
