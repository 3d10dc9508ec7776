//! The pages in `docs/`, as a book to read in a browser.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::binary;
use crate::links::{self, BOOK};
use crate::run::{capture, cargo, check, root, say};

/// The mdBook that is installed where there is none. Its settings have not changed within 0.5.
const MDBOOK: &str = "0.5.4";

pub fn run() -> Result {
    links::check()?;
    let mdbook = mdbook()?;
    let book = binary::target().join("book");
    check(
        Command::new(mdbook)
            .arg("build")
            .arg(root().join(BOOK))
            .arg("--dest-dir")
            .arg(&book),
    )?;
    println!("{}", book.join("index.html").display());
    Ok(())
}

/// The mdBook of this machine, or one of our own.
fn mdbook() -> Result<PathBuf> {
    let tools = binary::target().join("tools");
    let ours = tools.join("bin/mdbook");
    for program in ["mdbook".into(), ours.clone()] {
        let version = capture(Command::new(&program).arg("--version"));
        if version.is_ok_and(|version| version.starts_with("mdbook v0.5.")) {
            return Ok(program);
        }
    }
    say(&format!(
        "installing mdBook {MDBOOK} into {}, which takes some minutes, once",
        tools.display()
    ));
    let install = ["install", "mdbook", "--locked", "--version", MDBOOK];
    // What serves and watches is most of it, and not needed.
    let features = ["--no-default-features", "--features", "search", "--root"];
    let installed = check(cargo(&install).args(features).arg(&tools));
    installed.map_err(|error| {
        format!("{error}; install mdBook 0.5 in some other way: one on the PATH is used")
    })?;
    Ok(ours)
}
