//! What requests are authenticated by, and what the controllers say of it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slurm_protocol::{ProtocolVersion, RequestPing, ResponseConfig, UnsealedRequest};

use super::controller::Met;
use super::network::stranger;
use super::{Case, Checks, Group};
use crate::controller::{
    self, Fetched, FileSet, Query, Reason, TokenRequest, at_once, release_name,
};
use crate::credential::{Choice, Claims, Method, Opened, SealError, Source, TokenSource};
use crate::error::{Error, ExitCode};
use crate::network::Network;
use crate::text::{span, time};

/// A token that lives for less is warned of.
const SHORT: Duration = Duration::from_secs(5 * 60);

/// Clocks that differ by less do no harm to anything of Slurm's.
const CLOSE: Duration = Duration::from_secs(10);

/// How long a token lives that is made to compare clocks.
const A_SECOND: Duration = Duration::from_secs(1);

/// The credential that is used.
pub(super) struct Chosen {
    pub(super) checks: Checks,
    choice: Option<Choice>,
    opened: Option<Opened>,
    /// Others that there are.
    others: Vec<Choice>,
    /// What a token says of itself.
    claims: Option<Claims>,
}

impl Chosen {
    /// What can be sent.
    pub(super) fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// How Slurm's commands will authenticate.
    pub(super) fn method(&self) -> Option<Method> {
        self.choice.as_ref().map(|choice| choice.source.method())
    }

    /// Where it came from.
    pub(super) fn place(&self) -> String {
        match &self.choice {
            Some(choice) => choice.source.place(),
            None => "none was found".to_owned(),
        }
    }
}

/// Chooses a credential, and looks at it.
pub(super) fn choose(case: &Case<'_>, network: &dyn Network) -> Chosen {
    let mut chosen = Chosen {
        checks: Checks::of(Group::Credential),
        choice: None,
        opened: None,
        others: Vec::new(),
        claims: None,
    };
    let choice = match case.places.choose(case.method) {
        Ok(choice) => choice,
        Err(error) => {
            chosen.checks.fail_with("chosen", &error.into());
            return chosen;
        }
    };
    let place = choice.source.place();
    let what = match choice.source.method() {
        Method::Jwt => "a token",
        Method::Munge => "munge",
        Method::Slurm => "SACK",
    };
    chosen
        .checks
        .well("chosen", format!("{what}: {place} ({})", choice.why));
    for method in [Method::Jwt, Method::Slurm, Method::Munge] {
        if method != choice.source.method()
            && let Ok(other) = case.places.choose(Some(method))
        {
            chosen.others.push(other);
        }
    }
    if !chosen.others.is_empty() {
        let places: Vec<_> = chosen.others.iter().map(|one| one.source.place()).collect();
        let seen = format!("not used: {}", places.join(", "));
        chosen.checks.well("others", seen);
    }
    let opened = match &choice.source {
        Source::Token(source) => token(&mut chosen, source, case.timeout, network.time_of_day()),
        Source::Munge(path) => socket(case, network, &mut chosen.checks, &choice.source, path),
        Source::Sack(path) => socket(case, network, &mut chosen.checks, &choice.source, path),
    };
    chosen.opened = opened;
    chosen.choice = Some(choice);
    chosen
}

/// Looks at a token, and who else can.
fn token(
    chosen: &mut Chosen,
    source: &TokenSource,
    patience: Duration,
    now: SystemTime,
) -> Option<Opened> {
    let place = source.place();
    let (token, others) = match source.look(patience) {
        Ok(looked) => looked,
        Err(error) => {
            chosen.checks.fail_with("token", &error.into());
            return None;
        }
    };
    if let TokenSource::File(_) = source {
        match others {
            Some(others) => chosen.checks.warn(
                "token file",
                format!("it {others}"),
                format!("chmod 0400 {place}, or 0600 where it is to be renewed"),
            ),
            None => chosen.checks.well("token file", "nobody else can use it"),
        }
    }
    let claims = token.claims().clone();
    let seen = describe(&claims, now);
    let checked = claims.check(&place, now);
    let left = claims.left(now);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let to_come = claims.not_before.map(Duration::from_secs);
    let to_come = to_come.and_then(|from| from.checked_sub(since));
    match checked {
        Err(error) => {
            chosen.checks.fail_with("token", &error.into());
            return None;
        }
        Ok(()) if to_come.is_some_and(|wait| wait > CLOSE) => chosen.checks.warn(
            "token",
            format!(
                "{seen}; by its own words (nbf) good only in {}",
                span(to_come.unwrap_or_default())
            ),
            "is the clock of this machine right? If so, whoever made the token made it for later",
        ),
        Ok(()) if left < SHORT => chosen.checks.warn(
            "token",
            seen,
            "get a new one in time: `straw token renew --if-under 10m` does so while it is still \
             good",
        ),
        Ok(()) if claims.user.is_none() => chosen.checks.warn(
            "token",
            seen,
            "it has neither sun nor username, so the controller's slurm.conf has to name the claim \
             with the user's name (AuthAltParameters=userclaimfield=, since 23.02)",
        ),
        Ok(()) => chosen.checks.well("token", seen),
    }
    chosen.claims = Some(claims);
    Some(Opened::Token(token))
}

