//! `straw token`: whose it is and how long it lives, and a new one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use super::args::{Output, Renew, Show, Token as Command};
use super::{Environment, plan, print, print_json, say};
use crate::controller::{self, TokenRequest};
use crate::credential::{Claims, Method, Source, Token, TokenSource};
use crate::disk;
use crate::error::Error;
use crate::network::System;
use crate::text::{json as json_text, safe, span, time};

pub(super) fn run(
    command: Command,
    output: &Output,
    environment: &Environment,
) -> Result<(), Error> {
    match command {
        Command::Show(arguments) => show(arguments, output, environment),
        Command::Renew(arguments) => renew(*arguments, output, environment),
    }
}

fn show(arguments: Show, output: &Output, environment: &Environment) -> Result<(), Error> {
    let places = plan::places(arguments.token, environment)?;
    let choice = places.choose(Some(Method::Jwt))?;
    let place = choice.source.place();
    let Source::Token(source) = choice.source else {
        return Ok(());
    };
    let token = source.read(arguments.timeout)?;
    let now = SystemTime::now();
    let claims = token.claims();
    if output.json {
        // One that is of no use is an error, and says so in an object of its own.
        claims.check(&place, now)?;
        return print_json(&describe(claims, now, &place));
    }
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("{name:<11} {value}\n"));
        }
    };
    let shown = |value: &Option<String>| value.as_ref().map(|v| v.escape_debug().to_string());
    line("token in", Some(place.clone()));
    let no_user = || "(no sun or username in it: Slurm needs userclaimfield=)".to_owned();
    line("user", Some(shown(&claims.user).unwrap_or_else(no_user)));
    line("known as", shown(&claims.preferred_username));
    line("subject", shown(&claims.subject));
    line("issuer", shown(&claims.issuer));
    line("issued", claims.issued.and_then(time));
    line("expires", claims.expires.and_then(time));
    line("time left", Some(span(claims.left(now))));
    let key = claims.key_id.as_ref();
    let key = key.map(|key| format!(", key {}", key.escape_debug()));
    let algorithm = shown(&claims.algorithm);
    line(
        "signed with",
        algorithm.map(|algorithm| algorithm + key.as_deref().unwrap_or_default()),
    );
    print(safe(&text).as_bytes())?;
    claims.check(&place, now)?;
    Ok(())
}

/// A token as `--json` shows it.
fn describe(claims: &Claims, now: SystemTime, place: &str) -> Value {
    json!({
        "place": place,
        "user": claims.user,
        "preferred_username": claims.preferred_username,
        "subject": claims.subject,
        "issuer": claims.issuer,
        "issued": claims.issued.and_then(time),
        "expires": claims.expires.and_then(time),
        "seconds_left": claims.left(now).as_secs(),
        "algorithm": claims.algorithm,
        "key_id": claims.key_id,
    })
}

fn renew(arguments: Renew, output: &Output, environment: &Environment) -> Result<(), Error> {
    let Renew {
        servers,
        lifespan,
        write,
        if_under,
        user,
        access,
    } = arguments;
    let timeout = access.timeout;
    if let (Some(under), Some(path)) = (if_under, &write)
        && let Some(token) = still_good(path, under, user.as_deref(), timeout)
    {
        return report(&token, false, Some(path), output);
    }
    let query = plan::query(servers, access, environment, Default::default())?;
    if let Some(path) = &write {
        // A token that cannot be written would be lost.
        disk::can_replace(path)?;
    }
    let request = TokenRequest { lifespan, user };
    let renewed = controller::new_token(&query, request, &System)?;
    let token = renewed.content;
    let now = SystemTime::now();
    // One that is of no use must not take the place of one that is.
    token.claims().check("the controller's reply", now)?;
    let left = token.claims().left(now);
    if let Some(wanted) = lifespan
        && left.saturating_add(Duration::from_secs(60)) < wanted
    {
        log::warn!("the new token lives for {} only", span(left));
    }
    if let Some(under) = if_under
        && left < under
    {
        log::warn!("the new token lives for less than --if-under: it is renewed each time");
    }
    let line = Zeroizing::new(format!("SLURM_JWT={}\n", token.secret().expose_secret()));
    match &write {
        // The token by itself: what other programs expect of a file that holds one.
        Some(path) => disk::replace(path, &line.as_bytes()["SLURM_JWT=".len()..], 0o600, timeout)?,
        None if !output.json => print(line.as_bytes())?,
        None => {}
    }
    report(&token, true, write.as_deref(), output)
}

/// The token in a file, if it is one for this user and lives for long enough.
fn still_good(
    path: &Path,
    under: Duration,
    user: Option<&str>,
    patience: Duration,
) -> Option<Token> {
    let source = TokenSource::File(path.to_owned());
    let token = match source.load(SystemTime::now(), patience) {
        Ok(token) => token,
        Err(error) => {
            log::info!("{error}: getting a new one");
            return None;
        }
    };
    if user.is_some() && user != token.claims().user.as_deref() {
        log::info!("the token in {} is another user's", path.display());
        return None;
    }
    (token.claims().left(SystemTime::now()) >= under).then_some(token)
}

fn report(token: &Token, renewed: bool, file: Option<&Path>, output: &Output) -> Result<(), Error> {
    let claims = token.claims();
    let now = SystemTime::now();
    if output.json {
        let place = file.map_or("stdout".into(), Path::to_string_lossy);
        let mut report = describe(claims, now, &place);
        report["renewed"] = renewed.into();
        if file.is_none() {
            // The one report that a token stands in, because it was asked for.
            report["token"] = token.secret().expose_secret().into();
            return print(json_text(&report, true).as_bytes());
        }
        return print_json(&report);
    }
    let Some(file) = file else { return Ok(()) };
    if output.quiet {
        return Ok(());
    }
    let left = span(claims.left(now));
    let file = file.display();
    // The file is there, whoever reads this or does not.
    let text = match renewed {
        true => format!("{claims} ({left}), in {file}"),
        false => format!("the token in {file} lives for another {left}: not renewed"),
    };
    say(&text, output);
    Ok(())
}
