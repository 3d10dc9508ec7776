//! The command line: arguments become one plan, the plan is run, what came of it is shown.

mod args;
mod fetch;
mod logger;
mod releases;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, CommandFactory as _, FromArgMatches as _};
use rustix::process::DumpableBehavior;
use secrecy::SecretString;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use args::{Cli, Command};

use crate::error::Error;

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
    // Secrets are in our memory; a core dump must not carry them to a disk.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    end_on_signals();
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where nobody listens, the exit code still says it.
            let _ = error.print();
            return ExitCode::from(error.exit_code().try_into().unwrap_or(2));
        }
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
        let _ = writeln!(std::io::stdout(), "{:#}", error.to_json());
    }
    let _ = write!(std::io::stderr(), "{}", error.to_text());
    ExitCode::from(error.exit_code() as u8)
}

/// Writes to stdout, which is for data only.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Error::Output)
}

/// As the first process of a container, straw is ended only by signals that it handles.
fn end_on_signals() {
    if std::process::id() != 1 {
        return;
    }
    let always = Arc::new(AtomicBool::new(true));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let always = Arc::clone(&always);
        if let Err(error) = flag::register_conditional_shutdown(signal, 128 + signal, always) {
            log::warn!("signal {signal} cannot be handled: {error}");
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    // A variable that is set to nothing, as templates leave it, is not set.
    let unset = |argument: Arg| {
        let empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        match argument.get_env().is_some_and(empty) {
            true => argument.env(Resettable::Reset),
            false => argument,
        }
    };
    let matches = command()
        .mut_args(unset)
        .mut_subcommands(|subcommand| subcommand.mut_args(unset))
        .try_get_matches_from(with_subcommand(arguments)?)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Command::Fetch(fetch) = &mut cli.command
        && let Some((_, matches)) = matches.subcommand()
    {
        let given = |option| matches.value_source(option) == Some(ValueSource::CommandLine);
        if given("stdout") && given("output") {
            // Not clap's own rule, because that counts variables as well.
            let text = "--stdout writes no files, so it does not go with --output";
            return Err(command().error(ErrorKind::ArgumentConflict, text));
        }
        if given("output") {
            fetch.stdout = None;
        }
    }
    Ok(cli)
}

/// Puts in the subcommand where it was left out. The tool that straw replaces had none:
/// `straw SERVER… VERSION`, and `-l` listed the releases.
fn with_subcommand(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, clap::Error> {
    // These can stand before a subcommand.
    let is_global = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            matches!(text, "--verbose" | "--quiet" | "--json")
                || text.strip_prefix('-').is_some_and(|flags| {
                    !flags.is_empty() && flags.chars().all(|c| "vq".contains(c))
                })
        })
    };
    let Some(first) = arguments
        .iter()
        .skip(1)
        .find(|argument| !is_global(argument))
    else {
        return Ok(arguments);
    };
    let first = first.to_string_lossy();
    let at_root = ["-h", "--help", "-V", "--version", "help"];
    if at_root.contains(&&*first) || command().find_subcommand(&*first).is_some() {
        return Ok(arguments);
    }
    if let Some(text) = not_a_controller(&first) {
        return Err(command().error(ErrorKind::InvalidSubcommand, text));
    }
    let lists = |argument: &OsString| argument == "-l" || argument == "--list";
    if arguments.iter().any(lists) {
        // Whatever else was said, the list is what was wanted.
        arguments.retain(|argument| is_global(argument) || lists(argument));
        let listing = arguments.iter().map(|argument| match lists(argument) {
            true => "releases".into(),
            false => argument.clone(),
        });
        return Ok(std::iter::once("straw".into()).chain(listing).collect());
    }
    arguments.insert(1, "fetch".into());
    Ok(arguments)
}

/// Whether a first word was meant for a command rather than for a controller's name, and what to
/// say then. A controller of such a name can be given to `straw fetch`.
fn not_a_controller(word: &str) -> Option<String> {
    /// Commands that are to come.
    const RESERVED: [&str; 6] = ["doctor", "exec", "ping", "shim", "token", "watch"];
    if RESERVED.contains(&word) {
        return Some(format!("this straw has no command `{word}` yet"));
    }
    let lower = word.to_lowercase();
    let command = command();
    let meant = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .find(|name| strsim::osa_distance(name, &lower) <= 1)?;
    Some(format!(
        "there is no command `{}`; did you mean `{meant}`?",
        word.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_command_with_a_slip_in_it_is_no_controller() {
        for word in ["fetc", "Fetch", "fecth", "release", "ping", "exec"] {
            assert!(not_a_controller(word).is_some(), "{word}");
        }
        for word in ["ctl1", "head", "slurm", "fetch.example.org", "10.0.0.1"] {
            assert_eq!(not_a_controller(word), None, "{word}");
        }
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
            ("straw -vvvv fetch ctl1", "straw -vvvv fetch ctl1"),
            ("straw -vq releases", "straw -vq releases"),
            ("straw --json -l", "straw --json releases"),
            ("straw -l --json", "straw releases --json"),
            ("straw -l", "straw releases"),
            ("straw ctl1 22.05 --list", "straw releases"),
        ];
        for (given, expected) in cases {
            let given = given.split(' ').map(OsString::from).collect();
            let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(with_subcommand(given).unwrap(), expected);
        }
    }
}
