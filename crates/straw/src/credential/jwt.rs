//! Tokens: from a file, a variable or a command, and looked into before they are sent.
//!
//! A controller does not say why it refuses a token, and up to 24.05 it says nothing at all
//! (docs/protocol.md, section 9). So what can be seen in the token is checked here.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use slurm_protocol::Credential;

use super::file::{self, Access};
use super::{CredentialError, TokenCommand};
use crate::text::time;

/// Where a token is to be had. It is read afresh each time, because tokens are replaced.
#[derive(Clone)]
#[non_exhaustive]
pub enum TokenSource {
    /// A file that holds it, with or without the `SLURM_JWT=` that `scontrol token` prints.
    File(PathBuf),
    /// The value of the variable `SLURM_JWT`.
    Variable(SecretString),
    /// A command that writes it to its standard output.
    Command(TokenCommand),
}

impl TokenSource {
    /// Reads the token and looks into it.
    ///
    /// # Errors
    ///
    /// Where there is none to be had, the text is no JWT, or the token is not, or no longer, of
    /// use at the time `now`. A pipe or a command is waited for as long as `patience`.
    pub fn load(&self, now: SystemTime, patience: Duration) -> Result<Token, CredentialError> {
        let token = self.read(patience)?;
        token.claims.check(&self.place(), now)?;
        Ok(token)
    }

    /// The same, for one that is used all the time: nothing is said of who else can read it.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_again(
        &self,
        now: SystemTime,
        patience: Duration,
    ) -> Result<Token, CredentialError> {
        let (token, _) = self.get(patience)?;
        token.claims.check(&self.place(), now)?;
        Ok(token)
    }

    /// The same, for a token of which nobody says that it is of use.
    ///
    /// # Errors
    ///
    /// Where there is none to be had, or the text is no JWT.
    pub fn read(&self, patience: Duration) -> Result<Token, CredentialError> {
        let (token, access) = self.get(patience)?;
        warn(access, &self.place());
        Ok(token)
    }

    /// The same; what others may do with the file that it is in is said in the result.
    pub(crate) fn look(
        &self,
        patience: Duration,
    ) -> Result<(Token, Option<&'static str>), CredentialError> {
        let (token, access) = self.get(patience)?;
        Ok((token, allowed(access)))
    }

    fn get(&self, patience: Duration) -> Result<(Token, Access), CredentialError> {
        let mut access = Access::Private;
        let text = match self {
            Self::File(path) if path.to_str().is_some_and(is_token) => {
                return Err(CredentialError::TokenAsFileName);
            }
            Self::File(path) => {
                let file = file::read(path, patience).map_err(|error| {
                    let path = path.clone();
                    CredentialError::Unreadable { path, error }
                })?;
                if file.access == Access::Writable {
                    let path = path.clone();
                    return Err(CredentialError::WritableByOthers { path });
                }
                access = file.access;
                file.text
            }
            Self::Variable(value) => value.clone(),
            Self::Command(command) => command.run(patience).map_err(|error| {
                let name = command.name().to_owned();
                CredentialError::Command { name, error }
            })?,
        };
        let place = self.place();
        let text = text.expose_secret().trim();
        let text = text.strip_prefix("SLURM_JWT=").unwrap_or(text);
        if text.is_empty() {
            return Err(CredentialError::Empty { place });
        }
        let token = Token::new(text.into()).ok_or(CredentialError::NotAToken { place })?;
        Ok((token, access))
    }

    /// Where it is, as a person would say it.
    pub fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Variable(_) => "SLURM_JWT".to_owned(),
            Self::Command(command) => format!("the output of `{}`", command.name().escape_debug()),
        }
    }
}

/// Says once what others may do with the file that a token is in.
fn warn(access: Access, place: &str) {
    static ONCE: Once = Once::new();
    if let Some(what) = allowed(access) {
        ONCE.call_once(|| log::warn!("the token file {place} {what}; mode 0400 or 0600 would do"));
    }
}

