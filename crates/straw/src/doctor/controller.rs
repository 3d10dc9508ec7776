//! What the controllers say of themselves.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use slurm_protocol::Release;

use super::credential::{Chosen, Used};
use super::network::{Reached, stranger};
use super::{Case, Checks, Group};
use crate::controller::{Probe, Probed, Reason, Role, Versions, at_once, release_name};
use crate::endpoint::Endpoint;
use crate::error::ExitCode;
use crate::network::Network;
use crate::text::{span, time};
use crate::transport::TransportError;
use crate::transport::tls::{self, ServerCertificate, Tls};

/// A certificate that ends sooner than this is warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A controller at one of its addresses.
pub(super) struct Met {
    pub(super) controller: Endpoint,
    pub(super) address: SocketAddr,
    pub(super) result: Result<Probed, Reason>,
    /// The release that it was taken to be.
    pub(super) pinned: Option<Release>,
    /// What it showed in TLS, where that is spoken.
    shown: Option<Result<ServerCertificate, TransportError>>,
}

impl Met {
    /// Whether it gives out configuration, so far as it was asked.
    pub(super) fn serves(&self) -> bool {
        let role = |probed: &Probed| probed.role == Some(Role::InCharge);
        self.result.as_ref().is_ok_and(role)
    }

    /// Whether it is of use, so far as it was asked.
    pub(super) fn works(&self) -> bool {
        let objects = |probed: &Probed| probed.objection.is_some();
        self.serves() || self.result.as_ref().is_ok_and(|probed| !objects(probed))
    }

    /// What is known of its release.
    pub(super) fn own(&self) -> Option<Versions> {
        self.result.as_ref().ok().map(|probed| probed.own)
    }
}

/// Asks every address that can be connected to.
pub(super) fn meet(
    case: &Case<'_>,
    network: &(dyn Network + Sync),
    reached: &Reached,
    chosen: &Chosen,
) -> Vec<Met> {
    // A CA that is of no use is no reason to do without.
    let Ok(tls) = &case.tls else {
        return Vec::new();
    };
    let probe = Probe {
        tls: tls.as_ref(),
        credential: chosen.opened(),
        release: case.release,
        exact: true,
        max_size: case.max_size,
    };
    at_once(reached.addresses.clone(), |(controller, address)| {
        let shown = tls.as_ref().map(|tls| inspect(case, network, tls, address));
        let result = match &shown {
            // The connection that the request would go through comes out the same.
            Some(Err(TransportError::Tls(error))) => {
                Err(Reason::Transport(TransportError::Tls(error.clone())))
            }
            _ => probe.ask(network, &controller, address, case.deadline(network)),
        };
        Met {
            controller,
            address,
            result,
            pinned: case.release,
            shown,
        }
    })
}

fn inspect(
    case: &Case<'_>,
    network: &dyn Network,
    tls: &Tls,
    address: SocketAddr,
) -> Result<ServerCertificate, TransportError> {
    tls::inspect(tls, address, case.deadline(network))
}

/// A line for each thing that each controller says.
pub(super) fn judge(case: &Case<'_>, met: &[Met], used: &Used, chosen: &Chosen) -> Checks {
    let mut checks = Checks::of(Group::Controller);
    match &case.tls {
        Err(error) => checks.fail_with("TLS", error),
        Ok(Some(tls)) => {
            let until = tls.ca_ends();
            let seen = format!("trusting {}", tls.ca_path().display());
            ends(&mut checks, "CA", seen, until);
        }
        Ok(None) => {}
    }
    if met.is_empty() {
        let why = match case.tls {
            Ok(_) => "no controller was reached",
            Err(_) => "nothing is sent without a CA that can be used",
        };
        checks.skip("controllers", why);
    }
    let in_charge = met.iter().any(Met::serves);
    for one in met {
        let name = match met
            .iter()
            .filter(|other| other.controller == one.controller)
            .count()
        {
            1 => one.controller.to_string(),
            _ => format!("{} ({})", one.controller, one.address.ip()),
        };
        match &one.shown {
            Some(Ok(shown)) => ends(&mut checks, &name, shown.to_string(), Some(shown.until)),
            Some(Err(TransportError::Tls(error))) => {
                let reason = Reason::Transport(TransportError::Tls(error.clone()));
                case.fail_for(&mut checks, &name, &reason, chosen);
                continue;
            }
            _ => {}
        }
        match &one.result {
            Ok(probed) => said(case, &mut checks, &name, probed, in_charge),
            Err(Reason::Silent) if chosen.opened().is_none() => checks.skip(
                &name,
                "it closes the connection without a word, as those up to 24.05 do with whoever \
                 shows no credential",
            ),
            Err(Reason::Silent) => checks.skip(
                &name,
                "it closes the connection at every version, so its release is not known (see \
                 below, credential)",
            ),
            Err(reason) if stranger(one, reason, chosen).is_some() => {
                checks.skip(&name, "it is no slurmctld, or does not answer as one");
            }
            Err(reason) => case.fail_for(&mut checks, &name, reason, chosen),
        }
    }
    if met.iter().any(Met::works) {
        checks.soften();
    }
    configless(&mut checks, met, used);
    checks
}

