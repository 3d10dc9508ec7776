//! `straw watch`: a directory that stays fresh, for whoever reads it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN};
use signal_hook::low_level::emulate_default_handler;

use super::args::{Output, Watch as Arguments};
use super::kept::{Age, Kept, search_path};
use super::{Environment, print_json};
use crate::error::Error;
use crate::launch::{How, OnChange};
use crate::store::Current;
use crate::text::{notice, span};
use crate::watch::health::{self, Status};
use crate::watch::{Hook, PidFile, Wake, Watch, systemd};
use crate::{children, signals};

pub(super) fn run(
    arguments: Arguments,
    output: &Output,
    environment: &Environment,
) -> Result<(), Error> {
    let Arguments {
        servers,
        output: directory,
        refresh: interval,
        max_stale,
        once,
        on_change,
        pid_file,
        health,
        renewing,
        verbatim,
        by_hand,
        access,
    } = arguments;
    let hook = match on_change {
        OnChange::Nothing => None,
        OnChange::Run(words) => Some(Hook::new(words, &search_path())?),
        OnChange::Signal(_) | OnChange::Restart => return Err(Error::NoCommandToTell),
    };
    let changes = (verbatim, by_hand);
    let mut kept = Kept::new(Some(directory), servers, access, changes, environment);
    let status = Status::new(max_stale);
    let age = Age {
        fresh: Duration::ZERO,
        stale: max_stale,
        pause: Duration::ZERO,
    };
    // What cannot be right is said at once; what controllers say can change.
    let mut tokens = kept.tokens(&renewing)?;
    if once {
        if let Some(tokens) = &mut tokens {
            tokens.ready(&status)?;
        }
        return make_fresh(&kept, age, hook.as_ref(), output);
    }
    kept.without_waiting();
    let current = kept.current()?;
    kept.can_write()?;
    let _pid_file = pid_file.as_deref().map(PidFile::write).transpose()?;
    if let Some(current) = &current {
        status.found(current);
    }
    let _health = health
        .map(|place| health::tell(&place, &status))
        .transpose()?;
    let mut signals = signals::take().map_err(Error::Signals)?;
    let (to_hook, changes) = mpsc::channel();
    match hook {
        Some(hook) => {
            thread::Builder::new()
                .spawn(move || hook.run_for_each(&changes))
                .map_err(Error::NoThread)?;
        }
        // Nobody listens, and nothing is kept for anybody.
        None => drop(changes),
    }
    systemd::tell(&status).map_err(Error::NoThread)?;
    notice!(
        "keeping {} fresh, every {}",
        kept.place().display(),
        span(interval)
    );

    let (to_watch, wake) = mpsc::channel();
    let watch = Watch {
        interval,
        max_stale,
        patience: kept.patience(),
        refresh: {
            let kept = kept.clone();
            Box::new(move |fresh| Ok(kept.ready(Age { fresh, ..age })?.0))
        },
        changed: Box::new(move |new: &Current| {
            let _ = to_hook.send(new.stable.join("slurm.conf"));
        }),
        tokens,
        status,
    };
    thread::Builder::new()
        .spawn(move || watch.run(current, &wake))
        .map_err(Error::NoThread)?;
    for signal in signals.forever() {
        match signal {
            SIGCHLD => children::reap_strangers(),
            SIGHUP => {
                let _ = to_watch.send(Wake::Refresh);
            }
            SIGINT | SIGQUIT | SIGTERM => break,
            SIGTSTP | SIGTTIN => {
                let _ = emulate_default_handler(signal);
            }
            _ => {}
        }
    }
    systemd::tell_of_the_end();
    children::kill_helpers();
    Ok(())
}

/// What `--once` does.
fn make_fresh(kept: &Kept, age: Age, hook: Option<&Hook>, output: &Output) -> Result<(), Error> {
    let before = kept.current()?.map(|current| current.generation);
    let (ready, _) = kept.ready(age)?;
    ready.warn();
    let current = &ready.current;
    let changed = before.as_ref() != Some(&current.generation);
    if let (true, Some(hook)) = (changed, hook) {
        hook.run(&current.stable.join("slurm.conf"));
    }
    let state = &current.state;
    if output.json {
        let report = json!({
            "directory": current.stable,
            "generation": current.generation,
            "controller": state.controller,
            "protocol_version": state.version.index(),
            "changed": changed,
            "stale": matches!(ready.how, How::LastGood(_)),
        });
        return print_json(&report);
    }
    let is = if changed { "new" } else { "unchanged" };
    notice!(
        "configuration of {} in {}: {is}",
        state.controller,
        current.stable.display()
    );
    Ok(())
}
