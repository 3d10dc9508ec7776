//! A watch that lives for long, through faults of all kinds.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::random::{number, plan};
use super::run::limited;
use super::site::{Site, Worker};
use crate::clusters::{Clusters, PATIENCE, lacks, same};
use crate::watch::change;

/// How many refreshes meet faults.
const REFRESHES: usize = 300;

/// After as many it has all the memory that it needs.
const SETTLED: usize = 50;

/// What it may grow by after that, in KiB; it is a few pages where nothing leaks.
const GROWTH: u64 = 1024;

/// It may open few files, so that one that it forgets now and then is missed soon.
const FEW_FILES: &str = "-n 24";

/// Descriptors and memory do not grow, and it is fresh again when the faults end.
pub fn through_faults(clusters: &Clusters) -> Result<(), Failed> {
    let seed = number("STRAW_FAULTS_SEED")?.unwrap_or_else(|| fastrand::usize(..));
    let (site, workers) = Site::start(clusters, 1)?;
    let worker = &workers[0];
    let watch = Watch::start(worker, &site)?;
    let result = watch.refreshes(&site, worker, seed);
    let said = watch.end()?;
    lacks(&said, &["panicked", &site.token])?;
    result.map_err(|error| {
        let why = error.message().unwrap_or_default();
        let end: Vec<_> = said.lines().rev().take(20).collect();
        format!("STRAW_FAULTS_SEED={seed}: {why}\n{}", end.join("\n")).into()
    })
}

struct Watch {
    process: Child,
    log: std::path::PathBuf,
}

impl Watch {
    /// It asks when it is told to, and not before.
    fn start(worker: &Worker, site: &Site) -> Result<Self, Failed> {
        let log = worker.home.path().join("log");
        let store = worker.home.path().join("watched");
        let mut shell = limited(&site.token, FEW_FILES);
        let address = worker.proxy.address.to_string();
        let options = ["--verbatim", "--refresh=1h", "--timeout=1s", "-o"];
        shell.args(["watch", &address]).args(options).arg(&store);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        shell.stderr(fs::File::create(&log)?);
        let process = shell.spawn()?;
        let watch = Self { process, log };
        until("the first set", || {
            Ok(fs::read(store.join("slurm.conf")).ok() == Some(site.new["slurm.conf"].1.clone()))
        })?;
        Ok(watch)
    }

    fn refreshes(&self, site: &Site, worker: &Worker, seed: usize) -> Result<(), Failed> {
        let mut rng = Rng::with_seed(seed as u64);
        let mut settled = 0;
        for refresh in 0..REFRESHES {
            worker.proxy.arm(plan(&mut rng))?;
            self.signal(Signal::SIGHUP)?;
            until("a refresh", || Ok(!worker.proxy.passed().is_empty()))?;
            if refresh == SETTLED {
                settled = self.memory()?;
            }
        }
        worker.proxy.arm(Vec::new())?;
        change(&site.cluster, "# after all faults")?;
        let conf = site.cluster.controller_file("slurm.conf")?;
        let path = worker.home.path().join("watched/slurm.conf");
        until("the set of after the faults", || {
            self.signal(Signal::SIGHUP)?;
            Ok(fs::read(&path)? == conf)
        })?;
        let memory = self.memory()?;
        eprintln!("a watch of {REFRESHES} refreshes: from {settled} to {memory} KiB");
        if memory > settled + GROWTH {
            return Err(format!("it grew from {settled} to {memory} KiB").into());
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = Pid::from_raw(self.process.id().try_into()?);
        Ok(kill(pid, signal)?)
    }

    /// What it has of it, in KiB.
    fn memory(&self) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }

    /// Ends it as a container does, and returns what it has said.
    fn end(mut self) -> Result<String, Failed> {
        self.signal(Signal::SIGTERM)?;
        let mut status = None;
        until("its end", || {
            status = self.process.try_wait()?;
            Ok(status.is_some())
        })?;
        same("status", status.and_then(|status| status.code()), Some(0))?;
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Watch {
    /// Where the test has failed it may still run.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until it is so.
fn until(what: &str, mut so: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let give_up = Instant::now() + PATIENCE;
    while !so()? {
        if Instant::now() > give_up {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
