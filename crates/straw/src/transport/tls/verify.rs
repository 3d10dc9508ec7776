//! Whether a controller's certificate is trusted.
//!
//! ```text
//! what it shows                                 what is asked of it
//! one of the given certificates   dates, purpose
//! another of version 3            the usual: a chain to a given CA, dates, purpose
//! another of version 1            signed by a given CA itself, dates
//! anything else                   refused
//! ```
//!
//! Slurm's documented recipe makes certificates of version 1 (docs/protocol.md, section 10), which
//! webpki does not read. They cannot say what they are for, so none of them may sign another.
//! Slurm checks no host name; neither does straw unless it was told one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    TrustAnchor, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::Encode as _;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::certificate;
use super::error::{CertificateFlaw, Holder, TlsError};

/// A certificate that the user trusts.
pub(super) struct Given {
    pub(super) der: CertificateDer<'static>,
    pub(super) certificate: Certificate,
    /// What its signatures are checked by; `None` where it is no CA's. Then it is trusted as a
    /// server's own.
    anchor: Option<TrustAnchor<'static>>,
}

impl Given {
    /// Reads it; `None` where it is no certificate, or one of version 2.
    pub(super) fn read(der: CertificateDer<'static>) -> Option<Self> {
        let certificate = certificate::read(&der)?;
        let mut store = RootCertStore::empty();
        store.add(der.clone()).ok()?;
        let anchor = store.roots.pop()?;
        if certificate.tbs_certificate.version == Version::V2 {
            return None;
        }
        Some(Self {
            anchor: certificate::is_ca(&certificate).then_some(anchor),
            der,
            certificate,
        })
    }

    /// Whether it is a CA's.
    pub(super) fn is_ca(&self) -> bool {
        self.anchor.is_some()
    }

    fn is_issuer_of(&self, certificate: &Certificate) -> bool {
        self.is_ca()
            && self.certificate.tbs_certificate.subject == certificate.tbs_certificate.issuer
    }

    fn check_dates(&self, now: SystemTime) -> Result<(), TlsError> {
        certificate::check_dates(&self.certificate, Holder::Issuer, now)
    }
}

/// What is trusted, and under which name.
pub(super) struct Trust {
    pub(super) given: Vec<Given>,
    pub(super) name: Option<ServerName<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// That a certificate is trusted at a time.
    pub(super) fn check(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let malformed = TlsError::Certificate(CertificateFlaw::Malformed);
        match ParsedCertificate::try_from(der) {
            Ok(parsed) => {
                let leaf = certificate::read(der).ok_or(malformed)?;
                if self.is_given(der) {
                    check_itself(&leaf, system_time(now))?;
                } else {
                    self.check_chain(&parsed, &leaf, intermediates, now)?;
                }
                match &self.name {
                    Some(name) => verify_server_name(&parsed, name)
                        .map_err(|error| self.explain(error, &leaf, system_time(now))),
                    None => Ok(()),
                }
            }
            Err(error) => match (certificate::read_version_1(der), certificate::read(der)) {
                (Some(leaf), _) => {
                    if self.is_given(der) {
                        check_itself(&leaf, system_time(now))?;
                    } else {
                        self.check_version_1(&leaf, system_time(now))?;
                    }
                    match &self.name {
                        Some(_) => Err(self.wrong_name(&leaf)),
                        None => Ok(()),
                    }
                }
                (None, Some(other)) => Err(match other.tbs_certificate.version {
                    Version::V1 => malformed,
                    Version::V2 => TlsError::Certificate(CertificateFlaw::Version2),
                    Version::V3 => TlsError::Certificate(match error {
                        Error::InvalidCertificate(error) => flaw(&error),
                        _ => CertificateFlaw::Malformed,
                    }),
                }),
                (None, None) => Err(malformed),
            },
        }
    }

    fn is_given(&self, der: &CertificateDer<'_>) -> bool {
        self.given.iter().any(|given| given.der == *der)
    }