/// Whose a token is, who made it, how it is signed, and until when it is good.
fn describe(claims: &Claims, now: SystemTime) -> String {
    let shown = |text: &String| text.escape_debug().to_string();
    let mut parts = vec![
        match (&claims.user, &claims.preferred_username, &claims.subject) {
            (Some(user), ..) => format!("of {}", shown(user)),
            (None, Some(name), _) | (None, None, Some(name)) => {
                format!("of {} (not in sun or username)", shown(name))
            }
            _ => "of nobody that it names".to_owned(),
        },
    ];
    let mut part = |name: &str, value: Option<String>| {
        parts.extend(value.map(|value| format!("{name} {value}")));
    };
    part("made by", claims.issuer.as_ref().map(shown));
    let key = claims.key_id.as_ref();
    let key = key
        .map(|key| format!(" (key {})", shown(key)))
        .unwrap_or_default();
    part(
        "signed with",
        claims
            .algorithm
            .as_ref()
            .map(|algorithm| shown(algorithm) + &key),
    );
    part("issued", claims.issued.and_then(time));
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let left = claims.left(now);
    let left = match left < DAY {
        true => format!(" ({} left)", span(left)),
        false => String::new(),
    };
    let until = claims.expires.and_then(time);
    part("good until", until.map(|until| until + &left));
    parts.join(", ")
}

/// Has the daemon behind a socket make a credential, which is sent to nobody.
fn socket(
    case: &Case<'_>,
    network: &dyn Network,
    checks: &mut Checks,
    source: &Source,
    path: &Path,
) -> Option<Opened> {
    let began = Instant::now();
    let made = source
        .open(network.time_of_day(), case.timeout)
        .and_then(|opened| {
            let version = ProtocolVersion::NEWEST;
            let request = match UnsealedRequest::new(&RequestPing, version) {
                Ok(request) => request,
                // There is nothing in a ping that could not be encoded.
                Err(_) => return Ok(opened),
            };
            match opened.seal(&request, case.deadline(network)) {
                Ok(_) | Err(SealError::Encode(_)) => Ok(opened),
                Err(SealError::Credential(error)) => Err(error),
            }
        });
    match made {
        Ok(opened) => {
            let took = began.elapsed().as_secs_f64() * 1e3;
            let seen = format!("{}: it made a credential in {took:.1} ms", path.display());
            checks.well("socket", seen);
            Some(opened)
        }
        Err(error) => {
            checks.fail_with("socket", &error.into());
            None
        }
    }
}

