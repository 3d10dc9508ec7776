//! A cluster whose files have changed, and places that have the files of before.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{Cluster, Release};
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use super::proxy::Proxy;
use super::run::{Ended, here, one_error};
use super::tree::{Node, Tree};
use super::wire::{Set, Verdict};
use crate::clusters::{Clusters, holds, lacks, same};
use crate::watch::change;

/// A real controller, and what it gave before and gives now: one file is another, one is gone, one
/// is the same.
pub struct Site {
    pub cluster: Cluster,
    pub controller: SocketAddr,
    pub token: String,
    pub old: Set,
    pub new: Set,
}

impl Site {
    /// A cluster, and so many workers that have the files of before.
    pub fn start(clusters: &Clusters, workers: usize) -> Result<(Self, Vec<Worker>), Failed> {
        let cluster = clusters.with_files().start()?;
        let controller = SocketAddr::new(cluster.controller_ip(0).parse()?, 6817);
        let token = cluster.token("alice", 3600)?;
        // A controller looks up the name of whoever sends what it does not understand, and nobody
        // knows this machine's: that can take seconds.
        let here = TcpStream::connect(controller)?.local_addr()?.ip();
        let known = format!("echo {here} tests >> /etc/hosts");
        cluster.controller(0).exec(["sh", "-c", &known]).check()?;
        let workers = (0..workers).map(|_| Worker::start(controller, &token));
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let old = set(workers[0].old_flat.clone());
        cluster
            .controller(0)
            .exec(["rm", "/etc/slurm/plugstack.conf"])
            .check()?;
        change(&cluster, "# another line")?;
        let now = |name: &str| cluster.controller_file(name);
        let new = ["slurm.conf", "partitions.conf"].map(|name| {
            let content = now(name)?;
            Ok::<_, Failed>((name.to_owned(), (0o644, content)))
        });
        let site = Self {
            new: new.into_iter().collect::<Result<_, _>>()?,
            cluster,
            controller,
            token,
            old,
        };
        let names: Vec<_> = site.old.keys().map(String::as_str).collect();
        let all = ["partitions.conf", "plugstack.conf", "slurm.conf"];
        same("the files of before", names, all.to_vec())?;
        if site.old["slurm.conf"] == site.new["slurm.conf"] {
            return Err("slurm.conf has not changed".into());
        }
        Ok((site, workers))
    }
}

/// One that runs straw through a proxy of its own, into directories of its own.
pub struct Worker {
    pub proxy: Proxy,
    pub home: TempDir,
    pub token: String,
    pub flat: PathBuf,
    pub store: PathBuf,
    old_flat: Tree,
    old_store: Tree,
}

/// Where straw puts what it fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Flat files.
    Flat,
    /// A store, whose set may be of any age while no controller can be reached.
    Store,
    /// The same store, asked for the set of other controllers: it has none of theirs.
    OtherStore,
}

impl Worker {
    fn start(controller: SocketAddr, token: &str) -> Result<Self, Failed> {
        // In memory, where there is room: nothing here is of a disk.
        let shm = Path::new("/dev/shm");
        let home = match shm.is_dir() {
            true => tempfile::tempdir_in(shm)?,
            false => tempfile::tempdir()?,
        };
        let mut worker = Self {
            proxy: Proxy::start(controller)?,
            flat: home.path().join("flat"),
            store: home.path().join("store"),
            token: token.to_owned(),
            home,
            old_flat: Tree::default(),
            old_store: Tree::default(),
        };
        for place in [Place::Flat, Place::Store] {
            let ended = worker.run(place, &[])?;
            same(
                "the first run",
                (ended.code, ended.stderr),
                (0, String::new()),
            )?;
        }
        worker.old_flat = Tree::read(&worker.flat)?;
        worker.old_store = Tree::read(&worker.store)?;
        Ok(worker)
    }

    /// Has it as it was before the files changed.
    pub fn restore(&self, place: Place) -> Result<(), Failed> {
        match place {
            Place::Flat => self.old_flat.restore(&self.flat)?,
            Place::Store | Place::OtherStore => self.old_store.restore(&self.store)?,
        }
        Ok(())
    }

    /// straw, asking the controller through the proxy.
    pub fn run(&self, place: Place, options: &[&str]) -> Result<Ended, Failed> {
        self.run_with(place, &self.proxy.address.to_string(), options)
    }