    /// A certificate of version 3, the usual way.
    fn check_chain(
        &self,
        parsed: &ParsedCertificate<'_>,
        leaf: &Certificate,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        // webpki does not look at the dates of what it is told to trust.
        let roots = self
            .given
            .iter()
            .filter(|given| given.check_dates(system_time(now)).is_ok())
            .filter_map(|given| given.anchor.clone())
            .collect();
        verify_server_cert_signed_by_trust_anchor(
            parsed,
            &RootCertStore { roots },
            intermediates,
            now,
            self.algorithms.all,
        )
        .map_err(|error| self.explain(error, leaf, system_time(now)))
    }

    /// A certificate of version 1: a given CA itself must have signed it. What else the peer sent
    /// along vouches for nothing.
    fn check_version_1(&self, leaf: &Certificate, now: SystemTime) -> Result<(), TlsError> {
        if leaf.signature_algorithm != leaf.tbs_certificate.signature {
            return Err(TlsError::Certificate(CertificateFlaw::Malformed));
        }
        let mut verdict = Err(self.stranger(leaf, now));
        for ca in &self.given {
            if ca.is_issuer_of(leaf) && ca.check_dates(now).is_ok() {
                verdict = self.check_signature(leaf, ca);
                if verdict.is_ok() {
                    break;
                }
            }
        }
        verdict?;
        certificate::check_dates(leaf, Holder::Controller, now)
    }

    fn check_signature(&self, leaf: &Certificate, ca: &Given) -> Result<(), TlsError> {
        let constrained = ca
            .anchor
            .as_ref()
            .is_none_or(|anchor| anchor.name_constraints.is_some());
        if constrained {
            return Err(TlsError::Certificate(CertificateFlaw::NameConstraints));
        }
        let malformed = || TlsError::Certificate(CertificateFlaw::Malformed);
        let signed = leaf.tbs_certificate.to_der().map_err(|_| malformed())?;
        let signature = leaf.signature.as_bytes().ok_or_else(malformed)?;
        let kind = identifier(&leaf.signature_algorithm).ok_or_else(malformed)?;
        let key = Key::of(&ca.certificate).ok_or_else(malformed)?;
        let mut algorithms = self.algorithms.all.iter();
        let Some(algorithm) =
            algorithms.find(|known| known.signature_alg_id().as_ref() == kind && key.fits(**known))
        else {
            return Err(TlsError::Certificate(CertificateFlaw::Algorithm));
        };
        algorithm
            .verify_signature(key.bits, &signed, signature)
            .map_err(|_| forged(leaf))
    }

    /// What to say of a certificate that no given CA signed.
    fn stranger(&self, leaf: &Certificate, now: SystemTime) -> TlsError {
        let mut issuers = self.given.iter().filter(|given| given.is_issuer_of(leaf));
        if let Some(error) = issuers.find_map(|given| given.check_dates(now).err()) {
            return error;
        }
        let subject = certificate::subject(leaf);
        if certificate::is_self_issued(leaf) {
            TlsError::SelfSigned { subject }
        } else {
            let issuer = certificate::issuer(leaf);
            TlsError::NotTrusted { subject, issuer }
        }
    }

    fn wrong_name(&self, leaf: &Certificate) -> TlsError {
        let expected = self.name.as_ref().map(|name| name.to_str().into_owned());
        TlsError::Name {
            expected: expected.unwrap_or_default(),
            names: certificate::hosts(leaf),
            version_1: leaf.tbs_certificate.version == Version::V1,
        }
    }

    /// webpki's errors in our words.
    fn explain(&self, error: Error, leaf: &Certificate, now: SystemTime) -> TlsError {
        let Error::InvalidCertificate(error) = error else {
            return TlsError::Failed(certificate::printable(&error.to_string()));
        };
        match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                let on = system_time(not_after);
                let own = certificate::end(leaf) == on;
                let holder = holder(own);
                TlsError::Expired { holder, on }
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                let from = system_time(not_before);
                let own = certificate::begin(leaf) == from;
                let holder = holder(own);
                TlsError::NotYetValid { holder, from }
            }
            CertificateError::UnknownIssuer => self.stranger(leaf, now),
            CertificateError::BadSignature => forged(leaf),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                self.wrong_name(leaf)
            }
            CertificateError::Other(_) if certificate::is_self_issued(leaf) => {
                self.stranger(leaf, now)
            }
            CertificateError::Other(_) if certificate::says_ca(leaf) => {
                TlsError::Certificate(CertificateFlaw::OfACa)
            }
            error => TlsError::Certificate(flaw(&error)),
        }
    }
}

