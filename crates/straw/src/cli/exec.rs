//! `straw exec`, and what a shim does: the configuration is made ready, then straw becomes a command.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use secrecy::ExposeSecret as _;

use super::adapting::{self, Adapting};
use super::args::{Exec, Keep};
use super::{Environment, plan};
use crate::config::Known;
use crate::credential::{Source, TokenSource};
use crate::error::Error;
use crate::launch::{self, Variables, Wanted};
use crate::network::System;
use crate::store::{Current, PlaceEnv, Store};
use crate::text::mark_of;

/// Says which file of straw's `SLURM_CONF` names, so that a command within a command can tell.
const MARK: &str = "STRAW_SLURM_CONF";

/// Says which process became which command through a shim.
const LAP: &str = "STRAW_SHIM";

pub(super) fn exec(
    arguments: Exec,
    given: Vec<(String, OsString)>,
    environment: &Environment,
) -> Result<(), Error> {
    let line = arguments.command.clone();
    let name = line.first().map(OsString::as_os_str).unwrap_or_default();
    let program = launch::find(name, &path())?;
    let ready = ready(arguments, environment)?;
    // What lives for long finds the sets to come in the same place.
    let mut variables = Variables::default();
    ready.set(&mut variables, &ready.current.stable)?;
    // Shims that it calls go on with the same store.
    for (name, value) in given {
        variables.set(name, value);
    }
    Err(launch::become_command(&program, &line, &variables).into())
}

/// What straw does that is called by the name of a command.
pub(super) fn shim(
    arguments: Exec,
    line: &[OsString],
    name: &OsStr,
    environment: &Environment,
) -> Result<(), Error> {
    // The process stays the same: who comes back to where it was goes round in circles.
    let mut lap = OsString::from(format!("{}:", std::process::id()));
    lap.push(name);
    if env::var_os(LAP).as_ref() == Some(&lap) {
        return Err(launch::LaunchError::Circle {
            name: name.to_string_lossy().into_owned(),
        }
        .into());
    }
    let program = launch::find_behind(name, &path())?;
    let mut variables = Variables::default();
    variables.set(LAP, &lap);
    if let Some(theirs) = env::var_os("SLURM_CONF").filter(|theirs| !theirs.is_empty())
        && env::var_os(MARK) != Some(theirs)
    {
        log::info!("SLURM_CONF is set, so it is used as it is");
        return Err(launch::become_command(&program, line, &variables).into());
    }
    let ready = ready(arguments, environment)?;
    // One command, one set: that very one, for as long as the command lives.
    let hold = ready.current.hold();
    let place = match &hold {
        Ok(_) => ready.current.generation.clone(),
        Err(error) => {
            log::debug!("{error}");
            ready.current.stable.clone()
        }
    };
    ready.set(&mut variables, &place)?;
    Err(launch::become_command(&program, line, &variables).into())
}

fn path() -> OsString {
    // What a shell has where nobody says.
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// A set that is ready, and the credential that goes with it.
struct Ready {
    current: Current,
    credential: Source,
    patience: std::time::Duration,
}

fn ready(arguments: Exec, environment: &Environment) -> Result<Ready, Error> {
    let Exec {
        keep,
        verbatim,
        by_hand,
        access,
        ..
    } = arguments;
    let named = plan::named(&access, environment);
    // All that the set depends on: another store, or another set, for anything else. Whom to trust
    // is said each time, so nothing that came in the clear passes for what came through TLS.
    let adapting = Adapting::new(!verbatim, by_hand);
    let key = format!(
        "controllers={}; files=client; ca={:?}; name={:?}; {adapting:?}; here={}",
        named.unwrap_or_default(),
        // Wherever it is named from.
        access
            .ca_cert
            .as_ref()
            .and_then(|path| std::path::absolute(path).ok()),
        access.tls_server_name,
        here(),
    );
    let store = open(&keep, &key)?;
    let known = match store.current()? {
        Some(current) if current.state.key == key => known(&current),
        _ => Known::default(),
    };
    let query = plan::query(Vec::new(), access, environment, known)?;
    let wanted = Wanted {
        query: &query,
        key: &key,
        max_age: keep.max_age,
        max_stale: keep.max_stale,
        adapt: &|set, fetched| adapting.apply(set, &query, fetched),
        changed: &adapting::log,
    };
    let current = wanted.ready(&store, &System)?;
    Ok(Ready {
        current,
        credential: query.credential,
        patience: query.timeout,
    })
}

fn open(keep: &Keep, key: &str) -> Result<Store, Error> {
    Ok(match &keep.store {
        Some(directory) => Store::at(directory)?,
        None => {
            let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(Into::into);
            Store::private(&PlaceEnv::new(runtime_dir), key)?
        }
    })
}

/// What was found out of the controllers the last time.
fn known(current: &Current) -> Known {
    let state = &current.state;
    Known {
        versions: [(state.controller.clone(), state.version)].into(),
        ..Known::default()
    }
}

/// What tells this container from others that share a directory with it: its Slurm, and its
/// accounts.
fn here() -> String {
    let sinfo = launch::find_behind(OsStr::new("sinfo"), &path()).ok();
    let files = sinfo.into_iter().chain(["/etc/passwd".into()]);
    let stamp = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok()?;
        Some(format!(
            "{} {} {}.{}",
            file.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ))
    };
    files.filter_map(stamp).collect::<Vec<_>>().join(", ")
}

impl Ready {
    /// What the command needs to find the set in this directory, and to authenticate.
    fn set(&self, variables: &mut Variables, directory: &Path) -> Result<(), Error> {
        let slurm_conf = directory.join("slurm.conf");
        variables.set("SLURM_CONF", &slurm_conf);
        variables.set(MARK, &slurm_conf);
        match &self.credential {
            Source::Munge(_) => {}
            // Also where it came out of the variable: what straw takes for a token, with
            // SLURM_JWT= in front, Slurm's commands do not.
            Source::Token(source) => {
                let token = source.load_again(SystemTime::now(), self.patience)?;
                let secret = token.secret().expose_secret();
                variables.set("SLURM_JWT", secret);
                if !matches!(source, TokenSource::Variable(_)) {
                    variables.set(super::TOKEN_MARK, mark_of(secret));
                }
            }
            Source::Sack(path) => variables.set("SLURM_SACK_SOCKET", path),
        }
        Ok(())
    }
}
