//! Which certificates are trusted, without a connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P384_SHA384,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::certificate::Version;

use super::pki::*;
use crate::transport::tls::{CertificateFlaw, Holder, Tls, TlsError};

fn check_at(tls: &Tls, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), TlsError> {
    tls.trust.check(&chain[0], &chain[1..], now)
}

fn check(tls: &Tls, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    check_at(tls, chain, UnixTime::now())
}

/// What is said of a chain where these certificates are given.
fn say(given: &[&CertificateDer<'_>], chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    check(&Files::new(given).load().unwrap(), chain)
}

fn kind(given: &[&CertificateDer<'_>], chain: &[CertificateDer<'_>]) -> &'static str {
    match say(given, chain) {
        Ok(()) => "trusted",
        Err(error) => error.kind(),
    }
}

fn flaw(given: &[&CertificateDer<'_>], chain: &[CertificateDer<'_>]) -> CertificateFlaw {
    match say(given, chain) {
        Err(TlsError::Certificate(flaw)) => flaw,
        other => panic!("{other:?}"),
    }
}

fn fixture(text: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}

/// Made by OpenSSL 3.0 as Slurm's documentation says, and the same with RSA.
#[test]
fn certificates_of_the_documented_recipe_are_trusted_while_they_are_valid() {
    let recipe = (
        include_str!("recipe-ca.pem"),
        include_str!("recipe-leaf.pem"),
    );
    let rsa = (include_str!("rsa-ca.pem"), include_str!("rsa-leaf.pem"));
    // They are valid from 2026-11-23 to 2026-12-23.
    let day = |days: u64| UNIX_EPOCH + Duration::from_secs((20_780 + days) * 86_400);
    let unix = |time: SystemTime| {
        UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    };
    for ((ca, leaf), (other, _)) in [(recipe, rsa), (rsa, recipe)] {
        let tls = Files::with_text(ca).load_at(day(10)).unwrap();
        let chain = [fixture(leaf)];
        assert_eq!(check_at(&tls, &chain, unix(day(10))), Ok(()));
        let later = check_at(&tls, &chain, unix(day(40))).unwrap_err();
        assert_eq!(later.kind(), "certificate-expired");
        let earlier = check_at(&tls, &chain, unix(day(0))).unwrap_err();
        assert_eq!(earlier.kind(), "certificate-not-yet-valid");
        let tls = Files::with_text(other).load_at(day(10)).unwrap();
        let stranger = check_at(&tls, &chain, unix(day(10))).unwrap_err();
        assert_eq!(stranger.kind(), "certificate-not-trusted");
    }
}

#[test]
fn a_chain_of_version_3_leads_to_a_given_ca() {
    let (site, other) = (ca("site"), ca("other"));
    let middle = Authority::signed_by(ca_params("middle"), key(), &site).unwrap();
    let mut chain = Shown::signed(&params("ctld"), &middle).chain;
    assert_eq!(
        say(&[site.der()], &chain),
        Err(TlsError::NotTrusted {
            subject: "CN=ctld".into(),
            issuer: "CN=middle".into(),
        })
    );
    assert_eq!(kind(&[middle.der()], &chain), "trusted");
    chain.push(middle.der().clone());
    assert_eq!(kind(&[site.der()], &chain), "trusted");
    assert_eq!(kind(&[other.der(), site.der()], &chain), "trusted");
    assert_eq!(kind(&[other.der()], &chain), "certificate-not-trusted");
    // What the peer sends along is no anchor, not even where it ends in itself.
    chain.push(site.der().clone());
    assert_eq!(kind(&[other.der()], &chain), "certificate-not-trusted");
}

#[test]
fn a_ca_of_the_same_name_with_another_key_is_another_ca() {
    let (site, again) = (ca("site"), ca("site"));
    let chain = Shown::signed(&params("ctld"), &again).chain;
    assert_eq!(kind(&[site.der()], &chain), "certificate-forged");
    assert_eq!(kind(&[site.der(), again.der()], &chain), "trusted");
    let leaf = key();
    let chain = [Version1::new(&leaf, again.der()).sign(again.key())];
    assert_eq!(kind(&[site.der()], &chain), "certificate-forged");
    assert_eq!(kind(&[site.der(), again.der()], &chain), "trusted");
}

