//! What the tests share: the clusters of a release, and clients that run straw.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{Auth, Builder, ClientOptions, Cluster, Container, Exec, Output, Release};
use libtest_mimic::Failed;

/// The longest that something may take that takes a moment, and that a backup may take to take over.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The clusters of one release.
pub struct Clusters {
    pub release: Release,
    shared: Mutex<Option<Cluster>>,
    slurm: Mutex<Option<Cluster>>,
}

impl Clusters {
    pub fn new(release: Release) -> Self {
        Self {
            release,
            shared: Mutex::new(None),
            slurm: Mutex::new(None),
        }
    }

    /// The cluster that tests share which leave it as it was: with munge, an Include, a
    /// plugstack.conf and, where the release sends scripts, a prolog. It is started for the first of
    /// them. One test at a time has it.
    pub fn shared(&self) -> Result<Shared<'_>, Failed> {
        lend(&self.shared, || {
            self.with_files().prolog(self.sends_scripts())
        })
    }

    /// The same with auth/slurm, which 22.05 does not have, and no prolog. Who wants both takes the
    /// one with munge first.
    pub fn slurm(&self) -> Result<Shared<'_>, Failed> {
        lend(&self.slurm, || self.with_files().auth(Auth::Slurm))
    }

    /// What the shared ones have.
    pub fn with_files(&self) -> Builder {
        Cluster::builder(self.release).include(true).plugstack(true)
    }

    /// What its controllers accept, pinned.
    pub fn accepted(&self) -> Result<Vec<slurm_protocol::Release>, Failed> {
        let own = self.release.to_string().parse::<slurm_protocol::Release>();
        let own = own.map_err(|error| error.to_string())?;
        let accepted = own.version().accepted_by_controller();
        let all = slurm_protocol::Release::ALL.iter().copied();
        Ok(all
            .filter(|release| accepted.contains(&release.version()))
            .collect())
    }

    /// Since 23.11.
    pub fn sends_scripts(&self) -> bool {
        self.release != Release::V22_05
    }
}

/// The cluster in a place, started where there is none yet.
fn lend(
    place: &Mutex<Option<Cluster>>,
    builder: impl FnOnce() -> Builder,
) -> Result<Shared<'_>, Failed> {
    let mut guard = place.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        let cluster = builder().start()?;
        if let Some(moved) = &cluster.images().moved {
            eprintln!("note: {moved}");
        }
        *guard = Some(cluster);
    }
    Ok(Shared(guard))
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
    Ok(cluster.client(&with_straw())?)
}

/// What a client container that has straw begins with.
pub fn with_straw() -> ClientOptions {
    ClientOptions::default().straw(&program())
}

/// `straw` in a client container, with a token.
pub fn straw<'a>(client: &'a Container, token: &str, arguments: &str) -> Exec<'a> {
    plain(client, arguments).env("SLURM_JWT", token)
}

/// `straw` in a client container, without a token.
pub fn plain<'a>(client: &'a Container, arguments: &str) -> Exec<'a> {
    client.exec(["straw"].into_iter().chain(arguments.split_whitespace()))
}

/// Fails unless the client set that straw put into this directory is the controller's. The shared
/// clusters have these files.
pub fn same_set(cluster: &Cluster, client: &Container, directory: &str) -> Result<(), Failed> {
    let all = |host: &Container, directory: &str| {
        let files = ["cat", "slurm.conf", "partitions.conf", "plugstack.conf"];
        host.exec(files).workdir(directory).check()
    };
    let fetched = all(client, directory)?.text();
    let original = all(cluster.controller(0), "/etc/slurm")?.text();
    same("the client set", fetched, original)
}

/// Calls until it is as it should be.
pub fn until(
    what: &str,
    mut call: impl FnMut() -> Result<Output, Failed>,
    good: impl Fn(&Output) -> bool,
) -> Result<Output, Failed> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let output = call()?;
        if good(&output) {
            return Ok(output);
        }
        if Instant::now() > give_up {
            return Err(format!("{what}: still {output}").into());
        }
    }
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

/// Fails, with the whole text, if it holds any of these.
pub fn lacks(text: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("no `{part}` expected in:\n{text}").into()),
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

/// The seconds since 1970, as tokens count.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
