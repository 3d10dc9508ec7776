//! A cluster's set in a store, made to fit this container: what `exec`, the shims and `watch` have in
//! common.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::adapting::{self, Adapting};
use super::args::{Access, ByHand, Renewing};
use super::{Environment, plan};
use crate::config::Known;
use crate::controller::{self, Query, Reason, TokenRequest};
use crate::credential::{Source, Token, TokenSource};
use crate::error::Error;
use crate::launch::{self, Ready, Wanted};
use crate::network::System;
use crate::store::{Current, PlaceEnv, Store};
use crate::watch::{Renewal, Tokens};

/// A set that is kept in a store.
#[derive(Clone)]
pub(super) struct Kept {
    /// The directory that was named; else a private place.
    directory: Option<PathBuf>,
    servers: Vec<String>,
    access: Access,
    environment: Environment,
    adapting: Adapting,
    /// What the set depends on.
    key: String,
    /// The file that a token is kept fresh in.
    renewed: Option<PathBuf>,
}

/// How fresh a set is to be.
#[derive(Clone, Copy)]
pub(super) struct Age {
    /// How old it may be before a controller is asked again.
    pub(super) fresh: Duration,
    /// How old it may be while no controller can be reached.
    pub(super) stale: Duration,
    /// How long nobody asks again after none could be reached.
    pub(super) pause: Duration,
}

impl Kept {
    pub(super) fn new(
        directory: Option<PathBuf>,
        servers: Vec<String>,
        access: Access,
        (verbatim, by_hand): (bool, ByHand),
        environment: &Environment,
    ) -> Self {
        let named = match servers.is_empty() {
            true => plan::named(&access, environment)
                .unwrap_or_default()
                .to_owned(),
            false => servers.join(","),
        };
        // All that the set depends on: another store, or another set, for anything else. Whom to trust
        // is said each time, so nothing that came in the clear passes for what came through TLS.
        let adapting = Adapting::new(!verbatim, by_hand);
        let key = format!(
            "controllers={named}; files=client; ca={:?}; name={:?}; {adapting:?}; here={}",
            // Wherever it is named from.
            access
                .ca_cert
                .as_ref()
                .and_then(|path| std::path::absolute(path).ok()),
            access.tls_server_name,
            here(),
        );
        Self {
            directory,
            servers,
            access,
            environment: environment.clone(),
            adapting,
            key,
            renewed: None,
        }
    }

