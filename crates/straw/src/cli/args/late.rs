//! Commands whose options are described only where they are wanted. To describe those of all
//! commands takes as long as to fetch a configuration.

use clap::{ArgMatches, Args, Error, FromArgMatches, Subcommand};

use super::{Doctor, Exec, Fetch, Ping, Shim, Token, Watch};

/// The arguments of a command, described by [`describe`] and not before.
#[derive(Debug)]
pub(in crate::cli) struct Late<T>(pub(in crate::cli) Box<T>);

/// Adds what was left out in the description of a command of straw's.
pub(in crate::cli) fn describe(command: clap::Command) -> clap::Command {
    // What a part of the arguments says of itself, for a reader of its source, must not stand there
    // instead.
    let about = command.get_about().cloned().unwrap_or_default();
    let described = match command.get_name() {
        "shim" => Shim::augment_subcommands(command),
        "exec" => Exec::augment_args(command),
        "watch" => Watch::augment_args(command),
        "fetch" => Fetch::augment_args(command),
        "token" => Token::augment_subcommands(command),
        "doctor" => Doctor::augment_args(command),
        "ping" => Ping::augment_args(command),
        _ => command,
    };
    described.about(about).long_about(None)
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|arguments| Self(Box::new(arguments)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Late<T> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

impl<T: Subcommand> Subcommand for Late<T> {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        command
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}
