//! Values that take some reading.

use std::time::Duration;

use crate::controller::LONGEST;

/// A span of time: a number of seconds, or `1m 30s` and the like.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "a time is written like 30s, 1m 30s or 2h".to_owned())?,
    };
    if duration > LONGEST {
        return Err("a year is the most".into());
    }
    Ok(duration)
}

/// The same, and more than nothing.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("no time is not enough".into()),
        duration => Ok(duration),
    }
}

/// A token's: whole seconds are what can be asked for.
pub(super) fn lifespan(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        duration if duration.as_secs() == 0 => Err("a second is the least".into()),
        duration => Ok(duration),
    }
}

/// A size in bytes, or with K, M or G behind it (powers of 1024): `64M`, `64MB` or `64MiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        _ => None,
    };
    shift
        .zip(number.parse::<usize>().ok())
        .and_then(|(shift, number)| number.checked_mul(1 << shift))
        .filter(|size| (1..=slurm_protocol::MAX_FRAME).contains(size))
        .ok_or_else(|| "a size is written like 500K or 64M, and 1G is the most".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "-1", "soon", "99999999999", "10y"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(some_time("0").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1"), Ok(1));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("500k"), Ok(500 << 10));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in [
            "",
            "0",
            "M",
            "2G",
            "-1",
            "64X",
            "1KM",
            "1MKG",
            "5iii",
            "64 M",
            "99999999999G",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
