//! Every way in which a name can fail to become an address, in words for the one who gave the name.

use std::fmt::{self, Display, Formatter};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

/// Why a lookup gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The text cannot be a name: too long, an empty part, or other characters than letters, digits, `-`, `_`, `.`.
    #[error("not a host name: {name:?}")]
    InvalidName {
        /// The text as it was given.
        name: String,
    },

    /// Neither this name nor, with the search list, any other exists.
    #[error("no such name: {name} (asked {} for {})", list(servers), asked.join(", "))]
    NoSuchName {
        /// The name as it was given.
        name: String,
        /// The full names that were asked for.
        asked: Vec<String>,
        /// The servers that answered.
        servers: Vec<SocketAddr>,
    },

    /// The name, or one from the search list, exists, but has neither an IPv4 nor an IPv6 address.
    #[error("{name} has no address (asked {} for {})", list(servers), asked.join(", "))]
    NoAddress {
        /// The name as it was given.
        name: String,
        /// The full names that were asked for.
        asked: Vec<String>,
        /// The servers that answered.
        servers: Vec<SocketAddr>,
    },

    /// No domain of the search list has the service.
    #[error("no SRV record {service} (asked {} for {})", list(servers), asked.join(", "))]
    NoSrv {
        /// The service, such as `_slurmctld._tcp`.
        service: String,
        /// The full names that were asked for.
        asked: Vec<String>,
        /// The servers that answered.
        servers: Vec<SocketAddr>,
    },

    /// There is an SRV record, and it says that the service is decidedly not available there (target `.`).
    #[error("the SRV record {name} says that the service is not available")]
    SrvNotAvailable {
        /// The full name of the record.
        name: String,
    },

    /// There are SRV records, but none with a target that could be a host.
    #[error("the SRV record {name} names no usable host")]
    SrvUnusable {
        /// The full name of the record.
        name: String,
    },

    /// A server answered that it cannot or will not answer, and no other server did better.
    #[error("the name server {} failed for {name} ({code})", show(server))]
    Failed {
        /// The first server that failed.
        server: SocketAddr,
        /// What it said.
        code: ResponseCode,
        /// The full name that it was asked for.
        name: String,
    },

    /// No server answered in time.
    #[error(
        "the name servers ({}) did not answer within {}",
        list(servers),
        rounded(waited)
    )]
    Silent {
        /// The servers.
        servers: Vec<SocketAddr>,
        /// How long the lookup took until it was given up.
        waited: Duration,
    },

    /// No server could be asked.
    #[error("no name server could be reached ({})", reasons(tried))]
    Unreachable {
        /// The servers, each with the reason.
        tried: Vec<(SocketAddr, ErrorKind)>,
    },
}

/// A name server's verdict on a question, the RCODE of RFC 1035, section 4.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseCode(pub u8);

impl ResponseCode {
    /// The name exists, though perhaps not with what was asked for.
    pub const NOERROR: ResponseCode = ResponseCode(0);
    /// The server did not understand the question.
    pub const FORMERR: ResponseCode = ResponseCode(1);
    /// The server could not find out.
    pub const SERVFAIL: ResponseCode = ResponseCode(2);
    /// The name does not exist.
    pub const NXDOMAIN: ResponseCode = ResponseCode(3);
    /// The server does not do this.
    pub const NOTIMP: ResponseCode = ResponseCode(4);
    /// The server does not want to answer, or not to this client.
    pub const REFUSED: ResponseCode = ResponseCode(5);
}

impl Display for ResponseCode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ResponseCode::NOERROR => "NOERROR",
            ResponseCode::FORMERR => "FORMERR",
            ResponseCode::SERVFAIL => "SERVFAIL",
            ResponseCode::NXDOMAIN => "NXDOMAIN",
            ResponseCode::NOTIMP => "NOTIMP",
            ResponseCode::REFUSED => "REFUSED",
            ResponseCode(other) => return write!(f, "code {other}"),
        })
    }
}

/// A server as people write it: its address, and the port only where it is an unusual one.
fn show(server: &SocketAddr) -> String {
    match server.port() {
        53 => server.ip().to_string(),
        _ => server.to_string(),
    }
}

fn list(servers: &[SocketAddr]) -> String {
    match servers {
        [] => "nobody".to_owned(),
        _ => servers.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

fn reasons(tried: &[(SocketAddr, ErrorKind)]) -> String {
    match tried {
        [] => "there is none".to_owned(),
        _ => tried
            .iter()
            .map(|(server, kind)| format!("{}: {kind}", show(server)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn rounded(waited: &Duration) -> String {
    format!("{:.1}s", waited.as_secs_f64()).replace(".0s", "s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let servers: Vec<SocketAddr> = vec![
            "10.0.0.2:53".parse().unwrap(),
            "[2001:db8::2]:5353".parse().unwrap(),
        ];
        let asked = vec!["ctl9.example.org".to_owned(), "ctl9".to_owned()];
        let says = |error: ResolveError, text: &str| assert_eq!(error.to_string(), text);

        says(
            ResolveError::InvalidName {
                name: "a b\n".into(),
            },
            r#"not a host name: "a b\n""#,
        );
        says(
            ResolveError::NoSuchName {
                name: "ctl9".into(),
                asked: asked.clone(),
                servers: servers[..1].into(),
            },
            "no such name: ctl9 (asked 10.0.0.2 for ctl9.example.org, ctl9)",
        );
        says(
            ResolveError::NoAddress {
                name: "ctl9".into(),
                asked: asked.clone(),
                servers: servers.clone(),
            },
            "ctl9 has no address (asked 10.0.0.2, [2001:db8::2]:5353 for ctl9.example.org, ctl9)",
        );
        says(
            ResolveError::NoSrv {
                service: "_slurmctld._tcp".into(),
                asked: vec!["_slurmctld._tcp.example.org".into()],
                servers: servers[..1].into(),
            },
            "no SRV record _slurmctld._tcp (asked 10.0.0.2 for _slurmctld._tcp.example.org)",
        );
        says(
            ResolveError::Failed {
                server: servers[0],
                code: ResponseCode::SERVFAIL,
                name: "ctl9.example.org".into(),
            },
            "the name server 10.0.0.2 failed for ctl9.example.org (SERVFAIL)",
        );
        says(
            ResolveError::Silent {
                servers: servers.clone(),
                waited: Duration::from_millis(5004),
            },
            "the name servers (10.0.0.2, [2001:db8::2]:5353) did not answer within 5s",
        );
        says(
            ResolveError::Unreachable {
                tried: vec![(servers[0], ErrorKind::ConnectionRefused)],
            },
            "no name server could be reached (10.0.0.2: connection refused)",
        );
        assert_eq!(ResponseCode(9).to_string(), "code 9");
    }
}