/// A certificate that was given itself.
fn check_itself(leaf: &Certificate, now: SystemTime) -> Result<(), TlsError> {
    certificate::check_dates(leaf, Holder::Controller, now)?;
    if certificate::is_for_servers(leaf) {
        Ok(())
    } else {
        Err(TlsError::Certificate(CertificateFlaw::Purpose))
    }
}

/// What is wrong with a certificate, where no name and no date has to be told.
pub(super) fn flaw(error: &CertificateError) -> CertificateFlaw {
    match error {
        // Without a context: it expires before it begins.
        CertificateError::BadEncoding | CertificateError::Expired => CertificateFlaw::Malformed,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateFlaw::Purpose
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            CertificateFlaw::Algorithm
        }
        // webpki's own, of which the words are run together.
        CertificateError::Other(OtherError(inner)) => {
            CertificateFlaw::Other(certificate::printable(&words(&inner.to_string())))
        }
        error => CertificateFlaw::Other(certificate::printable(&words(&error.to_string()))),
    }
}

/// `NameConstraintViolation` as a person would write it.
fn words(name: &str) -> String {
    let mut words = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() && !words.ends_with([' ', '(']) {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

fn holder(own: bool) -> Holder {
    if own {
        Holder::Controller
    } else {
        Holder::Issuer
    }
}

fn forged(leaf: &Certificate) -> TlsError {
    TlsError::Forged {
        subject: certificate::subject(leaf),
        issuer: certificate::issuer(leaf),
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.unwrap_or(UNIX_EPOCH)
}

/// A public key of a certificate that webpki does not read.
struct Key<'a> {
    kind: Vec<u8>,
    bits: &'a [u8],
}

impl<'a> Key<'a> {
    fn of(certificate: &'a Certificate) -> Option<Self> {
        let SubjectPublicKeyInfoOwned {
            algorithm,
            subject_public_key,
        } = &certificate.tbs_certificate.subject_public_key_info;
        Some(Self {
            kind: identifier(algorithm)?,
            bits: subject_public_key.as_bytes()?,
        })
    }

    fn fits(&self, algorithm: &dyn SignatureVerificationAlgorithm) -> bool {
        algorithm.public_key_alg_id().as_ref() == self.kind
    }
}

/// An algorithm's identifier as rustls has them: without the head of the sequence.
fn identifier(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let mut identifier = algorithm.oid.to_der().ok()?;
    if let Some(parameters) = &algorithm.parameters {
        identifier.extend(parameters.to_der().ok()?);
    }
    Some(identifier)
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given: Vec<_> = self
            .given
            .iter()
            .map(|given| certificate::subject(&given.certificate))
            .collect();
        f.debug_struct("Trust")
            .field("given", &given)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(leaf) = certificate::read_version_1(der) else {
            return verify_tls12_signature(message, der, signature, &self.algorithms);
        };
        let key = Key::of(&leaf).ok_or(CertificateError::BadEncoding)?;
        let mut schemes = self.algorithms.mapping.iter();
        let Some((_, algorithms)) = schemes.find(|(scheme, _)| *scheme == signature.scheme) else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        // In TLS 1.2 a scheme leaves the curve open, and the key decides.
        let Some(algorithm) = algorithms.iter().find(|known| key.fits(**known)) else {
            return Err(CertificateError::BadSignature.into());
        };
        algorithm
            .verify_signature(key.bits, message, signature.signature())
            .map_err(|_| CertificateError::BadSignature)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(leaf) = certificate::read_version_1(der) else {
            return verify_tls13_signature(message, der, signature, &self.algorithms);
        };
        let key = leaf.tbs_certificate.subject_public_key_info.to_der();
        let key = SubjectPublicKeyInfoDer::from(key.map_err(|_| CertificateError::BadEncoding)?);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
