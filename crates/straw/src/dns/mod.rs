//! From a name to addresses, and from a service to its hosts, without the C library.
//!
//! `getaddrinfo` of a static glibc loads the NSS modules of whatever glibc the container has, so it must not be
//! linked: straw reads `/etc/hosts` and `/etc/resolv.conf` itself and asks the name servers itself. Nothing here
//! takes a name for a socket; sockets get a [`SocketAddr`](std::net::SocketAddr), always.
//!
//! ```text
//!  name ──▶ a literal address? ──▶ /etc/hosts? ──▶ localhost? ──▶ DNS: each name of the search list in turn
//!                                                                   each server in turn: UDP, TCP if truncated
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | `hosts` | `/etc/hosts` |
//! | `config` | `/etc/resolv.conf`: servers, search list, options |
//! | `query` | one lookup: which server next, how long, aliases |
//! | `exchange` | one question to one server |
//! | `srv` | SRV records and their order |
//! | `error` | what can go wrong, in words |

mod config;
mod error;
mod exchange;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod hosts;
mod query;
mod srv;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use simple_dns::TYPE;
use simple_dns::rdata::RData;

pub use self::error::{ResolveError, ResponseCode};
pub use self::srv::{SrvRecords, SrvTarget};

use self::config::Config;
use self::hosts::Hosts;
use self::query::{Found, Lookup};

/// How long IPv6 addresses are waited for once IPv4 addresses are there: some servers and firewalls drop the
/// question for AAAA, and nobody should pay a whole timeout for that.
const AAAA_PATIENCE: Duration = Duration::from_secs(2);

/// The longest host name in text, without the trailing dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// The longest part of a name between two dots.
const MAX_LABEL: usize = 63;

/// Answers what `/etc/hosts` and the name servers of `/etc/resolv.conf` know.
///
/// It is a snapshot of these two files: cheap to make, so a program that lives long makes a new one for each round
/// of questions. It caches no answers.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    hosts: Hosts,
    config: Config,
}

impl Resolver {
    /// Reads `/etc/hosts`, `/etc/resolv.conf` and the host's own name.
    ///
    /// Files that are missing or cannot be read count as empty, which for `resolv.conf` means a name server at
    /// 127.0.0.1. Lines that make no sense are skipped. Both are told at log level debug.
    pub fn from_system() -> Resolver {
        let host_name = read("/proc/sys/kernel/hostname");
        Resolver::new(
            &read("/etc/hosts"),
            &read("/etc/resolv.conf"),
            String::from_utf8_lossy(&host_name).trim(),
        )
    }

    /// A resolver from the contents of the two files and the name of this host, whose domain is the search list
    /// where `resolv_conf` has neither `search` nor `domain`; it may be empty.
    pub fn new(hosts: &[u8], resolv_conf: &[u8], host_name: &str) -> Resolver {
        Resolver {
            hosts: Hosts::parse(hosts),
            config: Config::parse(resolv_conf, host_name),
        }
    }

    /// The same resolver asking other name servers, at any port. An empty list leaves nobody to ask.
    #[cfg(test)]
    pub(crate) fn with_nameservers(mut self, servers: Vec<std::net::SocketAddr>) -> Resolver {
        self.config.servers = servers;
        self
    }

