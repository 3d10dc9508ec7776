//! Arguments and environment as one plan: what several commands have in common.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use slurm_protocol::{ParseReleaseError, ProtocolVersion, Release};

use super::Environment;
use super::args::{Access, TokenPlaces};
use crate::config::{Known, KnownCa};
use crate::controller::Query;
use crate::credential::{CredentialError, Method, Places};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::tls::{ClientFiles, Tls, TlsFiles};

/// What to ask the controllers with, and what is known of them from before.
pub(super) fn query(
    servers: Vec<String>,
    access: Access,
    environment: &Environment,
    known: Known,
) -> Result<Query, Error> {
    let target = target(servers, &access, environment)?;
    let tls = tls(&access, known.ca)?;
    let method = access.auth.method();
    let (timeout, wait, max_size) = (access.timeout, access.wait, access.max_size);
    let choice = all_places(access, environment)?.choose(method)?;
    log::info!("credential: {} ({})", choice.source.place(), choice.why);
    if let Some(release) = target.release
        && choice.source.method() == Method::Slurm
        && release.version() < ProtocolVersion::V23_11
    {
        return Err(Error::NoSackYet { release });
    }
    Ok(Query {
        controllers: target.controllers,
        credential: choice.source,
        tls,
        release: target.release,
        known: known.versions,
        timeout,
        wait,
        max_size,
    })
}

/// Whom to ask.
pub(super) struct Target {
    /// None stands for those that DNS names.
    pub(super) controllers: Vec<Endpoint>,
    /// Where their list came from, as a person would say it.
    pub(super) origin: String,
    /// Their release, where it is given.
    pub(super) release: Option<Release>,
}

/// Whom to ask, out of the arguments or from elsewhere.
pub(super) fn target(
    servers: Vec<String>,
    access: &Access,
    environment: &Environment,
) -> Result<Target, Error> {
    // A release alone names no controllers.
    let named_first = !split_release(servers.clone())?.0.concat().trim().is_empty();
    let (controllers, behind) = controllers(servers, named(access, environment))?;
    let given = access.release.as_deref().map(release).transpose()?;
    if let (Some(first), Some(second)) = (behind, given)
        && first != second
    {
        return Err(Error::TwoReleases { first, second });
    }
    let origin = match &access.controllers {
        _ if controllers.is_empty() => "DNS".to_owned(),
        _ if named_first => "the arguments".to_owned(),
        Some(list) => of_option(list),
        None => "SLURM_CONF_SERVER".to_owned(),
    };
    if !controllers.is_empty() {
        let names: Vec<_> = controllers.iter().map(ToString::to_string).collect();
        log::info!("controllers: {} (from {origin})", names.join(", "));
    }
    Ok(Target {
        controllers,
        origin,
        release: given.or(behind),
    })
}

/// Where the value of `--servers` came from.
fn of_option(list: &str) -> String {
    let in_argument = |argument: std::ffi::OsString| {
        let argument = argument.to_string_lossy();
        argument.strip_prefix("--servers=").unwrap_or(&argument) == list
    };
    if std::env::args_os().any(in_argument) {
        "--servers".to_owned()
    } else if std::env::var_os("STRAW_SERVERS").is_some_and(|set| set == list) {
        "STRAW_SERVERS".to_owned()
    } else {
        "the file of settings".to_owned()
    }
}

/// All places where a credential can be.
pub(super) fn all_places(
    access: Access,
    environment: &Environment,
) -> Result<Places, CredentialError> {
    Ok(Places {
        sack_socket: access.sack_socket,
        munge_socket: access.munge_socket,
        ..places(access.token, environment)?
    })
}

/// The controllers that are named elsewhere than in front of a release.
pub(super) fn named<'a>(access: &'a Access, environment: &'a Environment) -> Option<&'a str> {
    let named = access.controllers.as_deref();
    named.or(environment.controllers.as_deref())
}