    /// straw, asking these controllers.
    pub fn run_with(&self, place: Place, servers: &str, options: &[&str]) -> Result<Ended, Failed> {
        let mut command = here(&self.token);
        command.current_dir(self.home.path());
        match place {
            Place::Flat => {
                command.args(["fetch", servers, "--json", "-o"]);
                command.arg(&self.flat).args(options);
            }
            Place::Store | Place::OtherStore => {
                command.args(["exec", "--servers", servers, "--verbatim", "--max-age=0s"]);
                command.arg("--store").arg(&self.store).args(options);
                command.args(["--", "cat"]);
                command.arg(self.store.join("slurm.conf"));
            }
        }
        self.end(&mut command)
    }

    /// straw, asking for one file, without a place where it could know anything from.
    pub fn ask_first(&self) -> Result<Ended, Failed> {
        let mut command = here(&self.token);
        let address = self.proxy.address.to_string();
        self.end(command.args(["fetch", &address, "--stdout=slurm.conf", "--timeout=3s"]))
    }

    /// Runs it to its end, in which there is no token.
    fn end(&self, command: &mut Command) -> Result<Ended, Failed> {
        let ended = Ended::of(command)?;
        lacks(&ended.stderr, &["panicked", &self.token])?;
        lacks(&String::from_utf8_lossy(&ended.stdout), &[&self.token])?;
        Ok(ended)
    }

    /// Fails unless straw ended in one of these ways, and left just what it has to.
    pub fn judge(&self, place: Place, ended: &Ended, verdicts: &[Verdict]) -> Result<(), Failed> {
        let mut all = Vec::new();
        for verdict in verdicts {
            let judged = match (place, verdict) {
                (Place::Flat, Verdict::Has(set)) => self.flat_has(ended, set),
                (Place::Flat, Verdict::Fails(code, kind)) => self.flat_fails(ended, *code, kind),
                (_, Verdict::Has(set)) => self.store_has(ended, set),
                (_, Verdict::Fails(code, kind)) => {
                    let bridged = place == Place::Store && *code == 3;
                    self.store_fails(ended, *code, kind, bridged)
                }
            };
            match judged {
                Ok(()) => return Ok(()),
                Err(why) => all.push(why.message().unwrap_or_default().to_owned()),
            }
        }
        Err(format!("{}\n{ended:?}", all.join("\nnor: ")).into())
    }

    fn flat_has(&self, ended: &Ended, set: &Set) -> Result<(), Failed> {
        same("exit code", ended.code, 0)?;
        same("stderr", ended.stderr.as_str(), "")?;
        let report: Value = serde_json::from_slice(&ended.stdout)?;
        same("directory", report["directory"].is_string(), true)?;
        let tree = Tree::read(&self.flat)?;
        let notes: Value = serde_json::from_slice(tree.bytes(".straw.json").unwrap_or_default())?;
        let names: Vec<_> = set.keys().map(|name| Value::from(name.as_str())).collect();
        same("the files in the notes", &notes["files"], &names.into())?;
        has("the directory", self::set(tree), set)
    }

    fn flat_fails(&self, ended: &Ended, code: u8, kind: &str) -> Result<(), Failed> {
        same("exit code", ended.code, i32::from(code))?;
        let error: Value = serde_json::from_slice(&ended.stdout)?;
        same("kind", error["error"]["kind"].as_str(), Some(kind))?;
        same(
            "exit code as told",
            &error["error"]["exit_code"],
            &code.into(),
        )?;
        one_error(&ended.stderr)?;
        match Tree::read(&self.flat)? == self.old_flat {
            true => Ok(()),
            false => Err("the directory is not as it was".into()),
        }
    }

