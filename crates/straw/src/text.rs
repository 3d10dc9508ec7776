//! Pieces of text that messages of several modules are made of.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use crate::credential::find_token;

/// What a log line is meant for that is shown without being asked for, and is no warning.
pub(crate) const NOTICE: &str = "notice";

/// Logs such a line.
macro_rules! notice {
    ($($argument:tt)*) => {
        log::info!(target: crate::text::NOTICE, $($argument)*)
    };
}
pub(crate) use notice;

/// A span of time in its two largest units: `3h 20m`. What is below a second is left out, unless
/// it is all there is.
pub(crate) fn span(duration: Duration) -> String {
    if duration < Duration::from_secs(1) && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    // `2days`, beside `3h`.
    let text = text.replace("days", "d").replace("day", "d");
    let mut units = text.split(' ');
    match (units.next(), units.next()) {
        (Some(first), Some(second)) => format!("{first} {second}"),
        _ => text,
    }
}

/// A time in seconds since 1970 as a date in UTC; `None` beyond the year 9999, which cannot be
/// written.
pub(crate) fn time(seconds: u64) -> Option<String> {
    const YEAR_10000: u64 = 253_402_300_800;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    (seconds < YEAR_10000).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// A text for a person's terminal: without tokens, and without what a terminal would obey.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let text = without_tokens(text);
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return text;
    }
    let mut safe = String::new();
    for c in text.chars() {
        if obeyed(c) {
            safe.extend(c.escape_debug());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// A text without the tokens that stand in it, wherever they were put by mistake: as a file's name,
/// as a release, as a command.
pub(crate) fn without_tokens(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed("");
    let mut rest = text;
    while let Some(token) = find_token(rest) {
        let shown = shown.to_mut();
        shown.push_str(&rest[..token.start]);
        shown.push_str("[a token]");
        rest = &rest[token.end..];
    }
    match shown.is_empty() {
        true => Cow::Borrowed(text),
        false => shown + rest,
    }
}

/// What a text is known again by, without telling it: 64 bits of FNV-1a, the same in every release.
pub(crate) fn mark_of(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// What the system says of an error, without the number that the standard library adds.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// The first of several things, as a list that a line can hold, and how many more there are.
pub(crate) fn few(things: &[impl AsRef<str>], most: usize) -> String {
    let (first, more) = things.split_at(most.min(things.len()));
    let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
    match more.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_handed_on() {
        let token = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, r#"{"sun":"alice"}"#);
        for (text, shown) in [
            ("`TOKEN`: no release", "`[a token]`: no release"),
            (
                "no SLURM_JWT=TOKEN, no /run/TOKEN",
                "no SLURM_JWT=[a token], no /run/[a token]",
            ),
            ("it is TOKEN.", "it is [a token]."),
            (
                "argument '--TOKEN', use '-- --TOKEN'",
                "argument '--[a token]', use '-- --[a token]'",
            ),
            (
                "--token-TOKEN --token=TOKEN",
                "--token-[a token] --token=[a token]",
            ),
            ("the-key_TOKEN.old", "the-key_[a token].old"),
            ("TOKEN.TOKEN-x TOKEN", "[a token].[a token] [a token]"),
            ("é{TOKEN}é", "é{[a token]}é"),
            ("eyJ.ey.ew and eyes.", "eyJ.ey.ew and eyes."),
            ("a.b.c of ctl1.example.org", "a.b.c of ctl1.example.org"),
        ] {
            assert_eq!(without_tokens(&text.replace("TOKEN", &token)), shown);
        }
        assert_eq!(safe("a\x1b[2J\n"), "a\\u{1b}[2J\n");
    }

    #[test]
    fn few_of_many() {
        assert_eq!(few(&["a", "b"], 2), "a, b");
        assert_eq!(few(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(few(&[""; 0], 2), "");
    }

    #[test]
    fn spans() {
        for (milliseconds, text) in [
            (0, "0s"),
            (300, "300ms"),
            (1500, "1s"),
            (12_000_000, "3h 20m"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }
}
