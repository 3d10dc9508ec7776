//! Running commands, and saying so.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Tells in a line what happens next.
pub fn say(line: &str) {
    eprintln!("==> {line}");
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs this. What it builds is what Cargo.lock says, and nothing changes that
/// unseen.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    match arguments {
        [
            first @ ("build" | "clippy" | "doc" | "metadata" | "package" | "test" | "tree"),
            rest @ ..,
        ] => command.args([first, "--locked"]).args(rest),
        _ => command.args(arguments),
    };
    command
}

/// Runs a command to its end; it must succeed.
pub fn check(command: &mut Command) -> Result {
    let status = command
        .status()
        .map_err(|error| format!("{} cannot be run: {error}", show(command)))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{} failed ({status}); its output is above", show(command)).into())
}

/// Runs a command to its end, and takes what it writes to stdout.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", show(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed ({}): {said}", show(command), output.status).into())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default()];
    words.extend(command.get_args());
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
