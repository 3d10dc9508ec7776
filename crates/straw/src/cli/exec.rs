//! `straw exec`, and what a shim does: the configuration is made ready, then straw becomes a command.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;

use super::args::Exec;
use super::kept::{Age, Kept, search_path};
use super::{Environment, TOKEN_MARK, supervise};
use crate::controller::Query;
use crate::credential::{Source, TokenSource};
use crate::error::Error;
use crate::launch::{self, Variables};
use crate::text::mark_of;

/// Says which file of straw's `SLURM_CONF` names, so that a command within a command can tell.
const MARK: &str = "STRAW_SLURM_CONF";

/// Says which process became which command through a shim.
const LAP: &str = "STRAW_SHIM";

/// How long nobody asks again after no controller could be reached: else every command would wait for
/// them.
const PAUSE: Duration = Duration::from_secs(30);

/// Runs the command: becomes it, or stays beside it and returns its exit code.
pub(super) fn exec(
    arguments: Exec,
    given: Vec<(String, OsString)>,
    environment: &Environment,
) -> Result<u8, Error> {
    let line = arguments.command.clone();
    let name = line.first().map(OsString::as_os_str).unwrap_or_default();
    let program = launch::find(name, &search_path())?;
    if let Some(interval) = arguments.supervise.refresh {
        return supervise::run(arguments, program, interval, given, environment);
    }
    let age = age(&arguments);
    let (ready, query) = kept(arguments, environment).ready(age)?;
    ready.warn();
    // What lives for long finds the sets to come in the same place.
    let mut variables = variables(&query, &ready.current.stable)?;
    // Shims that it calls go on with the same store.
    variables.extend(given);
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
    let program = launch::find_behind(name, &search_path())?;
    if let Some(theirs) = env::var_os("SLURM_CONF").filter(|theirs| !theirs.is_empty())
        && env::var_os(MARK) != Some(theirs)
    {
        log::info!("SLURM_CONF is set, so it is used as it is");
        let mut variables = Variables::default();
        variables.set(LAP, &lap);
        return Err(launch::become_command(&program, line, &variables).into());
    }
    let age = age(&arguments);
    let (ready, query) = kept(arguments, environment).ready(age)?;
    ready.warn();
    // One command, one set: that very one, for as long as the command lives.
    let hold = ready.current.hold();
    let place = match &hold {
        Ok(_) => &ready.current.generation,
        Err(error) => {
            log::debug!("{error}");
            &ready.current.stable
        }
    };
    let mut variables = variables(&query, place)?;
    variables.set(LAP, &lap);
    Err(launch::become_command(&program, line, &variables).into())
}

/// How fresh the set is to be.
pub(super) fn age(arguments: &Exec) -> Age {
    Age {
        fresh: arguments.keep.max_age,
        stale: arguments.keep.max_stale,
        pause: PAUSE,
    }
}

pub(super) fn kept(arguments: Exec, environment: &Environment) -> Kept {
    let Exec {
        keep,
        verbatim,
        by_hand,
        access,
        ..
    } = arguments;
    let changes = (verbatim, by_hand);
    Kept::new(keep.store, Vec::new(), access, changes, environment)
}

/// What a command needs to find the set in this directory, and to authenticate.
pub(super) fn variables(query: &Query, directory: &Path) -> Result<Variables, Error> {
    let mut variables = Variables::default();
    let slurm_conf = directory.join("slurm.conf");
    variables.set("SLURM_CONF", &slurm_conf);
    variables.set(MARK, &slurm_conf);
    match &query.credential {
        Source::Munge(_) => {}
        // Also where it came out of the variable: what straw takes for a token, with SLURM_JWT= in
        // front, Slurm's commands do not.
        Source::Token(source) => {
            let token = source.load_again(SystemTime::now(), query.timeout)?;
            let secret = token.secret().expose_secret();
            variables.set("SLURM_JWT", secret);
            if !matches!(source, TokenSource::Variable(_)) {
                variables.set(TOKEN_MARK, mark_of(secret));
            }
        }
        Source::Sack(path) => variables.set("SLURM_SACK_SOCKET", path),
    }
    Ok(variables)
}
