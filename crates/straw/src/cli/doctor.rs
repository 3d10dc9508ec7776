//! `straw doctor`: what was found out, as text or JSON.

use std::env;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use rustix::termios::tcgetwinsize;

use super::adapting::adapt_here;
use super::args::{Color, Doctor, Output};
use super::{Environment, plan, print, print_json};
use crate::config::adapt::ByHand;
use crate::doctor::{Case, Check, Here, Outcome, Report, examine};
use crate::error::Error;
use crate::network::System;
use crate::text::safe;

/// A line has so many columns at most, or as many as the terminal, where that has fewer.
const WIDTH: usize = 100;

/// A terminal that has fewer columns breaks lines as it likes.
const NARROWEST: usize = 40;

/// What was seen begins behind the longest name, unless that is longer than this.
const LONGEST_NAME: usize = 24;

pub(super) fn run(
    arguments: Doctor,
    output: &Output,
    environment: &Environment,
) -> Result<ExitCode, Error> {
    let Doctor {
        servers,
        color,
        verbatim,
        keep,
        access,
    } = arguments;
    // What would be warned of is a check of its own.
    if output.verbose == 0 {
        log::set_max_level(log::LevelFilter::Off);
    }
    let target = plan::target(servers, &access, environment)?;
    let tls = match plan::tls(&access, None) {
        Err(error) if error.exit_code() == crate::error::ExitCode::Usage => return Err(error),
        tls => tls,
    };
    let (timeout, max_size) = (access.timeout, access.max_size);
    let slurm_conf = env::var_os("SLURM_CONF").filter(|set| !set.is_empty());
    let by_exec = slurm_conf.is_some() && slurm_conf == env::var_os("STRAW_SLURM_CONF");
    let method = access.auth.method();
    let case = Case {
        controllers: target.controllers,
        origin: target.origin,
        release: target.release,
        tls,
        places: plan::all_places(access, environment)?,
        method,
        timeout,
        max_size,
        adapt: &|set, query, fetched| adapt_here(set, query, fetched, &ByHand::default()),
        here: Here {
            path: env::var_os("PATH").unwrap_or_default(),
            slurm_conf: slurm_conf.filter(|_| !by_exec).map(Into::into),
            by_exec,
            verbatim,
            key_variables: ["SLURM_SACK_KEY", "SLURM_SACK_JWKS"]
                .into_iter()
                .filter(|name| env::var_os(name).is_some())
                .map(str::to_owned)
                .collect(),
            store: keep.store,
            runtime_dir: env::var_os("XDG_RUNTIME_DIR").map(Into::into),
            max_age: keep.max_age,
            max_stale: keep.max_stale,
        },
    };
    let report = examine(&case, &System);
    match output.json {
        true => print_json(&report.to_json())?,
        false => print(Style::new(color).text(&report, output.quiet).as_bytes())?,
    }
    let code = report.exit_code().map_or(0, |code| code as u8);
    Ok(ExitCode::from(code))
}

/// How the report is shown.
struct Style {
    color: bool,
    ascii: bool,
    width: usize,
}

