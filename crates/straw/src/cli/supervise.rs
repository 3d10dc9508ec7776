//! `straw exec --refresh`: straw stays beside the command, and keeps its configuration fresh.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::args::{Exec, Supervise};
use super::kept::{Age, search_path};
use super::{Environment, exec};
use crate::error::Error;
use crate::launch::{Event, OnChange, Supervisor, Variables, Work};
use crate::store::Current;
use crate::watch::health::Status;
use crate::watch::{Hook, Watch};

/// What concerns this process, and not those that its command starts.
const OWN: [&str; 5] = [
    "STRAW_REFRESH",
    "STRAW_ON_CHANGE",
    "STRAW_KILL_AFTER",
    "STRAW_RENEW_TOKEN",
    "STRAW_LIFESPAN",
];

/// Runs the command, and returns its exit code.
pub(super) fn run(
    arguments: Exec,
    program: PathBuf,
    interval: Duration,
    mut given: Vec<(String, OsString)>,
    environment: &Environment,
) -> Result<u8, Error> {
    let Supervise {
        on_change,
        kill_after,
        ..
    } = arguments.supervise.clone();
    let hook = match &on_change {
        OnChange::Run(words) => Some(Hook::new(words.clone(), &search_path())?),
        _ => None,
    };
    let line = arguments.command.clone();
    let renewing = arguments.renewing.clone();
    let age = exec::age(&arguments);
    let mut kept = exec::kept(arguments, environment);

    let status = Status::new(age.stale);
    let mut tokens = kept.tokens(&renewing)?;
    if let Some(tokens) = &mut tokens {
        tokens.ready(&status)?;
    }
    let (ready, _) = kept.ready(age)?;
    ready.warn();
    kept.without_waiting();

    if let Some(file) = kept.renewed() {
        // Shims within the command read the token where it is kept fresh.
        given.retain(|(name, _)| name != "STRAW_TOKEN_COMMAND");
        given.push(("STRAW_TOKEN_FILE".into(), file.into()));
    }
    let current = ready.current;
    let variables = {
        let (kept, stable) = (kept.clone(), current.stable.clone());
        move || -> Result<Variables, Error> {
            let mut variables = exec::variables(&kept.query(None)?, &stable)?;
            variables.extend(given.clone());
            // A `straw exec` within the command needs no supervisor of its own.
            for name in OWN {
                variables.remove(name);
            }
            Ok(variables)
        }
    };
    let (to_events, events) = mpsc::channel();
    let (to_hook, changes) = mpsc::channel();
    let tells = matches!(on_change, OnChange::Signal(_) | OnChange::Restart);
    let changed = {
        let to_events = to_events.clone();
        move |new: &Current| {
            let _ = to_hook.send(new.stable.join("slurm.conf"));
            if tells {
                let _ = to_events.send(Event::Changed);
            }
        }
    };
    let watch = Watch {
        interval,
        max_stale: age.stale,
        patience: kept.patience(),
        refresh: {
            let kept = kept.clone();
            let of = move |fresh| Age {
                fresh,
                pause: Duration::ZERO,
                ..age
            };
            Box::new(move |fresh| Ok(kept.ready(of(fresh))?.0))
        },
        changed: Box::new(changed),
        tokens,
        status,
    };
    let first = current.clone();
    // Nobody ends it but the end of the process.
    let (_awake, wake) = mpsc::channel();
    let supervisor = Supervisor {
        program,
        line,
        variables: Arc::new(variables),
        on_change,
        kill_after,
    };
    let mut work: Vec<Work> = vec![Box::new(move || watch.run(Some(first), &wake))];
    match hook {
        Some(hook) => work.push(Box::new(move || hook.run_for_each(&changes))),
        // Nobody listens, and nothing is kept for anybody.
        None => drop(changes),
    }
    supervisor.run(&events, to_events, work)
}
