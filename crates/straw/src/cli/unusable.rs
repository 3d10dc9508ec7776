//! Arguments and settings that are of no use, told of in the form that is wanted, as far as that can be
//! known then.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ValueEnum as _};
use serde_json::{Value, json};

use super::args::{LogFormat, Output};
use super::logger::write_json;
use super::settings::{Settings, SettingsError};
use super::{OPTIONS_OF_SHIMS, command, fail, fail_for};
use crate::error::Error;
use crate::text::safe;

/// Why there is nothing to run, and how that is to be written.
pub(super) struct Unusable {
    pub(super) why: Why,
    pub(super) format: LogFormat,
}

pub(super) enum Why {
    Arguments(clap::Error),
    Settings(SettingsError),
}

impl Unusable {
    pub(super) fn tell(self) -> ExitCode {
        match self.why {
            Why::Arguments(error) if error.use_stderr() && self.format == LogFormat::Json => {
                write_json("error", describe(&error, None));
                exit_code(&error)
            }
            Why::Arguments(error) => {
                let text = error.render().to_string();
                let said = match safe(&text) {
                    Cow::Borrowed(_) => error.print(),
                    Cow::Owned(text) => write!(io::stderr(), "{text}"),
                };
                match said {
                    // The help that was asked for. A reader who has seen enough of it is no failure.
                    Err(cause)
                        if !error.use_stderr() && cause.kind() != io::ErrorKind::BrokenPipe =>
                    {
                        fail(&Error::Output(cause), &output_in(self.format))
                    }
                    // Where nobody listens, the exit code still says it.
                    _ => exit_code(&error),
                }
            }
            Why::Settings(error) => fail(&error.into(), &output_in(self.format)),
        }
    }

    /// The same, for somebody who called another command and knows nothing of ours.
    pub(super) fn tell_for(self, name: &OsStr) -> ExitCode {
        let error = match self.why {
            Why::Arguments(error) => error,
            Why::Settings(error) => return fail_for(name, &error.into(), self.format),
        };
        let name = name.to_string_lossy();
        match self.format {
            LogFormat::Text => {
                let text = error.render().to_string();
                let line = text.lines().next().unwrap_or_default();
                let line = format!("straw, for {}: {line}\n", name.escape_debug());
                let _ = io::stderr().write_all(safe(&line).as_bytes());
            }
            LogFormat::Json => {
                let mut what = describe(&error, Some(OPTIONS_OF_SHIMS));
                what["command"] = name.into();
                write_json("error", what);
            }
        }
        exit_code(&error)
    }
}

fn output_in(log_format: LogFormat) -> Output {
    Output {
        log_format,
        ..Output::default()
    }
}

fn exit_code(error: &clap::Error) -> ExitCode {
    ExitCode::from(error.exit_code().try_into().unwrap_or(2))
}

/// What is wrong with the arguments, with the fields that all errors have.
fn describe(error: &clap::Error, hint: Option<&str>) -> Value {
    let text = error.render().to_string();
    let parts = ["\n\n  tip: ", "\n\nUsage: ", "\n\nFor more information"];
    let end = parts.iter().filter_map(|part| text.rfind(part)).min();
    let (message, rest) = text.split_at(end.unwrap_or(text.len()));
    let message = match error.kind() {
        // The text is the help, or a list of commands.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing"
        }
        _ => message.strip_prefix("error: ").unwrap_or(message),
    };
    let hint = hint.map(str::to_owned).unwrap_or_else(|| {
        let first = rest.trim_start().split("\n\n").next().unwrap_or_default();
        let first = first.strip_prefix("tip: ").unwrap_or(first);
        match first.starts_with("For more information") || message == "a command is missing" {
            true => "--help tells more".to_owned(),
            false => format!("{}; --help tells more", first.trim_end()),
        }
    });
    json!({
        "exit_code": error.exit_code(),
        "kind": "usage",
        "message": message,
        "causes": [],
        "hint": hint,
    })
}

impl From<clap::Error> for Why {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

pub(super) const LOG_FORMAT: &str = "--log-format";

/// How messages are to be written, as far as that is said where not all can be read.
pub(super) fn log_format(arguments: &[OsString], settings: Option<&Settings>) -> LogFormat {
    let words = own_words(arguments);
    let argument = || {
        let mut places = words.iter().enumerate().rev();
        places.find_map(|(at, word)| match word.strip_prefix(LOG_FORMAT)? {
            "" => words.get(at + 1).map(|value| (*value).to_owned()),
            value => value.strip_prefix('=').map(str::to_owned),
        })
    };
    let variable = || std::env::var("STRAW_LOG_FORMAT").ok();
    let setting = || settings?.get("log-format", None);
    let read = |said: String| LogFormat::from_str(&said, false).ok();
    // What is none is what is complained of.
    let said = argument().and_then(read);
    said.or_else(|| variable().and_then(read))
        .or_else(|| setting().and_then(read))
        .unwrap_or_default()
}

/// The arguments without those of the command that `exec` is to run.
fn own_words(arguments: &[OsString]) -> Vec<&str> {
    let line = command();
    let exec = line.find_subcommand("exec");
    let options: Vec<&Arg> = line
        .get_arguments()
        .chain(exec.into_iter().flat_map(clap::Command::get_arguments))
        .collect();
    let has_value = |word: &str| {
        let is_it = |option: &&&Arg| match word.strip_prefix("--") {
            Some(long) => option.get_long() == Some(long),
            None => option
                .get_short()
                .is_some_and(|short| word == format!("-{short}")),
        };
        let option = options.iter().find(is_it);
        option.is_some_and(|option| {
            option.get_action().takes_values() && !option.is_require_equals_set()
        })
    };
    let mut words = Vec::new();
    let (mut is_value, mut of_exec) = (false, false);
    for word in arguments.iter().skip(1) {
        let word = word.to_str().unwrap_or_default();
        if word == "--" {
            break;
        }
        if is_value {
            is_value = false;
        } else if word.starts_with('-') {
            is_value = has_value(word);
        } else if of_exec {
            break;
        } else {
            of_exec = word == "exec";
        }
        words.push(word);
    }
    words
}
