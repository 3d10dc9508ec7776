//! The program: environment and arguments in, exit code out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use straw::cli::{self, Environment};

fn main() -> ExitCode {
    if let Some(refused) = cli::refuse_borrowed_rights() {
        return refused;
    }
    cli::run(std::env::args_os().collect(), &Environment::from_system())
}
