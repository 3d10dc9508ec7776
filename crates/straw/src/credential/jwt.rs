//! Tokens: read from a file or a variable, and looked into before they are sent.
//!
//! A controller does not say why it refuses a token, and up to 24.05 it says nothing at all
//! (docs/protocol.md, section 9). So what can be seen in the token is checked here.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use slurm_protocol::Credential;

use crate::text::{span, system_text};

/// A longer text than this, in bytes, is no token. Slurm's have about 150, an identity
/// provider's some thousands.
const LONGEST: u64 = 64 * 1024;

/// Where a token is to be had. It is read afresh each time, because tokens are replaced.
#[derive(Clone)]
pub enum TokenSource {
    /// A file that holds it, with or without the `SLURM_JWT=` that `scontrol token` prints.
    File(PathBuf),
    /// The value of the variable `SLURM_JWT`.
    Variable(SecretString),
}

impl TokenSource {
    /// Reads the token and looks into it.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, the text is no JWT, or the token is not, or no longer, of
    /// use at the time `now`.
    pub fn load(&self, now: SystemTime) -> Result<Token, CredentialError> {
        let place = self.place();
        let text = match self {
            Self::File(path) => read(path).map_err(|error| CredentialError::Unreadable {
                path: path.clone(),
                error,
            })?,
            Self::Variable(value) => value.clone(),
        };
        let text = text.expose_secret().trim();
        let text = text.strip_prefix("SLURM_JWT=").unwrap_or(text);
        if text.is_empty() {
            return Err(CredentialError::Empty { place });
        }
        let claims = Claims::read(text).ok_or_else(|| CredentialError::NotAToken {
            place: place.clone(),
        })?;
        claims.check(&place, now)?;
        Ok(Token {
            secret: text.into(),
            claims,
        })
    }

    /// Where it is, as a person would say it.
    pub fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Variable(_) => "SLURM_JWT".to_owned(),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSource({})", self.place())
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    // Of this size from the start, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| system_text(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    // What is not text is no token either, and is said to be none later on.
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

/// A token that has not expired.
pub struct Token {
    secret: SecretString,
    claims: Claims,
}

impl Token {
    /// What it says of itself.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What a request is authenticated by.
    pub fn credential(&self) -> Credential<'_> {
        Credential::Jwt {
            token: self.secret.expose_secret(),
            username: None,
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.claims)
    }
}

/// What a token says of itself; nothing of it is secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Whose it is, by `sun` or `username`.
    pub user: Option<String>,
    /// When it expires, in seconds since 1970. A controller takes none for 0.
    pub expires: Option<u64>,
    /// How it is signed: `HS256`, `RS256`.
    pub algorithm: Option<String>,
}

impl Claims {
    /// Reads header and claims; `None` where the text is no JWT. The signature is not checked:
    /// the key for that is the cluster's secret.
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || URL_SAFE_NO_PAD.decode(signature).is_err() {
            return None;
        }
        let object = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            match serde_json::from_slice(&bytes).ok()? {
                Value::Object(object) => Some(object),
                _ => None,
            }
        };
        let (header, claims) = (object(header)?, object(claims)?);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            user: text(claims.get("sun").or_else(|| claims.get("username"))),
            expires: claims.get("exp").and_then(|exp| {
                exp.as_u64()
                    .or_else(|| exp.as_f64().map(|seconds| seconds as u64))
            }),
            algorithm: text(header.get("alg")),
        })
    }

    fn check(&self, place: &str, now: SystemTime) -> Result<(), CredentialError> {
        let place = place.to_owned();
        if self
            .algorithm
            .as_deref()
            .is_some_and(|a| a.eq_ignore_ascii_case("none"))
        {
            return Err(CredentialError::Unsigned { place });
        }
        let Some(expires) = self.expires else {
            return Err(CredentialError::NoExpiry { place });
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match now.as_secs().checked_sub(expires) {
            Some(age) => Err(CredentialError::Expired {
                place,
                user: self.user.clone(),
                age: Duration::from_secs(age),
            }),
            None => Ok(()),
        }
    }
}

/// What is wrong with a credential before it was sent to anyone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is none.
    #[error("no credential was found; looked for {}", .looked.join(", "))]
    None {
        /// The places looked at, each with what was wrong with it.
        looked: Vec<String>,
    },
    /// The file with the token cannot be read.
    #[error("the token file {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// Nothing stands there.
    #[error("{place} is empty")]
    Empty {
        /// Where the token was to be.
        place: String,
    },
    /// It is not three parts of base64url, the first two of them JSON objects.
    #[error("what {place} holds is not a token (a JWT)")]
    NotAToken {
        /// Where the token was to be.
        place: String,
    },
    /// Its algorithm is `none`.
    #[error("the token in {place} is not signed")]
    Unsigned {
        /// Where the token is.
        place: String,
    },
    /// It has no `exp`.
    #[error("the token in {place} does not say when it expires, so slurmctld takes it for expired")]
    NoExpiry {
        /// Where the token is.
        place: String,
    },
    /// Its time is over.
    #[error("the token in {place}{} expired {} ago", of_user(user.as_deref()), span(*age))]
    Expired {
        /// Where the token is.
        place: String,
        /// Whose it is.
        user: Option<String>,
        /// How long ago it expired.
        age: Duration,
    },
}

