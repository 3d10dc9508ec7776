//! The command line: arguments become one plan, the plan is run, what came of it is shown.

mod args;
mod fetch;
mod logger;
mod releases;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use secrecy::SecretString;

use args::{Cli, Command};

/// What straw takes from the environment beside what clap reads: variables of Slurm's.
#[derive(Debug, Default)]
pub struct Environment {
    /// `SLURM_JWT`: a token.
    pub token: Option<SecretString>,
    /// `SLURM_JWT_FILE`: a file that holds one.
    pub token_file: Option<OsString>,
    /// `SLURM_CONF_SERVER`: the controllers.
    pub controllers: Option<String>,
}

impl Environment {
    /// Reads the variables.
    pub fn from_system() -> Self {
        // Text that is not UTF-8 is kept, to be refused where it is used.
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            token: text("SLURM_JWT").map(Into::into),
            token_file: std::env::var_os("SLURM_JWT_FILE").filter(|path| !path.is_empty()),
            controllers: text("SLURM_CONF_SERVER"),
        }
    }
}

/// The description of the command line, for the man page.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs straw and returns its exit code.
pub fn run(arguments: Vec<OsString>, environment: &Environment) -> ExitCode {
    let matches = match command().try_get_matches_from(with_subcommand(arguments)) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    logger::start(&cli.output);
    let result = match cli.command {
        Command::Fetch(arguments) => fetch::run(arguments, &cli.output, environment),
        Command::Releases => releases::run(&cli.output),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if cli.output.json {
        // Whoever reads neither sees the exit code.
        let _ = writeln!(std::io::stdout(), "{:#}", error.to_json());
    }
    let _ = write!(std::io::stderr(), "{}", error.to_text());
    ExitCode::from(error.exit_code() as u8)
}

fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(error.exit_code().try_into().unwrap_or(2))
}

/// Puts in the subcommand where it was left out. The tool that straw replaces had none:
/// `straw SERVER… VERSION`, and `-l` listed the releases.
fn with_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let at_root = ["-h", "--help", "-V", "--version"];
    let first = arguments.iter().skip(1).find(|argument| {
        // These can stand before a subcommand.
        !matches!(
            argument.to_str(),
            Some("-v" | "-vv" | "-vvv" | "--verbose" | "-q" | "--quiet" | "--json")
        )
    });
    let Some(first) = first.and_then(|first| first.to_str()) else {
        return arguments;
    };
    if at_root.contains(&first) || first == "help" || command().find_subcommand(first).is_some() {
        return arguments;
    }
    let lists = |argument: &OsString| argument == "-l" || argument == "--list";
    if arguments.iter().any(lists) {
        let program = arguments.swap_remove(0);
        return vec![program, "releases".into()];
    }
    arguments.insert(1, "fetch".into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_subcommand_that_was_left_out_is_put_in() {
        let cases = [
            ("straw", "straw"),
            ("straw --help", "straw --help"),
            ("straw help fetch", "straw help fetch"),
            ("straw fetch ctl1", "straw fetch ctl1"),
            ("straw -v fetch ctl1", "straw -v fetch ctl1"),
            ("straw ctl1 22.05", "straw fetch ctl1 22.05"),
            ("straw -o dir ctl1 22.05", "straw fetch -o dir ctl1 22.05"),
            ("straw -v ctl1 22.05", "straw fetch -v ctl1 22.05"),
            ("straw -l", "straw releases"),
            ("straw ctl1 22.05 --list", "straw releases"),
        ];
        for (given, expected) in cases {
            let given = given.split(' ').map(OsString::from).collect();
            let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(with_subcommand(given), expected);
        }
    }
}
