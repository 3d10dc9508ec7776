//! Where others may ask, as a person writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where others may ask how the watch is.
///
/// Its text is a path (with a `/` in it, or a `.` at its beginning), or an address:
/// `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`; `:9100` and `9100` are all addresses of this
/// host. Port 0 is one that is free. Names other than `localhost` are not looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthPlace {
    /// A file.
    File(PathBuf),
    /// An address.
    Address(SocketAddr),
    /// A port of the loopback interface: of 127.0.0.1, or of ::1 where there is no such address.
    Localhost(u16),
    /// A port of every address that this host has, in IPv6 and IPv4.
    Everywhere(u16),
}

impl FromStr for HealthPlace {
    type Err = HealthPlaceError;

    fn from_str(text: &str) -> Result<Self, HealthPlaceError> {
        if text.contains('/') || text.starts_with('.') {
            return Ok(Self::File(text.into()));
        }
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let port = |text: &str| {
            let number = is_number(text).then(|| text.parse().ok()).flatten();
            number.ok_or(HealthPlaceError("a port is a number up to 65535"))
        };
        if is_number(text) {
            return port(text).map(Self::Everywhere);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.parse::<IpAddr>().is_ok() || text == "localhost" {
            return Err(HealthPlaceError(
                "a port is missing, as in 127.0.0.1:9100 or [::1]:9100",
            ));
        }
        match text.rsplit_once(':') {
            Some(("", number)) => port(number).map(Self::Everywhere),
            Some(("localhost", number)) => port(number).map(Self::Localhost),
            Some((host, number)) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                if bare.parse::<Ipv6Addr>().is_ok() && bare == host {
                    return Err(HealthPlaceError("an IPv6 address is written [::1]:9100"));
                }
                if bare.parse::<IpAddr>().is_ok() {
                    port(number)?;
                }
                Err(HealthPlaceError(
                    "names are not looked up: give an IP address, localhost, or a port only",
                ))
            }
            None => Err(HealthPlaceError(
                "it is a file with a / in it (./health), or an address with a port (:9100)",
            )),
        }
    }
}

impl fmt::Display for HealthPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Everywhere(port) => write!(f, "port {port}"),
        }
    }
}

/// A text that is neither a file nor an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HealthPlaceError(&'static str);

/// The addresses to try, one after the other.
pub(super) fn localhost(port: u16) -> Vec<SocketAddr> {
    vec![
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ]
}

/// The addresses to try, one after the other: that of IPv6 takes IPv4, too, but there are kernels
/// without IPv6.
pub(super) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![
        (Ipv6Addr::UNSPECIFIED, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_addresses() {
        let address = |text: &str| HealthPlace::Address(text.parse().unwrap());
        for (text, place) in [
            (
                "/run/straw/health",
                HealthPlace::File("/run/straw/health".into()),
            ),
            ("./9100", HealthPlace::File("./9100".into())),
            ("run/health", HealthPlace::File("run/health".into())),
            (".health", HealthPlace::File(".health".into())),
            ("127.0.0.1:9100", address("127.0.0.1:9100")),
            ("0.0.0.0:9100", address("0.0.0.0:9100")),
            ("[::1]:9100", address("[::1]:9100")),
            ("localhost:9100", HealthPlace::Localhost(9100)),
            (":9100", HealthPlace::Everywhere(9100)),
            ("9100", HealthPlace::Everywhere(9100)),
            ("0", HealthPlace::Everywhere(0)),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let port = "a port is a number up to 65535";
        let missing = "a port is missing, as in 127.0.0.1:9100 or [::1]:9100";
        let name = "names are not looked up: give an IP address, localhost, or a port only";
        let neither = "it is a file with a / in it (./health), or an address with a port (:9100)";
        for (text, reason) in [
            ("", neither),
            ("health", neither),
            (":", port),
            ("65536", port),
            (":+80", port),
            ("99999999999999999999999", port),
            ("localhost:http", port),
            ("127.0.0.1:65536", port),
            ("[::1]:http", port),
            ("127.0.0.1", missing),
            ("::1", missing),
            ("localhost", missing),
            ("fd00::1:x:9100", name),
            (
                "fd00:1:2:3:4:5:6:7:9100",
                "an IPv6 address is written [::1]:9100",
            ),
            ("node1:9100", name),
            ("*:9100", name),
        ] {
            let error = text.parse::<HealthPlace>().unwrap_err();
            assert_eq!(error.to_string(), reason, "{text}");
        }
    }
}
