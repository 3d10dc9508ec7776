//! The manual pages: one for straw, and one for each command.

use std::collections::BTreeMap;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use straw::error::ExitCode;

use super::release::{Release, SUMMARY};
use crate::Result;

/// What straw takes from the environment beside its own options.
const VARIABLES: &[(&str, &str)] = &[
    (
        "SLURM_CONF_SERVER",
        "The controllers, where neither an argument nor STRAW_SERVERS names them.",
    ),
    (
        "SLURM_JWT",
        "A token, where no file and no command is named that has one.",
    ),
    (
        "SLURM_JWT_FILE",
        "A file with the token, where --token-file names none.",
    ),
    (
        "SLURM_SACK_SOCKET",
        "A SACK socket, where --sack-socket names none.",
    ),
    (
        "SLURM_CONF",
        "Where it is set, and not by straw, shims fetch nothing. The command of exec and of shims gets it.",
    ),
    (
        "STRAW_CONFIG",
        "Another file with settings than /etc/straw.toml; it must be there.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "The directory of the store, where --store names none.",
    ),
    ("NO_COLOR", "Where it is set, doctor uses no colours."),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/straw.toml",
        "Settings: the long names of options, for where neither an argument nor a variable says so.",
    ),
    (
        "$XDG_RUNTIME_DIR/straw, /run/straw, /tmp/straw-UID",
        "The store, in which exec and the shims keep the configuration: the first for who has such a \
         directory, the second for root.",
    ),
    (
        ".straw.json",
        "In a directory with fetched files: which of them straw wrote.",
    ),
];

/// The pages, each with the name of its file.
pub fn pages(release: &Release) -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = straw::cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    for command in std::iter::once(&root).chain(below(&root)) {
        pages.push((
            format!("{}.1", title(command)),
            page(&root, command, release)?,
        ));
    }
    Ok(pages)
}

/// The commands below one, and those below them, that are shown to people.
fn below(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    shown
        .flat_map(|sub| std::iter::once(sub).chain(below(sub)))
        .collect()
}

/// The name of a page: `straw-token-show`.
fn title(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(root: &Command, command: &Command, release: &Release) -> Result<Vec<u8>> {
    let [year, month, day, ..] = release.fields();
    let man = Man::new(command.clone())
        .title(title(command).to_uppercase())
        .date(format!("{year}-{month:02}-{day:02}"))
        .source(format!("straw {}", release.version))
        .manual("straw");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    let is_root = title(command) == title(root);
    name(command, is_root).to_writer(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if is_root {
        environment(root).to_writer(&mut page)?;
        files().to_writer(&mut page)?;
        exit_status().to_writer(&mut page)?;
    }
    examples(command).to_writer(&mut page)?;
    see_also(root, command).to_writer(&mut page)?;
    Ok(page)
}

/// The line that `apropos` shows.
fn name(command: &Command, is_root: bool) -> Roff {
    let about = command.get_about().map(ToString::to_string);
    let about = about.filter(|_| !is_root);
    let about = about.unwrap_or_else(|| SUMMARY.to_owned());
    let mut roff = Roff::default();
    // No hyphens: they would stand within the names of variables.
    roff.control("nh", []);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{} - {about}", title(command)))]);
    roff
}

/// How it is called, as the help says it: clap_mangen would list every option.
fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string();
    verbatim(&mut roff, usage.trim_start_matches("Usage: "));
    roff
}

/// Every variable that is an option's, and the others.
fn environment(root: &Command) -> Roff {
    let mut variables: BTreeMap<String, (&Arg, Vec<String>)> = BTreeMap::new();
    for command in std::iter::once(root).chain(below(root)) {
        for arg in command.get_arguments() {
            if let Some(variable) = arg.get_env() {
                let variable = variable.to_string_lossy().into_owned();
                let (_, of) = variables.entry(variable).or_insert((arg, Vec::new()));
                let name = command.get_bin_name().unwrap_or_default();
                of.push(name.trim_start_matches("straw").trim().to_owned());
            }
        }
    }
    let mut roff = Roff::default();
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(
        "Each option has a variable, and an argument wins over it:",
    )]);
    for (variable, (arg, of)) in variables {
        let option = format!("--{}", arg.get_long().unwrap_or_default());
        let option = match arg.get_long() {
            Some(_) => bold(option),
            None => roman("the arguments"),
        };
        // What every command has is the root's.
        let of = if of.iter().any(String::is_empty) {
            String::new()
        } else {
            format!(" of {}", of.join(", "))
        };
        roff.control("TP", []);
        roff.text([bold(variable)]);
        roff.text([option, roman(of)]);
    }
    roff.control("PP", []);
    roff.text([roman("And beside these:")]);
    table(&mut roff, VARIABLES);
    roff
}