/// What one that answers says of itself.
fn said(case: &Case<'_>, checks: &mut Checks, name: &str, probed: &Probed, in_charge: bool) {
    let mut about = format!("Slurm {}", probed.own);
    if let Some(own) = probed.own.exact() {
        let oldest = *own.accepted_by_controller().start();
        about.push_str(&format!(
            ", for clients of {} to {}",
            release_name(oldest),
            release_name(own)
        ));
    }
    match probed.role {
        Some(role) => about.push_str(&format!("; {}", role.name())),
        None if probed.objection.is_none() => {
            about.push_str("; whether it is in charge it says only to who has a credential");
        }
        None => {}
    }
    let well = match case.tls {
        Ok(None) => format!("{about}; no TLS"),
        _ => about.clone(),
    };
    let Some(objection) = &probed.objection else {
        return checks.well(name, well);
    };
    let seen = format!("{about}: {objection}");
    match objection {
        Reason::Standby(_) if in_charge => checks.well(name, well),
        Reason::Standby(_) => checks.fail(
            name,
            seen,
            match case.controllers.len() {
                1 => {
                    "name the primary controller as well, separated by a comma; if it is down, the \
                     backup takes over after SlurmctldTimeout"
                }
                _ => {
                    "none of the controllers is in charge: bring the primary up, or wait until the \
                     backup takes over (SlurmctldTimeout)"
                }
            },
            ExitCode::Unreachable,
        ),
        Reason::TlsRequired { .. } => checks.fail(
            name,
            format!("{about}; it wants TLS"),
            match case.release {
                None => {
                    "give the cluster's CA with --ca-cert (the ca_cert.pem beside its slurm.conf). \
                     The credential was not sent"
                }
                // Then nobody is asked without a credential first.
                Some(_) => {
                    "give the cluster's CA with --ca-cert (the ca_cert.pem beside its slurm.conf). \
                     The credential went out in the clear, so take it for seen"
                }
            },
            ExitCode::Tls,
        ),
        Reason::NoCommonVersion { controller } => {
            let oldest = *controller.accepted_by_controller().start();
            let remedy = match case.release {
                Some(release) => format!("it does not accept {release}: leave --release out"),
                None => format!(
                    "it accepts {} and later; get a newer straw",
                    release_name(oldest)
                ),
            };
            checks.fail(name, seen, remedy, ExitCode::Version);
        }
        Reason::Busy(_) => checks.fail(
            name,
            seen,
            "it limits its clients (rl_enable), or has too much to do: it may have more time later",
            ExitCode::Unreachable,
        ),
        // Told where it belongs.
        Reason::Refused { .. } | Reason::ConfiglessDisabled | Reason::Credential(_) => {
            checks.well(name, well);
        }
        reason => {
            let code = reason.exit_code();
            checks.fail(name, seen, "slurmctld's log says more", code);
        }
    }
}

fn configless(checks: &mut Checks, met: &[Met], used: &Used) {
    let disabled = |one: &Met| {
        let objection = one
            .result
            .as_ref()
            .ok()
            .and_then(|probed| probed.objection.as_ref());
        matches!(objection, Some(Reason::ConfiglessDisabled))
    };
    match used {
        Used::Served(_) => checks.well("configless", "on"),
        _ if met.iter().any(disabled) => checks.fail(
            "configless",
            "off: the controller does not give out its configuration",
            "set SlurmctldParameters=enable_configless in the controller's slurm.conf and run \
             `scontrol reconfigure` (up to 23.02: restart slurmctld)",
            ExitCode::NotServed,
        ),
        _ => checks.skip(
            "configless",
            "not known: no controller said so to this credential",
        ),
    }
}

/// Something with an end.
fn ends(checks: &mut Checks, name: &str, seen: String, until: Option<SystemTime>) {
    let seconds = |until: SystemTime| {
        let since = until
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        since.as_secs()
    };
    let Some(until) = until else {
        return checks.well(name, seen);
    };
    let date = time(seconds(until)).unwrap_or_else(|| "far from now".to_owned());
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    let seen = format!("{seen}, good until {date}");
    match left < SOON {
        true => checks.warn(
            name,
            format!("{seen}: {} left", span(left)),
            "have the certificate made anew before that, and give out the new CA first if it is \
             the CA's",
        ),
        false => checks.well(name, seen),
    }
}
