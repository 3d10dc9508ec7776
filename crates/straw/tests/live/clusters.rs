//! What the tests share: the clusters of a release, and clients that run straw.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lab::{ClientOptions, Cluster, Container, Exec, Output, Release};
use libtest_mimic::Failed;

/// The clusters of one release.
pub struct Clusters {
    pub release: Release,
    shared: Mutex<Option<Cluster>>,
}

impl Clusters {
    pub fn new(release: Release) -> Self {
        Self {
            release,
            shared: Mutex::new(None),
        }
    }

    /// The cluster that tests share which leave it as it was: with an Include, a plugstack.conf
    /// and, where the release sends scripts, a prolog. It is started for the first of them. One
    /// test at a time has it.
    pub fn shared(&self) -> Result<Shared<'_>, Failed> {
        let mut guard = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            let cluster = Cluster::builder(self.release)
                .include(true)
                .plugstack(true)
                .prolog(self.sends_scripts())
                .start()?;
            if let Some(moved) = &cluster.images().moved {
                eprintln!("note: {moved}");
            }
            *guard = Some(cluster);
        }
        Ok(Shared(guard))
    }

    /// Since 23.11.
    pub fn sends_scripts(&self) -> bool {
        self.release != Release::V22_05
    }
}

/// A shared cluster, for as long as a test needs it.
pub struct Shared<'a>(MutexGuard<'a, Option<Cluster>>);

impl std::ops::Deref for Shared<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("started before it is lent")
    }
}

/// The program under test.
pub fn program() -> PathBuf {
    std::env::var_os("STRAW_BIN")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_straw").into())
        .into()
}

/// A client container that has Slurm's client package and straw.
pub fn client(cluster: &Cluster) -> Result<Container, Failed> {
    Ok(cluster.client(&ClientOptions::default().straw(&program()))?)
}

/// `straw` in a client container, with a token.
pub fn straw<'a>(client: &'a Container, token: &str, arguments: &str) -> Exec<'a> {
    let words = arguments.split_whitespace();
    client
        .exec(["straw"].into_iter().chain(words))
        .env("SLURM_JWT", token)
}

/// Fails, with all that was said, unless the command ended with this status.
pub fn expect(status: i32, output: Output) -> Result<Output, Failed> {
    if output.status == status {
        Ok(output)
    } else {
        Err(format!("status {status} expected:\n{output}").into())
    }
}

/// Fails, with the whole text, unless it holds all of these.
pub fn holds(text: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("`{part}` expected in:\n{text}").into()),
    }
}

/// Fails unless both are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Result<(), Failed> {
    if left == right {
        Ok(())
    } else {
        Err(format!("{what}: {left:?} is not {right:?}").into())
    }
}
