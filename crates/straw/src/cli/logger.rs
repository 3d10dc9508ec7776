//! Log lines on stderr: warnings always, more of them with `-v`.

use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::args::Output;
use crate::text::safe;

struct Stderr;

/// Starts logging as the arguments say.
pub(super) fn start(output: &Output) {
    let level = match (output.quiet, output.verbose) {
        (true, _) => LevelFilter::Off,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, 2) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        // There is nobody to tell that stderr is gone.
        let text = record.args().to_string();
        let _ = writeln!(std::io::stderr(), "{level}: {}", safe(&text));
    }

    fn flush(&self) {}
}
