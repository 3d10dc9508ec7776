//! The token of a watch: renewed while it still lives, and told of before it no longer does.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use secrecy::ExposeSecret as _;

use super::backoff::Backoff;
use super::health::{self, Status};
use crate::credential::{Claims, CredentialError, Token, TokenSource};
use crate::disk;
use crate::error::Error;
use crate::text::{mark_of, notice, span, time};

/// In which part of its life a token is renewed.
const FROM: f64 = 0.5;
const TO: f64 = 0.8;

/// The part of its life that is left when a token is told of that nobody renews. (Those that a kubelet
/// puts into pods are renewed when a fifth is left.)
const LEFT: u32 = 10;

/// How often a file is looked into that somebody else may have renewed.
const LOOK: Duration = Duration::from_secs(60);

/// Two renewals are at least so far apart.
const APART: Duration = Duration::from_secs(1);

/// Gets a new token; the present one is there where it is of use.
pub type NewToken = dyn Fn(Option<&Token>) -> Result<Token, Error> + Send;

/// How a token is renewed.
pub struct Renewal {
    /// Gets a new one.
    pub get: Box<NewToken>,
    /// The file that it is written to.
    pub file: PathBuf,
    /// Whether somebody says how long new tokens are to live, so that one may live shorter than the
    /// one before.
    pub lifespan_is_given: bool,
}

/// The token that a watch uses.
pub struct Tokens {
    source: TokenSource,
    patience: Duration,
    renewal: Option<Renewal>,
    /// The last one that was seen, by its [mark](mark_of).
    seen: String,
    /// How long that one lives in all; where it does not say when it was made, since it was seen.
    life: Duration,
    /// Since when it is known, by a clock that nobody sets.
    since: Instant,
    /// In which part of its life it is renewed.
    at: f64,
    /// That it was told of: it will expire, or it cannot be renewed.
    told: bool,
    backoff: Backoff,
    /// How the file was when it was last looked into.
    stamp: Option<Stamp>,
}

/// What changes when a file is replaced, written to, or can be read again.
type Stamp = (u64, i64, i64, u64);

impl Tokens {
    /// The token in a file or a variable, which is waited for as long as `patience`. Without a
    /// renewal it is only told of.
    pub fn new(source: TokenSource, patience: Duration, renewal: Option<Renewal>) -> Self {
        Self {
            source,
            patience,
            renewal,
            seen: String::new(),
            life: Duration::ZERO,
            since: Instant::now(),
            at: FROM,
            told: false,
            backoff: Backoff::new(Duration::from_secs(60)),
            stamp: None,
        }
    }

    /// Makes sure that there is a token that can be used.
    ///
    /// # Errors
    ///
    /// Where there is none, and none can be got.
    pub fn ready(&mut self, status: &Status) -> Result<(), Error> {
        let now = SystemTime::now();
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        if self.source.load_again(now, self.patience).is_ok() {
            return Ok(());
        }
        let token = (renewal.get)(None)?;
        self.keep(&token, None, now, status)?;
        Ok(())
    }

    /// Does what is due, and says how long nothing will be.
    pub(super) fn step(&mut self, now: SystemTime, status: &Status) -> Duration {
        self.stamp = self.look();
        let token = self.source.load_again(now, self.patience);
        if let Ok(token) = &token {
            let mark = mark_of(token.secret().expose_secret());
            if mark != self.seen {
                let claims = token.claims();
                let place = self.source.place();
                if self.told {
                    notice!("another token in {place}: {claims}");
                } else if !self.seen.is_empty() {
                    log::info!("another token in {place}: {claims}");
                }
                self.see(mark);
                self.life = claims.life().unwrap_or_else(|| claims.left(now));
            }
            status.token_expires(token.claims().expiry());
        }
        if self.renewal.is_none() {
            if let Ok(token) = &token {
                self.warn_of(token.claims(), now);
            }
            return LOOK;
        }
        let present = token.as_ref().ok();
        let due = present.map_or(Duration::ZERO, |token| self.due(token.claims(), now));
        if !due.is_zero() {
            return due.min(LOOK);
        }
        match self.renew(present, now, status) {
            Ok(()) => {
                self.backoff.reset();
                APART
            }
            Err(error) => {
                self.failed(&error, present.map(Token::claims), now);
                status.renewed(health::Renewal::Failed);
                let left = present.map(|token| token.claims().left(now));
                let most = left.map_or(LOOK, |left| (left / 4).max(APART));
                self.backoff.next().min(most)
            }
        }
    }

