//! `straw fetch`: the files of a controller, into a directory or onto stdout.

use std::path::{Path, PathBuf};

use serde_json::json;
use slurm_protocol::ResponseConfig;

use super::adapting::{self, Adapting, adapt_commands, adapt_here};
use super::args::{Fetch, Output};
use super::{Environment, plan, print, print_json, say};
use crate::config::adapt::{Adapted, Severity};
use crate::config::{self, CA_CERT, Change, ConfigSet, Known, Origin, Written};
use crate::controller::{self, Fetched};
use crate::error::Error;
use crate::network::System;
use crate::text::{few, safe};

/// So many files are named.
const MOST_NAMED: usize = 20;

/// What to do with the files.
enum Target {
    Nowhere,
    Directory(PathBuf),
    Stdout(String),
}

pub(super) fn run(
    arguments: Fetch,
    output: &Output,
    environment: &Environment,
) -> Result<(), Error> {
    let output_directory = arguments.output.clone();
    let target = match arguments.stdout {
        _ if arguments.explain => Target::Nowhere,
        Some(name) => Target::Stdout(name),
        None => Target::Directory(arguments.output),
    };
    let known = match &target {
        Target::Directory(directory) => Known::of(directory)?,
        // What was learned of the directory that is meant counts, though nothing is written.
        Target::Nowhere => Known::of(&output_directory)?,
        Target::Stdout(_) => Known::default(),
    };
    let wrote_ca_cert = known.wrote_ca_cert;
    let query = plan::query(arguments.servers, arguments.access, environment, known)?;
    let mut fetched = controller::fetch(&query, arguments.files.into(), &System)?;
    let set = ConfigSet::new(std::mem::take(&mut fetched.content))?;
    log::info!(
        "{} ({}) answered, in the words of protocol version {}; exchanges: {}",
        fetched.controller,
        fetched.address,
        fetched.version,
        fetched.exchanges
    );
    let set = match (&query.tls, &target) {
        // One that the user put there is already where it belongs, and stays as it is.
        (Some(_), Target::Directory(directory))
            if !wrote_ca_cert && directory.join(CA_CERT).exists() =>
        {
            set
        }
        (Some(tls), _) => set.with_ca(tls.ca_pem().as_bytes()),
        (None, _) => set,
    };
    let adapting = Adapting::new(arguments.adapt, arguments.by_hand);
    if let Target::Nowhere = target {
        let adapted = adapt_here(&set, &query, &fetched, &adapting.by_hand);
        return match output.json {
            true => print_json(&adapting::describe(&adapted)),
            false => print(safe(&adapting::explanation(&adapted)).as_bytes()),
        };
    }
    let adapted = adapting.apply(&set, &query, &fetched);
    adapting::log(&adapted);
    let set = adapted.set;
    match target {
        Target::Nowhere => Ok(()),
        Target::Stdout(name) => show(&set, name),
        Target::Directory(directory) => {
            let mut origin = Origin::new(&fetched);
            origin.ca = query.tls.as_ref().map(|tls| tls.ca_pem().to_owned());
            let written = config::write(&directory, &set, &origin, query.timeout)?;
            // Asking Slurm's library takes longer than all the rest, so not for what is known.
            let is_new = written
                .files
                .iter()
                .any(|(_, change)| *change == Change::Written);
            if is_new
                && !arguments.adapt
                && let Some(adapted) = adapt_commands(&set, &query, &fetched)
            {
                warn(&adapted);
            }
            report(
                &fetched,
                &set,
                &written,
                &directory,
                origin.ca.is_some(),
                output,
            )
        }
    }
}

/// Says that something would break here.
fn warn(adapted: &Adapted) {
    let broken = adapted
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note);
    let count = adapted.changes.len() + broken.count();
    if count > 0 {
        log::warn!(
            "{count} {} of this configuration would make Slurm's commands fail in this container: \
             --explain tells more, --adapt changes what can be changed",
            if count == 1 { "line" } else { "lines" }
        );
    }
}

fn show(set: &ConfigSet, name: String) -> Result<(), Error> {
    let Some(file) = set.get(&name) else {
        let sent = set.names().map(ToString::to_string).collect();
        return Err(Error::NotSent { name, sent });
    };
    print(&file.content)
}

fn report(
    fetched: &Fetched<ResponseConfig>,
    set: &ConfigSet,
    written: &Written,
    directory: &Path,
    tls: bool,
    output: &Output,
) -> Result<(), Error> {
    if output.json {
        let files: Vec<_> = written
            .files
            .iter()
            .map(|(name, change)| {
                let file = set.get(name.as_str());
                json!({
                    "name": name.as_str(),
                    "change": change.name(),
                    "size": file.map(|file| file.content.len()),
                    "execute": file.is_some_and(|file| file.execute),
                })
            })
            .collect();
        let report = json!({
            "controller": fetched.controller.to_string(),
            "address": fetched.address.to_string(),
            "protocol_version": fetched.version.index(),
            "exchanges": fetched.exchanges,
            "tls": tls,
            "directory": directory.to_string_lossy(),
            "files": files,
        });
        return print_json(&report);
    }
    if output.quiet {
        return Ok(());
    }
    let changes: Vec<_> = [Change::Written, Change::Unchanged, Change::Removed]
        .into_iter()
        .filter_map(|change| {
            let of_it = written.files.iter().filter(|(_, of)| *of == change);
            let names: Vec<_> = of_it.map(|(name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{} {}", change.name(), few(&names, MOST_NAMED)))
        })
        .collect();
    // The files are there, whoever reads this or does not.
    let text = format!(
        "configuration of {} in {}: {}",
        fetched.controller,
        directory.display(),
        changes.join("; ")
    );
    say(&text, output);
    Ok(())
}