fn files() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["FILES"]);
    table(&mut roff, FILES);
    roff
}

fn exit_status() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    let mut row = |code: &str, meaning: &str| {
        roff.control("TP", ["6"]);
        roff.text([bold(code)]);
        roff.text([roman(meaning.replace('`', ""))]);
    };
    row("0", "done");
    for code in ExitCode::ALL {
        row(&(code as u8).to_string(), code.meaning());
    }
    roff.control("PP", []);
    roff.text([roman(
        "Otherwise exec and shims end as their command does, with 128 and the number of the signal \
         where one ended it.",
    )]);
    roff
}

fn table(roff: &mut Roff, rows: &[(&str, &str)]) {
    for (term, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
}

/// What stands below the options in the help: its first paragraph is an example.
fn examples(command: &Command) -> Roff {
    let mut roff = Roff::default();
    let Some(text) = command.get_after_help() else {
        return roff;
    };
    let text = text.to_string();
    let (example, notes) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (heading, lines) = example.split_once('\n').unwrap_or(("", example));
    roff.control("SH", ["EXAMPLES"]);
    let heading = heading.split_once(':').map_or(heading, |(_, rest)| rest);
    if !heading.trim().is_empty() {
        roff.text([roman(format!("{}:", sentence(heading.trim())))]);
    }
    verbatim(&mut roff, lines);
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
        for paragraph in notes.replace('`', "").split("\n\n") {
            roff.control("PP", []);
            roff.text([roman(paragraph)]);
        }
    }
    roff
}

/// A text that begins with a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.control("RS", ["2"]);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// The page above, and, on the page of straw, all others.
fn see_also(root: &Command, command: &Command) -> Roff {
    let own = title(command);
    let titles: Vec<&str> = if own == title(root) {
        below(root).into_iter().map(title).collect()
    } else {
        let above = own.rsplit_once('-').map(|(above, _)| above);
        let siblings = below(root).into_iter().map(title);
        let nearest = siblings.filter(|name| above.is_some_and(|above| above == *name));
        std::iter::once(title(root)).chain(nearest).collect()
    };
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (at, title) in titles.into_iter().enumerate() {
        if at > 0 {
            line.push(roman(", "));
        }
        line.extend([italic(title), roman("(1)")]);
    }
    roff.text(line);
    roff
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dist::release;

    fn all() -> BTreeMap<String, String> {
        let pages = pages(&release::tests::some("x86_64-unknown-linux-gnu")).unwrap();
        pages
            .into_iter()
            .map(|(name, page)| (name, plain(&String::from_utf8(page).unwrap())))
            .collect()
    }

    /// The text without fonts and escapes.
    fn plain(page: &str) -> String {
        page.replace("\\fI", "")
            .replace("\\fB", "")
            .replace("\\fR", "")
            .replace("\\-", "-")
    }

    #[test]
    fn every_command_has_a_page_and_every_reference_leads_to_one() {
        let pages = all();
        let names: BTreeSet<&str> = pages.keys().map(String::as_str).collect();
        for name in [
            "straw.1",
            "straw-exec.1",
            "straw-token-show.1",
            "straw-shim-install.1",
        ] {
            assert!(names.contains(name), "{name} in {names:?}");
        }
        for (name, page) in &pages {
            let words = page.split(|letter: char| letter.is_whitespace() || letter == ',');
            for word in words.filter(|word| word.ends_with("(1)")) {
                let reference = word.replace("(1)", ".1");
                assert!(names.contains(&*reference), "{name} refers to {word}");
            }
        }
    }

    #[test]
    fn the_page_of_straw_has_the_codes_and_the_variables() {
        let page = &all()["straw.1"];
        for part in [
            "127",
            "STRAW_TOKEN_FILE",
            "SLURM_CONF_SERVER",
            "/etc/straw.toml",
            "straw-doctor(1)",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("straw-help"), "{page}");
    }
}
