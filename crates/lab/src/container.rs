//! A running container, and commands in it.

use std::time::Duration;

use crate::error::LabError;
use crate::process::{Output, Process, docker};

/// A running container. One that a test asked for is removed when it is dropped; the hosts of a
/// [`Cluster`](crate::Cluster) are removed with it.
#[derive(Debug)]
pub struct Container {
    name: String,
    own: bool,
}

impl Container {
    /// A host of a cluster, which the cluster's keeper removes.
    pub(crate) fn host(name: String) -> Self {
        Self { name, own: false }
    }

    /// A container that is removed when it is dropped.
    pub(crate) fn owned(name: String) -> Self {
        Self { name, own: true }
    }

    /// Its name, as `docker` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address in the cluster's network.
    ///
    /// # Errors
    ///
    /// When Docker does not know it. A container that shares a controller's network, or that is cut
    /// off, has no address of its own: the text is then empty.
    pub fn ip(&self) -> Result<String, LabError> {
        let format = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let out = docker(["container", "inspect", format, &self.name]).check()?;
        Ok(out.text())
    }

    /// A command to be run in the container, the program first. Nothing is run before
    /// [`Exec::run`] or [`Exec::check`].
    pub fn exec<I, S>(&self, argv: I) -> Exec<'_>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Exec {
            container: self,
            argv: argv.into_iter().map(Into::into).collect(),
            options: Vec::new(),
            process: docker(["exec"]),
        }
    }

    /// Writes a file in one step, with this mode and owner (`root`, or `alice:alice`), making the
    /// directories above it where they are missing.
    ///
    /// # Errors
    ///
    /// When the container does not run or the file cannot be written.
    pub fn put(
        &self,
        path: &str,
        bytes: impl Into<Vec<u8>>,
        mode: u32,
        owner: &str,
    ) -> Result<(), LabError> {
        let script = r#"set -e
            umask 022; mkdir -p "$(dirname "$1")"
            umask 077; cat > "$1.part"
            chown "$3" "$1.part"; chmod "$2" "$1.part"; mv -f "$1.part" "$1""#;
        self.exec(["sh", "-c", script, "put", path, &format!("{mode:o}"), owner])
            // Whoever the image is for.
            .user("0")
            .stdin(bytes)
            .check()
            .map(drop)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// When the container does not run or there is no such file.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, LabError> {
        self.exec(["cat", path]).check().map(|out| out.stdout)
    }

    /// The end of what is to be read for diagnosis; empty when it cannot be had.
    pub(crate) fn tail(&self, path: &str, lines: usize) -> String {
        self.exec(["tail", "-n", &lines.to_string(), path])
            .limit(Duration::from_secs(5))
            .run()
            .map(|out| out.text())
            .unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.own {
            // It may have gone with its cluster already.
            drop(docker(["rm", "-f", "-v", &self.name]).run());
        }
    }
}

/// A command in a container, by default as root in the container's own working directory.
#[must_use = "nothing runs before `run` or `check`"]
pub struct Exec<'a> {
    container: &'a Container,
    argv: Vec<String>,
    options: Vec<String>,
    process: Process,
}

impl Exec<'_> {
    /// Runs as this user, a name or a number that the container need not know.
    pub fn user(mut self, user: &str) -> Self {
        self.options.push(format!("--user={user}"));
        self
    }

    /// Sets a variable. Its value is on no command line, so a token may be given so.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        // A name alone tells `docker` to take the value from its own environment.
        self.options.push(format!("--env={name}"));
        self.process = self.process.env(name, value);
        self
    }

    /// What the command reads on its standard input; nothing otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.options.push("--interactive".to_owned());
        self.process = self.process.stdin(bytes.into());
        self
    }

    /// The directory to run in.
    pub fn workdir(mut self, directory: &str) -> Self {
        self.options.push(format!("--workdir={directory}"));
        self
    }

    /// How long it may take, 60 s otherwise. At the end of it `docker exec` is killed, and the
    /// command goes with its container at the latest.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.process = self.process.limit(limit);
        self
    }

    /// Runs the command; any exit status is a result.
    ///
    /// # Errors
    ///
    /// When the command did not end in its time, or `docker` could not be run at all. What `docker`
    /// itself says against the command is a result with status 125 to 127.
    pub fn run(self) -> Result<Output, LabError> {
        self.into_process().run()
    }

    /// Runs the command; any exit status but 0 is an error.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and when the command ends with another status than 0.
    pub fn check(self) -> Result<Output, LabError> {
        self.into_process().check()
    }

    fn into_process(self) -> Process {
        self.process
            .args(self.options)
            .args([self.container.name.clone()])
            .args(self.argv)
    }
}
