//! `cargo deny`: the licences, sources and duplicates of the workspace's crates, and what is known against
//! them. What only the fuzzers are built from is no part of that.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::binary;
use crate::run::{cargo, check, say};

/// The release that is built where there is none on the PATH.
const RELEASE: &str = "0.20.2";

/// Where the advisories are.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// Checks what can be checked; what could not be is said in the result.
pub fn run() -> Result<Option<String>> {
    let program = install()?;
    check(deny(&program).args(["licenses", "bans", "sources"]))?;
    if !is_reachable() {
        return Ok(Some(format!(
            "no advisories: {ADVISORIES} cannot be reached"
        )));
    }
    check(deny(&program).arg("advisories"))?;
    Ok(None)
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(crate::run::root())
        .args(["--locked", "check", "--hide-inclusion-graph"]);
    command
}

/// The program: the one on the PATH, or one that is built here once.
fn install() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).map(|place| place.join("cargo-deny"));
    if let Some(program) = found.find(|program| program.is_file()) {
        return Ok(program);
    }
    let place = binary::target().join("tools");
    let program = place.join("bin/cargo-deny");
    let is_built = Command::new(&program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(RELEASE));
    if !is_built {
        say(&format!(
            "cargo-deny {RELEASE} is built, in some minutes, and kept"
        ));
        // It runs for a second, so a fast build is worth more than a fast program.
        check(
            cargo(&[
                "install",
                "--quiet",
                "--locked",
                "--debug",
                "--no-default-features",
            ])
            // Not with the repository's own flags.
            .current_dir("/")
            .args(["cargo-deny", "--version", RELEASE])
            .arg("--root")
            .arg(&place)
            .env("CARGO_TARGET_DIR", place.join("build"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
        )?;
    }
    Ok(program)
}

fn is_reachable() -> bool {
    // A network that swallows what is sent would keep us waiting.
    Command::new("timeout")
        .args(["20", "git", "ls-remote", "--exit-code", ADVISORIES, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .is_ok_and(|output| output.status.success())
}