    /// Whether the file is another one than at the last step.
    pub(super) fn was_replaced(&mut self) -> bool {
        self.look() != self.stamp
    }

    fn look(&self) -> Option<Stamp> {
        let TokenSource::File(path) = &self.source else {
            return None;
        };
        let metadata = std::fs::metadata(path).ok()?;
        Some((
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec(),
            metadata.len(),
        ))
    }

    fn see(&mut self, mark: String) {
        self.seen = mark;
        self.since = Instant::now();
        self.at = FROM + (TO - FROM) * fastrand::f64();
        self.told = false;
    }

    /// How long until a token is to be renewed. It is as old as it says, and no younger than we have
    /// known it: the controller's clock can be ahead of ours, and ours can be set back.
    fn due(&self, claims: &Claims, now: SystemTime) -> Duration {
        let lived = self.life.saturating_sub(claims.left(now));
        let lived = lived.max(self.since.elapsed());
        self.life.mul_f64(self.at).saturating_sub(lived)
    }

    fn renew(
        &mut self,
        present: Option<&Token>,
        now: SystemTime,
        status: &Status,
    ) -> Result<(), Error> {
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        disk::can_replace(&renewal.file)?;
        let token = (renewal.get)(present)?;
        self.keep(&token, present, now, status)
    }

    /// Puts a new token in the place of the present one.
    fn keep(
        &mut self,
        token: &Token,
        present: Option<&Token>,
        now: SystemTime,
        status: &Status,
    ) -> Result<(), Error> {
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        let claims = token.claims();
        claims.check("what was got as a new token", now)?;
        let expires = claims.expires.and_then(time).unwrap_or_default();
        let file = renewal.file.display();
        let mark = mark_of(token.secret().expose_secret());
        let is_no_longer = |present: &Token| {
            let same = mark == mark_of(present.secret().expose_secret());
            let shorter = claims.expires <= present.claims().expires;
            same || shorter && !renewal.lifespan_is_given
        };
        if present.is_some_and(is_no_longer) {
            return Err(CredentialError::NoLonger { expires }.into());
        }
        let secret = format!("{}\n", token.secret().expose_secret());
        let secret = secrecy::zeroize::Zeroizing::new(secret);
        disk::replace(&renewal.file, secret.as_bytes(), 0o600, self.patience)?;
        if self.told {
            notice!("the token in {file} is renewed again, and good until {expires}");
        } else {
            log::info!("the token in {file} is renewed, and good until {expires}");
        }
        status.renewed(health::Renewal::Renewed);
        status.token_expires(claims.expiry());
        self.see(mark);
        // It is new to us, whenever it says that it was made: a command may keep its tokens for a
        // while, an identity provider may mean another time, and clocks differ.
        let left = claims.left(now);
        self.life = claims.life().map_or(left, |life| life.min(left));
        self.stamp = self.look();
        Ok(())
    }

    /// Says once of a token that it cannot be renewed, and what comes of that.
    fn failed(&mut self, error: &Error, present: Option<&Claims>, now: SystemTime) {
        if std::mem::replace(&mut self.told, true) {
            log::info!("{}", error.to_line());
            return;
        }
        let place = self.source.place();
        let then = match present.and_then(|claims| Some((claims, time(claims.expires?)?))) {
            Some((claims, expires)) => {
                let left = span(claims.left(now));
                format!("it expires at {expires}, in {left}, and what needs it stops then")
            }
            None => "there is none that is of use".to_owned(),
        };
        let hint = error.hint();
        let why = error.to_line();
        log::warn!("the token in {place} cannot be renewed: {why}; {then} ({hint})");
    }

