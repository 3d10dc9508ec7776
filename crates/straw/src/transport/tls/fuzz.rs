//! Certificates that a fuzzer makes up.

use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::verify::{Given, Trust};

/// Whether a certificate is trusted where these are given, at a time in seconds since 1970. `None`
/// where one of those that are given is none.
pub fn check(
    given: &[&[u8]],
    chain: &[&[u8]],
    name: Option<&'static str>,
    seconds: u64,
) -> Option<Result<(), String>> {
    let der = |bytes: &&[u8]| CertificateDer::from(bytes.to_vec());
    let given = given.iter().map(der).map(Given::read);
    let trust = Trust {
        given: given.collect::<Option<_>>()?,
        name: name.and_then(|name| ServerName::try_from(name).ok()),
        algorithms: ring::default_provider().signature_verification_algorithms,
    };
    let chain: Vec<_> = chain.iter().map(der).collect();
    let (leaf, intermediates) = chain.split_first()?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let verdict = trust.check(leaf, intermediates, now);
    Some(verdict.map_err(|error| error.to_string()))
}
