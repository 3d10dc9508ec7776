//! The command line: arguments over variables over settings, as one table of clap's.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::args::{Auth, Cli, Command, Late, describe};
use super::settings::{Settings, SettingsError};
use super::unusable::{LOG_FORMAT, Unusable, Why, log_format};
use super::{Environment, TOKEN_MARK, command};
use crate::text::mark_of;

/// Reads the arguments, over the variables and the settings.
pub(super) fn parse(arguments: Vec<OsString>, environment: &Environment) -> Result<Cli, Unusable> {
    // The options of a command are described once it is known to be called.
    let line = Cli::command();
    let settings = Settings::load(environment.settings.as_ref(), &|| options(&command()));
    let (cli, settings) = match settings {
        Ok(settings) => (
            read(arguments.clone(), line, &settings, environment),
            Some(settings),
        ),
        Err(error) => (help_or(error, arguments.clone()), None),
    };
    cli.map_err(|why| Unusable {
        why,
        format: log_format(&arguments, settings.as_ref()),
    })
}

/// What is left where the settings are of no use: help needs none.
fn help_or(settings: SettingsError, arguments: Vec<OsString>) -> Result<Cli, Why> {
    let line = command();
    let arguments = with_subcommand(arguments, &line)?;
    Err(match line.try_get_matches_from(arguments) {
        Err(help) if !help.use_stderr() => help.into(),
        _ => Why::Settings(settings),
    })
}

fn read(
    arguments: Vec<OsString>,
    line: clap::Command,
    settings: &Settings,
    environment: &Environment,
) -> Result<Cli, Why> {
    // A variable of Slurm's wins over the file, as one of straw's does.
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let token = environment
        .token
        .as_ref()
        .map(secrecy::ExposeSecret::expose_secret);
    let taken = |option: &str| match option {
        "servers" => environment
            .controllers
            .as_ref()
            .is_some_and(|list| !list.trim().is_empty()),
        "token-file" | "token-command" => {
            // Not one that straw itself has put there: it is read afresh where it came from.
            let is_theirs = |token: &str| {
                !token.trim().is_empty()
                    && std::env::var_os(TOKEN_MARK) != Some(mark_of(token).into())
            };
            token.is_some_and(is_theirs)
                || environment.token_file.is_some()
                || is_set("STRAW_TOKEN_FILE")
                || is_set("STRAW_TOKEN_COMMAND")
        }
        "sack-socket" => environment.sack_socket.is_some(),
        _ => false,
    };
    let options = RefCell::new(Vec::new());
    let complete = |argument: Arg| {
        options.borrow_mut().extend(Variable::of(&argument));
        // A variable that is set to nothing, as templates leave it, is not set.
        let value = argument.get_env().and_then(std::env::var_os);
        let value = value.filter(|value| !value.is_empty());
        let setting = argument.get_long().filter(|long| !taken(long));
        let delimiter = argument.get_value_delimiter();
        match (
            value,
            setting.and_then(|long| settings.get(long, delimiter)),
        ) {
            (Some(_), _) => argument,
            (None, Some(setting)) => argument.env(Resettable::Reset).default_value(setting),
            (None, None) => argument.env(Resettable::Reset),
        }
    };
    let arguments = with_subcommand(arguments, &line)?;
    let mut line = line.mut_args(&complete);
    if let Some(called) = called(&arguments)
        && line.find_subcommand(called).is_some()
    {
        line = line.mut_subcommand(called, |below| mut_all_args(describe(below), &complete));
    }
    let matches = line
        .try_get_matches_from(&arguments)
        .map_err(|error| in_settings(error, settings))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let mut innermost = &matches;
    while let Some((_, matches)) = innermost.subcommand() {
        innermost = matches;
    }
    // Not clap's own rule, because that counts variables as well: an argument wins over them.
    let given = |option| {
        let source = innermost.try_contains_id(option).ok()?;
        (source && innermost.value_source(option) == Some(ValueSource::CommandLine)).then_some(())
    };
    let conflict = |text: &str| Err(command().error(ErrorKind::ArgumentConflict, text).into());
    if given("explain").is_some() && given("stdout").is_some() {
        return conflict("--explain writes nothing, so it does not go with --stdout");
    }
    if matches!(cli.command, Command::Doctor(_)) && given("wait").is_some() {
        return conflict("doctor looks once, so --wait does not go with it");
    }
    if let Command::Exec(Late(exec)) = &cli.command
        && let Some(word) = exec.command.first().and_then(|word| word.to_str())
        && word.starts_with('-')
    {
        let text = format!(
            "{} is no option of exec, and no command",
            word.escape_debug()
        );
        return conflict(&text);
    }
    if let Command::Fetch(Late(fetch)) = &mut cli.command
        && given("output").is_some()
    {
        if given("stdout").is_some() {
            return conflict("--stdout writes no files, so it does not go with --output");
        }
        fetch.stdout = None;
    }
    if let Command::Exec(Late(exec)) = &cli.command
        && exec.supervise.refresh.is_none()
    {
        let beside = ["on_change", "kill_after", "renew_token", "lifespan"];
        if let Some(option) = beside.into_iter().find(|option| given(option).is_some()) {
            let option = option.replace('_', "-");
            let text = format!("--{option} is for who stays beside the command: --refresh TIME");
            return conflict(&text);
        }
    }
    let renewing = match &cli.command {
        Command::Exec(Late(exec)) => Some(&exec.renewing),
        Command::Watch(Late(watch)) => Some(&watch.renewing),
        _ => None,
    };
    if renewing.is_some_and(|renewing| renewing.wanted().is_none()) && given("lifespan").is_some() {
        return conflict("--lifespan is of the tokens that --renew-token gets");
    }
    if let Command::Watch(Late(watch)) = &cli.command
        && !watch.once
        && watch.max_stale < watch.refresh
    {
        let text = "--max-stale is less than --refresh: nothing would count for most of the time";
        return conflict(text);
    }
    // The command makes the tokens, and the file is where they are put.
    let renews = given("renew_token").is_some();
    if let Some(places) = cli.command.token_places() {
        match (given("token_file"), given("token_command")) {
            (Some(()), Some(())) if renews => {}
            (Some(()), Some(())) => {
                return conflict("--token-file and --token-command: one of them is enough");
            }
            (Some(()), None) => places.token_command = None,
            (None, Some(())) => places.token_file = None,
            (None, None) => {}
        }
    }
    if let Command::Exec(_) = cli.command {
        cli.given = as_variables(innermost, &options.borrow());
    }
    if let Some(access) = cli.command.access() {
        // A credential that is named by an argument is the one to use, whatever variables say.
        let kinds = [
            (
                Auth::Jwt,
                "a token",
                given("token_file").or(given("token_command")),
            ),
            (Auth::Slurm, "--sack-socket", given("sack_socket")),
            (Auth::Munge, "--munge-socket", given("munge_socket")),
        ];
        let mut named = kinds.iter().filter(|(_, _, given)| given.is_some());
        match (named.next(), named.next()) {
            (Some((_, first, _)), Some((_, second, _))) => {
                let text = format!("{first} and {second}: one credential is enough");
                return conflict(&text);
            }
            (Some((auth, name, _)), None) => {
                if given("auth").is_some() && ![*auth, Auth::Auto].contains(&access.auth) {
                    return conflict(&format!("{name} is none of what --auth asks for"));
                }
                access.auth = *auth;
            }
            _ => {}
        }
    }
    Ok(cli)
}