    fn store_has(&self, ended: &Ended, set: &Set) -> Result<(), Failed> {
        same("exit code", ended.code, 0)?;
        same("stderr", ended.stderr.as_str(), "")?;
        read(ended, &set["slurm.conf"].1)?;
        let tree = Tree::read(&self.store)?;
        let data = match tree.0.get(Path::new("..data")) {
            Some(Node::Link(target)) => target.clone(),
            other => return Err(format!("..data is {other:?}").into()),
        };
        let generation = Tree::read(&self.store.join(&data))?;
        has("the generation", self::set(generation), set)?;
        // A link for each file, the sets of before as long as they may be read, and nothing else.
        let data = data.to_string_lossy().into_owned();
        let number: u32 = data.trim_start_matches("..gen-").parse()?;
        let top = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
        let mut names: Vec<_> = set.keys().map(top).collect();
        names.extend(["..data", "..lock"].map(str::to_owned));
        names.extend((1..=number).map(|number| format!("..gen-{number}")));
        names.extend(tree.bytes("..failed").map(|_| "..failed".to_owned()));
        names.sort();
        same("the store", tree.names(), names)
    }

    fn store_fails(
        &self,
        ended: &Ended,
        code: u8,
        kind: &str,
        bridged: bool,
    ) -> Result<(), Failed> {
        let mut tree = Tree::read(&self.store)?;
        let noted = tree.bytes("..failed").ok_or("no failure is noted")?;
        let noted: Value = serde_json::from_slice(noted)?;
        same("kind", noted["kind"].as_str(), Some(kind))?;
        same("exit code as noted", &noted["exit_code"], &code.into())?;
        lacks(&noted.to_string(), &[&self.token])?;
        tree.0.remove(Path::new("..failed"));
        if tree != self.old_store {
            return Err("the store is not as it was".into());
        }
        // That no controller can be reached is bridged by the last good set, and nothing else is.
        if bridged {
            same("exit code", ended.code, 0)?;
            let good = self.old_store.bytes(self.generation()?.join("slurm.conf"));
            read(ended, good.unwrap_or_default())?;
            same("warnings", ended.stderr.matches("warning: ").count(), 1)?;
            return holds(&ended.stderr, &["; using the configuration of "]);
        }
        same("exit code", ended.code, i32::from(code))?;
        read(ended, b"")?;
        one_error(&ended.stderr)
    }

    /// The one that holds the set of before.
    fn generation(&self) -> Result<PathBuf, Failed> {
        match self.old_store.0.get(Path::new("..data")) {
            Some(Node::Link(target)) => Ok(target.clone()),
            other => Err(format!("..data was {other:?}").into()),
        }
    }
}

/// Fails unless this is what the command read out of the store.
fn read(ended: &Ended, slurm_conf: &[u8]) -> Result<(), Failed> {
    match ended.stdout == slurm_conf {
        true => Ok(()),
        false => Err("the command has read something else".into()),
    }
}

/// The files of a tree, but for straw's notes; a directory that is there for no file counts as one.
fn set(tree: Tree) -> Set {
    let paths: Vec<_> = tree.0.keys().cloned().collect();
    let is_needed = |directory: &Path| {
        let mut below = paths.iter().filter(|path| path.starts_with(directory));
        below.any(|path| path != directory)
    };
    let files = tree.0.into_iter().filter_map(|(path, node)| match node {
        Node::File { mode, bytes, .. } if path != Path::new(".straw.json") => {
            Some((path.to_string_lossy().into_owned(), (mode, bytes)))
        }
        Node::File { .. } => None,
        Node::Directory(_) if is_needed(&path) => None,
        Node::Directory(_) | Node::Link(_) => {
            Some((path.to_string_lossy().into_owned(), (0, Vec::new())))
        }
    });
    files.collect()
}

/// Fails, with what differs, unless the files are these.
fn has(what: &str, files: Set, set: &Set) -> Result<(), Failed> {
    if files == *set {
        return Ok(());
    }
    let names = files.keys().chain(set.keys());
    let other = names.filter(|name| files.get(*name) != set.get(*name));
    let show = |file: Option<&(u32, Vec<u8>)>| match file {
        Some((mode, content)) => format!("{mode:o} {:?}", String::from_utf8_lossy(content)),
        None => "none".to_owned(),
    };
    let other = other.map(|name| {
        let (is, should) = (show(files.get(name)), show(set.get(name)));
        format!("{name} is {is} and should be {should}")
    });
    let other = other.collect::<Vec<_>>().join("\n");
    Err(format!("{what}: {other}").into())
}

/// Whether a cluster's controller is of a release that answers a version that it does not accept.
pub fn speaks_up(release: Release) -> bool {
    release != Release::V22_05
}