/// What others may do with a file, for a sentence about it. One that all can write is refused.
fn allowed(access: Access) -> Option<&'static str> {
    match access {
        Access::Private | Access::Writable => None,
        Access::Readable => Some("can be read by everyone on this machine"),
        Access::WritableByGroup => Some("can be written by its group"),
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

/// Where the first token in a text is, also one behind or before what is made of the same characters
/// (`--token-eyJ…`). What is written behind its signature cannot be told from it, and counts as its.
pub(crate) fn find_token(text: &str) -> Option<Range<usize>> {
    let in_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let bytes = text.as_bytes();
    let end_of_run = |start: usize| {
        start
            + bytes[start..]
                .iter()
                .take_while(|byte| in_part(byte))
                .count()
    };
    let mut begin = 0;
    while let Some(skipped) = bytes[begin..].iter().position(in_part) {
        let run = begin + skipped..end_of_run(begin + skipped);
        begin = run.end;
        if bytes.get(run.end) != Some(&b'.') {
            continue;
        }
        let claims = run.end + 1..end_of_run(run.end + 1);
        if bytes.get(claims.end) != Some(&b'.') || object(&text[claims.clone()]).is_none() {
            continue;
        }
        if let Some(start) = run
            .clone()
            .find(|&start| is_header(&text[start..run.end], start == run.start))
        {
            return Some(start..end_of_run(claims.end + 1));
        }
    }
    None
}

/// Whether a run of characters, or the rest of one, is a token's header.
fn is_header(text: &str, whole: bool) -> bool {
    /// Whatever is longer is not read, and taken for one: a run can have many beginnings.
    const LONGEST: usize = 1024;
    // These are `{` and what may come next in JSON.
    let begins = text.starts_with("ey") || text.starts_with("ew");
    (begins && text.len() > LONGEST) || ((begins || whole) && object(text).is_some())
}

/// A token.
#[derive(Clone)]
pub struct Token {
    secret: SecretString,
    claims: Claims,
}

impl Token {
    /// Reads a token; `None` where it is none.
    pub(crate) fn new(secret: SecretString) -> Option<Self> {
        let claims = Claims::read(secret.expose_secret())?;
        Some(Self { secret, claims })
    }

    /// The token itself.
    pub(crate) fn secret(&self) -> &SecretString {
        &self.secret
    }

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
#[non_exhaustive]
pub struct Claims {
    /// Whose it is, by `sun` or `username`.
    pub user: Option<String>,
    /// Whose it is to an identity provider, by `preferred_username`: what Slurm calls the user
    /// where `userclaimfield` says so.
    pub preferred_username: Option<String>,
    /// What it is of, by `sub`.
    pub subject: Option<String>,
    /// Who made it, by `iss`.
    pub issuer: Option<String>,
    /// When it was made, in seconds since 1970.
    pub issued: Option<u64>,
    /// When it expires, in seconds since 1970. A controller takes none for 0.
    pub expires: Option<u64>,
    /// Before when it is not to be used, by `nbf`, in seconds since 1970. Slurm does not look at it.
    pub not_before: Option<u64>,
    /// How it is signed: `HS256`, `RS256`.
    pub algorithm: Option<String>,
    /// The name of the key that it is signed with.
    pub key_id: Option<String>,
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = [&self.user, &self.preferred_username, &self.subject];
        let name = name.into_iter().flatten().next();
        let known = |text: Option<&String>| {
            let text = text.map_or("nobody knows", String::as_str);
            text.escape_debug().to_string()
        };
        write!(f, "a token of {}", known(name))?;
        write!(f, ", signed with {}", known(self.algorithm.as_ref()))?;
        match self.expires.and_then(time) {
            Some(time) => write!(f, ", good until {time}"),
            None => Ok(()),
        }
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
        let (header, claims) = (object(header)?, object(claims)?);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let seconds = |name| {
            let value: &Value = claims.get(name)?;
            let fraction = || value.as_f64().map(|seconds| seconds as u64);
            value.as_u64().or_else(fraction)
        };
        Some(Self {
            user: text(claims.get("sun").or_else(|| claims.get("username"))),
            preferred_username: text(claims.get("preferred_username")),
            subject: text(claims.get("sub")),
            issuer: text(claims.get("iss")),
            issued: seconds("iat"),
            expires: seconds("exp"),
            not_before: seconds("nbf"),
            algorithm: text(header.get("alg")),
            key_id: text(header.get("kid")),
        })
    }

    /// When it expires, where it says so in seconds that the system can count.
    pub fn expiry(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires?))
    }

    /// How long it lives in all, where it says so. Whoever has no time of its making to say says 0.
    pub fn life(&self) -> Option<Duration> {
        let issued = self.issued.filter(|issued| *issued > 0)?;
        self.expires?.checked_sub(issued).map(Duration::from_secs)
    }

    /// How long it still lives at the time `now`; nothing where it has expired or does not say.
    pub fn left(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.expires.unwrap_or_default()).saturating_sub(now)
    }

    /// Whether it is, or still is, of use at the time `now`.
    ///
    /// # Errors
    ///
    /// [`CredentialError`], where it is not; `place` says where the token is.
    pub fn check(&self, place: &str, now: SystemTime) -> Result<(), CredentialError> {
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

/// What a part of a token says: header and claims are objects of JSON.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
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
    fn how_long_it_lives_in_all() {
        let life = |claims: &str| Claims::read(&token(HS256, claims)).unwrap().life();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(life(r#"{"iat":1000000,"exp":1000060}"#), minute);
        for claims in [
            r#"{"exp":1000060}"#,
            r#"{"iat":1000000}"#,
            r#"{"iat":0,"exp":1000060}"#,
            r#"{"iat":1000061,"exp":1000060}"#,
        ] {
            assert_eq!(life(claims), None, "{claims}");
        }
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
        std::fs::write(&path, vec![b'a'; 64 * 1024 + 1]).unwrap();
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
        assert!(error.ends_with("it did not end within 200ms"), "{error}");
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