#[test]
fn dates_are_checked_with_whose_they_are() {
    let site = ca("site");
    let old = Shown::signed(&years(params("ctld"), 2020, 2021), &site).chain;
    let error = say(&[site.der()], &old).unwrap_err();
    assert_eq!(
        error.to_string(),
        "its certificate expired on 2021-01-01T00:00:00Z"
    );
    let new = Shown::signed(&years(params("ctld"), 2090, 2091), &site).chain;
    let error = say(&[site.der()], &new).unwrap_err();
    assert_eq!(
        error.to_string(),
        "its certificate is not valid before 2090-01-01T00:00:00Z"
    );
    let middle = years(ca_params("middle"), 2020, 2021);
    let middle = Authority::signed_by(middle, key(), &site).unwrap();
    let mut chain = Shown::signed(&params("ctld"), &middle).chain;
    chain.push(middle.der().clone());
    let error = say(&[site.der()], &chain).unwrap_err();
    assert!(
        matches!(
            error,
            TlsError::Expired {
                holder: Holder::Issuer,
                ..
            }
        ),
        "{error}"
    );
    for (from, to, expected) in [
        (2020, 2021, "certificate-expired"),
        (2090, 2091, "certificate-not-yet-valid"),
    ] {
        let leaf = key();
        let chain = [Version1::new(&leaf, site.der())
            .years(from, to)
            .sign(site.key())];
        assert_eq!(kind(&[site.der()], &chain), expected);
    }
}

/// webpki does not look at the dates of what it is told to trust.
#[test]
fn a_ca_that_expires_while_straw_runs_vouches_for_nothing() {
    let site = Authority::self_signed(years(ca_params("site"), 2020, 2021), key()).unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(1_590_000_000);
    let tls = Files::new(&[site.der()]).load_at(then).unwrap();
    let leaf = key();
    for chain in [
        Shown::signed(&params("ctld"), &site).chain,
        vec![
            Version1::new(&leaf, site.der())
                .years(2020, 2099)
                .sign(site.key()),
        ],
    ] {
        let error = check(&tls, &chain).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the certificate of the CA that vouches for it expired on 2021-01-01T00:00:00Z"
        );
    }
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_only_if_it_was_given() {
    let site = ca("site");
    for params in [params("ctld"), ca_params("ctld")] {
        let chain = Shown::self_signed(&params).chain;
        let error = say(&[site.der()], &chain).unwrap_err();
        assert_eq!(
            error,
            TlsError::SelfSigned {
                subject: "CN=ctld".into()
            }
        );
        assert_eq!(kind(&[&chain[0]], &chain), "trusted");
        let twin = Shown::self_signed(&params).chain;
        assert_ne!(kind(&[&chain[0]], &twin), "trusted");
    }
    let root = root_of_version_1(&key());
    assert_eq!(kind(&[&root], std::slice::from_ref(&root)), "trusted");
    let twin = root_of_version_1(&key());
    assert_eq!(kind(&[&root], &[twin]), "certificate-forged");
    // Version 1, and no root: for itself as well.
    let own = key();
    let leaf = Version1::new(&own, site.der()).sign(site.key());
    assert_eq!(kind(&[&leaf], std::slice::from_ref(&leaf)), "trusted");
    let error = check(
        &Files::new(&[&leaf]).name("ctld").load().unwrap(),
        std::slice::from_ref(&leaf),
    );
    assert_eq!(error.unwrap_err().kind(), "certificate-name");
    let not_given = say(&[site.der()], &[root]).unwrap_err();
    assert!(
        matches!(not_given, TlsError::SelfSigned { .. }),
        "{not_given}"
    );

    // Given, and still checked.
    let old = Shown::self_signed(&years(params("ctld"), 2020, 2021)).chain;
    let then = UNIX_EPOCH + Duration::from_secs(1_590_000_000);
    let tls = Files::new(&[&old[0]]).load_at(then).unwrap();
    assert_eq!(check(&tls, &old).unwrap_err().kind(), "certificate-expired");
    let mut for_clients = params("ctld");
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let chain = Shown::self_signed(&for_clients).chain;
    assert_eq!(flaw(&[&chain[0]], &chain), CertificateFlaw::Purpose);
}

