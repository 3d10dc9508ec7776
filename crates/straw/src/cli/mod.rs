//! The command line: arguments become one plan, the plan is run, what came of it is shown.

mod adapting;
mod args;
mod doctor;
mod exec;
mod fetch;
mod kept;
mod logger;
mod parse;
mod ping;
mod plan;
mod releases;
mod settings;
mod shim;
mod supervise;
mod token;
mod unusable;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use rustix::fs::getxattr;
use rustix::process::DumpableBehavior;
use secrecy::SecretString;
use serde_json::{Value, json};

use args::{Cli, Command, Late, LogFormat, Output, describe};
use parse::parse;

pub use settings::SettingsError;
#[cfg(fuzzing)]
pub(crate) use settings::read_settings;

use crate::error::Error;
use crate::launch::is_straws_name;
use crate::signals;
use crate::text::{self, safe, without_tokens};

/// What a plan takes from the environment beside what clap reads: variables of Slurm's. (What a
/// command is found and run by, `PATH` and its like, is read where that is done.)
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SLURM_JWT`: a token.
    pub token: Option<SecretString>,
    /// `SLURM_JWT_FILE`: a file that holds one.
    pub token_file: Option<OsString>,
    /// `SLURM_SACK_SOCKET`: a SACK socket.
    pub sack_socket: Option<OsString>,
    /// `SLURM_CONF_SERVER`: the controllers.
    pub controllers: Option<String>,
    /// `STRAW_CONFIG`: another file than `/etc/straw.toml`.
    pub settings: Option<OsString>,
}

impl Environment {
    /// Reads the variables.
    pub fn from_system() -> Self {
        // Text that is not UTF-8 is kept, to be refused where it is used.
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name| std::env::var_os(name).filter(|path| !path.is_empty());
        Self {
            token: text("SLURM_JWT").map(Into::into),
            token_file: path("SLURM_JWT_FILE"),
            sack_socket: path("SLURM_SACK_SOCKET"),
            controllers: text("SLURM_CONF_SERVER"),
            settings: path("STRAW_CONFIG"),
        }
    }
}

/// The description of the command line, for the man page.
pub fn command() -> clap::Command {
    Cli::command().mut_subcommands(describe)
}

/// Refuses to work with rights that whoever started straw does not have: as a program that is
/// set-user-ID, set-group-ID, or has capabilities. Arguments and variables, which name files to be read
/// and commands to be run, are theirs. Nothing of them is read before this.
///
/// That the kernel was careful is not enough: it is also where SELinux lets a service or a container
/// begin.
pub fn refuse_borrowed_rights() -> Option<ExitCode> {
    use rustix::process::{getegid, geteuid, getgid, getuid};

    let of_others = getuid() != geteuid() || getgid() != getegid();
    let has_capabilities =
        || getxattr("/proc/self/exe", "security.capability", &mut [0_u8; 0][..]).is_ok();
    // SAFETY: it takes a number, and reads what the kernel has put beside the arguments.
    #[allow(unsafe_code, reason = "rustix has it for runtimes only")]
    let was_careful = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if !was_careful || !(of_others || has_capabilities()) {
        return None;
    }
    Some(fail(&Error::BorrowedRights, &Output::default()))
}

/// Runs straw and returns its exit code.
pub fn run(arguments: Vec<OsString>, environment: &Environment) -> ExitCode {
    // Secrets are in our memory; a core dump must not carry them to a disk.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    signals::end_first_process();
    signals::outlive_file_limit();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if let Some(name) = name.filter(|name| !is_straws_name(Some(name))) {
        let name = name.to_owned();
        return shim(&name, &arguments, environment);
    }
    let cli = match parse(arguments, environment) {
        Ok(cli) => cli,
        Err(unusable) => return unusable.tell(),
    };
    logger::start(&cli.output);
    let result = match cli.command {
        Command::Fetch(Late(arguments)) => fetch::run(*arguments, &cli.output, environment),
        Command::Watch(Late(arguments)) => watch::run(*arguments, &cli.output, environment),
        Command::Token(Late(command)) => token::run(*command, &cli.output, environment),
        Command::Exec(Late(arguments)) => match exec::exec(*arguments, cli.given, environment) {
            Ok(code) => return code.into(),
            Err(error) => Err(error),
        },
        Command::Shim(Late(command)) => shim::run(*command, &cli.output),
        Command::Doctor(Late(arguments)) => match doctor::run(*arguments, &cli.output, environment)
        {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Ping(Late(arguments)) => match ping::run(*arguments, &cli.output, environment) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Releases => releases::run(&cli.output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, &cli.output),
    }
}

/// Runs straw as it is called by the name of one of Slurm's commands. The arguments are the
/// command's, all of them; straw's own options come from variables and the file of settings.
fn shim(name: &OsStr, line: &[OsString], environment: &Environment) -> ExitCode {
    let arguments = ["straw", "exec", "--"].map(OsString::from).to_vec();
    let arguments = arguments.into_iter().chain([name.to_owned()]).collect();
    let cli = match parse(arguments, environment) {
        Ok(cli) => cli,
        Err(unusable) => return unusable.tell_for(name),
    };
    logger::start(&cli.output);
    let Command::Exec(Late(exec)) = cli.command else {
        return ExitCode::FAILURE;
    };
    match exec::shim(*exec, line, name, environment) {
        Ok(()) => ExitCode::SUCCESS,
        // Its standard output is the command's, and so are its options.
        Err(error) => fail_for(name, &error, cli.output.log_format),
    }
}

/// Says which `SLURM_JWT` straw itself has set, by its [mark](crate::text::mark_of).
const TOKEN_MARK: &str = "STRAW_SLURM_JWT";

/// For somebody whose arguments are another command's.
const OPTIONS_OF_SHIMS: &str = "Options of straw's are variables here, --token-file \
    STRAW_TOKEN_FILE, or keys of /etc/straw.toml.";

/// Says what went wrong to somebody who called another command.
fn fail_for(name: &OsStr, error: &Error, format: LogFormat) -> ExitCode {
    let name = name.to_string_lossy();
    let mut text = error.to_text();
    // The arguments are the command's.
    let has_options = text.contains("--");
    match format {
        LogFormat::Text => {
            if has_options {
                text.push_str(&format!("({OPTIONS_OF_SHIMS})\n"));
            }
            let text = format!("straw, for {}: {text}", name.escape_debug());
            let _ = std::io::stderr().write_all(safe(&text).as_bytes());
        }
        LogFormat::Json => {
            let mut what = error.to_json()["error"].take();
            what["command"] = name.into();
            if has_options {
                what["hint"] = format!("{} ({OPTIONS_OF_SHIMS})", error.hint()).into();
            }
            logger::write_json("error", what);
        }
    }
    ExitCode::from(error.exit_code() as u8)
}

fn fail(error: &Error, output: &Output) -> ExitCode {
    if output.json {
        let _ = print_json(&error.to_json());
    }
    match output.log_format {
        LogFormat::Text => {
            let _ = write!(std::io::stderr(), "{}", error.to_text());
        }
        LogFormat::Json => logger::write_json("error", error.to_json()["error"].take()),
    }
    ExitCode::from(error.exit_code() as u8)
}

/// Says on stderr what was done, where there may be nobody to hear it.
fn say(text: &str, output: &Output) {
    let text = safe(text);
    match output.log_format {
        LogFormat::Text => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        LogFormat::Json => logger::write_json("notice", json!({ "message": text })),
    }
}

/// Writes a report to stdout.
fn print_json(report: &Value) -> Result<(), Error> {
    print(without_tokens(&text::json(report, true)).as_bytes())
}

/// Writes to stdout, which is for data only.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Error::Output)
}
