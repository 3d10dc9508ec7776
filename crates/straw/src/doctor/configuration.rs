//! What the controllers send, and what of it would break a client here.

use super::controller::Met;
use super::credential::{Served, Used};
use super::{Case, Checks, Group, list};
use crate::config::ConfigSet;
use crate::config::adapt::{Adapted, Severity};
use crate::controller::Reason;
use crate::error::{Error, ExitCode};

/// So many lines that adapting changes are told by themselves.
const MOST_CHANGES: usize = 10;

/// The set as it came, and as it is used here.
pub(super) struct Sent {
    pub(super) set: ConfigSet,
    pub(super) adapted: Adapted,
}

/// Looks at what came. `adapts` says why no command here meets it as it came, where none does.
pub(super) fn judge(
    case: &Case<'_>,
    used: &Used,
    met: &[Met],
    adapts: Option<&str>,
) -> (Checks, Option<Sent>) {
    let mut checks = Checks::of(Group::Configuration);
    let served = match used {
        Used::Served(served) => served,
        Used::Not(why) => {
            checks.skip("client set", *why);
            return (checks, None);
        }
        Used::Failed(error) => {
            failed(&mut checks, error, met);
            return (checks, None);
        }
    };
    let set = match ConfigSet::new(served.fetched.content.clone()) {
        Ok(set) => set,
        Err(error) => {
            checks.fail_with("client set", &error.into());
            return (checks, None);
        }
    };
    let set = match &served.query.tls {
        Some(tls) => set.with_ca(tls.ca_pem().as_bytes()),
        None => set,
    };
    sets(&mut checks, &set, served);
    let adapted = (case.adapt)(&set, &served.query, &served.fetched);
    read(&mut checks, &set, &adapted, adapts);
    (checks, Some(Sent { set, adapted }))
}

/// Why there is no set, where that was not told before.
fn failed(checks: &mut Checks, error: &Error, met: &[Met]) {
    let told = met.iter().any(|one| match &one.result {
        Ok(probed) => probed.objection.is_some(),
        Err(_) => true,
    });
    let why = match error.exit_code() {
        ExitCode::Credential => "the credential is refused",
        _ if !told => {
            checks.fail_with("client set", error);
            return;
        }
        ExitCode::Tls => "there is no connection in TLS",
        ExitCode::NotServed if is_configless_off(error) => "configless is off",
        ExitCode::NotServed => "the controller answers with an error",
        ExitCode::Unreachable => "no controller gave one",
        _ => {
            checks.fail_with("client set", error);
            return;
        }
    };
    checks.skip("client set", why);
}

fn is_configless_off(error: &Error) -> bool {
    match error {
        Error::Controllers(failures) => {
            matches!(failures.telling(), Some(Reason::ConfiglessDisabled))
        }
        _ => false,
    }
}

/// Which sets this user may have.
fn sets(checks: &mut Checks, set: &ConfigSet, served: &Served) {
    let names: Vec<_> = set.names().map(ToString::to_string).collect();
    let bytes: usize = set.files().map(|(_, file)| file.content.len()).sum();
    let seen = format!("{} ({bytes} bytes)", list(&names));
    checks.well("client set", seen);
    match &served.slurmd {
        Ok(()) => checks.warn(
            "slurmd set",
            "this user may have it, so it is root or SlurmUser",
            "a client needs no such rights: an ordinary user's credential is enough, and less to \
             lose",
        ),
        Err(Error::Controllers(failures))
            if matches!(failures.telling(), Some(Reason::NotAllowed)) =>
        {
            checks.well("slurmd set", "not for this user, who does not need it");
        }
        Err(error) => checks.skip("slurmd set", error.to_string()),
    }
}

/// What of it would break a client here.
fn read(checks: &mut Checks, set: &ConfigSet, adapted: &Adapted, adapts: Option<&str>) {
    if let Some(file) = set.get("slurm.conf") {
        let lines = file.content.iter().filter(|byte| **byte == b'\n').count();
        checks.well("slurm.conf", format!("read: {lines} lines"));
    }
    const MENDED: &str = "exec and the shims do that by themselves; `straw fetch` does it with \
                          --adapt";
    let (includes, changes): (Vec<_>, Vec<_>) = adapted
        .changes
        .iter()
        .partition(|change| change.rule == "include");
    if includes.is_empty() {
        checks.well("Include", "every file that is named is there");
    }
    for (name, changes, fate) in [
        ("Include", &includes, "wait 60 s and end"),
        ("adapting", &changes, "end"),
    ] {
        for change in changes.iter().take(MOST_CHANGES) {
            match adapts {
                Some(by) => checks.well(name, format!("{change} ({by})")),
                None => {
                    let seen = format!("without adapting commands {fate}: {change}");
                    checks.warn(name, seen, MENDED);
                }
            }
        }
        let more = changes.len().saturating_sub(MOST_CHANGES);
        if more > 0 {
            let seen = format!("{more} more lines like that (`straw fetch --explain` lists all)");
            checks.well(name, seen);
        }
    }
    for finding in &adapted.findings {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            _ => String::new(),
        };
        let seen = format!("{place}{}", finding.message);
        match finding.severity {
            Severity::AllFail => {
                let seen = format!("every command fails: {seen}");
                checks.fail("adapting", seen, finding.hint.clone(), ExitCode::NotRun);
            }
            Severity::SomeFail => {
                let seen = format!("some commands fail: {seen}");
                checks.warn("adapting", seen, finding.hint.clone());
            }
            Severity::Note => checks.well("adapting", format!("{seen} ({})", finding.hint)),
        }
    }
    if adapted.findings.is_empty() && changes.is_empty() {
        checks.well("adapting", "nothing in it would end Slurm's commands here");
    }
}
