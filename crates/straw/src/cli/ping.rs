//! `straw ping`: which controllers answer.

use std::process::ExitCode;

use serde_json::{Value, json};
use slurm_protocol::ProtocolVersion;

use super::args::{Output, Ping};
use super::doctor::one_line;
use super::{Environment, fail, plan, print, print_json};
use crate::controller::{Failures, Ping as Asked, Pinged, Probe, Reason, Role, ping};
use crate::credential::CredentialError;
use crate::error::Error;
use crate::network::System;

pub(super) fn run(
    arguments: Ping,
    output: &Output,
    environment: &Environment,
) -> Result<ExitCode, Error> {
    let Ping { servers, access } = arguments;
    let target = plan::target(servers, &access, environment)?;
    let tls = plan::tls(&access, None)?;
    let (timeout, wait, max_size) = (access.timeout, access.wait, access.max_size);
    let method = access.auth.method();
    let choice = plan::all_places(access, environment)?.choose(method);
    let mut place = "none was found".to_owned();
    let credential = choice.and_then(|choice| {
        place = choice.source.place();
        log::info!("credential: {place} ({})", choice.why);
        choice.source.open(std::time::SystemTime::now(), timeout)
    });
    let credential = match credential {
        Ok(credential) => Some(credential),
        Err(error @ CredentialError::TokenAsFileName) => return Err(error.into()),
        // Most controllers answer without one.
        Err(error @ CredentialError::None { .. }) => {
            log::info!("{error}, so no controller says whether it is in charge");
            None
        }
        Err(error) => {
            log::warn!("{error}, so no controller says whether it is in charge");
            place = error.to_string();
            None
        }
    };
    let probe = Probe {
        tls: tls.as_ref(),
        credential: credential.as_ref(),
        release: target.release,
        exact: false,
        max_size,
    };
    let asked = Asked {
        controllers: target.controllers,
        probe,
        timeout,
        wait,
    };
    let answers = ping(&asked, &System)?;
    let any = answers.iter().any(|answer| answer.result.is_ok());
    if !output.quiet && !output.json {
        print(lines(&answers).as_bytes())?;
    }
    let described: Vec<_> = answers.iter().map(describe).collect();
    let failures = answers
        .into_iter()
        .filter_map(|answer| answer.result.err().map(|failure| *failure));
    let error: Option<Error> = (!any)
        .then(|| Failures::of_probes(failures.collect(), &probe, place, !wait.is_zero()).into());
    if output.json {
        let mut report = json!({ "controllers": described });
        if let Some(error) = &error {
            report["error"] = error.to_json()["error"].take();
        }
        print_json(&report)?;
    }
    Ok(match error {
        // The report on stdout has it already.
        Some(error) => fail(
            &error,
            &Output {
                json: false,
                ..output.clone()
            },
        ),
        None => ExitCode::SUCCESS,
    })
}

/// A line for each controller: its name, address, role, release and time.
fn lines(answers: &[Pinged]) -> String {
    let rows = answers.iter().map(row);
    let rows: Vec<_> = rows.map(|row| row.map(|cell| one_line(&cell))).collect();
    let length = |cell: &String| cell.chars().count();
    let width = |column: usize| {
        let widths = rows.iter().filter(|row| !row[1].is_empty());
        widths.map(|row| length(&row[column])).max().unwrap_or(0)
    };
    let first = rows.iter().map(|row| length(&row[0])).max().unwrap_or(0);
    let mut text = String::new();
    for [name, address, role, release, time, note] in &rows {
        let line = match address.is_empty() {
            true => format!("{name:<first$}  {note}"),
            false => format!(
                "{name:<first$}  {address:<0$}  {role:<1$}  {release:<2$}  {time:>3$}  {note}",
                width(1),
                width(2),
                width(3),
                width(4)
            ),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(answer: &Pinged) -> [String; 6] {
    let name = answer.controller.to_string();
    let (address, probed) = match &answer.result {
        Ok(answered) => answered,
        Err(failure) => {
            let mut row: [String; 6] = Default::default();
            row[0] = name;
            row[5] = failure.reason.to_string();
            return row;
        }
    };
    let role = match (probed.role, &probed.objection) {
        (Some(role), _) => role.name().to_owned(),
        (None, _) => "answers".to_owned(),
    };
    let note = match (probed.role, &probed.objection) {
        (None, Some(objection)) => objection.to_string(),
        (Some(_), Some(Reason::ConfiglessDisabled)) => "configless is off".to_owned(),
        _ => String::new(),
    };
    let time = format!("{:.1} ms", probed.took.as_secs_f64() * 1e3);
    let release = probed.own.to_string();
    [name, address.ip().to_string(), role, release, time, note]
}

fn describe(answer: &Pinged) -> Value {
    let controller = answer.controller.to_string();
    match &answer.result {
        Ok((address, probed)) => json!({
            "controller": controller,
            "address": address.to_string(),
            "role": probed.role.map(Role::name),
            "release": probed.own.to_string(),
            "protocol_version": probed.own.exact().map(ProtocolVersion::index),
            "ms": (probed.took.as_secs_f64() * 1e4).round() / 10.0,
            "exchanges": probed.exchanges,
            "objection": probed.objection.as_ref().map(Reason::kind),
        }),
        Err(failure) => json!({
            "controller": controller,
            "kind": failure.reason.kind(),
            "message": failure.reason.to_string(),
        }),
    }
}
