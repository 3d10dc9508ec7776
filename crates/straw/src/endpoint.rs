//! A controller's address as a person writes it, and lists of them.

use std::fmt;
use std::net::Ipv6Addr;

use crate::credential::is_token;
use crate::dns::SrvTarget;

/// The port of a slurmctld where nothing else is said.
pub const DEFAULT_PORT: u16 = 6817;

/// A controller: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name, or an IPv4 or IPv6 address without brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl Endpoint {
    /// Reads a list: entries `host`, `host:port`, `[v6]`, `[v6]:port`, separated by commas or
    /// white space.
    ///
    /// An entry without a port takes that of the first entry, as Slurm's own commands do with
    /// `SLURM_CONF_SERVER`: the controllers of a cluster share their `SlurmctldPort`. Where the
    /// first has none, it is [`DEFAULT_PORT`]. What comes twice counts once.
    ///
    /// # Errors
    ///
    /// For the first entry that is none of these.
    pub fn parse_list<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, EndpointError> {
        let mut shared_port = None;
        let mut endpoints: Vec<Self> = Vec::new();
        let entries = texts.into_iter().flat_map(|text| {
            text.split(|c: char| c == ',' || c.is_whitespace())
                .filter(|entry| !entry.is_empty())
        });
        for entry in entries {
            let (host, port) = split(entry)?;
            let shared = *shared_port.get_or_insert(port.unwrap_or(DEFAULT_PORT));
            let endpoint = Self {
                host: host.to_owned(),
                port: port.unwrap_or(shared),
            };
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        Ok(endpoints)
    }
}

impl From<&SrvTarget> for Endpoint {
    fn from(target: &SrvTarget) -> Self {
        Self {
            host: target.absolute(),
            port: target.port,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        // The dot that makes a name absolute says nothing to a reader.
        let host = self.host.trim_end_matches('.');
        write!(f, "{host}:{}", self.port)
    }
}

/// Host and port of one entry.
fn split(entry: &str) -> Result<(&str, Option<u16>), EndpointError> {
    let error = |reason| EndpointError {
        entry: entry.escape_debug().to_string(),
        reason,
    };
    if is_token(entry) {
        return Err(EndpointError {
            entry: "(hidden)".to_owned(),
            reason: "it is a token, which belongs into SLURM_JWT or a file",
        });
    }
    if entry.contains('%') {
        return Err(error(
            "an address that is good on one interface only (%) cannot be used",
        ));
    }
    let (host, port) = if let Some(bracketed) = entry.strip_prefix('[') {
        let (host, rest) = bracketed
            .split_once(']')
            .ok_or_else(|| error("the bracket is not closed"))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(error("no IPv6 address stands between the brackets"));
        }
        match rest.strip_prefix(':') {
            None if rest.is_empty() => (host, None),
            Some(port) => (host, Some(port)),
            None => return Err(error("only a port can follow the brackets")),
        }
    } else if entry.parse::<Ipv6Addr>().is_ok() {
        (entry, None)
    } else {
        match entry.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(error(
                    "an IPv6 address with a port is written [address]:port",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (entry, None),
        }
    };
    if host.is_empty() {
        return Err(error("the host is missing"));
    }
    let port = port
        .map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(error("a port is a number from 1 to 65535")),
        })
        .transpose()?;
    Ok((host, port))
}

/// An entry of a list that is no controller's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is no controller's address: {reason}")]
pub struct EndpointError {
    entry: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<String>, String> {
        Endpoint::parse_list([text])
            .map(|list| list.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists() {
        let reads = [
            ("ctl1", "ctl1:6817"),
            ("ctl1,ctl2", "ctl1:6817 ctl2:6817"),
            (" ctl1 ,, ctl2\tctl3\n", "ctl1:6817 ctl2:6817 ctl3:6817"),
            ("ctl1:7000,ctl2", "ctl1:7000 ctl2:7000"),
            ("ctl1,ctl2:7000,ctl3", "ctl1:6817 ctl2:7000 ctl3:6817"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("[fd00::1]:7,[fd00::2]", "[fd00::1]:7 [fd00::2]:7"),
            ("fd00::1", "[fd00::1]:6817"),
            ("ctl1,ctl1:6817", "ctl1:6817"),
            ("", ""),
        ];
        for (text, expected) in reads {
            assert_eq!(
                list(text).map(|l| l.join(" ")).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        assert_eq!(Endpoint::parse_list(["a", "b,c"]).unwrap().len(), 3);
    }

    #[test]
    fn mistakes_are_named() {
        let mistakes = [
            ("ctl1:", "a port is a number from 1 to 65535"),
            (
                "fe80::1%eth0",
                "an address that is good on one interface only (%) cannot be used",
            ),
            ("ctl1:0", "a port is a number from 1 to 65535"),
            ("ctl1:65536", "a port is a number from 1 to 65535"),
            ("ctl1:slurm", "a port is a number from 1 to 65535"),
            (":6817", "the host is missing"),
            ("[fd00::1", "the bracket is not closed"),
            ("[ctl1]:6817", "no IPv6 address stands between the brackets"),
            ("[fd00::1]6817", "only a port can follow the brackets"),
            (
                "fd00::1:x:6817",
                "an IPv6 address with a port is written [address]:port",
            ),
        ];
        for (text, reason) in mistakes {
            let expected = format!("`{text}` is no controller's address: {reason}");
            assert_eq!(list(text), Err(expected));
        }
    }
}
