//! This container: Slurm's commands, and what else is here that counts for them.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags, open};
use slurm_protocol::{ProtocolVersion, Release};

use super::configuration::Sent;
use super::controller::Met;
use super::credential::Chosen;
use super::{Case, Checks, Group, list};
use crate::config::adapt::Container;
use crate::controller::release_name;
use crate::credential::Method;
use crate::error::ExitCode;
use crate::launch::{CLIENT_COMMANDS, Shims, find_behind};
use crate::store::{Current, PlaceEnv, Store};
use crate::text::{span, system_text};

/// Where Slurm's commands look for slurm.conf by themselves, before they ask a controller.
const NATIVE: [&str; 2] = ["/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf"];

/// Keys with which Slurm's commands make credentials of their own rather than use a token.
const KEYS: [&str; 2] = ["/etc/slurm/slurm.key", "/etc/slurm/slurm.jwks"];

/// The secrets of a cluster, in their usual places.
const SECRETS: [&str; 7] = [
    "/etc/munge/munge.key",
    "/etc/slurm/slurm.key",
    "/etc/slurm/jwt_hs256.key",
    "/etc/slurm/jwt.key",
    "/var/spool/slurmctld/jwt_hs256.key",
    "/var/spool/slurm/statesave/jwt_hs256.key",
    "/var/lib/slurm/slurmctld/jwt_hs256.key",
];

/// A longer slurm.conf, in bytes, is not compared.
const LONGEST: u64 = 4 << 20;

