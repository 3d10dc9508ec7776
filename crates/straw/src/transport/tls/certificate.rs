//! Certificates as they are read: whose they are, and when and what for they are good.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::name::Name;

use super::error::{Holder, TlsError};
use crate::text::without_tokens;

/// So many characters of a text from a peer are shown.
const LONGEST: usize = 200;
/// So many names of a certificate are shown.
const MOST_NAMES: usize = 5;

/// Reads a certificate; `None` where it is none, or where anything follows it.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    Certificate::from_der(der).ok()
}

/// Reads a certificate of X.509 version 1, encoded exactly as DER demands.
///
/// So what the parts of the result encode to is what stood in `der`, above all the part that is
/// signed.
pub(super) fn read_version_1(der: &[u8]) -> Option<Certificate> {
    let certificate = read(der)?;
    let exact = certificate.to_der().is_ok_and(|again| again == der);
    (exact && is_version_1(&certificate)).then_some(certificate)
}

/// Whether it is of version 1 and has nothing that came with later versions.
fn is_version_1(certificate: &Certificate) -> bool {
    let tbs = &certificate.tbs_certificate;
    tbs.version == Version::V1
        && tbs.extensions.is_none()
        && tbs.issuer_unique_id.is_none()
        && tbs.subject_unique_id.is_none()
}

/// Whether it may sign others for servers.
///
/// In version 1 it cannot say so. There only a root counts as a CA, as it does for OpenSSL: else
/// whoever has any certificate of that CA's could make more of them.
pub(super) fn is_ca(certificate: &Certificate) -> bool {
    let tbs = &certificate.tbs_certificate;
    match tbs.version {
        Version::V1 => is_version_1(certificate) && is_self_issued(certificate),
        Version::V2 => false,
        Version::V3 => {
            let may_sign = match tbs.get::<KeyUsage>() {
                Ok(usage) => usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
                Err(_) => false,
            };
            says_ca(certificate) && may_sign && is_for_servers(certificate)
        }
    }
}

/// Whether it says of itself that it is a CA's.
pub(super) fn says_ca(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
}

/// Whether it may be a server's, or a CA's of servers.
pub(super) fn is_for_servers(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => usage
            .0
            .iter()
            .any(|purpose| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(purpose)),
        Err(_) => false,
    }
}

pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject
}

/// When it begins to be valid.
pub(super) fn begin(certificate: &Certificate) -> SystemTime {
    let validity = &certificate.tbs_certificate.validity;
    UNIX_EPOCH + validity.not_before.to_unix_duration()
}

/// The last second in which it is valid.
pub(super) fn end(certificate: &Certificate) -> SystemTime {
    let validity = &certificate.tbs_certificate.validity;
    UNIX_EPOCH + validity.not_after.to_unix_duration()
}

/// That it is valid at a time.
pub(super) fn check_dates(
    certificate: &Certificate,
    holder: Holder,
    now: SystemTime,
) -> Result<(), TlsError> {
    let (from, on) = (begin(certificate), end(certificate));
    if now < from {
        Err(TlsError::NotYetValid { holder, from })
    } else if now > on {
        Err(TlsError::Expired { holder, on })
    } else {
        Ok(())
    }
}

/// Whose it is, by its own words.
pub(super) fn subject(certificate: &Certificate) -> String {
    name(&certificate.tbs_certificate.subject)
}

/// Who signed it, by its own words.
pub(super) fn issuer(certificate: &Certificate) -> String {
    name(&certificate.tbs_certificate.issuer)
}

fn name(name: &Name) -> String {
    if name.is_empty() {
        return "no name".to_owned();
    }
    printable(&name.to_string())
}

/// The hosts that it is for.
pub(super) fn hosts(certificate: &Certificate) -> Vec<String> {
    let names = match certificate.tbs_certificate.get::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names,
        _ => return Vec::new(),
    };
    let mut hosts: Vec<_> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(printable(name.as_str())),
            GeneralName::IpAddress(octets) => address(octets.as_bytes()),
            _ => None,
        })
        .collect();
    if let Some(more) = hosts.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
        hosts.truncate(MOST_NAMES);
        hosts.push(format!("{more} more"));
    }
    hosts
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}

/// A text from a peer, for a person's terminal.
pub(super) fn printable(text: &str) -> String {
    let text = without_tokens(text);
    let mut escaped = text.chars().flat_map(char::escape_debug);
    let mut printable: String = escaped.by_ref().take(LONGEST).collect();
    if escaped.next().is_some() {
        printable.push('…');
    }
    printable
}
