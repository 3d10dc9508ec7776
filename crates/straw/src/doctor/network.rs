//! Names and connections.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use slurm_protocol::{FrameError, Release};

use super::controller::Met;
use super::credential::Chosen;
use super::{Case, Checks, Group, list};
use crate::controller::{Reason, at_once};
use crate::dns::ResolveError;
use crate::endpoint::Endpoint;
use crate::error::{Error, ExitCode};
use crate::network::Network;
use crate::text::span;
use crate::transport::{TransportError, tcp};

/// So many controllers, and addresses of each, are looked at.
const MOST_CONTROLLERS: usize = 16;
const MOST_ADDRESSES: usize = 8;

/// The ports that Slurm's other daemons listen on unless slurm.conf says otherwise.
const SLURMD: u16 = 6818;
const SLURMDBD: u16 = 6819;

/// The newest release that this straw knows.
const NEWEST: Release = Release::ALL[Release::ALL.len() - 1];

/// What can be connected to.
pub(super) struct Reached {
    pub(super) checks: Checks,
    /// Addresses to which a connection was made.
    pub(super) addresses: Vec<(Endpoint, SocketAddr)>,
}

/// A controller's name, its addresses, and a connection to each of the first.
type Looked = (
    Endpoint,
    Result<(Vec<IpAddr>, Vec<Connected>), ResolveError>,
);

/// How long a connection to an address took.
type Connected = (SocketAddr, Result<Duration, TransportError>);

/// Looks up all names, and connects to all addresses.
pub(super) fn reach(case: &Case<'_>, network: &(dyn Network + Sync)) -> Reached {
    let mut checks = Checks::of(Group::Network);
    let mut addresses = Vec::new();
    let Some(controllers) = controllers(case, network, &mut checks) else {
        return Reached { checks, addresses };
    };
    for (controller, looked) in at_once(controllers, |controller| look(case, network, controller)) {
        let name = controller.to_string();
        // The dot that makes a name absolute says nothing to a reader.
        let host = controller.host.trim_end_matches('.');
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                let error = Reason::Name(error);
                let seen = error.to_string();
                let code = error.exit_code();
                let hint = match code {
                    ExitCode::Usage => "a host name consists of letters, digits, dots and hyphens",
                    _ => {
                        "is it spelt as in slurm.conf's SlurmctldHost, and can this container \
                         resolve it (/etc/resolv.conf, /etc/hosts)? An address will do, too"
                    }
                };
                checks.fail(host, seen, hint, code);
                checks.skip(&name, "its name has no address");
                continue;
            }
        };
        let (all, connections) = found;
        if controller.host.parse::<IpAddr>().is_err() {
            let named: Vec<_> = all.iter().map(ToString::to_string).collect();
            checks.well(host, list(&named));
        }
        if all.len() > MOST_ADDRESSES {
            let seen = format!("only the first {MOST_ADDRESSES} addresses are looked at");
            checks.skip(&name, seen);
        }
        for (address, result) in connections {
            match result {
                Ok(took) => {
                    let took = took.as_secs_f64() * 1e3;
                    checks.well(
                        &name,
                        format!("{}: connected in {took:.1} ms", address.ip()),
                    );
                    addresses.push((controller.clone(), address));
                }
                Err(error) => {
                    let seen = format!("{}: {error}", address.ip());
                    let hint = unreachable(&error, case.timeout);
                    checks.fail(&name, seen, hint, ExitCode::Unreachable);
                }
            }
        }
    }
    Reached { checks, addresses }
}

/// The controllers, and where their list came from.
fn controllers(
    case: &Case<'_>,
    network: &dyn Network,
    checks: &mut Checks,
) -> Option<Vec<Endpoint>> {
    let mut controllers = case.controllers.clone();
    if controllers.is_empty() {
        let records = match network.controllers(case.deadline(network)) {
            Ok(records) => records,
            Err(error) => {
                checks.fail_with("controllers", &Error::NoController(error));
                return None;
            }
        };
        let described: Vec<_> = records
            .targets
            .iter()
            .map(|target| {
                let (host, port) = (&target.host, target.port);
                format!("{host}:{port} (priority {})", target.priority)
            })
            .collect();
        let seen = format!("{}, from the SRV record {}", list(&described), records.name);
        checks.well("controllers", seen);
        controllers = records.targets.iter().map(Endpoint::from).collect();
    } else {
        let names: Vec<_> = controllers.iter().map(ToString::to_string).collect();
        let seen = format!("{}, from {}", list(&names), case.origin);
        checks.well("controllers", seen);
    }
    if controllers.len() > MOST_CONTROLLERS {
        let seen = format!("only the first {MOST_CONTROLLERS} are looked at");
        checks.skip("controllers", seen);
        controllers.truncate(MOST_CONTROLLERS);
    }
    Some(controllers)
}

