//! Keeps a store fresh, and says so whenever the configuration has changed. It ends when it is
//! killed; whoever reads the store sees a whole set all the same.
//!
//! ```text
//! watch CONTROLLERS TOKEN-FILE DIRECTORY SECONDS
//! ```

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use straw::config::ConfigSet;
use straw::controller::{self, FileSet, Query};
use straw::credential::{Source, TokenSource};
use straw::endpoint::Endpoint;
use straw::network::System;
use straw::store::{Published, State, Store, StoreError};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [controllers, token, directory, seconds] = arguments.as_slice() else {
        eprintln!("give controllers, a file with a token, a directory, and a pause in seconds");
        return ExitCode::from(2);
    };
    let (Ok(controllers), Ok(seconds)) = (
        Endpoint::parse_list([controllers.as_str()]),
        seconds.parse(),
    ) else {
        eprintln!("the controllers are no addresses, or the pause is no number");
        return ExitCode::from(2);
    };
    let token = TokenSource::File(token.into());
    let mut query = Query::new(controllers, Source::Token(token));
    loop {
        match refresh(&mut query, directory.as_ref()) {
            Ok(Published::New(current)) => println!("new: {}", current.generation.display()),
            Ok(Published::Unchanged(_)) => {}
            // The next time may be better, and what is in the store stays.
            Err(error) => eprint!("{}", error.to_text()),
        }
        thread::sleep(Duration::from_secs(seconds));
    }
}

fn refresh(query: &mut Query, directory: &Path) -> Result<Published, straw::Error> {
    let store = Store::at(directory)?;
    let Some(lock) = store.lock(Instant::now() + query.timeout)? else {
        let path = directory.to_owned();
        return Err(StoreError::Locked { path }.into());
    };
    let fetched = controller::fetch(query, FileSet::Client, &System)?;
    // With its version known, the next time takes one exchange.
    let controller = fetched.controller.to_string();
    query.known.insert(controller, fetched.version);

    // What is in the store for another key is not what is wanted here.
    let state = State::new("example", &fetched, false, SystemTime::now());
    let set = ConfigSet::new(fetched.content)?;
    Ok(store.publish(&lock, &set, &state)?)
}