impl Style {
    fn new(color: Color) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            color: match color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb,
            },
            ascii: wants_ascii(|name| env::var(name).ok()),
            // A terminal of unknown size has none.
            width: match tcgetwinsize(std::io::stdout()) {
                Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(NARROWEST, WIDTH),
                _ => WIDTH,
            },
        }
    }

    fn text(&self, report: &Report, quiet: bool) -> String {
        let mut text = String::new();
        let mut group = None;
        let names = report
            .checks
            .iter()
            .map(|check| one_line(&check.name).chars().count());
        let width = names
            .filter(|length| *length <= LONGEST_NAME)
            .max()
            .unwrap_or(0);
        for check in &report.checks {
            if quiet && check.outcome != Outcome::Failure {
                continue;
            }
            if group != Some(check.group) {
                if group.is_some() {
                    text.push('\n');
                }
                group = Some(check.group);
                text.push_str(&self.colored(check.group.name(), "1"));
                text.push('\n');
            }
            self.check(&mut text, check, width);
        }
        if !quiet {
            text.push('\n');
            text.push_str(&self.summary(report));
        }
        match self.ascii {
            true => ascii(&text),
            false => text,
        }
    }

    fn check(&self, text: &mut String, check: &Check, width: usize) {
        let (mark, plain, color) = match check.outcome {
            Outcome::Well => ("✓", "+", "32"),
            Outcome::Warning => ("!", "!", "33"),
            Outcome::Failure => ("✗", "x", "31"),
            Outcome::Skipped => ("–", "-", "2"),
        };
        let mark = if self.ascii { plain } else { mark };
        let mark = self.colored(mark, color);
        let name = one_line(&check.name);
        let begin = format!("  {mark} {name:<width$}  ");
        text.push_str(&begin);
        let column = 6 + name.chars().count().max(width);
        wrapped(text, &one_line(&check.seen), column, width + 6, self.width);
        if let Some(remedy) = &check.remedy {
            text.push_str("      ");
            wrapped(text, &one_line(remedy), 6, 6, self.width);
        }
    }

    /// How much is not well, and where to begin.
    fn summary(&self, report: &Report) -> String {
        let failures = report.count(Outcome::Failure);
        let warnings = report.count(Outcome::Warning);
        let skipped = report.count(Outcome::Skipped);
        let some = |count: usize, one: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {one}s")),
        };
        let parts: Vec<_> = [
            some(failures, "failure"),
            some(warnings, "warning"),
            (skipped > 0).then(|| format!("{skipped} not checked")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let counts = match parts.is_empty() {
            true => "all is well".to_owned(),
            false => parts.join(", "),
        };
        let failed = |check: &&Check| check.outcome == Outcome::Failure;
        let Some(first) = report.checks.iter().find(failed) else {
            return format!("{counts}\n");
        };
        let place = format!("{}, {}", first.group.name(), one_line(&first.name));
        format!("{counts}; mend first: {place}\n")
    }

    fn colored(&self, text: &str, color: &str) -> String {
        match self.color {
            true => format!("\x1b[{color}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// A text that a terminal obeys nothing of, in one line.
pub(super) fn one_line(text: &str) -> String {
    safe(text).replace(['\n', '\t'], " ")
}

/// Words, from this column on, in lines that begin at `indent` and end before `width`.
fn wrapped(text: &mut String, words: &str, column: usize, indent: usize, width: usize) {
    let mut at = column;
    let mut first = true;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !first && at + 1 + length > width {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else if !first {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += length;
        first = false;
    }
    text.push('\n');
}

/// Whether the locale is one that has no characters beyond ASCII. Where nothing is said, as in most
/// containers, nothing is asked for.
fn wants_ascii(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase().replace('-', "");
        !locale.contains("utf8")
    })
}

/// The same in ASCII.
fn ascii(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii() => plain.push(c),
            '…' => plain.push_str("..."),
            '–' => plain.push('-'),
            c => plain.extend(c.escape_unicode()),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_on_characters() {
        let wants = |set: &[(&str, &str)]| {
            wants_ascii(|name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(!wants(&[]));
        assert!(!wants(&[("LANG", "C.UTF-8")]));
        assert!(!wants(&[("LANG", "de_DE.utf8")]));
        assert!(!wants(&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")]));
        assert!(wants(&[("LANG", "C")]));
        assert!(wants(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
        assert!(wants(&[("LC_CTYPE", "de_DE.ISO-8859-1")]));
        assert_eq!(ascii("a… – grün"), "a... - gr\\u{fc}n");
    }

    #[test]
    fn lines_are_broken_between_words() {
        let mut text = String::new();
        let words = "word ".repeat(40);
        wrapped(&mut text, &words, 10, 6, 50);
        assert!(text.lines().all(|line| line.len() <= 50));
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with("      word"))
        );
        assert_eq!(text.matches("word").count(), 40);
        let mut text = String::new();
        wrapped(&mut text, &"x".repeat(300), 10, 6, 50);
        assert_eq!(text.lines().count(), 1);
    }
}
