//! `straw fetch`: the files of a controller, into a directory or onto stdout.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use serde_json::json;
use slurm_protocol::{ParseReleaseError, Release};

use super::args::{Auth, Fetch, Output};
use super::{Environment, print};
use crate::config::{self, Change, ConfigSet, Written};
use crate::controller::{self, Fetched, Query};
use crate::credential::{CredentialError, TokenSource};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::network::System;

/// What to do with the files.
enum Target {
    Directory(PathBuf),
    Stdout(String),
}

pub(super) fn run(
    arguments: Fetch,
    output: &Output,
    environment: &Environment,
) -> Result<(), Error> {
    let (query, target) = plan(arguments, environment)?;
    let mut fetched = controller::fetch(&query, &System)?;
    let set = ConfigSet::new(std::mem::take(&mut fetched.config))?;
    log::info!(
        "{} ({}) answered; protocol version spoken, which need not be its own: {}; exchanges: {}",
        fetched.controller,
        fetched.address,
        fetched.version,
        fetched.exchanges
    );
    match target {
        Target::Stdout(name) => show(&set, name),
        Target::Directory(directory) => {
            let controller = fetched.controller.to_string();
            let written = config::write(
                &directory,
                &set,
                &controller,
                fetched.version,
                query.timeout,
            )?;
            report(&fetched, &set, &written, &directory, output)
        }
    }
}

/// Arguments and environment as one plan.
fn plan(arguments: Fetch, environment: &Environment) -> Result<(Query, Target), Error> {
    let mut servers = arguments.servers;
    servers.retain(|server| !server.trim().is_empty());
    let (servers, behind) = split_release(servers)?;
    let servers = match &environment.controllers {
        Some(list) if servers.is_empty() => vec![list.clone()],
        _ => servers,
    };
    let given = arguments.release.map(|text| release(&text)).transpose()?;
    if let (Some(first), Some(second)) = (behind, given)
        && first != second
    {
        return Err(Error::TwoReleases { first, second });
    }
    let target = match arguments.stdout {
        Some(name) => Target::Stdout(name),
        None => Target::Directory(arguments.output),
    };
    let known = match &target {
        Target::Directory(directory) => config::known_versions(directory),
        Target::Stdout(_) => BTreeMap::new(),
    };
    let query = Query {
        controllers: Endpoint::parse_list(servers.iter().map(String::as_str))?,
        token: token(arguments.auth, arguments.token_file, environment)?,
        files: arguments.files.into(),
        release: given.or(behind),
        known,
        timeout: arguments.timeout,
        wait: arguments.wait,
        max_size: arguments.max_size,
    };
    Ok((query, target))
}

/// The release that may stand behind the controllers, as the tool that straw replaces wanted it.
fn split_release(mut servers: Vec<String>) -> Result<(Vec<String>, Option<Release>), Error> {
    let not_a_release = Err(ParseReleaseError::NotARelease);
    match servers.last().map(|last| last.parse::<Release>()) {
        None => Ok((servers, None)),
        Some(result) if result == not_a_release => Ok((servers, None)),
        Some(_) => {
            let last = servers.pop().unwrap_or_default();
            Ok((servers, Some(release(&last)?)))
        }
    }
}

fn release(text: &str) -> Result<Release, Error> {
    text.parse().map_err(|error| Error::Release {
        release: text.escape_debug().to_string(),
        error,
    })
}

/// The first place that has a token.
fn token(
    auth: Auth,
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<TokenSource, Error> {
    // A token is all there is yet, so both ask for the same.
    let (Auth::Auto | Auth::Jwt) = auth;
    if let Some(file) = file.or_else(|| environment.token_file.clone().map(PathBuf::from)) {
        return Ok(TokenSource::File(file));
    }
    let in_variable = match &environment.token {
        Some(token) if !token.expose_secret().trim().is_empty() => {
            return Ok(TokenSource::Variable(token.clone()));
        }
        Some(_) => "SLURM_JWT (empty)",
        None => "SLURM_JWT (not set)",
    };
    let looked = vec![
        "--token-file (not given)".to_owned(),
        "SLURM_JWT_FILE (not set)".to_owned(),
        in_variable.to_owned(),
    ];
    Err(CredentialError::None { looked }.into())
}

/// Names as a list that a line can hold.
fn list(names: &[&str]) -> String {
    const MOST: usize = 20;
    match names.get(MOST..) {
        Some(more) if !more.is_empty() => {
            format!("{} and {} more", names[..MOST].join(", "), more.len())
        }
        _ => names.join(", "),
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
    fetched: &Fetched,
    set: &ConfigSet,
    written: &Written,
    directory: &Path,
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
            "directory": directory.to_string_lossy(),
            "files": files,
        });
        return print(format!("{report:#}\n").as_bytes());
    }
    if output.quiet {
        return Ok(());
    }
    let changes: Vec<_> = [Change::Written, Change::Unchanged, Change::Removed]
        .into_iter()
        .filter_map(|change| {
            let of_it = written.files.iter().filter(|(_, of)| *of == change);
            let names: Vec<_> = of_it.map(|(name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{} {}", change.name(), list(&names)))
        })
        .collect();
    // The files are there, whoever reads this or does not.
    let _ = writeln!(
        std::io::stderr(),
        "configuration of {} in {}: {}",
        fetched.controller,
        directory.display(),
        changes.join("; ")
    );
    Ok(())
}