    /// The directory that was named.
    pub(super) fn place(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new("."))
    }

    /// The directory is opened anew each time: it may have been replaced.
    pub(super) fn open(&self) -> Result<Store, Error> {
        Ok(match &self.directory {
            Some(directory) => Store::at(directory)?,
            None => {
                let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(Into::into);
                Store::private(&PlaceEnv::new(runtime_dir), &self.key)?
            }
        })
    }

    /// The set of the right kind that is there, however old it is.
    pub(super) fn current(&self) -> Result<Option<Current>, Error> {
        let current = self.open()?.current()?;
        Ok(current.filter(|current| current.state.key == self.key))
    }

    /// Whether this user may write there.
    pub(super) fn can_write(&self) -> Result<(), Error> {
        // Another straw may be at it just now.
        self.open()?.lock(Instant::now())?;
        Ok(())
    }

    /// What to ask the controllers with. The files that say so are read anew each time.
    pub(super) fn query(&self, store: Option<&Store>) -> Result<Query, Error> {
        let known = match store.map(Store::current).transpose()?.flatten() {
            Some(current) if current.state.key == self.key => known(&current),
            _ => Known::default(),
        };
        let servers = self.servers.clone();
        let mut query = plan::query(servers, self.access.clone(), &self.environment, known)?;
        if let (Source::Token(_), Some(file)) = (&query.credential, &self.renewed) {
            query.credential = Source::Token(TokenSource::File(file.clone()));
        }
        Ok(query)
    }

    /// Makes sure that there is a set, as fresh as it is to be.
    pub(super) fn ready(&self, age: Age) -> Result<(Ready, Query), Error> {
        let store = self.open()?;
        let query = self.query(Some(&store))?;
        let wanted = Wanted {
            query: &query,
            key: &self.key,
            max_age: age.fresh,
            max_stale: age.stale,
            pause: age.pause,
            adapt: &|set, fetched| self.adapting.apply(set, &query, fetched),
            changed: &adapting::log,
        };
        let ready = wanted.ready(&store, &System)?;
        Ok((ready, query))
    }

    /// From now on controllers are asked once: whoever goes on asking waits by itself.
    pub(super) fn without_waiting(&mut self) {
        // Over when the first round is, and enough for hints to say nothing of --wait.
        self.access.wait = Duration::from_nanos(1);
    }

    /// The longest that making a set ready can take.
    pub(super) fn patience(&self) -> Duration {
        // As long again for whoever else is at it, and for reading a token.
        (self.access.timeout + self.access.wait) * 3
    }

    /// The token that is used, to be kept fresh where that is wanted; `None` where it is none that
    /// straw could say anything about.
    pub(super) fn tokens(&mut self, renewing: &Renewing) -> Result<Option<Tokens>, Error> {
        let patience = self.access.timeout;
        let Some(named) = renewing.wanted() else {
            let Source::Token(source) = self.query(None)?.credential else {
                return Ok(None);
            };
            match &source {
                TokenSource::File(_) => {}
                // One that is of no use will never be of any.
                TokenSource::Variable(_) => {
                    source.load_again(SystemTime::now(), patience)?;
                }
                TokenSource::Command(_) => return Ok(None),
            }
            return Ok(Some(Tokens::new(source, patience, None)));
        };
        let mut asker = self.clone();
        asker.without_waiting();
        let places = &mut asker.access.token;
        let file = match places.token_command {
            // The file is where to put what the command prints.
            Some(_) => named.or(places.token_file.take()),
            None => named,
        };
        let source = asker.query(None)?.credential;
        let file = match (file, &source) {
            (Some(file), _) => file,
            (None, Source::Token(TokenSource::File(file))) => file.clone(),
            (None, _) => return Err(Error::NoFileForTokens),
        };
        // Commands that look for it are elsewhere.
        let file = std::path::absolute(&file).unwrap_or(file);
        self.renewed = Some(file.clone());
        let source = TokenSource::File(file.clone());
        let lifespan = renewing.lifespan;
        let get = Box::new(move |present: Option<&Token>| asker.new_token(present, lifespan));
        let renewal = Renewal {
            get,
            file,
            lifespan_is_given: lifespan.is_some(),
        };
        Ok(Some(Tokens::new(source, patience, Some(renewal))))
    }

    /// A token that takes the place of the present one: of the token command where there is one,
    /// else of a controller's.
    fn new_token(
        &self,
        present: Option<&Token>,
        lifespan: Option<Duration>,
    ) -> Result<Token, Error> {
        let mut query = self.query(None)?;
        if let Source::Token(source @ TokenSource::Command(_)) = &query.credential {
            return Ok(source.load_again(SystemTime::now(), query.timeout)?);
        }
        if let (Source::Token(_), Some(present)) = (&query.credential, present) {
            let present = present.secret().clone();
            query.credential = Source::Token(TokenSource::Variable(present));
        }
        let ask = |lifespan| {
            let request = TokenRequest {
                lifespan,
                user: None,
            };
            Ok(controller::new_token(&query, request, &System)?.content)
        };
        match (lifespan, present.and_then(|token| token.claims().life())) {
            (None, Some(before)) => match ask(Some(before)) {
                // Somebody else could have one made for as long as this.
                Err(Error::Controllers(failures))
                    if matches!(failures.telling(), Some(Reason::LifespanTooLong)) =>
                {
                    ask(None)
                }
                result => result,
            },
            (lifespan, _) => ask(lifespan),
        }
    }

    /// The file that a token is kept fresh in.
    pub(super) fn renewed(&self) -> Option<&Path> {
        self.renewed.as_deref()
    }
}

/// Where commands are looked for.
pub(super) fn search_path() -> OsString {
    // What a shell has where nobody says.
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// What was found out of the controllers the last time.
fn known(current: &Current) -> Known {
    let state = &current.state;
    Known {
        versions: [(state.controller.clone(), state.version)].into(),
        ..Known::default()
    }
}

/// What tells this container from others that share a directory with it: its Slurm, and its
/// accounts.
fn here() -> String {
    let sinfo = launch::find_behind(OsStr::new("sinfo"), &search_path()).ok();
    let files = sinfo.into_iter().chain(["/etc/passwd".into()]);
    let stamp = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok()?;
        Some(format!(
            "{} {} {}.{}",
            file.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ))
    };
    files.filter_map(stamp).collect::<Vec<_>>().join(", ")
}