/// An option, and the variable that can say the same.
struct Variable {
    option: clap::Id,
    name: String,
    takes_values: bool,
}

impl Variable {
    fn of(argument: &Arg) -> Option<Self> {
        Some(Self {
            option: argument.get_id().clone(),
            name: argument.get_env()?.to_str()?.to_owned(),
            takes_values: argument.get_action().takes_values(),
        })
    }
}

/// The options of `exec` that stand in its arguments, as the variables that would say the same, for
/// shims that its command calls. What names a file is made to name it from everywhere.
fn as_variables(matches: &ArgMatches, options: &[Variable]) -> Vec<(String, OsString)> {
    const PATHS: [&str; 7] = [
        "store",
        "token_file",
        "sack_socket",
        "munge_socket",
        "ca_cert",
        "client_cert",
        "client_key",
    ];
    // What is said to one's own user. The form of it is for all that stands in one stream.
    const OWN: [&str; 3] = ["json", "verbose", "quiet"];
    let mut variables = Vec::new();
    for option in options {
        let id = option.option.as_str();
        let is_here = matches.try_contains_id(id).unwrap_or_default();
        if !is_here || OWN.contains(&id) {
            continue;
        }
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let mut value = OsString::new();
        for (at, raw) in matches.get_raw(id).into_iter().flatten().enumerate() {
            if at > 0 {
                value.push(";");
            }
            match std::path::absolute(raw) {
                Ok(path) if PATHS.contains(&id) => value.push(path),
                _ => value.push(raw),
            }
        }
        if !option.takes_values {
            value = "1".into();
        }
        variables.push((option.name.clone(), value));
    }
    variables
}

/// Changes all arguments of a command and of those below it.
fn mut_all_args(command: clap::Command, change: &impl Fn(Arg) -> Arg) -> clap::Command {
    command
        .mut_args(change)
        .mut_subcommands(|subcommand| mut_all_args(subcommand, change))
}

/// The long names of the options of a command and of those below it that can be set elsewhere.
fn options(command: &clap::Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter(|option| option.get_env().is_some());
    let mut names: Vec<_> = own.filter_map(Arg::get_long).map(str::to_owned).collect();
    names.extend(command.get_subcommands().flat_map(options));
    names
}

