//! Arguments and settings that are of no use, told of in the form that is wanted, as far as that can be
//! known then.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum as _;
use clap::error::ErrorKind;
use serde_json::{Value, json};

use super::args::{LogFormat, Output};
use super::logger::write_json;
use super::settings::{Settings, SettingsError};
use super::{fail, fail_for};
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
                write_json("error", describe(&error));
                exit_code(&error)
            }
            Why::Arguments(error) => {
                // Where nobody listens, the exit code still says it.
                let text = error.render().to_string();
                let _ = match safe(&text) {
                    Cow::Borrowed(_) => error.print(),
                    Cow::Owned(text) => write!(std::io::stderr(), "{text}"),
                };
                exit_code(&error)
            }
            Why::Settings(error) => {
                let output = Output {
                    log_format: self.format,
                    ..Output::default()
                };
                fail(&error.into(), &output)
            }
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
                let _ = std::io::stderr().write_all(safe(&line).as_bytes());
            }
            LogFormat::Json => {
                let mut what = describe(&error);
                what["command"] = name.into();
                write_json("error", what);
            }
        }
        ExitCode::from(2)
    }
}

fn exit_code(error: &clap::Error) -> ExitCode {
    ExitCode::from(error.exit_code().try_into().unwrap_or(2))
}

/// What is wrong with the arguments, with the fields that all errors have.
fn describe(error: &clap::Error) -> Value {
    let text = error.render().to_string();
    let (message, hint) = match error.kind() {
        // The text is the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ("a command is missing", "--help lists those that there are")
        }
        _ => text.trim_end().split_once("\n\n").unwrap_or((&text, "")),
    };
    json!({
        "exit_code": error.exit_code(),
        "kind": "usage",
        "message": message.strip_prefix("error: ").unwrap_or(message),
        "causes": [],
        "hint": hint,
    })
}

impl From<clap::Error> for Why {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

/// How messages are to be written, as far as that is said where not all can be read.
pub(super) fn log_format(arguments: &[OsString], settings: Option<&Settings>) -> LogFormat {
    const OPTION: &str = "--log-format";
    // What comes behind is a command's.
    let words = arguments
        .iter()
        .map(|word| word.to_str().unwrap_or_default());
    let words: Vec<_> = words.take_while(|word| *word != "--").collect();
    let argument =
        words
            .iter()
            .enumerate()
            .find_map(|(at, word)| match word.strip_prefix(OPTION)? {
                "" => words.get(at + 1).copied(),
                value => value.strip_prefix('='),
            });
    let variable = || {
        std::env::var("STRAW_LOG_FORMAT")
            .ok()
            .filter(|value| !value.is_empty())
    };
    let setting = || settings?.get("log-format", None);
    let said = argument
        .map(str::to_owned)
        .or_else(variable)
        .or_else(setting);
    let said = said.map(|said| LogFormat::from_str(&said, false));
    said.and_then(Result::ok).unwrap_or_default()
}