    /// Says once of a token that nobody renews that it will expire, while there is still time.
    fn warn_of(&mut self, claims: &Claims, now: SystemTime) {
        let left = claims.left(now);
        if self.told || left > (self.life / LEFT).max(2 * LOOK) {
            return;
        }
        self.told = true;
        let Some(expires) = claims.expires.and_then(time) else {
            return;
        };
        let place = self.source.place();
        let how = match &self.source {
            TokenSource::File(_) => "put a new one there, or have it renewed with --renew-token",
            _ => "a variable cannot be renewed: a token in a file (--token-file) can",
        };
        log::warn!(
            "the token in {place} expires at {expires}, in {}, and what needs it stops then ({how})",
            span(left)
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::{Arc, Mutex};
    use std::time::UNIX_EPOCH;

    use super::*;

    /// The time at which the tests begin.
    const BEGIN: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(BEGIN + seconds)
    }

    /// A token that lives so long from so many seconds after the beginning.
    fn token(from: u64, life: u64) -> String {
        let iat = BEGIN + from;
        let claims = format!(r#"{{"sun":"alice","iat":{iat},"exp":{}}}"#, iat + life);
        lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, &claims)
    }

    /// A token file that is renewed with what is handed out; whether the present token was there for
    /// that is noted.
    struct Kept {
        directory: tempfile::TempDir,
        tokens: Tokens,
        status: Arc<Status>,
        next: Arc<Mutex<Option<String>>>,
        asked: Arc<Mutex<Vec<bool>>>,
    }

    impl Kept {
        fn new(first: Option<&str>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("token");
            if let Some(first) = first {
                put(&file, first);
            }
            let next: Arc<Mutex<Option<String>>> = Arc::default();
            let asked: Arc<Mutex<Vec<bool>>> = Arc::default();
            let get = {
                let (next, asked) = (Arc::clone(&next), Arc::clone(&asked));
                Box::new(move |present: Option<&Token>| {
                    asked.lock().unwrap().push(present.is_some());
                    let token = next.lock().unwrap().clone();
                    let token = token.ok_or(Error::NoFileForTokens)?;
                    Ok(Token::new(token.into()).unwrap())
                })
            };
            let source = TokenSource::File(file.clone());
            let renewal = Renewal {
                get,
                file,
                lifespan_is_given: false,
            };
            Self {
                directory,
                tokens: Tokens::new(source, Duration::from_secs(10), Some(renewal)),
                status: Status::new(Duration::from_secs(1)),
                next,
                asked,
            }
        }

        fn hand_out(&self, token: &str) {
            *self.next.lock().unwrap() = Some(token.to_owned());
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("token")
        }

        fn step(&mut self, seconds: u64) -> Duration {
            self.tokens.step(at(seconds), &self.status)
        }

        fn asked(&self) -> Vec<bool> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }

        fn holds(&self, token: &str) -> bool {
            fs::read_to_string(self.file()).unwrap().trim() == token
        }
    }

