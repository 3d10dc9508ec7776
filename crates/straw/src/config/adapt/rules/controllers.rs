//! Names of controllers.

use std::net::IpAddr;

use super::super::Severity;
use super::super::container::Reached;
use super::super::work::{Setting, Work};

pub(super) fn names(work: &mut Work<'_>) {
    let hosts = work.all("SlurmctldHost");
    if hosts.is_empty() {
        return control_machine(work);
    }
    let found = |setting: &&Setting| work.container.resolves(split(&setting.value).1);
    let mut usable = hosts.iter().filter(found).count();
    // Where another can be found, that may be the one that answered under the other name.
    let may_guess = usable == 0;
    let mut left = work.container.controllers().to_vec();
    // Those that have their own name, or their own address, are not looked for.
    let mut known = Vec::new();
    for setting in &hosts {
        let (name, address) = split(&setting.value);
        let own = left.iter().position(|reached| {
            same(&reached.host, name) || reached.address.to_string() == address
        });
        known.push(own.map(|index| left.remove(index)));
    }
    let mut unmended = Vec::new();
    for (setting, own) in hosts.iter().zip(known) {
        let (name, address) = split(&setting.value);
        if work.container.resolves(address) {
            continue;
        }
        // Straw may have been given another name, as a service's, or an address.
        let guess = || (may_guess && !left.is_empty()).then(|| left.remove(0));
        let Some(reached) = own.or_else(guess) else {
            unmended.push(setting);
            continue;
        };
        usable += 1;
        let answered = match same(&reached.host, name) {
            true => reached.address.to_string(),
            false => format!("{} at {}", reached.host, reached.address),
        };
        let reason = format!("{address} does not resolve here; {answered} answered");
        work.replace(setting.place, &written(name, reached.address), &reason);
    }
    for setting in unmended {
        let (_, address) = split(&setting.value);
        if usable > 0 {
            let reason = format!("{address} does not resolve here");
            work.comment_out(setting.place, &reason);
            continue;
        }
        let message = format!("{address} does not resolve here, and every command waits for it");
        let hint = "have it resolved, or give an address: --set 'SlurmctldHost=NAME(ADDRESS)'";
        work.find(Severity::AllFail, Some(setting.place), message, hint);
    }
}

/// The older keys: `ControlAddr` is to `ControlMachine` what the address in parentheses is.
fn control_machine(work: &mut Work<'_>) {
    for (name, address) in [
        ("ControlMachine", "ControlAddr"),
        ("BackupController", "BackupAddr"),
    ] {
        let Some(machine) = work.effective(name) else {
            continue;
        };
        let given = work.effective(address);
        let used = given.as_ref().unwrap_or(&machine).value.clone();
        if work.container.resolves(&used) {
            continue;
        }
        let reached = work.container.controllers();
        let own = reached
            .iter()
            .find(|reached| same(&reached.host, &machine.value));
        let primary = name == "ControlMachine";
        let own: Option<&Reached> = own.or(reached.first().filter(|_| primary));
        match (own.map(|reached| reached.address), given) {
            (Some(ip), Some(given)) => {
                let reason = format!("{used} does not resolve here; {ip} answered");
                work.replace(given.place, &ip.to_string(), &reason);
            }
            (Some(ip), None) => {
                let reason = format!("{used} does not resolve here; {ip} answered");
                work.append(&format!("{address}={ip}"), &reason);
            }
            (None, given) if !primary => {
                let reason = format!("{used} does not resolve here");
                work.comment_out(machine.place, &reason);
                if let Some(given) = given {
                    work.comment_out(given.place, &reason);
                }
            }
            (None, _) => {
                let message =
                    format!("{used} does not resolve here, and every command waits for it");
                let hint = "have it resolved, or give an address: --set ControlAddr=ADDRESS";
                work.find(Severity::AllFail, Some(machine.place), message, hint);
            }
        }
    }
}

/// The name, and what is resolved: `name` or `name(address)`.
fn split(value: &str) -> (&str, &str) {
    let value = value.trim();
    match value.split_once('(') {
        Some((name, address)) => (name.trim(), address.trim_end_matches(')').trim()),
        None => (value, value),
    }
}

fn written(name: &str, address: IpAddr) -> String {
    format!("{name}({address})")
}

/// Whether two names are one host's, with and without its domain.
fn same(one: &str, other: &str) -> bool {
    if one.parse::<IpAddr>().is_ok() || other.parse::<IpAddr>().is_ok() {
        return one == other;
    }
    let (one, other) = (one.trim_end_matches('.'), other.trim_end_matches('.'));
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    match one.contains('.') && other.contains('.') {
        true => one.eq_ignore_ascii_case(other),
        false => first(one) == first(other),
    }
}
