//! Certificates, as a controller shows them and as a user gives them. Nobody here has the CA's keys, so
//! none is trusted but those that the CA signed.

#![no_main]

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use straw::fuzzing::check;
use straw_fuzz::is_harmless;

/// A time at which all of them are valid: 2026-11-24.
const NOW: u64 = 1_795_478_400;

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD
        .decode(lines.collect::<String>())
        .expect("a certificate in PEM")
}

/// Made by the recipe in Slurm's documentation: CAs of version 3, servers' of version 1.
fn real() -> &'static [Vec<u8>; 4] {
    static REAL: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    REAL.get_or_init(|| {
        [
            include_str!("../../../crates/straw/src/transport/tls/tests/recipe-ca.pem"),
            include_str!("../../../crates/straw/src/transport/tls/tests/rsa-ca.pem"),
            include_str!("../../../crates/straw/src/transport/tls/tests/recipe-leaf.pem"),
            include_str!("../../../crates/straw/src/transport/tls/tests/rsa-leaf.pem"),
        ]
        .map(der)
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [ca, rsa_ca, leaf, rsa_leaf] = real();
    let Some((&choice, shown)) = data.split_first() else {
        return;
    };
    let name = (choice & 0x80 != 0).then_some("ctld");
    let verdict = match choice % 4 {
        // A controller shows it.
        0 => check(&[ca, rsa_ca], &[shown], name, NOW),
        // It comes along with one that is trusted, or in front of it.
        1 => check(&[ca, rsa_ca], &[leaf, shown], name, NOW),
        2 => check(&[rsa_ca], &[shown, ca, leaf], name, NOW),
        // A user gives it.
        _ => check(&[shown], &[leaf], name, NOW),
    };
    match verdict {
        Some(Ok(())) => match choice % 4 {
            0 => assert!([ca, rsa_ca, leaf, rsa_leaf].iter().any(|one| *one == shown)),
            1 => {}
            2 => assert!([rsa_ca, rsa_leaf].iter().any(|one| *one == shown)),
            // Who changes a CA's certificate without its key and its name can only have it trusted as
            // that CA, since what is given is not verified.
            _ => {}
        },
        Some(Err(error)) => assert!(is_harmless(&error), "{error:?}"),
        None => assert_eq!(choice % 4, 3),
    }
});