/// What is here.
pub(super) struct Found {
    checks: Checks,
    /// Slurm's commands, with their names.
    commands: Vec<(&'static str, PathBuf)>,
    /// The release of their library.
    release: Option<(u16, u16)>,
    /// Whether a shim stands in front of each of them.
    shimmed: bool,
}

impl Found {
    /// Why no command of Slurm's meets a configuration that is not adapted, where none does.
    pub(super) fn adapts(&self, case: &Case<'_>) -> Option<&'static str> {
        match self.commands.is_empty() {
            true => Some("for Slurm's commands, of which none is here"),
            false if case.here.verbatim => None,
            false if case.here.by_exec => Some("by `straw exec`"),
            false => self.shimmed.then_some("by the shims"),
        }
    }
}

/// Looks around.
pub(super) fn find(case: &Case<'_>) -> Found {
    let mut checks = Checks::of(Group::Container);
    let path = &case.here.path;
    let commands: Vec<_> = CLIENT_COMMANDS
        .into_iter()
        .filter_map(|name| Some((name, find_behind(OsStr::new(name), path).ok()?)))
        .collect();
    let container = Container::here().search_path(env::split_paths(path));
    let release = match commands.is_empty() {
        true => None,
        false => container.release(),
    };
    secrets(&mut checks);
    store(case, &mut checks);
    let first = shims(case, &mut checks);
    let shimmed = commands
        .iter()
        .all(|(name, _)| first.iter().any(|shim| shim == name));
    Found {
        checks,
        commands,
        release,
        shimmed,
    }
}

/// Holds it against what the controllers said.
pub(super) fn judge(
    case: &Case<'_>,
    found: Found,
    met: &[Met],
    sent: Option<&Sent>,
    chosen: &Chosen,
) -> Checks {
    let mut checks = Checks::of(Group::Container);
    commands(&mut checks, &found, met);
    files(case, &mut checks, sent);
    if chosen.method() == Some(Method::Jwt) {
        keys(case, &mut checks, &found);
        srun(&mut checks, &found);
    }
    checks.list.extend(found.checks.list);
    checks
}

/// Whether the commands and the controllers understand each other.
fn commands(checks: &mut Checks, found: &Found, met: &[Met]) {
    let Some((_, first)) = found.commands.first() else {
        // A container that only fetches, or hands on a token, needs none.
        checks.well(
            "commands",
            "none of Slurm's is on the PATH (where they are to be run, install them, in a release \
             that the controllers accept; Debian: slurm-client)",
        );
        return;
    };
    let names: Vec<_> = found
        .commands
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let directory = first.parent().unwrap_or(first).display();
    checks.well("commands", format!("{} in {directory}", list(&names)));
    let Some((year, month)) = found.release else {
        checks.skip(
            "release",
            "Slurm's library does not say which release it is",
        );
        return;
    };
    let name = format!("{year}.{month:02}");
    let own = met.iter().find_map(Met::own);
    let (Ok(client), Some(own)) = (name.parse::<Release>(), own) else {
        let why = format!("Slurm {name}; the controller's release is not known");
        checks.skip("release", why);
        return;
    };
    let client = client.version();
    let newest = own.newest().unwrap_or(ProtocolVersion::from_index(u8::MAX));
    let oldest = *own.oldest().accepted_by_controller().start();
    let accepted = format!("Slurm {name}, and the controller is {own}");
    if client > newest {
        checks.fail(
            "release",
            format!("{accepted}: a client must not be newer than its controller"),
            format!(
                "install Slurm's commands in a release from {} to {} here",
                release_name(oldest),
                release_name(newest)
            ),
            ExitCode::Version,
        );
    } else if client < oldest {
        checks.fail(
            "release",
            format!(
                "{accepted}, which accepts none before {}",
                release_name(oldest)
            ),
            format!(
                "install Slurm's commands in a release from {} to {} here",
                release_name(oldest),
                own.newest().map_or_else(|| own.to_string(), release_name)
            ),
            ExitCode::Version,
        );
    } else {
        checks.well("release", accepted);
    }
}

/// Other slurm.conf files, which win over straw's.
fn files(case: &Case<'_>, checks: &mut Checks, sent: Option<&Sent>) {
    if let Some(path) = &case.here.slurm_conf {
        let name = "SLURM_CONF";
        match read(path) {
            Err(error) => {
                let fails = match error.kind() {
                    io::ErrorKind::NotFound => "every command waits 60 s for it and fails",
                    _ => "every command needs it",
                };
                checks.fail(
                    name,
                    format!(
                        "it names {}, which cannot be read: {}",
                        path.display(),
                        system_text(&error)
                    ),
                    format!(
                        "{fails}, and the shims leave it as it is: unset SLURM_CONF, or have \
                         `straw fetch -o` write there"
                    ),
                    ExitCode::Files,
                );
            }
            Ok(content) => compare(checks, name, path, &content, sent, true),
        }
    }
    let mut any = case.here.slurm_conf.is_some();
    for path in NATIVE.map(Path::new) {
        let name = path.display().to_string();
        match read(path) {
            Ok(content) => compare(checks, &name, path, &content, sent, false),
            Err(error) if is_missing(&error) => continue,
            Err(error) => checks.warn(
                &name,
                format!("it cannot be read: {}", system_text(&error)),
                "commands that are called without a shim or `straw exec` look there first: remove \
                 it, or let this user read it",
            ),
        }
        any = true;
    }
    if !any {
        checks.well(
            "slurm.conf",
            "none here that commands would read before straw's",
        );
    }
}

/// Whether a file is what the controller sends, as it is or adapted.
fn compare(
    checks: &mut Checks,
    name: &str,
    path: &Path,
    content: &[u8],
    sent: Option<&Sent>,
    by_variable: bool,
) {
    let Some(sent) = sent else {
        let why = format!("{} is here, and nothing to compare it with", path.display());
        checks.skip(name, why);
        return;
    };
    let sets = [&sent.set, &sent.adapted.set];
    let same = |set: &&crate::config::ConfigSet| {
        let theirs = set.get("slurm.conf");
        theirs.is_some_and(|file| file.content == content)
    };
    if sets.iter().any(same) {
        checks.well(name, "what the controller sends");
        return;
    }
    let remedy = match by_variable {
        true => {
            "every command reads it, and the shims leave it as it is: unset SLURM_CONF, or have \
             `straw fetch -o` write that file"
        }
        false => {
            "commands that are called without a shim or `straw exec` read it and ask no \
             controller: remove it, or have `straw fetch -o` write it"
        }
    };
    let path = match by_variable {
        true => format!("{} ", path.display()),
        false => String::new(),
    };
    checks.warn(
        name,
        format!("{path}is not what the controller sends"),
        remedy,
    );
}

/// A file's content; what is too long for a slurm.conf is cut, and differs in any case.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)?
        .take(LONGEST)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a file for reading, if it is one: a device has no end.
fn open_regular(path: &Path) -> io::Result<File> {
    // Without NONBLOCK a named pipe would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Whether there is nothing at a path.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// What makes Slurm's commands leave a token alone.
fn keys(case: &Case<'_>, checks: &mut Checks, found: &Found) {
    let beside = case.here.slurm_conf.as_deref().and_then(Path::parent);
    let beside = beside
        .into_iter()
        .flat_map(|directory| ["slurm.key", "slurm.jwks"].map(|name| directory.join(name)));
    let files = KEYS.map(PathBuf::from).into_iter().chain(beside);
    let mut names: Vec<_> = files
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    names.extend(case.here.key_variables.clone());
    // SLURM_CONF can name a file in one of the usual places.
    names.sort();
    names.dedup();
    if names.is_empty() {
        return;
    }
    // auth/slurm, which they belong to, came with 23.11.
    if found.release.is_some_and(|release| release < (23, 11)) {
        return;
    }
    checks.warn(
        "keys",
        format!(
            "{}: where Slurm's commands fetch their configuration themselves they authenticate \
             with it, whatever SLURM_JWT is",
            list(&names)
        ),
        "remove it: a client needs no key of the cluster's. With straw's files (a shim, `straw \
         exec`, `straw fetch -o`) they use the token",
    );
}

/// What a token is not good for.
fn srun(checks: &mut Checks, found: &Found) {
    if !found.commands.iter().any(|(name, _)| *name == "srun") {
        return;
    }
    let seen = match found.release {
        Some(release) if release >= (26, 5) => "it refuses to work with a token",
        _ => "with a token its steps do not start: nodes accept none",
    };
    checks.warn(
        "srun",
        seen,
        "submit with sbatch; or for srun and salloc mount the host's /run/munge or /run/slurm, and \
         give no token",
    );
}

/// Secrets of the cluster's that a client must not have.
fn secrets(checks: &mut Checks) {
    let readable: Vec<_> = SECRETS
        .into_iter()
        .filter(|path| open_regular(Path::new(path)).is_ok())
        .map(str::to_owned)
        .collect();
    if readable.is_empty() {
        checks.well("secrets", "no key of the cluster's can be read here");
        return;
    }
    checks.warn(
        "secrets",
        format!(
            "whoever gets into this container can read {}",
            list(&readable)
        ),
        "who has it can be anybody on the cluster: take it out of the image or the mounts; straw \
         needs a token, or a socket of the host's, and no key",
    );
}

/// What is kept, and how old it is.
fn store(case: &Case<'_>, checks: &mut Checks) {
    let stores = match &case.here.store {
        Some(path) => vec![Store::existing(path)],
        None => Store::privates(&PlaceEnv::new(case.here.runtime_dir.clone())),
    };
    let mut kept_here = Vec::new();
    let mut any = false;
    for store in stores {
        let (path, current) = match store.and_then(|store| {
            let Some(store) = store else { return Ok(None) };
            let current = store.current()?;
            Ok(Some((store.path().to_owned(), current)))
        }) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                any = true;
                checks.fail("store", error.to_string(), error.hint(), ExitCode::Files);
                continue;
            }
        };
        kept_here.extend(current.map(|current| (path, current)));
    }
    kept_here.sort_by_key(|(_, current)| std::cmp::Reverse(current.checked));
    match kept_here.split_first() {
        None if any => {}
        None => checks.well("store", "nothing is kept yet"),
        Some(((path, current), others)) => {
            kept(case, checks, path, current);
            if !others.is_empty() {
                // Each is of its own settings, or of what this container was before.
                let count = others.len();
                checks.well("store", format!("{count} more, not used lately"));
            }
        }
    }
}

fn kept(case: &Case<'_>, checks: &mut Checks, path: &Path, current: &Current) {
    let generation = current.generation.file_name().unwrap_or_default();
    let generation = generation.to_string_lossy();
    let generation = generation.trim_start_matches('.');
    let age = SystemTime::now().duration_since(current.checked);
    let seen = |age: Duration| {
        format!(
            "{}: {generation}, from {}, checked {} ago",
            path.display(),
            current.state.controller,
            span(age)
        )
    };
    match age {
        Err(_) => checks.warn(
            "store",
            format!("{}: {generation} was checked in the future", path.display()),
            "the clock was set back since: the next command asks a controller anew",
        ),
        Ok(age) if age >= case.here.max_stale => checks.warn(
            "store",
            seen(age),
            "too old to be used while no controller can be reached (--max-stale); the next command \
             that reaches one renews it",
        ),
        Ok(age) if age < case.here.max_age => checks.well("store", seen(age)),
        Ok(age) => {
            let seen = format!("{}; the next command asks a controller again", seen(age));
            checks.well("store", seen);
        }
    }
}

/// Shims that nobody calls, or that stand in front of nothing. Returns those that are called.
fn shims(case: &Case<'_>, checks: &mut Checks) -> Vec<String> {
    let path = &case.here.path;
    let straw = env::current_exe().unwrap_or_default();
    let mut all = Vec::new();
    for directory in env::split_paths(path).filter(|directory| directory.is_absolute()) {
        all.extend(
            Shims::new(&directory, &straw, path)
                .list()
                .unwrap_or_default(),
        );
    }
    if all.is_empty() {
        checks.well("shims", "none are installed");
        return Vec::new();
    }
    let named = |those: &dyn Fn(&&crate::launch::Shim) -> bool| -> Vec<String> {
        let mut names: Vec<_> = all
            .iter()
            .filter(those)
            .map(|shim| shim.name.clone())
            .collect();
        // Several directories can have them, and the PATH one of them twice.
        names.sort();
        names.dedup();
        names
    };
    let shadowed = named(&|shim| shim.command.is_some() && !shim.first);
    let empty = named(&|shim| shim.command.is_none());
    if !shadowed.is_empty() {
        checks.warn(
            "shims",
            format!(
                "{}: the command itself comes first on the PATH",
                list(&shadowed)
            ),
            "put the directory of the shims before that of the commands on the PATH",
        );
    }
    if !empty.is_empty() {
        checks.warn(
            "shims",
            format!("{}: there is no such command behind it", list(&empty)),
            "install Slurm's client commands, or remove the shims (`straw shim remove`)",
        );
    }
    if shadowed.is_empty() && empty.is_empty() {
        checks.well("shims", list(&named(&|_| true)));
    }
    named(&|shim| shim.command.is_some() && shim.first)
}
