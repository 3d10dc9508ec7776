//! Whether the same commit gives the same bytes: two clones in different places, two builds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::binary;
use crate::run::{check, root, say};

/// Clones what is committed, twice, makes the artefacts in each clone, and compares them.
pub fn run() -> Result {
    let place = binary::target().join("dist-check");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    // The same crates at another place.
    let home = place.join("cargo-home");
    symlink(cargo_home()?, &home)?;
    // Of different lengths, so that no offset is the same by chance.
    let clones = [place.join("one"), place.join("another/and-deeper")];
    build(&root(), &clones[0], None)?;
    // Of the first clone, since somebody may go on to commit.
    build(&clones[0], &clones[1], Some(&home))?;
    let [one, other] = clones.map(|clone| clone.join("target/dist"));
    let mut differ = Vec::new();
    let all = names(&one)?;
    if all != names(&other)? {
        return Err("the clones make files of different names".into());
    }
    for name in &all {
        if fs::read(one.join(name))? != fs::read(other.join(name))? {
            differ.push(name.as_str());
        }
    }
    if !differ.is_empty() {
        let (differ, place) = (differ.join(", "), place.display());
        return Err(
            format!("two clones of one commit differ in {differ}; they are in {place}").into(),
        );
    }
    print!("{}", fs::read_to_string(one.join(super::SUMS))?);
    println!("two clones of one commit give the same {} files", all.len());
    fs::remove_dir_all(&place)?;
    Ok(())
}

/// A clone of a repository, and the artefacts in it.
fn build(of: &Path, clone: &Path, home: Option<&Path>) -> Result {
    say(&format!("building in {}", clone.display()));
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--no-hardlinks"]);
    check(git.arg(of).arg(clone))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    check(
        Command::new(cargo)
            .args(["xtask", "dist"])
            .current_dir(clone)
            .env("CARGO_TARGET_DIR", clone.join("target"))
            .envs(home.map(|home| ("CARGO_HOME", home))),
    )
}

/// Where cargo keeps the crates that it has fetched.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
