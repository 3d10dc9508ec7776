//! Pieces of text that messages of several modules are made of.

use std::io;
use std::time::Duration;

/// A span of time in its two largest units: `3h 20m`. What is below a second is left out.
pub(crate) fn span(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    let mut units = text.split(' ');
    match (units.next(), units.next()) {
        (Some(first), Some(second)) => format!("{first} {second}"),
        _ => text,
    }
}

/// What the system says of an error, without the number that the standard library adds.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
