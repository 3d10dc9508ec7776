//! Files that are of use, and others.

use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::pki::*;
use crate::transport::tls::{Tls, TlsFilesError};

fn kind(result: Result<Tls, TlsFilesError>) -> &'static str {
    match result {
        Ok(_) => "loaded",
        Err(error) => {
            assert!(!error.hint().is_empty() && !error.to_string().is_empty());
            error.kind()
        }
    }
}

#[test]
fn only_certificates_of_the_ca_file_are_passed_on() {
    let (one, two) = (ca("one"), ca("two"));
    let text = format!(
        "some words\n{}{}more words\n{}",
        pem("CERTIFICATE", one.der()),
        pem("PRIVATE KEY", &one.key().serialize_der()),
        pem("CERTIFICATE", two.der()),
    );
    let tls = Files::with_text(&text).load().unwrap();
    let expected = certificates(&[one.der().clone(), two.der().clone()]);
    assert_eq!(tls.ca_pem(), expected);
    let again: Vec<_> = CertificateDer::pem_slice_iter(tls.ca_pem().as_bytes())
        .map(Result::unwrap)
        .collect();
    assert_eq!(again, [one.der().clone(), two.der().clone()]);
}

#[test]
fn a_ca_file_that_is_none_is_refused() {
    for (text, expected) in [
        ("", "ca-invalid"),
        ("no PEM\n", "ca-invalid"),
        (&pem("PRIVATE KEY", b"x"), "ca-invalid"),
        (&pem("CERTIFICATE", b"no certificate"), "ca-invalid"),
        ("-----BEGIN CERTIFICATE-----\n?\n", "ca-invalid"),
        (&" ".repeat(1024 * 1024 + 1), "ca-invalid"),
    ] {
        assert_eq!(kind(Files::with_text(text).load()), expected);
    }
    let files = Files::with_text("");
    std::fs::remove_file(files.ca_cert()).unwrap();
    assert_eq!(kind(files.load()), "ca-unreadable");
    std::fs::create_dir(files.ca_cert()).unwrap();
    assert_eq!(kind(files.load()), "ca-unreadable");
}

#[test]
fn what_is_of_no_use_among_several_is_left_out() {
    let old = Authority::self_signed(years(ca_params("old"), 2019, 2020), key()).unwrap();
    let older = Authority::self_signed(years(ca_params("older"), 2017, 2018), key()).unwrap();
    let new = Authority::self_signed(years(ca_params("new"), 2090, 2091), key()).unwrap();
    let site = ca("site");
    let none = Files::new(&[older.der(), old.der()]).load().unwrap_err();
    assert_eq!(none.kind(), "ca-expired");
    assert!(none.to_string().ends_with("2020-01-01T00:00:00Z"), "{none}");
    let none = Files::new(&[old.der(), new.der()]).load().unwrap_err();
    assert_eq!(none.kind(), "ca-not-yet-valid");
    assert!(none.to_string().ends_with("2090-01-01T00:00:00Z"), "{none}");

    let rubbish = CertificateDer::from(b"rubbish".to_vec());
    let some = Files::new(&[old.der(), &rubbish, site.der(), new.der()]);
    // What becomes valid later is for those who read the file later.
    let expected = certificates(&[site.der().clone(), new.der().clone()]);
    let loaded = some.load().unwrap();
    assert_eq!(loaded.ca_pem(), expected);
    let then = UNIX_EPOCH + Duration::from_secs(1_550_000_000);
    assert_eq!(kind(Files::new(&[old.der()]).load_at(then)), "loaded");
}

#[test]
fn a_client_certificate_comes_with_its_key() {
    let site = ca("site");
    let files = || Files::new(&[site.der()]);
    let client = Shown::signed(&params("me"), &site);
    let cert = certificates(&client.chain);
    let key = pem("PRIVATE KEY", client.key.secret_der());
    let tls = files().client(&client).load().unwrap();
    let debug = format!("{tls:?}");
    assert!(debug.contains("client: true"), "{debug}");

    let other = pem("PRIVATE KEY", &super::pki::key().serialize_der());
    let old_style = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
                     AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    for (cert, key, expected) in [
        (&*cert, &*other, "client-key-mismatch"),
        (&cert, "", "client-key-invalid"),
        (&cert, &cert, "client-key-invalid"),
        (&cert, &pem("PRIVATE KEY", b"x"), "client-key-invalid"),
        (&cert, old_style, "client-key-encrypted"),
        (
            &cert,
            &pem("ENCRYPTED PRIVATE KEY", b"x"),
            "client-key-encrypted",
        ),
        ("", &key, "client-certificate-invalid"),
        (&key, &key, "client-certificate-invalid"),
        (
            &pem("CERTIFICATE", b"x"),
            &key,
            "client-certificate-invalid",
        ),
    ] {
        assert_eq!(kind(files().client_text(cert, key).load()), expected);
    }
    // One that the documented recipe makes, too.
    let own = super::pki::key();
    let of_version_1 = Version1::new(&own, site.der()).sign(site.key());
    let client = Shown::new(of_version_1, &own);
    assert_eq!(kind(files().client(&client).load()), "loaded");
}

#[test]
fn a_server_name_is_a_name_or_an_address() {
    let site = ca("site");
    for (name, expected) in [
        ("ctl1", "loaded"),
        ("10.0.0.1", "loaded"),
        ("::1", "loaded"),
        ("", "bad-server-name"),
        ("ctl1:6817", "bad-server-name"),
        ("ctl 1", "bad-server-name"),
    ] {
        assert_eq!(kind(Files::new(&[site.der()]).name(name).load()), expected);
    }
}
