//! Pieces of text that messages of several modules are made of.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

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

/// A text for a person's terminal: without tokens, and without what a terminal would obey or what
/// would show it as another text.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let text = without_tokens(text);
    if !text.contains(is_obeyed) {
        return text;
    }
    let mut safe = String::new();
    for c in text.chars() {
        if is_obeyed(c) {
            safe.extend(c.escape_debug());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether a terminal does something at this character, or shows nothing: controls, what turns the
/// direction of writing, what has no width.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        ' '..='~' => false,
        c if c.is_control() => true,
        // What is not printable is written as `\u{…}`.
        c => c.escape_debug().len() > 1,
    }
}

/// A value as JSON, which a terminal obeys nothing of either.
pub(crate) fn json(value: &Value, pretty: bool) -> String {
    let text = match pretty {
        true => format!("{value:#}\n"),
        false => format!("{value}\n"),
    };
    if !text.contains(is_obeyed) {
        return text;
    }
    // Only within strings is there anything but ASCII.
    let mut safe = String::new();
    for c in text.chars() {
        if is_obeyed(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// As much of a text as a clause of a message has room for.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    cut(text, 200)
}

/// So many characters of a text.
pub(crate) fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    // Nothing would tell half a token from other text.
    let text = without_tokens(text);
    match text.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text,
    }
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
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        for (text, shown) in [
            ("a\x1b[2J\n\tb", "a\\u{1b}[2J\n\tb"),
            ("\r\x08\x07\x7f", "\\r\\u{8}\\u{7}\\u{7f}"),
            // One byte in place of ESC [.
            ("\u{9b}31m", "\\u{9b}31m"),
            // Right to left; of no width; a line's end that is none of ASCII's; a tag.
            ("conf\u{202e}txt\u{2066}", "conf\\u{202e}txt\\u{2066}"),
            (
                "a\u{200b}\u{200d}\u{feff}\u{ad}",
                "a\\u{200b}\\u{200d}\\u{feff}\\u{ad}",
            ),
            ("a\u{2028}\u{e0041}", "a\\u{2028}\\u{e0041}"),
            ("grün ✓ – 日本 'a' \\", "grün ✓ – 日本 'a' \\"),
        ] {
            assert_eq!(safe(text), shown);
            let value = serde_json::json!({ "text": text });
            for pretty in [false, true] {
                let written = json(&value, pretty);
                assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
                assert_eq!(safe(&written), written);
            }
        }
    }

    #[test]
    fn what_is_long_is_cut_and_no_token_with_it() {
        assert_eq!(brief("short"), "short");
        assert_eq!(brief(&"é".repeat(500)), format!("{}…", "é".repeat(200)));
        let token = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, r#"{"sun":"alice"}"#);
        let long = format!("{} {token} {}", "x".repeat(190), "y".repeat(500));
        assert_eq!(brief(&long), format!("{} [a token]…", "x".repeat(190)));
    }

    #[test]
    fn a_long_text_takes_no_longer_than_it_has_to() {
        // Each of these made the search begin again at each byte, to the end of the text.
        let begin = std::time::Instant::now();
        let open = "ey".repeat(500_000);
        for text in [
            "a ".repeat(500_000),
            open.clone(),
            format!("{open}.e30.x"),
            "ey.".repeat(300_000),
            "eyJ.e30.".repeat(100_000),
        ] {
            without_tokens(&text);
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
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
