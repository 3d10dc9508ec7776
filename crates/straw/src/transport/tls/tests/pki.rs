//! Certificates made for tests, honest ones and others.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PublicKeyData as _, SigningKey as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::BitString;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Validity;

use crate::transport::tls::{ClientFiles, Tls, TlsFiles, TlsFilesError};

pub(super) const SHA256: &str = "1.2.840.10045.4.3.2";
pub(super) const SHA384: &str = "1.2.840.10045.4.3.3";

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A key on the curve P-256.
pub(super) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// What a certificate says that is valid now, for this name.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A CA of version 3 on the curve P-256.
pub(super) fn ca(name: &str) -> Authority {
    Authority::self_signed(ca_params(name), key()).unwrap()
}

/// Years of validity.
pub(super) fn years(mut params: CertificateParams, from: i32, to: i32) -> CertificateParams {
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params
}

/// What a server shows, and its key.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Shown {
    pub(super) fn new(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate],
            key: private(key),
        }
    }

    /// A certificate of version 3.
    pub(super) fn signed(params: &CertificateParams, by: &Authority) -> Self {
        let key = key();
        let certificate = params.signed_by(&key, by).unwrap();
        Self::new(certificate.der().clone(), &key)
    }

    pub(super) fn self_signed(params: &CertificateParams) -> Self {
        let key = key();
        Self::new(params.self_signed(&key).unwrap().der().clone(), &key)
    }
}

pub(super) fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

/// A certificate of version 1 to be.
pub(super) struct Version1 {
    pub(super) tbs: TbsCertificate,
    outer: AlgorithmIdentifierOwned,
}

impl Version1 {
    /// For `ctld`, in the name of this CA, valid as long as the CA.
    pub(super) fn new(of: &KeyPair, ca: &CertificateDer<'_>) -> Self {
        let ca = Certificate::from_der(ca).unwrap().tbs_certificate;
        Self {
            tbs: TbsCertificate {
                version: Version::V1,
                serial_number: SerialNumber::new(&[7]).unwrap(),
                signature: algorithm(SHA256),
                issuer: ca.subject,
                validity: ca.validity,
                subject: Name::from_str("CN=ctld,O=CompanyName").unwrap(),
                subject_public_key_info: spki(of),
                issuer_unique_id: None,
                subject_unique_id: None,
                extensions: None,
            },
            outer: algorithm(SHA256),
        }
    }

    pub(super) fn algorithm(mut self, oid: &str) -> Self {
        self.tbs.signature = algorithm(oid);
        self.outer(oid)
    }

    pub(super) fn outer(mut self, oid: &str) -> Self {
        self.outer = algorithm(oid);
        self
    }

    /// The years of another certificate.
    pub(super) fn years(mut self, from: i32, to: i32) -> Self {
        self.tbs.validity = validity(from, to);
        self
    }

    pub(super) fn sign(self, by: &KeyPair) -> CertificateDer<'static> {
        let signature = by.sign(&self.tbs.to_der().unwrap()).unwrap();
        let certificate = Certificate {
            tbs_certificate: self.tbs,
            signature_algorithm: self.outer,
            signature: BitString::from_bytes(&signature).unwrap(),
        };
        certificate.to_der().unwrap().into()
    }
}

fn algorithm(oid: &str) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new(oid).unwrap(),
        parameters: None,
    }
}

pub(super) fn spki(key: &KeyPair) -> SubjectPublicKeyInfoOwned {
    SubjectPublicKeyInfoOwned::from_der(&key.subject_public_key_info()).unwrap()
}

fn validity(from: i32, to: i32) -> Validity {
    let params = years(params("x"), from, to);
    let certificate = params.self_signed(&key()).unwrap();
    Certificate::from_der(certificate.der())
        .unwrap()
        .tbs_certificate
        .validity
}

/// A root of version 1: signed by itself, without a word about what it is for.
pub(super) fn root_of_version_1(key: &KeyPair) -> CertificateDer<'static> {
    let like = params("old_ca").self_signed(key).unwrap();
    let mut root = Version1::new(key, like.der());
    root.tbs.subject = root.tbs.issuer.clone();
    root.sign(key)
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub(super) fn certificates(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// Files in a directory of their own.
pub(super) struct Files {
    directory: TempDir,
    files: TlsFiles,
}

impl Files {
    pub(super) fn new(trusted: &[&CertificateDer<'_>]) -> Self {
        let text: String = trusted.iter().map(|der| pem("CERTIFICATE", der)).collect();
        Self::with_text(&text)
    }

    pub(super) fn with_text(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca_cert = directory.path().join("ca_cert.pem");
        std::fs::write(&ca_cert, text).unwrap();
        Self {
            directory,
            files: TlsFiles {
                ca_cert,
                client: None,
                server_name: None,
            },
        }
    }

    pub(super) fn ca_cert(&self) -> PathBuf {
        self.files.ca_cert.clone()
    }

    pub(super) fn name(mut self, name: &str) -> Self {
        self.files.server_name = Some(name.to_owned());
        self
    }

    pub(super) fn client(self, client: &Shown) -> Self {
        let key = pem("PRIVATE KEY", client.key.secret_der());
        self.client_text(&certificates(&client.chain), &key)
    }

    pub(super) fn client_text(mut self, cert_text: &str, key_text: &str) -> Self {
        let cert = self.directory.path().join("client_cert.pem");
        let key = self.directory.path().join("client_key.pem");
        std::fs::write(&cert, cert_text).unwrap();
        std::fs::write(&key, key_text).unwrap();
        self.files.client = Some(ClientFiles { cert, key });
        self
    }

    pub(super) fn load(&self) -> Result<Tls, TlsFilesError> {
        self.load_at(SystemTime::now())
    }

    pub(super) fn load_at(&self, now: SystemTime) -> Result<Tls, TlsFilesError> {
        Tls::load(&self.files, now)
    }
}