/// What came of using the credential.
pub(super) enum Used {
    /// A controller gave its configuration.
    Served(Box<Served>),
    /// None did.
    Failed(Error),
    /// There was nothing to ask with, or nobody to ask.
    Not(&'static str),
}

/// What a controller gave.
pub(super) struct Served {
    pub(super) query: Query,
    pub(super) fetched: Fetched<ResponseConfig>,
    /// Whether it would give slurmd's set as well.
    pub(super) slurmd: Result<(), Error>,
    clock: Clock,
}

/// What is known of the controller's clock.
enum Clock {
    /// By how much ours is ahead (or, with `false`, behind).
    Differs(bool, Duration),
    /// Why nothing is known.
    Unknown(String),
}

/// Uses the credential for all that it is for.
pub(super) fn used(
    case: &Case<'_>,
    network: &(dyn Network + Sync),
    met: &[Met],
    chosen: &Chosen,
) -> Used {
    let Some(choice) = chosen.choice.as_ref().filter(|_| chosen.opened.is_some()) else {
        return Used::Not("no credential that could be used");
    };
    let Some(query) = query(case, met, choice, chosen) else {
        return Used::Not("no controller to ask");
    };
    let fetched = match controller::fetch(&query, FileSet::Client, network) {
        Ok(fetched) => fetched,
        Err(error) => return Used::Failed(error),
    };
    enum Part {
        Slurmd(Result<(), Error>),
        Clock(Clock),
    }
    let parts = at_once([true, false], |slurmd| match slurmd {
        true => Part::Slurmd(controller::fetch(&query, FileSet::Slurmd, network).map(drop)),
        false => Part::Clock(clock(&query, network)),
    });
    let mut slurmd = Ok(());
    let mut clock = Clock::Unknown(String::new());
    for part in parts {
        match part {
            Part::Slurmd(result) => slurmd = result,
            Part::Clock(result) => clock = result,
        }
    }
    Used::Served(Box::new(Served {
        query,
        fetched,
        slurmd,
        clock,
    }))
}

/// What to ask those with that answer.
fn query(case: &Case<'_>, met: &[Met], choice: &Choice, chosen: &Chosen) -> Option<Query> {
    let tls = case.tls.as_ref().ok()?.clone();
    let told = |one: &Met, reason: &Reason| stranger(one, reason, chosen).is_some();
    let answers = |one: &&Met| match &one.result {
        Ok(probed) => !probed
            .objection
            .as_ref()
            .is_some_and(|reason| told(one, reason)),
        Err(_) => false,
    };
    let silent = |one: &&Met| match &one.result {
        Err(reason @ Reason::Silent) => !told(one, reason),
        _ => false,
    };
    // Those in charge first.
    let (mut asked, others): (Vec<&Met>, Vec<_>) =
        met.iter().filter(answers).partition(|one| one.serves());
    asked.extend(others);
    // Where none answers, those that close the connection are asked once more, for the words that
    // it ends with.
    if asked.is_empty() {
        asked.extend(met.iter().filter(silent));
    }
    let known = asked.iter().filter_map(|one| {
        let version = one.own()?.newest().unwrap_or(ProtocolVersion::NEWEST);
        let version = version.min(ProtocolVersion::NEWEST);
        Some((one.controller.to_string(), version))
    });
    let known = known.collect();
    let mut controllers: Vec<_> = Vec::new();
    for one in asked {
        if !controllers.contains(&one.controller) {
            controllers.push(one.controller.clone());
        }
    }
    (!controllers.is_empty()).then(|| Query {
        controllers,
        credential: choice.source.clone(),
        tls,
        release: case.release,
        known,
        timeout: case.timeout,
        wait: Duration::ZERO,
        max_size: case.max_size,
    })
}

/// Compares clocks: a token says when it was made, by the clock of the controller that makes it.
fn clock(query: &Query, network: &dyn Network) -> Clock {
    let request = TokenRequest {
        lifespan: Some(A_SECOND),
        user: None,
    };
    let before = network.time_of_day();
    let made = controller::new_token(query, request, network);
    let after = network.time_of_day();
    let issued = match made {
        Ok(made) => made.content.claims().issued,
        Err(Error::Controllers(failures)) => {
            let why = failures.all().first().map(|one| one.reason.to_string());
            return Clock::Unknown(why.unwrap_or_default());
        }
        Err(error) => return Clock::Unknown(error.to_string()),
    };
    let Some(issued) = issued else {
        return Clock::Unknown("its tokens do not say when they are made".to_owned());
    };
    let Some(theirs) = UNIX_EPOCH.checked_add(Duration::from_secs(issued)) else {
        return Clock::Unknown("its tokens are made at no time that there is".to_owned());
    };
    // Any moment between these two, and of the second that is named.
    let middle = before + after.duration_since(before).unwrap_or_default() / 2;
    let theirs = theirs + Duration::from_millis(500);
    match middle.duration_since(theirs) {
        Ok(ahead) => Clock::Differs(true, ahead),
        Err(behind) => Clock::Differs(false, behind.duration()),
    }
}

/// Whether the controllers accept the credential, and how their clock goes.
pub(super) fn judge(
    case: &Case<'_>,
    network: &(dyn Network + Sync),
    met: &[Met],
    used: &Used,
    chosen: &mut Chosen,
) {
    let now = network.time_of_day();
    match used {
        Used::Served(served) => {
            let by = served.fetched.controller.to_string();
            chosen.checks.well("accepted", format!("by {by}"));
            tell_clock(&served.clock, chosen, now);
            return;
        }
        Used::Not(why) => chosen.checks.skip("accepted", *why),
        Used::Failed(error) if error.exit_code() == ExitCode::Credential => {
            let mut seen = error.to_string();
            let causes = error.causes();
            if !causes.is_empty() {
                seen.push_str(&format!(": {}", causes.join("; ")));
            }
            let told = told_apart(case, network, met, chosen, now);
            let mut remedy = error.hint();
            if !told.is_empty() {
                // A clause after sentences.
                remedy.get_mut(..1).map(str::make_ascii_uppercase);
                remedy.insert_str(0, &told);
            }
            chosen
                .checks
                .fail("accepted", seen, remedy, ExitCode::Credential);
        }
        Used::Failed(error) if error.exit_code() == ExitCode::NotServed => {
            // Who it is was looked at before that.
            chosen.checks.well("accepted", "by the controller");
        }
        Used::Failed(_) => chosen.checks.skip("accepted", "the controller did not say"),
    }
    tell_clock(
        &Clock::Unknown("it is asked only of one that gives its configuration".to_owned()),
        chosen,
        now,
    );
}

/// What can be said of the causes of a refusal.
fn told_apart(
    case: &Case<'_>,
    network: &(dyn Network + Sync),
    met: &[Met],
    chosen: &Chosen,
    now: SystemTime,
) -> String {
    let mut told = String::new();
    if let Some(version) = met.iter().find_map(|one| one.own()?.exact()) {
        let release = release_name(version);
        told.push_str(&format!(
            "It is not the protocol version ({release} was spoken). "
        ));
    }
    if let Some(ahead) = chosen
        .claims
        .as_ref()
        .and_then(|claims| issued_ahead(claims, now))
    {
        let ahead = span(ahead);
        told.push_str(&format!(
            "It may be the clock: by this machine's the token is issued in {ahead}. "
        ));
    } else if chosen.claims.is_some() {
        told.push_str("By this machine's clock the token has not expired. ");
    }
    let accepted = at_once(chosen.others.clone(), |other| {
        let place = other.source.place();
        let query = query(case, met, &other, chosen)?;
        let fetched = controller::fetch(&query, FileSet::Client, network);
        fetched.is_ok().then_some(place)
    });
    if let Some(place) = accepted.into_iter().flatten().next() {
        told.push_str(&format!(
            "The controller accepts another credential, that of {place}: use it (--auth), or mend \
             this one. "
        ));
    }
    told
}

/// How far in the future a token was made.
fn issued_ahead(claims: &Claims, now: SystemTime) -> Option<Duration> {
    let issued = UNIX_EPOCH.checked_add(Duration::from_secs(claims.issued?))?;
    let ahead = issued.duration_since(now).ok()?;
    (ahead > CLOSE).then_some(ahead)
}

fn tell_clock(clock: &Clock, chosen: &mut Chosen, now: SystemTime) {
    const REMEDY: &str = "set the clock of this machine (a container has its host's), or the \
                          controller's: tokens and SACK credentials are good for limited times, and \
                          munge allows five minutes";
    let checks = &mut chosen.checks;
    match clock {
        Clock::Differs(_, by) if *by < CLOSE => checks.well(
            "clock",
            format!(
                "within {} s of the controller's (it made a token, which says when that was)",
                by.as_secs() + 1
            ),
        ),
        Clock::Differs(ahead, by) => {
            let way = if *ahead { "ahead of" } else { "behind" };
            let seen = format!(
                "{} {way} the controller's (it made a token, which says when that was)",
                span(*by)
            );
            checks.warn("clock", seen, REMEDY);
        }
        Clock::Unknown(why) => {
            match chosen
                .claims
                .as_ref()
                .and_then(|claims| issued_ahead(claims, now))
            {
                Some(ahead) => checks.warn(
                    "clock",
                    format!(
                        "{} or more behind that of whoever made the token (by when that was)",
                        span(ahead)
                    ),
                    REMEDY,
                ),
                None => checks.skip("clock", format!("the controller's is not known: {why}")),
            }
        }
    }
}
