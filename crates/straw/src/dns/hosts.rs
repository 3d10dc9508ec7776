//! `/etc/hosts`: names that need no server.

use std::net::IpAddr;

/// The lines of `/etc/hosts`: an address and its names.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    lines: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// Reads what hosts(5) describes; a line that makes no sense is skipped.
    pub(super) fn parse(text: &[u8]) -> Hosts {
        let mut lines = Vec::new();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            match address.parse() {
                Ok(address) => lines.push((address, words.map(without_dot).collect())),
                Err(_) => log::debug!("hosts line {}: {address:?} is no address", index + 1),
            }
        }
        Hosts { lines }
    }

    /// Every address that stands beside `name`, each once, as the file orders them.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (address, names) in &self.lines {
            if names.iter().any(|n| n.eq_ignore_ascii_case(name)) && !found.contains(address) {
                found.push(*address);
            }
        }
        found
    }
}

fn without_dot(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_address_of_a_name() {
        let hosts = Hosts::parse(
            b"# \xff comment\n\
              127.0.0.1\tlocalhost # ctl1\n\
              10.0.0.1 ctl1.example.org. ctl1\r\n\
              \n\
              fe80::1%eth0 ctl1\n\
              nonsense ctl1\n\
              2001:db8::1 CTL1\n\
              10.0.0.1 ctl1\n\
              10.0.0.9",
        );
        let ctl1: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(hosts.addresses("Ctl1"), ctl1);
        assert_eq!(hosts.addresses("ctl1.example.org"), ctl1[..1]);
        assert!(hosts.addresses("ctl").is_empty());
    }
}