/// Who has a server's certificate cannot make others, even where it was given as a CA.
#[test]
fn a_given_certificate_that_is_no_ca_vouches_for_itself_only() {
    let own = key();
    let server = Authority::self_signed(params("ctld"), own).unwrap();
    let chain = Shown::signed(&params("evil"), &server).chain;
    assert_eq!(kind(&[server.der()], &chain), "certificate-not-trusted");
    let leaf = key();
    let chain = [Version1::new(&leaf, server.der()).sign(server.key())];
    assert_eq!(kind(&[server.der()], &chain), "certificate-not-trusted");

    // Version 1, signed by a CA that was not given: no root.
    let site = ca("site");
    let own = key();
    let given = Version1::new(&own, site.der()).sign(site.key());
    let chain = [Version1::new(&leaf, &given).sign(&own)];
    assert_eq!(kind(&[&given], &chain), "certificate-not-trusted");

    for unfit in [
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
    ] {
        let mut params = ca_params("site");
        params.key_usages = vec![unfit];
        if unfit == KeyUsagePurpose::KeyCertSign {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        let site = Authority::self_signed(params, key()).unwrap();
        let chain = [Version1::new(&leaf, site.der()).sign(site.key())];
        assert_eq!(kind(&[site.der()], &chain), "certificate-not-trusted");
        let chain = Shown::signed(&super::pki::params("ctld"), &site).chain;
        assert_eq!(kind(&[site.der()], &chain), "certificate-not-trusted");
    }
}

#[test]
fn a_certificate_of_version_1_is_signed_by_a_given_ca_itself() {
    let site = ca("site");
    let leaf = key();
    let chain = [Version1::new(&leaf, site.der()).sign(site.key())];
    assert_eq!(kind(&[site.der()], &chain), "trusted");
    // By a root of version 1, too.
    let root_key = key();
    let root = root_of_version_1(&root_key);
    let chain = [Version1::new(&leaf, &root).sign(&root_key)];
    assert_eq!(kind(&[&root], &chain), "trusted");
    assert_eq!(kind(&[site.der()], &chain), "certificate-not-trusted");
    // On another curve.
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let strong = Authority::self_signed(ca_params("strong"), key).unwrap();
    let chain = [Version1::new(&leaf, strong.der())
        .algorithm(SHA384)
        .sign(strong.key())];
    assert_eq!(kind(&[strong.der()], &chain), "trusted");
}

#[test]
fn forged_chains_of_version_1_are_refused() {
    let site = ca("site");
    let site = &site;
    let (mine, evil) = (key(), key());
    let refuse = |expected: &str, chain: &[CertificateDer<'_>]| {
        assert_eq!(kind(&[site.der()], chain), expected);
    };

    // Signed by a certificate of version 1 or 3 that the CA made for a server, or by a CA below
    // it, which is sent along.
    let own = Version1::new(&mine, site.der()).sign(site.key());
    let by_leaf = Version1::new(&evil, &own).sign(&mine);
    refuse("certificate-not-trusted", &[by_leaf, own.clone()]);
    let server = Authority::signed_by(params("server"), key(), site).unwrap();
    let by_leaf = Version1::new(&evil, server.der()).sign(server.key());
    refuse("certificate-not-trusted", &[by_leaf, server.der().clone()]);
    let middle = Authority::signed_by(ca_params("middle"), key(), site).unwrap();
    let by_middle = Version1::new(&evil, middle.der()).sign(middle.key());
    refuse(
        "certificate-not-trusted",
        &[by_middle, middle.der().clone()],
    );
    // A chain of version 3 whose middle is of version 1.
    let mut tbs = Version1::new(&mine, site.der());
    tbs.tbs.subject = x509(middle.der()).tbs_certificate.subject;
    let middle_1 = tbs.sign(site.key());
    let fake = Authority::self_signed(ca_params("middle"), copy(&mine)).unwrap();
    let below = params("evil").signed_by(&evil, &fake).unwrap();
    let chain = [below.der().clone(), middle_1];
    assert_ne!(kind(&[site.der()], &chain), "trusted");

    // The CA's name, and another's key; or a name that only looks like it.
    let forged = Version1::new(&evil, site.der()).sign(&mine);
    refuse("certificate-forged", &[forged]);
    let mut spaced = Version1::new(&evil, site.der());
    spaced.tbs.issuer = x509(ca("site ").der()).tbs_certificate.subject;
    refuse("certificate-not-trusted", &[spaced.sign(site.key())]);
    // The CA's key as its own.
    let with_key = Version1::new(site.key(), site.der()).sign(&mine);
    refuse("certificate-forged", &[with_key]);
    // The CA's key did sign, and the certificate names another.
    let misnamed = Version1::new(&evil, ca("other").der()).sign(site.key());
    refuse("certificate-not-trusted", &[misnamed]);

    // A signature of another certificate's.
    let honest = x509(&own);
    let mut moved = x509(&Version1::new(&evil, site.der()).sign(&mine));
    moved.signature = honest.signature;
    refuse("certificate-forged", &[der(&moved)]);
}

#[test]
fn a_certificate_that_contradicts_itself_is_refused() {
    let site = ca("site");
    let given = [site.der()];
    let leaf = key();
    let new = || Version1::new(&leaf, site.der());

    let mut trailing = new().sign(site.key()).to_vec();
    trailing.push(0);
    assert_eq!(flaw(&given, &[trailing.into()]), CertificateFlaw::Malformed);

    // One algorithm signed, another named outside.
    let two = new().outer(SHA384).sign(site.key());
    assert_eq!(flaw(&given, &[two]), CertificateFlaw::Malformed);
    // An algorithm that the CA's key cannot have (RSA), and one that nobody knows.
    for unknown in ["1.2.840.113549.1.1.11", "1.2.3.4"] {
        let unknown = new().algorithm(unknown).sign(site.key());
        assert_eq!(flaw(&given, &[unknown]), CertificateFlaw::Algorithm);
    }

    let mut second = new();
    second.tbs.version = Version::V2;
    assert_eq!(
        flaw(&given, &[second.sign(site.key())]),
        CertificateFlaw::Version2
    );
    // Extensions, which version 1 does not have.
    let with = Shown::signed(&ca_params("evil"), &site).chain;
    let mut extended = new();
    extended.tbs.extensions = x509(&with[0]).tbs_certificate.extensions;
    assert_eq!(
        flaw(&given, &[extended.sign(site.key())]),
        CertificateFlaw::Malformed
    );
    for nothing in [&b""[..], b"\x30\x00", b"certificate"] {
        let nothing = CertificateDer::from(nothing.to_vec());
        assert_eq!(flaw(&given, &[nothing]), CertificateFlaw::Malformed);
    }
    // Cut short anywhere.
    let whole = new().sign(site.key());
    for length in 0..whole.len() {
        let part = CertificateDer::from(whole[..length].to_vec());
        assert_eq!(flaw(&given, &[part]), CertificateFlaw::Malformed);
    }
    // Any bit of it turned.
    for at in 0..whole.len() {
        let mut turned = whole.to_vec();
        turned[at] ^= 1;
        assert_ne!(kind(&given, &[turned.into()]), "trusted", "byte {at}");
    }
}

#[test]
fn purpose_and_constraints_count() {
    let site = ca("site");
    let mut clients = params("user");
    clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let chain = Shown::signed(&clients, &site).chain;
    assert_eq!(flaw(&[site.der()], &chain), CertificateFlaw::Purpose);

    let below = Authority::signed_by(ca_params("below"), key(), &site).unwrap();
    assert_eq!(
        flaw(&[site.der()], &[below.der().clone()]),
        CertificateFlaw::OfACa
    );

    let mut unknown = params("ctld");
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    unknown.custom_extensions = vec![extension];
    let chain = Shown::signed(&unknown, &site).chain;
    assert!(matches!(
        flaw(&[site.der()], &chain),
        CertificateFlaw::Other(_)
    ));

    let mut limited = ca_params("limited");
    limited.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    limited.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".into())],
        excluded_subtrees: vec![],
    });
    let limited = Authority::self_signed(limited, key()).unwrap();
    let leaf = key();
    let chain = [Version1::new(&leaf, limited.der()).sign(limited.key())];
    assert_eq!(
        flaw(&[limited.der()], &chain),
        CertificateFlaw::NameConstraints
    );
}