fn look(case: &Case<'_>, network: &(dyn Network + Sync), controller: Endpoint) -> Looked {
    let looked = network
        .addresses(&controller.host, case.deadline(network))
        .map(|all| {
            let first = all.iter().take(MOST_ADDRESSES);
            let connections = at_once(first, |address| {
                let address = SocketAddr::new(*address, controller.port);
                (address, tcp::round_trip(address, case.deadline(network)))
            });
            (all, connections)
        });
    (controller, looked)
}

/// What to do about a connection that was not made.
fn unreachable(error: &TransportError, waited: Duration) -> String {
    let kind = match error {
        TransportError::Connect(error) => error.kind(),
        _ => ErrorKind::Other,
    };
    match kind {
        ErrorKind::ConnectionRefused => {
            "the host is there, and nothing listens on this port: does slurmctld run, and is this \
             its SlurmctldPort (6817 unless slurm.conf says otherwise)?"
                .to_owned()
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
            "nothing came back within {}: either a firewall (or a NetworkPolicy) drops what goes \
             there, or the host is down",
            span(waited)
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "this container has no way there: look at its network (ip route), and whether the \
             address is the controller's outside its own network, too"
                .to_owned()
        }
        ErrorKind::ConnectionReset => {
            "something answered and cut the connection at once: a proxy or a firewall in between, \
             or a controller that is just starting"
                .to_owned()
        }
        _ => "can this container reach it?".to_owned(),
    }
}

/// Tells what is there that is no slurmctld, and takes what does not matter for a warning.
pub(super) fn judge(reached: &mut Reached, met: &[Met], chosen: &Chosen) {
    for one in met {
        let reason = match &one.result {
            Err(reason) => Some(reason),
            Ok(probed) => probed.objection.as_ref(),
        };
        let Some(reason) = reason else { continue };
        let Some((seen, hint)) = stranger(one, reason, chosen) else {
            continue;
        };
        let code = match reason.exit_code() {
            ExitCode::Credential | ExitCode::BadReply => ExitCode::Version,
            code => code,
        };
        let seen = format!("{}: {seen}", one.address.ip());
        reached
            .checks
            .fail(&one.controller.to_string(), seen, hint, code);
    }
    if met.iter().any(Met::works) {
        reached.checks.soften();
    }
}

/// What speaks at a controller's port, if that is no slurmctld: what it is, and what to do.
pub(super) fn stranger(met: &Met, reason: &Reason, chosen: &Chosen) -> Option<(String, String)> {
    const PORT: &str = "name the host and port of slurmctld (SlurmctldPort, 6817 unless slurm.conf \
                        says otherwise)";
    let other = match met.address.port() {
        SLURMD => Some(("slurmd", SLURMD)),
        SLURMDBD => Some(("slurmdbd", SLURMDBD)),
        _ => None,
    };
    let says = |what: &str| Some((what.to_owned(), PORT.to_owned()));
    match reason {
        Reason::Silent | Reason::Refused { .. } if other.is_some() => {
            let (daemon, port) = other?;
            Some((
                format!("{reason}: {port} is the port of {daemon}, which answers no client so"),
                PORT.to_owned(),
            ))
        }
        // Of one up to 24.05 that is all there is without a credential.
        Reason::Silent if chosen.opened().is_none() => None,
        Reason::Http if met.pinned.is_some() => Some((
            "it answers in HTTP, as a slurmctld since 25.11 does to a release that it does not \
             accept"
                .to_owned(),
            format!("leave --release out. If that is no help, {PORT}"),
        )),
        Reason::Http => Some((
            "it speaks HTTP, and Slurm's protocol at no version that this straw knows".to_owned(),
            format!(
                "a web server or a proxy? Then {PORT}. A slurmctld that is newer than {NEWEST}? Then \
                 get a newer straw"
            ),
        )),
        Reason::NotSlurm(_) => says(&reason.to_string()),
        Reason::Transport(TransportError::Silence) => Some((
            reason.to_string(),
            "is it a slurmctld? One that is busy or just starting may need more time (--timeout); \
             one of 25.05 that wants TLS is silent, too (--ca-cert)"
                .to_owned(),
        )),
        Reason::Transport(TransportError::Frame(error)) => match error {
            FrameError::NotSlurm([b'S', b'S', b'H', b'-']) => says("it speaks SSH"),
            FrameError::Tls => Some((
                "it speaks TLS".to_owned(),
                format!(
                    "if it is the controller, give the cluster's CA (--ca-cert); if not, {PORT}"
                ),
            )),
            // Four letters are a length, too.
            FrameError::TooLarge { length, .. } => {
                let first = u32::try_from(*length).ok()?.to_be_bytes();
                let is_text = first.iter().all(|byte| matches!(byte, b' '..=b'~'));
                is_text.then_some(())?;
                says(&format!(
                    "it begins with the text `{}`",
                    first.escape_ascii()
                ))
            }
            error => says(&error.to_string()),
        },
        _ => None,
    }
}