/// Says where a value came from that is of no use, where that is no argument.
fn in_settings(error: clap::Error, settings: &Settings) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg)
        .and_then(|option| option.strip_prefix("--")?.split([' ', '.']).next());
    let (Some(option), Some(value)) = (option, text(ContextKind::InvalidValue)) else {
        return error;
    };
    let variable = format!("STRAW_{}", option.replace('-', "_").to_uppercase());
    let is_argument = std::env::args_os().any(|argument| argument == value);
    let place = if is_argument {
        return error;
    } else if std::env::var_os(&variable).is_some_and(|set| set == value) {
        format!("in the variable {variable}")
    } else if settings
        .get(option, None)
        .is_some_and(|setting| setting == value)
    {
        format!("in {}", settings.path().display())
    } else {
        return error;
    };
    let text = format!("{place}: {error}").replacen(": error: ", ": ", 1);
    command().error(error.kind(), text.lines().next().unwrap_or_default())
}

/// Options that can stand before a subcommand.
fn is_global(argument: &OsStr) -> bool {
    argument.to_str().is_some_and(|text| {
        matches!(text, "--verbose" | "--quiet" | "--json")
            || text.starts_with("--log-format=")
            || text
                .strip_prefix('-')
                .is_some_and(|flags| !flags.is_empty() && flags.chars().all(|c| "vq".contains(c)))
    })
}

/// Where the first word is that is no global option, nor the value of one.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut places = 1..arguments.len();
    loop {
        let at = places.next()?;
        match &arguments[at] {
            // What follows is its value.
            option if option == LOG_FORMAT => drop(places.next()),
            option if is_global(option) => {}
            _ => return Some(at),
        }
    }
}

/// The command that is called, or that help is wanted for.
fn called(arguments: &[OsString]) -> Option<&str> {
    let at = first_word(arguments)?;
    let word = arguments.get(at).filter(|word| *word != "help");
    word.or_else(|| arguments.get(at + 1))?.to_str()
}

/// Puts in the subcommand where it was left out. The tool that straw replaces had none:
/// `straw SERVER… VERSION`, and `-l` listed the releases.
fn with_subcommand(
    mut arguments: Vec<OsString>,
    line: &clap::Command,
) -> Result<Vec<OsString>, clap::Error> {
    let Some(first) = first_word(&arguments).and_then(|at| arguments.get(at)) else {
        return Ok(arguments);
    };
    let first = first.to_string_lossy();
    let at_root = ["-h", "--help", "-V", "--version", "help"];
    if at_root.contains(&&*first) || line.find_subcommand(&*first).is_some() {
        return Ok(arguments);
    }
    if let Some(text) = not_a_controller(&first, line) {
        return Err(command().error(ErrorKind::InvalidSubcommand, text));
    }
    let lists = |argument: &OsString| argument == "-l" || argument == "--list";
    if arguments.iter().any(lists) {
        // Whatever else was said, the list is what was wanted.
        let mut listing: Vec<OsString> = vec!["straw".into()];
        let mut rest = arguments.into_iter().skip(1);
        while let Some(argument) = rest.next() {
            if lists(&argument) {
                listing.push("releases".into());
            } else if argument == LOG_FORMAT {
                listing.push(argument);
                listing.extend(rest.next());
            } else if is_global(&argument) {
                listing.push(argument);
            }
        }
        return Ok(listing);
    }
    arguments.insert(1, "fetch".into());
    Ok(arguments)
}

/// Whether a first word was meant for a command rather than for a controller's name, and what to
/// say then. A controller of such a name can be given to `straw fetch`.
fn not_a_controller(word: &str, line: &clap::Command) -> Option<String> {
    let lower = word.to_lowercase();
    let meant = line
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
        let not_a_controller = |word| not_a_controller(word, &command());
        for word in ["fetc", "Fetch", "fecth", "release", "pimg", "exec"] {
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
            (
                "straw --log-format json watch",
                "straw --log-format json watch",
            ),
            (
                "straw --log-format=json exec",
                "straw --log-format=json exec",
            ),
            (
                "straw --log-format json ctl1",
                "straw fetch --log-format json ctl1",
            ),
            ("straw ctl1 22.05", "straw fetch ctl1 22.05"),
            ("straw -o dir ctl1 22.05", "straw fetch -o dir ctl1 22.05"),
            ("straw -v ctl1 22.05", "straw fetch -v ctl1 22.05"),
            ("straw -vvvv fetch ctl1", "straw -vvvv fetch ctl1"),
            ("straw -vq releases", "straw -vq releases"),
            ("straw --json -l", "straw --json releases"),
            ("straw -l --json", "straw releases --json"),
            ("straw -l", "straw releases"),
            (
                "straw --log-format json ctl1 -l",
                "straw --log-format json releases",
            ),
            ("straw ctl1 22.05 --list", "straw releases"),
        ];
        for (given, expected) in cases {
            let given = given.split(' ').map(OsString::from).collect();
            let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(with_subcommand(given, &command()).unwrap(), expected);
        }
    }
}
