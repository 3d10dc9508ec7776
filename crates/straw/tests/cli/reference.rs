//! `docs/reference.md` is written by this test, from what the program says of itself:
//! `SNAPSHOTS=overwrite` renews it.

use clap::{Arg, Command};
use straw::error::ExitCode;

const BEGINNING: &str = "\
# Reference

This page is made from the program: each command, its options, and what it ends with. `straw help COMMAND` and the
manual pages say the same.

Every option can be given as an argument, in a variable, or in `/etc/straw.toml` under its long name. An argument wins
over a variable, a variable over the file. Shims take the settings of `exec`. An option without a value (`--json`) is
`1` or `true` in a variable, and `true` in the file; `--verbose` is a number there. What can be given several times is
separated by `;` in a variable, and a list in the file. Times are `90s`, `5m`, `1h 30m`, sizes `64M`.
";

/// What straw takes from the environment beside its own options.
const VARIABLES: &str = "
## Variables

Beside `STRAW_…`, which each option has:

| variable | what |
|---|---|
| `SLURM_CONF_SERVER` | controllers, where `--servers` names none |
| `SLURM_JWT` | a token, where no file and no command is named for it |
| `SLURM_JWT_FILE` | a file with the token, where `--token-file` names none |
| `SLURM_SACK_SOCKET` | a SACK socket, where `--sack-socket` names none |
| `SLURM_CONF` | shims leave alone what it names, unless straw has set it |
| `STRAW_CONFIG` | another file than `/etc/straw.toml`; it has to be there |
| `XDG_RUNTIME_DIR` | where `exec` and the shims keep the configuration |
| `PATH` | where commands are found, Slurm's library too |
| `NO_COLOR` | no colours in what `doctor` prints |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | set by systemd, for `watch` |

The first four are variables in the sense of the order above: they win over the file.

The command that `exec` or a shim becomes gets `SLURM_CONF`, and `SLURM_JWT` or `SLURM_SACK_SOCKET` where that is the
credential. `STRAW_SLURM_CONF`, `STRAW_SLURM_JWT` and `STRAW_SHIM` are straw's notes to itself, of what it has set. A
command of `--on-change` gets `SLURM_CONF`.
";

const EXIT_CODES: &str = "
## Exit codes

Scripts may rely on them, and on the kinds of [errors](errors.md), which tell more.

| exit code | meaning |
|---|---|
| 0 | done |
";

const OWN_EXIT_CODES: &str = "\
| the command's own | `exec` and shims: otherwise; 128 and the number of the signal that ended it |

`straw doctor` ends with that of the first check that failed, and with 126 where no command of Slurm's can run.
";

#[test]
fn the_reference_is_what_the_program_says() {
    let mut root = straw::cli::command();
    root.build();
    let mut text = BEGINNING.to_owned();
    text.push_str("\n## Every command\n\n");
    let every: Vec<_> = root.get_arguments().filter(|arg| is_global(arg)).collect();
    table(&mut text, &every);
    for command in leaves(&root) {
        describe(&mut text, command);
    }
    text.push_str(
        "\n## Controllers and credentials\n\nThe same for all that ask a controller.\n\n",
    );
    let fetch = root.find_subcommand("fetch").unwrap();
    table(&mut text, &of_access(fetch));
    text.push_str(VARIABLES);
    text.push_str(EXIT_CODES);
    for code in ExitCode::ALL {
        text.push_str(&format!("| {} | {} |\n", code as u8, code.meaning()));
    }
    text.push_str(OWN_EXIT_CODES);
    for arg in leaves(&root)
        .iter()
        .flat_map(|command| command.get_arguments())
    {
        let variable = arg.get_env().map(|variable| variable.to_string_lossy());
        assert!(
            variable.is_none_or(|variable| text.contains(&format!("`{variable}`"))),
            "{arg} is in no table"
        );
    }

    let path = format!("{}/../../docs/reference.md", env!("CARGO_MANIFEST_DIR"));
    snapbox::Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .normalize_paths(false)
        .eq(text, snapbox::Data::read_from(path.as_ref(), None));
}

/// The commands that do something, in the order of the help.
fn leaves(command: &Command) -> Vec<&Command> {
    let below = command
        .get_subcommands()
        .filter(|below| below.get_name() != "help");
    below
        .flat_map(|below| match below.has_subcommands() {
            true => leaves(below),
            false => vec![below],
        })
        .collect()
}

fn describe(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap();
    let about = command.get_about().unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    text.push_str(&format!(
        "\n## {name}\n\n{about}.\n\n```text\n{usage}\n```\n"
    ));
    let arguments = command.get_positionals();
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let options = options.filter(|arg| !is_common(command, arg));
    let own: Vec<_> = arguments.chain(options).collect();
    if !own.is_empty() {
        text.push('\n');
        table(text, &own);
    }
    if !of_access(command).is_empty() {
        text.push_str(
            "\nAnd the options of [controllers and credentials](#controllers-and-credentials).\n",
        );
    }
    if let Some(more) = command.get_after_help() {
        let more = more.to_string();
        text.push_str(&format!("\n```text\n{}\n```\n", more.trim_end()));
    }
}

fn is_global(arg: &Arg) -> bool {
    arg.is_global_set() && arg.get_env().is_some()
}

/// Whether an option stands in one of the tables of what several commands have.
fn is_common(command: &Command, arg: &Arg) -> bool {
    arg.get_env().is_none()
        || arg.is_global_set()
        || of_access(command)
            .iter()
            .any(|common| common.get_id() == arg.get_id())
}

/// The options of how to get at the controllers; a command has all or none of them.
fn of_access(command: &Command) -> Vec<&Arg> {
    let has_all = command
        .get_opts()
        .any(|arg| arg.get_long() == Some("servers"));
    command
        .get_arguments()
        .filter(|arg| has_all && arg.get_help_heading() == Some("Controllers and credentials"))
        .collect()
}

fn table(text: &mut String, args: &[&Arg]) {
    text.push_str("| | default | what |\n|---|---|---|\n");
    for arg in args {
        let mut name = match arg.get_short() {
            Some(short) => format!("`-{short}`, `{arg}`"),
            None => format!("`{arg}`"),
        };
        if let Some(variable) = arg.get_env() {
            name.push_str(&format!("<br>`{}`", variable.to_string_lossy()));
        }
        let takes = arg.get_action().takes_values() && !arg.is_hide_default_value_set();
        let default = arg.get_default_values().iter().filter(|_| takes);
        let default: Vec<_> = default
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('|', "\\|").replace('\n', " ");
        let name = name.replace('|', "\\|");
        text.push_str(&format!("| {name} | {} | {help} |\n", default.join(", ")));
    }
}
