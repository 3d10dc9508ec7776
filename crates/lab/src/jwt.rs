//! Tokens signed by ourselves: those that `scontrol token` would never make.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// Signs claims with HS256, as Slurm does. Slurm reads `sun` (the user's name), `exp` and `iat`
/// (seconds since 1970).
pub fn sign(key: &[u8], claims: &Value) -> String {
    sign_text(key, r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// The same with any header and any claims, which need not make sense.
///
/// # Panics
///
/// Never: HMAC takes keys of every length.
pub fn sign_text(key: &[u8], header: &str, claims: &str) -> String {
    let signed = signing_input(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// What is signed of a token.
pub(crate) fn signing_input(header: &str, claims: &str) -> String {
    [header, claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of jwt.io, which everyone's HS256 is compared with.
    #[test]
    fn signs_the_well_known_example() {
        let token = sign_text(
            b"your-256-bit-secret",
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#,
        );
        assert_eq!(
            token,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
             eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
             SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        );
    }
}
