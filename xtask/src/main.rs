//! straw's chores.
//!
//! ```text
//! cargo xtask demo [RELEASE]   a real cluster, and straw's main job in a client container
//! cargo xtask demo --record    the same, and the picture of it in the README
//! cargo xtask test [STEP]...   everything that must hold before a change lands
//! cargo xtask test --fuzz [TARGET]...
//!                              a minute of fuzzing for all that reads what others wrote, or some of it
//! cargo xtask bench            what straw costs, into docs/benchmarks.md
//! cargo xtask bench compare    the ways to make a container a client, into docs/comparison.md
//! cargo xtask docs             docs/ as a book to read in a browser
//! cargo xtask dist [--check]   what is given to others, and how large it is
//! ```

#![forbid(unsafe_code)]

mod bench;
mod binary;
mod demo;
mod deny;
mod dist;
mod docs;
mod fuzz;
mod links;
mod package;
mod recording;
mod run;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask demo [RELEASE]   boot a real cluster (22.05, 24.11 or 26.05) and use straw in it
       cargo xtask demo --record    and make the picture of it that the README shows
       cargo xtask test [STEP]...   run all checks and tests, or some: see `cargo xtask test --list`
       cargo xtask test --fuzz [TARGET]...
                                    fuzz each target for a minute, or only these
       cargo xtask bench            measure what straw costs, and write the page
       cargo xtask bench compare    measure all ways to make a container a client, and write the page
       cargo xtask docs             make a book of docs/ in target/book
       cargo xtask dist [--check]   make tarball, package, wheel, image and SBOM in target/dist; or
                                    see whether two clones of a commit give the same";

/// What a chore ends with. The error is for a person, cause and remedy.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["demo"] => demo::run("26.05", false),
        ["demo", "--record"] => demo::run("26.05", true),
        ["demo", release] => demo::run(release, false),
        ["test", steps @ ..] => test::run(steps),
        ["bench"] => bench::costs(),
        ["bench", "compare"] => bench::compare(),
        ["docs"] => docs::run(),
        ["dist"] => dist::run(),
        ["dist", "--check"] => dist::check(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}
