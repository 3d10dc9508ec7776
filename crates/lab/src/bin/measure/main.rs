//! What a command costs, seen from beside it: this runs inside a container.
//!
//! ```text
//! measure runs 50 sinfo -h --and straw ping ctl1   time, a line of JSON for each command
//! measure trace straw fetch ctl1                   what the kernel saw of one run
//! measure record 127.0.0.1:6817 172.17.0.2:6817 DIRECTORY FILES straw fetch 127.0.0.1 -o FILES
//!                                                  what went through connections, and into files
//! measure storm 1000 60 straw fetch ctl1           many of it at once, for so many seconds
//! ```
//!
//! Variables may stand in front of a command, as in a shell; `{run}` in it is the number of the run.

#![forbid(unsafe_code)]

mod line;
mod record;
mod runs;
mod storm;
mod trace;

use std::process::ExitCode;

use line::Line;

const USAGE: &str = "\
usage: measure runs RUNS COMMAND... [--and COMMAND...]...
       measure trace COMMAND...
       measure record LISTEN CONTROLLER DIRECTORY FILES COMMAND...
       measure storm COUNT SECONDS COMMAND...";

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result {
    match words {
        ["runs", runs, lines @ ..] => {
            let lines: Result<Vec<Line>> = lines
                .split(|&word| word == "--and")
                .map(Line::parse)
                .collect();
            runs::run(runs.parse()?, &lines?)
        }
        ["trace", line @ ..] => trace::run(line),
        [trace::TRACED, line @ ..] => trace::become_traced(line),
        ["record", listen, controller, directory, files, line @ ..] => record::run(
            listen.parse()?,
            controller.parse()?,
            directory.as_ref(),
            files.as_ref(),
            &Line::parse(line)?,
        ),
        ["storm", count, seconds, line @ ..] => storm::run(count.parse()?, seconds.parse()?, line),
        [storm::GATED, line @ ..] => storm::wait_at_the_gate(line),
        _ => Err(USAGE.into()),
    }
}