#[test]
fn a_name_is_checked_if_one_was_given() {
    let site = ca("site");
    let mut named = params("ctld");
    named.subject_alt_names = rcgen::CertificateParams::new(vec![
        "ctl1.example.org".into(),
        "*.cluster.org".into(),
        "10.0.0.1".into(),
    ])
    .unwrap()
    .subject_alt_names;
    let chain = Shown::signed(&named, &site).chain;
    let under = |name: &str, chain: &[CertificateDer<'_>]| {
        check(&Files::new(&[site.der()]).name(name).load().unwrap(), chain)
    };
    for good in [
        "ctl1.example.org",
        "CTL1.example.org",
        "a.cluster.org",
        "10.0.0.1",
    ] {
        assert_eq!(under(good, &chain), Ok(()), "{good}");
    }
    for bad in ["ctl2.example.org", "ctld", "a.b.cluster.org", "10.0.0.2"] {
        assert_eq!(
            under(bad, &chain).unwrap_err().to_string(),
            format!(
                "its certificate is not for {bad}: it is for ctl1.example.org, *.cluster.org, 10.0.0.1"
            )
        );
    }
    // The common name counts for nothing.
    let chain = Shown::signed(&params("ctld"), &site).chain;
    assert_eq!(
        under("ctld", &chain).unwrap_err().to_string(),
        "its certificate is not for ctld: it has no names"
    );
    let leaf = key();
    let chain = [Version1::new(&leaf, site.der()).sign(site.key())];
    let error = under("ctld", &chain).unwrap_err();
    assert_eq!(error.kind(), "certificate-name");
    assert!(error.to_string().contains("X.509 version 1"), "{error}");
    // Given itself, and still of another name.
    let chain = Shown::self_signed(&named).chain;
    let tls = Files::new(&[&chain[0]]).name("ctl2").load().unwrap();
    assert_eq!(check(&tls, &chain).unwrap_err().kind(), "certificate-name");
}

#[test]
fn names_from_a_peer_are_printable_and_short() {
    let site = ca("site");
    let name = format!("\u{1b}[31m\n\u{202e}{}", "x".repeat(5000));
    let chain = Shown::self_signed(&params(&name)).chain;
    let text = say(&[site.der()], &chain).unwrap_err().to_string();
    assert!(text.chars().count() < 400, "{text}");
    let dangerous = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!text.contains(dangerous), "{text:?}");
}

fn x509(der: &CertificateDer<'_>) -> x509_cert::Certificate {
    x509_cert::der::Decode::from_der(der).unwrap()
}

fn der(certificate: &x509_cert::Certificate) -> CertificateDer<'static> {
    let der = x509_cert::der::Encode::to_der(certificate).unwrap();
    der.into()
}

fn copy(key: &KeyPair) -> KeyPair {
    KeyPair::try_from(key.serialize_der()).unwrap()
}
