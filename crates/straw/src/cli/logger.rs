//! Log lines on stderr: warnings and notices always, more of them with `-v`.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Value, json};

use super::args::{LogFormat, Output};
use crate::text::{NOTICE, json as json_text, safe, without_tokens};

/// How lines are written, and which.
struct Stderr {
    format: LogFormat,
    level: LevelFilter,
}

/// Starts logging as the arguments say.
pub(super) fn start(output: &Output) {
    static LOGGER: OnceLock<Stderr> = OnceLock::new();
    let level = match (output.quiet, output.verbose) {
        (true, _) => LevelFilter::Off,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, 2) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    let format = output.log_format;
    let logger = LOGGER.get_or_init(|| Stderr { format, level });
    if log::set_logger(logger).is_ok() {
        // Notices are of the level below.
        log::set_max_level(match level {
            LevelFilter::Warn => LevelFilter::Info,
            level => level,
        });
    }
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level || metadata.target() == NOTICE
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            _ if record.target() == NOTICE => "notice",
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let text = record.args().to_string();
        let text = safe(&text);
        match self.format {
            LogFormat::Json => write_json(level, json!({ "message": text })),
            // In one piece: a command can write there as well. There is nobody to tell that stderr is
            // gone.
            LogFormat::Text => {
                let _ = std::io::stderr().write_all(format!("{level}: {text}\n").as_bytes());
            }
        }
    }

    fn flush(&self) {}
}

/// Writes what is known of something as one line, in one piece.
pub(super) fn write_json(level: &str, mut what: Value) {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    what["time"] = now.to_string().into();
    what["level"] = level.into();
    let line = json_text(&what, false);
    let _ = std::io::stderr().write_all(without_tokens(&line).as_bytes());
}
