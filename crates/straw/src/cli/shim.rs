//! `straw shim`: links to straw in front of Slurm's commands.

use std::path::PathBuf;

use serde_json::json;

use super::args::{InstallShims, ListShims, Output, RemoveShims, Shim as Command};
use super::{print, print_json, say};
use crate::error::Error;
use crate::launch::{LaunchError, Outcome, Shim, ShimError, Shims};
use crate::text::safe;

pub(super) fn run(command: Command, output: &Output) -> Result<(), Error> {
    match command {
        Command::Install(arguments) => install(arguments, output),
        Command::List(arguments) => list(arguments, output),
        Command::Remove(arguments) => remove(arguments, output),
    }
}

/// The shims in a directory.
fn shims(directory: PathBuf) -> Result<Shims, Error> {
    let program = || PathBuf::from("/proc/self/exe");
    let straw = std::env::current_exe().map_err(|error| LaunchError::NotRun {
        program: program(),
        error,
    })?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(Shims::new(&directory, &straw, &path))
}

fn install(arguments: InstallShims, output: &Output) -> Result<(), Error> {
    let shims = shims(arguments.place.directory)?;
    let names = match arguments.names.is_empty() {
        true => shims.commands(),
        false => arguments.names,
    };
    if names.is_empty() {
        return Err(ShimError::NoCommands.into());
    }
    if std::env::var_os("SLURM_CONF").is_some() {
        log::warn!("SLURM_CONF is set: where it is, shims use it as it is, and fetch nothing");
    }
    let mut done = Vec::new();
    for name in names {
        let outcome = shims.install(&name)?;
        let shim = shims.shim(&name);
        if shim.command.is_none() {
            log::warn!("there is no command {name} on the PATH yet");
        } else if !shim.first {
            log::warn!("the shim {name} does not come first on the PATH, so nobody calls it");
        }
        done.push((shim, outcome));
    }
    report(&done, output)
}

fn remove(arguments: RemoveShims, output: &Output) -> Result<(), Error> {
    let shims = shims(arguments.place.directory)?;
    let names = match arguments.names.is_empty() {
        true => shims.list()?.into_iter().map(|shim| shim.name).collect(),
        false => arguments.names,
    };
    let mut done = Vec::new();
    for name in names {
        let outcome = shims.remove(&name)?;
        done.push((shims.shim(&name), outcome));
    }
    report(&done, output)
}

fn list(arguments: ListShims, output: &Output) -> Result<(), Error> {
    let directory = arguments.place.directory.clone();
    let shims = shims(arguments.place.directory)?.list()?;
    if shims.is_empty() && !output.json && !output.quiet {
        say(&format!("no shims in {}", directory.display()), output);
    }
    if output.json {
        let list: Vec<_> = shims.iter().map(describe).collect();
        return print_json(&json!({ "shims": list }));
    }
    let mut text = String::new();
    for shim in &shims {
        let command = match &shim.command {
            Some(command) => command.display().to_string(),
            None => "(not installed)".to_owned(),
        };
        let called = if shim.first {
            ""
        } else {
            "  (not first on the PATH)"
        };
        text.push_str(&format!("{:<10} {command}{called}\n", shim.name));
    }
    print(safe(&text).as_bytes())
}

fn report(done: &[(Shim, Outcome)], output: &Output) -> Result<(), Error> {
    if output.json {
        let list: Vec<_> = done
            .iter()
            .map(|(shim, outcome)| {
                let mut shim = describe(shim);
                shim["change"] = outcome.name().into();
                shim
            })
            .collect();
        return print_json(&json!({ "shims": list }));
    }
    if output.quiet {
        return Ok(());
    }
    for outcome in [
        Outcome::Installed,
        Outcome::Unchanged,
        Outcome::Removed,
        Outcome::Absent,
    ] {
        let of_it = done.iter().filter(|(_, of)| *of == outcome);
        let names: Vec<_> = of_it.map(|(shim, _)| shim.name.as_str()).collect();
        if !names.is_empty() {
            let text = format!("{}: {}", outcome.name(), names.join(", "));
            say(&text, output);
        }
    }
    Ok(())
}

fn describe(shim: &Shim) -> serde_json::Value {
    json!({
        "name": shim.name,
        "command": shim.command.as_ref().map(|path| path.to_string_lossy()),
        "first_on_path": shim.first,
    })
}