    fn put(file: &std::path::Path, token: &str) {
        fs::write(file, token).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_token_is_renewed_in_the_second_half_of_its_life() {
        for _ in 0..50 {
            let old = token(0, 1000);
            let mut kept = Kept::new(Some(&old));
            let new = token(800, 1000);
            kept.hand_out(&new);
            kept.step(0);
            kept.step(499);
            assert!(kept.asked().is_empty() && kept.holds(&old));
            kept.step(801);
            assert_eq!(kept.asked(), [true]);
            assert!(kept.holds(&new));
            let mode = fs::metadata(kept.file()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            // And the new one in its own.
            kept.step(1299);
            assert!(kept.asked().is_empty());
        }
    }

    #[test]
    fn one_that_does_not_say_when_it_was_made_lives_since_it_was_seen() {
        let claims = format!(r#"{{"sun":"alice","exp":{}}}"#, BEGIN + 1000);
        let old = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, &claims);
        let mut kept = Kept::new(Some(&old));
        kept.hand_out(&token(800, 1000));
        for seconds in (0..500).step_by(60) {
            kept.step(seconds);
        }
        assert!(kept.asked().is_empty());
        kept.step(801);
        assert_eq!(kept.asked(), [true]);
    }

    #[test]
    fn what_somebody_else_has_put_there_is_taken() {
        let mut kept = Kept::new(Some(&token(0, 1000)));
        kept.hand_out(&token(900, 1000));
        kept.step(0);
        assert!(!kept.tokens.was_replaced());
        fs::remove_file(kept.file()).unwrap();
        let theirs = token(480, 1000);
        put(&kept.file(), &theirs);
        assert!(kept.tokens.was_replaced());
        kept.step(900);
        assert!(kept.asked().is_empty() && kept.holds(&theirs));
        kept.step(1400);
        assert_eq!(kept.asked(), [true]);
    }

    #[test]
    fn where_there_is_none_one_is_got() {
        for first in [None, Some(token(0, 10)), Some("nonsense".to_owned())] {
            let mut kept = Kept::new(first.as_deref());
            let new = token(100, 1000);
            kept.hand_out(&new);
            kept.step(100);
            assert_eq!(kept.asked(), [false]);
            assert!(kept.holds(&new));
        }
    }

    #[test]
    fn what_is_no_better_does_not_take_its_place() {
        let old = token(0, 1000);
        let mut kept = Kept::new(Some(&old));
        // The same one; one that is no longer good; one that was never any good.
        for new in [old.clone(), token(0, 500), token(0, 1)] {
            kept.hand_out(&new);
            let pause = kept.step(900);
            assert_eq!(kept.asked(), [true]);
            assert!(kept.holds(&old));
            // There are 100 seconds left.
            let seconds = Duration::from_secs(1)..=Duration::from_secs(25);
            assert!(seconds.contains(&pause), "{pause:?}");
        }
        let metrics = kept.status.metrics(at(900));
        let failed = r#"straw_token_renewals_total{result="failed"} 3"#;
        assert!(metrics.contains(failed), "{metrics}");
    }

    #[test]
    fn one_that_is_new_is_as_old_as_we_have_known_it() {
        // What a command has kept for a while, and what does not say when it was made.
        let expires = BEGIN + 2000;
        let claims = format!(r#"{{"sun":"alice","iat":0,"exp":{expires}}}"#);
        let vague = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, &claims);
        for new in [token(0, 2000), vague] {
            let mut kept = Kept::new(Some(&token(0, 1000)));
            kept.hand_out(&new);
            kept.step(900);
            assert_eq!(kept.asked(), [true]);
            kept.hand_out(&token(900, 4000));
            // It has had 1100 s when it came.
            kept.step(900 + 549);
            assert!(kept.asked().is_empty() && kept.holds(&new));
            kept.step(900 + 881);
            assert_eq!(kept.asked(), [true]);
        }
        // The controller's clock is ahead of ours: it lives as long as it says, from now on.
        let mut kept = Kept::new(None);
        kept.hand_out(&token(600, 300));
        kept.step(0);
        assert_eq!(kept.asked(), [false]);
        assert_eq!(kept.tokens.life, Duration::from_secs(300));
        assert!(kept.step(1) <= Duration::from_secs(240));
    }

    #[test]
    fn one_that_is_to_live_shorter_may() {
        for given in [false, true] {
            let old = token(0, 10_000);
            let mut kept = Kept::new(Some(&old));
            let lifespan_is_given = |renewal: &mut Renewal| renewal.lifespan_is_given = given;
            kept.tokens.renewal.as_mut().map(lifespan_is_given);
            let new = token(8000, 1000);
            kept.hand_out(&new);
            kept.step(8001);
            assert_eq!(kept.holds(&new), given);
            // The same one is no new one.
            kept.asked();
            kept.step(8900);
            assert_eq!(kept.asked(), [true]);
            assert!(kept.tokens.told);
        }
    }

    #[test]
    fn one_that_nobody_renews_is_read_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let only = token(0, 1000);
        put(&file, &only);
        let status = Status::new(Duration::from_secs(1));
        let patience = Duration::from_secs(10);
        let mut tokens = Tokens::new(TokenSource::File(file.clone()), patience, None);
        for seconds in [0, 900, 2000] {
            tokens.step(at(seconds), &status);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), only);
        let expiry = format!("straw_token_expiry_timestamp_seconds {}", BEGIN + 1000);
        assert!(status.metrics(at(0)).contains(&expiry));
    }
}