/// Whom to trust, where everything is to go through TLS: the CA that is given, or that of the last
/// time.
pub(super) fn tls(access: &Access, known: Option<KnownCa>) -> Result<Option<Tls>, Error> {
    let known = known.filter(|_| access.ca_cert.is_none());
    let remembered = known.as_ref().map(|ca| ca.path.clone());
    let Some(ca_cert) = access.ca_cert.clone().or(remembered) else {
        let asked = access.client_cert.as_ref().or(access.client_key.as_ref());
        return match (asked, &access.tls_server_name) {
            (None, None) => Ok(None),
            // Whoever asks for one of these counts on TLS.
            _ => Err(Error::TlsWithoutCa),
        };
    };
    let client = match (&access.client_cert, &access.client_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        _ => return Err(Error::HalfOfClientCertificate),
    };
    let files = TlsFiles {
        ca_cert,
        client: client.map(|(cert, key)| ClientFiles { cert, key }),
        server_name: access.tls_server_name.clone(),
    };
    log::info!("TLS: trusting {}", files.ca_cert.display());
    let tls = Tls::load(&files, SystemTime::now())?;
    match known {
        Some(KnownCa { pem, path }) if !pem.as_ref().is_some_and(|pem| tls.trusts_only(pem)) => {
            Err(Error::UnknownCa { path })
        }
        _ => Ok(Some(tls)),
    }
}

/// The places of a token.
pub(super) fn places(
    token: TokenPlaces,
    environment: &Environment,
) -> Result<Places, CredentialError> {
    let command = token.token_command.map(|line| line.parse()).transpose();
    Ok(Places {
        token_file: token.token_file,
        token_command: command.map_err(|why| CredentialError::CommandLine { why })?,
        token_file_variable: environment.token_file.clone().map(PathBuf::from),
        token_variable: environment.token.clone(),
        sack_socket_variable: environment.sack_socket.clone().map(PathBuf::from),
        ..Places::default()
    })
}

/// The controllers, from the arguments or from elsewhere, and the release that may stand behind
/// them.
fn controllers(
    mut servers: Vec<String>,
    elsewhere: Option<&str>,
) -> Result<(Vec<Endpoint>, Option<Release>), Error> {
    servers.retain(|server| !server.trim().is_empty());
    let (servers, behind) = split_release(servers)?;
    let servers = match elsewhere {
        Some(list) if servers.is_empty() => vec![list.to_owned()],
        _ => servers,
    };
    let controllers = Endpoint::parse_list(servers.iter().map(String::as_str))?;
    Ok((controllers, behind))
}

/// The release that may stand behind the controllers, as the tool that straw replaces wanted it.
fn split_release(mut servers: Vec<String>) -> Result<(Vec<String>, Option<Release>), Error> {
    let not_a_release = Err(ParseReleaseError::NotARelease);
    // An address has as many dots as a release, and more.
    let last = servers
        .last()
        .filter(|last| last.parse::<IpAddr>().is_err());
    match last.map(|last| last.parse::<Release>()) {
        None => Ok((servers, None)),
        Some(result) if result == not_a_release => Ok((servers, None)),
        Some(_) => {
            let last = servers.pop().unwrap_or_default();
            Ok((servers, Some(release(&last)?)))
        }
    }
}

fn release(text: &str) -> Result<Release, Error> {
    text.parse().map_err(|error| Error::Release {
        release: text.escape_debug().to_string(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<(usize, Option<String>), String> {
        let servers = text.split(' ').map(str::to_owned).collect();
        let (servers, release) = split_release(servers).map_err(|error| error.kind().to_owned())?;
        Ok((servers.len(), release.map(|release| release.to_string())))
    }

    #[test]
    fn a_release_may_stand_behind_the_controllers() {
        let found = |servers, release: &str| Ok((servers, Some(release.to_owned())));
        assert_eq!(split("ctl1 22.05"), found(1, "22.05"));
        assert_eq!(split("ctl1 ctl2 24.11.5"), found(2, "24.11"));
        assert_eq!(split("ctl1 10.11"), Err("bad-release".into()));
        // Addresses are none, also those that begin like one.
        for servers in ["10.96.0.10", "ctl1 10.99.99.99", "22.5.0.1", "::1"] {
            let count = servers.split(' ').count();
            assert_eq!(split(servers), Ok((count, None)), "{servers}");
        }
    }
}