    /// The addresses of a host: IPv4 before IPv6, and otherwise as the file or the server ordered them; never an
    /// empty list.
    ///
    /// `name` is an address (given back as it is; an IPv6 scope such as `%eth0` is not understood), or a name. A
    /// trailing dot makes it absolute; otherwise the search list and `ndots` apply as in resolver(5).
    ///
    /// # Errors
    /// [`ResolveError`]; at `deadline` at the latest.
    pub fn addresses(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let host =
            valid_name(name).ok_or_else(|| ResolveError::InvalidName { name: name.into() })?;

        let mut known = self.hosts.addresses(host);
        if known.is_empty() && is_localhost(host) {
            known = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if !known.is_empty() {
            known.sort_by_key(IpAddr::is_ipv6);
            return Ok(known);
        }

        let candidates = self.candidates(name, host);
        let mut lookup = Lookup::new(&self.config, deadline);
        match lookup.search(candidates, |lookup, name| self.ask_addresses(lookup, name))? {
            Some((_, addresses)) => Ok(addresses),
            None if lookup.exists => Err(ResolveError::NoAddress {
                name: host.into(),
                asked: lookup.asked,
                servers: lookup.answered,
            }),
            None => Err(ResolveError::NoSuchName {
                name: host.into(),
                asked: lookup.asked,
                servers: lookup.answered,
            }),
        }
    }

    /// The hosts that offer a service, such as `_slurmctld._tcp`, in the order in which to try them (RFC 2782):
    /// priority ascending, weighted chance among equals; never an empty list.
    ///
    /// The service is looked for in each domain of the search list, and bare only where that list is empty. With a
    /// trailing dot the name is absolute: `_slurmctld._tcp.example.org.`.
    ///
    /// # Errors
    /// [`ResolveError`]; at `deadline` at the latest.
    pub fn srv(&self, service: &str, deadline: Instant) -> Result<SrvRecords, ResolveError> {
        let invalid = || ResolveError::InvalidName {
            name: service.into(),
        };
        let name = valid_name(service).ok_or_else(invalid)?;
        let candidates = if service.ends_with('.') || self.config.search.is_empty() {
            vec![name.to_owned()]
        } else {
            self.in_search_domains(name)
        };
        if candidates.is_empty() {
            return Err(invalid());
        }

        let mut lookup = Lookup::new(&self.config, deadline);
        let found = lookup.search(candidates, |lookup, name| {
            lookup.find(name, TYPE::SRV, lookup.deadline, srv::pick)
        })?;
        let Some((found_at, records)) = found else {
            return Err(ResolveError::NoSrv {
                service: name.into(),
                asked: lookup.asked,
                servers: lookup.answered,
            });
        };
        let targets = srv::usable(records, &found_at)?;
        Ok(SrvRecords {
            targets: srv::in_order(targets, &mut fastrand::Rng::new()),
            name: found_at,
        })
    }

    /// A, then AAAA. One after the other, since two questions sent at once from one port race in the connection
    /// tracking of Linux, and the loser is dropped: the well-known five seconds of DNS in Kubernetes. It also spares
    /// the second question for every name that does not exist.
    fn ask_addresses(
        &self,
        lookup: &mut Lookup<'_>,
        name: &str,
    ) -> Result<Found<IpAddr>, ResolveError> {
        let mut v4 = match lookup.find(name, TYPE::A, lookup.deadline, |data| match data {
            RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
            _ => None,
        })? {
            Found::Records(addresses) => addresses,
            Found::Nothing => Vec::new(),
            Found::NoSuchName => return Ok(Found::NoSuchName),
        };
        if self.config.no_aaaa {
            return Ok(if v4.is_empty() {
                Found::Nothing
            } else {
                Found::Records(v4)
            });
        }

        let until = match v4.is_empty() {
            true => lookup.deadline,
            false => lookup.deadline.min(Instant::now() + AAAA_PATIENCE),
        };
        let v6 = lookup.find(name, TYPE::AAAA, until, |data| match data {
            RData::AAAA(a) => Some(IpAddr::from(Ipv6Addr::from(a.address))),
            _ => None,
        });
        match v6 {
            Ok(Found::Records(v6)) => v4.extend(v6),
            Ok(Found::Nothing | Found::NoSuchName) => {}
            Err(error) if v4.is_empty() => return Err(error),
            Err(error) => log::debug!("{name}: only IPv4 addresses: {error}"),
        }
        Ok(if v4.is_empty() {
            Found::Nothing
        } else {
            Found::Records(v4)
        })
    }

    /// The full names to ask for, in order, as resolver(5) says. `host` is `name` without the trailing dot.
    fn candidates(&self, name: &str, host: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![host.to_owned()];
        }
        let mut names = self.in_search_domains(host);
        names.retain(|name| name != host);
        let first = host.matches('.').count() >= self.config.ndots;
        names.insert(if first { 0 } else { names.len() }, host.to_owned());
        names
    }

    fn in_search_domains(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for domain in &self.config.search {
            let dot = if domain.is_empty() { "" } else { "." };
            let full = format!("{name}{dot}{domain}");
            if full.len() <= MAX_NAME && !names.contains(&full) {
                names.push(full);
            }
        }
        names
    }
}

/// The name without its trailing dot, if it is one that may be asked for: letters, digits, `-`, `_`, and dots that
/// separate. Whatever else a user or a server gives as a name goes no further than an error.
fn valid_name(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_is_valid = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (name.len() <= MAX_NAME && name.split('.').all(label_is_valid)).then_some(name)
}

/// RFC 6761, section 6.3: these names never leave the host.
fn is_localhost(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| {
        if error.kind() != ErrorKind::NotFound {
            log::debug!("{path}: {error}");
        }
        Vec::new()
    })
}
