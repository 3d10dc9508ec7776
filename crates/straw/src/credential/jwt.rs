//! Tokens: read from a file or a variable, and looked into before they are sent.
//!
//! A controller does not say why it refuses a token, and up to 24.05 it says nothing at all
//! (docs/protocol.md, section 9). So what can be seen in the token is checked here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use slurm_protocol::Credential;

use crate::text::{span, system_text};

/// A longer text than this, in bytes, is no token. Slurm's have about 150, an identity
/// provider's some thousands.
const LONGEST: usize = 64 * 1024;

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
    /// use at the time `now`. A pipe is read for `patience` at the most.
    pub fn load(&self, now: SystemTime, patience: Duration) -> Result<Token, CredentialError> {
        let place = self.place();
        let text = match self {
            Self::File(path) if path.to_str().is_some_and(is_token) => {
                return Err(CredentialError::TokenAsFileName);
            }
            Self::File(path) => {
                read(path, patience).map_err(|error| CredentialError::Unreadable {
                    path: path.clone(),
                    error,
                })?
            }
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

/// Whether a text is a token, and was put where something else belongs. Then it must not be shown.
pub(crate) fn is_token(text: &str) -> bool {
    let text = text.trim();
    Claims::read(text.strip_prefix("SLURM_JWT=").unwrap_or(text)).is_some()
}

/// Reads a file, or a pipe such as a shell's `<(scontrol token)`, which may never end.
fn read(path: &Path, patience: Duration) -> Result<SecretString, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(|errno| system_text(&errno.into()))?;
    let give_up = Instant::now() + patience;
    // Of this size from the start, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match rustix::io::read(&file, &mut bytes[length..]) {
            Ok(0) => {
                // What is not text is no token either, and is said to be none later on.
                return Ok(String::from_utf8_lossy(&bytes[..length])
                    .into_owned()
                    .into());
            }
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = give_up.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(format!("it did not end within {}", span(patience)));
                }
                let left = left.try_into().unwrap_or_default();
                // Whatever comes of it, the next read tells.
                let _ = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&left));
            }
            Err(errno) => return Err(system_text(&errno.into())),
        }
    }
    Err(format!("it is longer than {LONGEST} bytes"))
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

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("nobody knows");
            text.escape_debug().to_string()
        };
        write!(f, "a token of {}", known(&self.user))?;
        write!(f, ", signed with {}", known(&self.algorithm))?;
        if let Some(expires) = self.expires {
            let time = UNIX_EPOCH.checked_add(Duration::from_secs(expires));
            // Beyond the year 9999 a time cannot be written.
            let time = time.filter(|_| expires < 253_402_300_800);
            if let Some(time) = time {
                let time = humantime::format_rfc3339_seconds(time);
                write!(f, ", good until {time}")?;
            }
        }
        Ok(())
    }
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
    /// The token stands where the name of its file belongs.
    #[error("what is given as the name of the token file is a token itself")]
    TokenAsFileName,
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
            Self::TokenAsFileName => "token-as-file-name",
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
            Self::TokenAsFileName => {
                "a token goes into SLURM_JWT, or into a file that --token-file or SLURM_JWT_FILE \
                 names. Others can read a command line: if it stood there, take it for seen"
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
            .load(UNIX_EPOCH + Duration::from_secs(1_000_000), SOON)
            .map_err(|error| error.to_string())
    }

    const SOON: Duration = Duration::from_millis(200);
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
            source.load(now, SOON),
            Err(CredentialError::Unreadable { .. })
        ));
        std::fs::write(&path, token(HS256, r#"{"exp":1,"sun":"alice"}"#)).unwrap();
        assert_eq!(
            source.load(now, SOON).unwrap().claims().user.as_deref(),
            Some("alice")
        );
        std::fs::write(&path, token(HS256, r#"{"exp":1,"sun":"bob"}"#)).unwrap();
        assert_eq!(
            source.load(now, SOON).unwrap().claims().user.as_deref(),
            Some("bob")
        );
        std::fs::write(&path, vec![b'a'; LONGEST + 1]).unwrap();
        assert!(matches!(
            source.load(now, SOON),
            Err(CredentialError::Unreadable { .. })
        ));
        let endless = TokenSource::File("/dev/zero".into()).load(now, SOON);
        assert!(matches!(endless, Err(CredentialError::Unreadable { .. })));
    }

    #[test]
    fn a_pipe_is_read_to_its_end_but_not_for_ever() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let source = TokenSource::File(path.into());
        let text = token(HS256, r#"{"exp":1,"sun":"alice"}"#);
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        let error = source.load(UNIX_EPOCH, SOON).unwrap_err().to_string();
        assert!(error.ends_with("it did not end within 0s"), "{error}");
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        drop(writer);
        assert!(source.load(UNIX_EPOCH, SOON).is_ok());
    }

    #[test]
    fn a_token_in_the_place_of_a_name_is_not_shown() {
        let text = token(HS256, r#"{"exp":1,"sun":"alice"}"#);
        let error = TokenSource::File(text.clone().into()).load(UNIX_EPOCH, SOON);
        assert!(!error.unwrap_err().to_string().contains(&text));
        assert!(is_token(&format!("SLURM_JWT={text}")));
        assert!(!is_token("ctl1.example.org"));
        assert!(!is_token("/run/secrets/a.b.c"));
    }
}
