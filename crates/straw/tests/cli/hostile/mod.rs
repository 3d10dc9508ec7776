//! A hostile controller, and a hostile neighbour: whatever they do, straw ends in time, with the right
//! exit code, with nothing written where it should not be and nothing said that a terminal obeys.

mod environment;
mod limits;
mod names;
mod neighbours;
mod reflected;
mod rights;
mod sizes;
mod sockets;
mod terminal;

use std::process::{Command, Output};

use crate::fake::{Fake, config};
use crate::straw::Straw;

/// A controller that gives out these files, whatever their names and contents.
fn serving(files: Vec<(Vec<u8>, Vec<u8>)>) -> Fake {
    Fake::answers(move |version| config(version, &files))
}

/// A good slurm.conf, as the first of some files.
fn with_slurm_conf(more: &[(&[u8], &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let first = [(
        &b"slurm.conf"[..],
        &b"ClusterName=lab\nSlurmctldHost=localhost\n"[..],
    )];
    let files = first.iter().chain(more);
    files
        .map(|(name, content)| (name.to_vec(), content.to_vec()))
        .collect()
}

/// Runs a shell script in which `"$@"` is straw with these arguments.
fn in_shell(script: &str, straw: &Straw) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]);
    shell.arg(straw.command.get_program());
    shell.args(straw.command.get_args());
    shell.env_clear().current_dir(straw.path());
    for (name, value) in straw.command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.output().unwrap()
}

/// What a program said, on both streams.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

/// That it ended as it promises to: by itself, with this exit code, and with a message that is short and
/// that a terminal obeys nothing of.
#[track_caller]
fn assert_ends(output: &Output, code: i32) -> String {
    let said = said(output);
    let shown: String = said.chars().take(4000).collect();
    assert_eq!(output.status.code(), Some(code), "{shown:?}");
    assert!(!said.contains("panicked"), "{shown:?}");
    assert!(said.len() < 16_000, "{} bytes: {shown:?}", said.len());
    assert_harmless(&said);
    said
}

/// That a terminal does nothing at this text but show it, as what it is.
#[track_caller]
fn assert_harmless(text: &str) {
    let obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let at = text.find(obeyed);
    let around = at.map(|at| text[..at].chars().rev().take(200).collect::<Vec<_>>());
    let around = around.map(|around| around.into_iter().rev().collect::<String>());
    assert!(at.is_none(), "behind {around:?}");
}
