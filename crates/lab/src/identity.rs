//! An identity provider: somebody else than Slurm who signs tokens, with RS256, and publishes the key
//! to check them with (JWKS).
//!
//! ```no_run
//! use lab::identity::IdentityProvider;
//! use lab::{Cluster, Release};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), lab::LabError> {
//! let provider = IdentityProvider::start(Release::V26_05)?;
//! let cluster = Cluster::builder(Release::V26_05)
//!     .identity_provider(&provider)
//!     .alt_parameter("userclaimfield=preferred_username")
//!     .start()?;
//! let token = provider.sign(&json!({
//!     "sub": "f3c1", "preferred_username": "alice", "exp": 4_102_444_800_u64,
//! }))?;
//! # let _ = (cluster, token);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::container::Container;
use crate::error::LabError;
use crate::image;
use crate::jwt::signing_input;
use crate::keeper::Keeper;
use crate::owner::labels;
use crate::process::docker;
use crate::random;
use crate::release::Release;

/// The private key, in the provider's container, which it never leaves.
const KEY: &str = "/root/key.pem";

/// An identity provider with one RSA key of 2048 bits. It signs in a container of its own, which has
/// no network and is removed with this value.
pub struct IdentityProvider {
    /// First, so that it is dropped first: it removes the container.
    #[expect(dead_code, reason = "it is there to be dropped")]
    keeper: Keeper,
    signer: Container,
    key_id: String,
    jwks: Value,
}

impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl IdentityProvider {
    /// Makes a key, with the OpenSSL that is in the images of this release. Any release does.
    ///
    /// # Errors
    ///
    /// [`LabError::Unavailable`] when there is no Docker or no way to the images.
    pub fn start(release: Release) -> Result<Self, LabError> {
        crate::provision::available()?;
        let images = image::prepare(release, &mut |_| {})?;
        let id = random::name()?;
        let keeper = Keeper::start(&id)?;
        let name = format!("straw-lab-{id}-identity");
        docker(["run", "--detach", "--init", "--network=none", "--name"])
            .args([&name])
            .args(labels(&id)?)
            .args([images.controller.as_str(), "sleep", "infinity"])
            .check()?;
        let signer = Container::host(name);
        let script =
            r#"umask 077; openssl genrsa -out "$1" 2048 && openssl rsa -in "$1" -noout -modulus"#;
        let modulus = signer
            .exec(["sh", "-c", script, "key", KEY])
            .check()?
            .text();
        let key_id = format!("lab-{id}");
        let key = json!({
            "kty": "RSA",
            "kid": key_id,
            "alg": "RS256",
            "use": "sig",
            "n": URL_SAFE_NO_PAD.encode(hex(modulus.trim_start_matches("Modulus="))),
            // 65537, as everywhere.
            "e": "AQAB",
        });
        Ok(Self {
            keeper,
            signer,
            key_id,
            jwks: json!({ "keys": [key] }),
        })
    }

    /// The document with its public key.
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// The name of the key in the document, and in the header of every token (`kid`).
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// A token with these claims, signed with RS256.
    ///
    /// # Errors
    ///
    /// When the provider's container has gone.
    pub fn sign(&self, claims: &Value) -> Result<String, LabError> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The same with any header and any claims, which need not make sense.
    ///
    /// # Errors
    ///
    /// When the provider's container has gone.
    pub fn sign_text(&self, header: &str, claims: &str) -> Result<String, LabError> {
        let signed = signing_input(header, claims);
        let signature = self
            .signer
            .exec(["openssl", "dgst", "-sha256", "-sign", KEY])
            .stdin(signed.as_bytes())
            .check()?
            .stdout;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The bytes that OpenSSL writes as hexadecimal digits; those of a modulus start with no zero.
fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_a_modulus() {
        assert_eq!(hex("C0FFEE01"), [0xc0, 0xff, 0xee, 1]);
    }
}
