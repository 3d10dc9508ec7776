//! `/etc/resolv.conf`: whom to ask, and for what.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use resolv_conf::ScopedIp;

use super::valid_name;

const PORT: u16 = 53;

// The limits of resolver(5).
const MAX_NDOTS: u32 = 15;
const MAX_TIMEOUT: u32 = 30;
const MAX_ATTEMPTS: u32 = 5;

/// What of resolver(5) straw honours. `LOCALDOMAIN`, `RES_OPTIONS` and `sortlist` are not among it.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) servers: Vec<SocketAddr>,
    /// Domains without trailing dot; the root is empty.
    pub(super) search: Vec<String>,
    /// A name with as many dots is asked for as it is before the search list is tried.
    pub(super) ndots: usize,
    /// The longest wait for one server.
    pub(super) timeout: Duration,
    /// How often the list of servers is gone through; at least 1.
    pub(super) attempts: usize,
    pub(super) rotate: bool,
    pub(super) no_aaaa: bool,
    /// `use-vc`: TCP from the start.
    pub(super) tcp: bool,
}

impl Config {
    /// Reads resolv.conf; what makes no sense is skipped.
    pub(super) fn parse(resolv_conf: &[u8], host_name: &str) -> Config {
        let (parsed, errors) = resolv_conf::Config::parse_with_errors(resolv_conf);
        for error in errors {
            log::debug!("resolv.conf: {error}");
        }

        let mut servers: Vec<_> = parsed.nameservers.iter().filter_map(server).collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }

        let default = match (parsed.get_search(), parsed.get_domain()) {
            (None, None) => host_name.split_once('.').map(|(_, domain)| domain),
            _ => None,
        };
        let search = parsed
            .get_last_search_or_domain()
            .map(String::as_str)
            .chain(default)
            .filter_map(search_domain)
            .collect();

        Config {
            servers,
            search,
            ndots: parsed.ndots.min(MAX_NDOTS) as usize,
            timeout: Duration::from_secs(parsed.timeout.clamp(1, MAX_TIMEOUT).into()),
            attempts: parsed.attempts.clamp(1, MAX_ATTEMPTS) as usize,
            rotate: parsed.rotate,
            no_aaaa: parsed.no_aaaa,
            tcp: parsed.use_vc,
        }
    }
}

fn search_domain(domain: &str) -> Option<String> {
    // `search .` is what systemd-resolved writes for "no domain".
    if domain == "." {
        return Some(String::new());
    }
    let valid = valid_name(domain);
    if valid.is_none() {
        log::debug!("resolv.conf: {domain:?} is no domain to search");
    }
    valid.map(str::to_owned)
}

fn server(address: &ScopedIp) -> Option<SocketAddr> {
    match address {
        ScopedIp::V4(ip) => Some((*ip, PORT).into()),
        ScopedIp::V6(ip, None) => Some((*ip, PORT).into()),
        ScopedIp::V6(ip, Some(scope)) => {
            let index = scope.parse().ok().or_else(|| interface(scope));
            if index.is_none() {
                log::debug!("resolv.conf: no interface {scope} for {ip}");
            }
            Some(SocketAddrV6::new(*ip, PORT, 0, index?).into())
        }
    }
}

/// The kernel's number for an interface. (`name` holds no slash: `resolv_conf` takes letters and digits only.)
fn interface(name: &str) -> Option<u32> {
    let index = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    index.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let config = Config::parse(b"", "node1");
        assert_eq!(config.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert!(config.search.is_empty());
        assert_eq!((config.ndots, config.attempts), (1, 2));
        assert_eq!(config.timeout, Duration::from_secs(5));

        assert_eq!(
            Config::parse(b"", "node1.example.org").search,
            ["example.org"]
        );
        assert!(
            Config::parse(b"search\n", "node1.example.org")
                .search
                .is_empty()
        );
    }

    #[test]
    fn as_kubernetes_writes_it() {
        let config = Config::parse(
            b"search lab.svc.cluster.local svc.cluster.local cluster.local\n\
              nameserver 10.96.0.10\n\
              options ndots:5\n",
            "pod.example.org",
        );
        assert_eq!(config.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(config.search.len(), 3);
        assert_eq!(config.ndots, 5);
    }

    #[test]
    fn the_last_of_search_and_domain_wins() {
        let search = |text: &str| Config::parse(text.as_bytes(), "").search;
        assert_eq!(search("search a.org b.org.\ndomain c.org"), ["c.org"]);
        assert_eq!(
            search("domain c.org\nsearch a.org b.org."),
            ["a.org", "b.org"]
        );
        assert_eq!(search("search . a..b \u{e9}.org x.org"), ["", "x.org"]);
    }

    #[test]
    fn limits_of_the_options() {
        let config = Config::parse(
            b"options ndots:99 timeout:99 attempts:99 rotate no-aaaa",
            "",
        );
        assert_eq!((config.ndots, config.attempts), (15, 5));
        assert_eq!(config.timeout, Duration::from_secs(30));
        assert!(config.rotate && config.no_aaaa && !config.tcp);

        let config = Config::parse(b"options timeout:0 attempts:0 ndots:x use-vc", "");
        assert_eq!((config.ndots, config.attempts), (1, 1));
        assert_eq!(config.timeout, Duration::from_secs(1));
        assert!(config.tcp);
    }

    #[test]
    fn odd_lines_are_skipped() {
        let config = Config::parse(
            b"nameserver\nnameserver x\n\xff\xfe\nnameserver ::1\nnameserver fe80::1%1 # router\n\
              nameserver fe80::1%nosuchnic0\nsortlist 1/2/3\n",
            "",
        );
        assert_eq!(
            config.servers,
            [
                "[::1]:53".parse().unwrap(),
                SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 1).into()
            ]
        );
    }
}