impl CredentialError {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None { .. } => "no-credential",
            Self::Unreadable { .. } => "token-unreadable",
            Self::Empty { .. } => "token-empty",
            Self::NotAToken { .. } => "not-a-token",
            Self::Unsigned { .. } => "token-unsigned",
            Self::NoExpiry { .. } => "token-without-expiry",
            Self::Expired { .. } => "token-expired",
        }
    }

    pub(crate) fn hint(&self) -> String {
        let text = match self {
            Self::None { .. } => {
                "get a token on a login node with `scontrol token`, and hand it over in the \
                 variable SLURM_JWT or in a file with --token-file"
            }
            Self::Unreadable { .. } => {
                "is the file mounted into this container, and may this user read it?"
            }
            Self::Empty { .. } | Self::NotAToken { .. } => {
                "a token is one line, as `scontrol token` prints it, with or without SLURM_JWT="
            }
            Self::Unsigned { .. } | Self::NoExpiry { .. } => {
                "take a token from `scontrol token`, or ask who made this one"
            }
            Self::Expired { .. } => {
                "get a new one with `scontrol token` (lifespan=SECONDS for a longer one than 30 \
                 minutes); if it should still be good, is the clock of this machine right?"
            }
        };
        text.to_owned()
    }
}

fn of_user(user: Option<&str>) -> String {
    user.map(|user| format!(" (of {})", user.escape_debug()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token with these claims. Nobody checks the signature here.
    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    fn load(text: &str) -> Result<Token, String> {
        TokenSource::Variable(text.into())
            .load(UNIX_EPOCH + Duration::from_secs(1_000_000))
            .map_err(|error| error.to_string())
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn a_good_token_says_who_and_until_when() {
        let text = token(HS256, r#"{"exp":1000060,"sun":"alice"}"#);
        for text in [
            text.clone(),
            format!("SLURM_JWT={text}\n"),
            format!("\n {text} "),
        ] {
            let token = load(&text).unwrap();
            assert_eq!(token.claims().user.as_deref(), Some("alice"));
            assert_eq!(token.claims().expires, Some(1_000_060));
            assert!(matches!(token.credential(), Credential::Jwt { token, .. }
                if text.contains(token) && !token.contains(['=', '\n', ' '])));
        }
        let other = load(&token(HS256, r#"{"exp":1000060.5,"username":"bob"}"#)).unwrap();
        assert_eq!(other.claims().user.as_deref(), Some("bob"));
    }

    #[test]
    fn what_is_of_no_use_is_refused_with_the_reason() {
        let cases = [
            ("", "SLURM_JWT is empty".into()),
            ("SLURM_JWT=\n", "SLURM_JWT is empty".into()),
            (
                "secret",
                "what SLURM_JWT holds is not a token (a JWT)".into(),
            ),
            (
                "a.b.c",
                "what SLURM_JWT holds is not a token (a JWT)".into(),
            ),
            (
                &token(HS256, r#"{"exp":988000,"sun":"alice"}"#),
                "the token in SLURM_JWT (of alice) expired 3h 20m ago".to_owned(),
            ),
            (
                &token(HS256, r#"{"exp":1000000}"#),
                "the token in SLURM_JWT expired 0s ago".into(),
            ),
            (
                &token(HS256, r#"{"sun":"alice"}"#),
                "the token in SLURM_JWT does not say when it expires, so slurmctld takes it for \
                 expired"
                    .into(),
            ),
            (
                &token(r#"{"alg":"none"}"#, r#"{"exp":1000060}"#),
                "the token in SLURM_JWT is not signed".into(),
            ),
            (
                &token(HS256, "[]"),
                "what SLURM_JWT holds is not a token (a JWT)".into(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(load(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let text = token(HS256, r#"{"exp":1000060,"sun":"alice"}"#);
        let source = TokenSource::Variable(text.clone().into());
        let loaded = load(&text).unwrap();
        for shown in [format!("{source:?}"), format!("{loaded:?}")] {
            for part in text.split('.') {
                assert!(!shown.contains(part), "{shown}");
            }
        }
    }

    #[test]
    fn a_file_is_read_afresh_and_only_so_far() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let source = TokenSource::File(path.clone());
        let now = UNIX_EPOCH;
        assert!(matches!(
            source.load(now),
            Err(CredentialError::Unreadable { .. })
        ));
        std::fs::write(&path, token(HS256, r#"{"exp":1,"sun":"alice"}"#)).unwrap();
        assert_eq!(
            source.load(now).unwrap().claims().user.as_deref(),
            Some("alice")
        );
        std::fs::write(&path, token(HS256, r#"{"exp":1,"sun":"bob"}"#)).unwrap();
        assert_eq!(
            source.load(now).unwrap().claims().user.as_deref(),
            Some("bob")
        );
        std::fs::write(&path, vec![b'a'; LONGEST as usize + 1]).unwrap();
        assert!(matches!(
            source.load(now),
            Err(CredentialError::Unreadable { .. })
        ));
        let endless = TokenSource::File("/dev/zero".into()).load(now);
        assert!(matches!(endless, Err(CredentialError::Unreadable { .. })));
    }
}
