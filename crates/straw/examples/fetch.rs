//! Fetches the configuration into a directory, made to fit this container.
//!
//! ```text
//! fetch CONTROLLERS TOKEN-FILE DIRECTORY
//! ```

use std::env;
use std::path::Path;
use std::process::ExitCode;

use straw::config::adapt::{ByHand, Container, adapt};
use straw::config::{self, ConfigSet, Origin};
use straw::controller::{self, FileSet, Query};
use straw::credential::{Source, TokenSource};
use straw::endpoint::Endpoint;
use straw::network::System;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [controllers, token, directory] = arguments.as_slice() else {
        eprintln!("give controllers, a file with a token, and a directory");
        return ExitCode::from(2);
    };
    match fetch(controllers, token, directory.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        // Every error knows what to do about it, and the exit code of the program for it.
        Err(error) => {
            eprint!("{}", error.to_text());
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

fn fetch(controllers: &str, token: &str, directory: &Path) -> Result<(), straw::Error> {
    let token = TokenSource::File(token.into());
    let query = Query::new(Endpoint::parse_list([controllers])?, Source::Token(token));
    let fetched = controller::fetch(&query, FileSet::Client, &System)?;
    let origin = Origin::new(&fetched);
    let set = ConfigSet::new(fetched.content)?;

    let adapted = adapt(&set, &Container::here(), &ByHand::default());
    for change in &adapted.changes {
        println!("{change}");
    }
    let written = config::write(directory, &adapted.set, &origin, query.timeout)?;
    for (name, change) in &written.files {
        println!("{} {name}", change.name());
    }
    Ok(())
}
