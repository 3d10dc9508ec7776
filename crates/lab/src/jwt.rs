//! Tokens signed by ourselves: those that `scontrol token` would never make.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// Signs claims with HS256, as Slurm does. Slurm reads `sun` (the user's name), `exp` and `iat`
/// (seconds since 1970).
///
/// # Panics
///
/// Never: HMAC takes keys of every length.
pub fn sign(key: &[u8], claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let body = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{header}.{body}");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of jwt.io, which everyone's HS256 is compared with.
    #[test]
    fn signs_the_well_known_example() {
        let claims: Value =
            serde_json::from_str(r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#)
                .unwrap();
        let token = sign(b"your-256-bit-secret", &claims);
        // serde_json sorts the claims unless told otherwise, so only the parts are compared.
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts[0], "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
        let body = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), claims);
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 32);
    }
}
