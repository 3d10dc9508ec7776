//! What is known about a watch as Prometheus reads it: its text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::status::Known;

/// What the page is, as HTTP says it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page. Times that are not known are not on it.
pub(super) fn page(known: &Known, ready: bool) -> String {
    let mut page = Page(String::new());
    page.gauge("straw_build_info", "The version of straw.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], &1);
    page.gauge(
        "straw_ready",
        "Whether there is a configuration that is not too old (1) or not (0).",
    )
    .sample(&[], &u8::from(ready));
    if let Some(set) = &known.set {
        page.gauge(
            "straw_config_info",
            "Which controller the configuration is from, and the release whose protocol was spoken.",
        )
        .sample(
            &[("controller", &set.controller), ("protocol", &set.protocol())],
            &1,
        );
    }
    let checked = known.set.as_ref().map(|set| set.checked);
    page.time(
        "straw_config_checked_timestamp_seconds",
        "When a controller was last known to have just this configuration.",
        checked,
    );
    page.time(
        "straw_config_changed_timestamp_seconds",
        "When the configuration last changed.",
        known.changed,
    );
    page.counter(
        "straw_config_changes_total",
        "How often the configuration changed.",
    )
    .sample(&[], &known.changes);
    let refreshes = known.refreshes;
    page.counter(
        "straw_refreshes_total",
        "Attempts to refresh the configuration, by what came of them.",
    )
    .sample(&[("result", "unchanged")], &refreshes.unchanged)
    .sample(&[("result", "changed")], &refreshes.changed)
    .sample(&[("result", "failed")], &refreshes.failed);
    let failing = page.gauge(
        "straw_refresh_failing",
        "Whether the last refresh failed (1), and with which kind of error, or not (0).",
    );
    match &known.failing {
        // Only what is the case has a label, so that no kind of long ago stays around.
        None => failing.sample(&[], &0),
        Some(error) => failing.sample(&[("kind", &error.kind)], &1),
    };
    if let Some(took) = known.took {
        page.gauge(
            "straw_refresh_duration_seconds",
            "How long the last refresh took.",
        )
        .sample(&[], &Seconds(took));
    }
    page.time(
        "straw_token_expiry_timestamp_seconds",
        "When the token expires.",
        known.token_expiry,
    );
    let renewals = known.renewals;
    page.counter(
        "straw_token_renewals_total",
        "Attempts to renew the token, by what came of them.",
    )
    .sample(&[("result", "renewed")], &renewals.renewed)
    .sample(&[("result", "failed")], &renewals.failed);
    page.0
}

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A time, if it is known.
    fn time(&mut self, name: &'static str, help: &str, time: Option<SystemTime>) {
        if let Some(time) = time {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.gauge(name, help).sample(&[], &Seconds(since));
        }
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: self, name }
    }
}

/// The samples of one name.
struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Family<'_> {
    fn sample(self, labels: &[(&str, &str)], value: &dyn Display) -> Self {
        let text = &mut self.page.0;
        text.push_str(self.name);
        let mut before = '{';
        for (name, value) in labels {
            let _ = write!(text, "{before}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
        self
    }
}

/// Seconds, to the millisecond.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::status::{Refresh, Renewal, Status};
    use super::super::testing::{at, current};
    use super::*;

    const TOOK: Duration = Duration::from_millis(1250);

    /// Name and labels of a sample.
    type Series = (String, BTreeMap<String, String>);

    /// Reads a page, as strictly as `promtool check metrics` does.
    fn read(page: &str) -> Result<BTreeMap<Series, f64>, String> {
        let page = page.strip_suffix('\n').ok_or("the last line has no end")?;
        let mut families = BTreeSet::new();
        let mut samples = BTreeMap::new();
        let mut lines = page.split('\n').peekable();
        while let Some(line) = lines.next() {
            let family = family(line, lines.next().unwrap_or_default()).ok_or(line)?;
            if !families.insert(family) {
                return Err(format!("twice: {family}"));
            }
            let is_sample = |line: &&str| !line.starts_with('#');
            let before = samples.len();
            while let Some(line) = lines.next_if(is_sample) {
                let rest = line.strip_prefix(family).ok_or(line)?;
                let (labels, value) = labels(rest).ok_or(line)?;
                let value = value.strip_prefix(' ').and_then(|value| value.parse().ok());
                let series = (family.to_owned(), labels);
                if samples.insert(series, value.ok_or(line)?).is_some() {
                    return Err(format!("twice: {line}"));
                }
            }
            if samples.len() == before {
                return Err(format!("no sample: {family}"));
            }
        }
        Ok(samples)
    }

    /// The name out of the two lines that a family begins with.
    fn family<'a>(help: &'a str, kind: &str) -> Option<&'a str> {
        let (name, help) = help.strip_prefix("# HELP ")?.split_once(' ')?;
        let kind = kind.strip_prefix(&format!("# TYPE {name} "))?;
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let fits = match kind {
            "counter" => name.ends_with("_total"),
            "gauge" => !name.ends_with("_total"),
            _ => false,
        };
        (name.starts_with("straw_") && is_name && fits && help.ends_with('.')).then_some(name)
    }

    /// Labels as they were meant, and what stands behind them.
    fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
        let mut labels = BTreeMap::new();
        let Some(mut text) = text.strip_prefix('{') else {
            return Some((labels, text));
        };
        loop {
            let (name, rest) = text.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = rest.chars();
            loop {
                value.push(match chars.next()? {
                    '"' => break,
                    '\n' => return None,
                    '\\' => match chars.next()? {
                        'n' => '\n',
                        c @ ('"' | '\\') => c,
                        _ => return None,
                    },
                    c => c,
                });
            }
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
            if !is_name || labels.insert(name.to_owned(), value).is_some() {
                return None;
            }
            let rest = chars.as_str();
            match rest.strip_prefix(',') {
                Some(next) => text = next,
                None => return Some((labels, rest.strip_prefix('}')?)),
            }
        }
    }

    fn series(name: &str, labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        (name.into(), labels.collect())
    }

    #[test]
    fn before_anything_is_known() {
        let status = Status::new(Duration::from_secs(60));
        let page = read(&status.metrics(at(1000))).unwrap();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let expected = [
            (series("straw_build_info", &version), 1.0),
            (series("straw_ready", &[]), 0.0),
            (series("straw_config_changes_total", &[]), 0.0),
            (
                series("straw_refreshes_total", &[("result", "unchanged")]),
                0.0,
            ),
            (
                series("straw_refreshes_total", &[("result", "changed")]),
                0.0,
            ),
            (
                series("straw_refreshes_total", &[("result", "failed")]),
                0.0,
            ),
            (series("straw_refresh_failing", &[]), 0.0),
            (
                series("straw_token_renewals_total", &[("result", "renewed")]),
                0.0,
            ),
            (
                series("straw_token_renewals_total", &[("result", "failed")]),
                0.0,
            ),
        ];
        assert_eq!(page, expected.into_iter().collect());
    }

    #[test]
    fn what_was_told() {
        let status = Status::new(Duration::from_secs(60));
        status.refreshed(&current("..gen-1", 1000), Refresh::Changed, TOOK);
        status.refreshed(&current("..gen-1", 1030), Refresh::Unchanged, TOOK);
        status.refresh_failed("unreachable", "nobody answers", TOOK);
        status.token_expires(Some(at(2000) + Duration::from_micros(7500)));
        status.renewed(Renewal::Renewed);
        status.renewed(Renewal::Failed);
        status.renewed(Renewal::Failed);
        let page = read(&status.metrics(at(1040))).unwrap();
        let from = [("controller", "ctl1:6817"), ("protocol", "24.11")];
        for (name, labels, value) in [
            ("straw_ready", &[][..], 1.0),
            ("straw_config_info", &from, 1.0),
            ("straw_config_checked_timestamp_seconds", &[], 1030.0),
            ("straw_config_changed_timestamp_seconds", &[], 1000.0),
            ("straw_config_changes_total", &[], 1.0),
            ("straw_refreshes_total", &[("result", "unchanged")], 1.0),
            ("straw_refreshes_total", &[("result", "changed")], 1.0),
            ("straw_refreshes_total", &[("result", "failed")], 1.0),
            ("straw_refresh_failing", &[("kind", "unreachable")], 1.0),
            ("straw_refresh_duration_seconds", &[], 1.25),
            ("straw_token_expiry_timestamp_seconds", &[], 2000.007),
            ("straw_token_renewals_total", &[("result", "renewed")], 1.0),
            ("straw_token_renewals_total", &[("result", "failed")], 2.0),
        ] {
            assert_eq!(page.get(&series(name, labels)), Some(&value), "{name}");
        }
        assert_eq!(page.len(), 14);
        status.refreshed(&current("..gen-1", 1050), Refresh::Unchanged, TOOK);
        let page = read(&status.metrics(at(1050 + 60))).unwrap();
        assert_eq!(page[&series("straw_refresh_failing", &[])], 0.0);
        assert_eq!(page[&series("straw_ready", &[])], 0.0);
    }

    #[test]
    fn a_page_that_is_none_is_found_out() {
        let good = "# HELP straw_a A.\n# TYPE straw_a gauge\nstraw_a 1\n";
        assert!(read(good).is_ok());
        for bad in [
            good.trim_end(),
            &good.replace("gauge", "counter"),
            &good.replace("straw_a 1\n", ""),
            &good.replace("straw_a 1", "straw_b 1"),
            &good.replace("straw_a 1", "straw_a{b=\"\\x\"} 1"),
            &good.replace("straw_a 1", "straw_a{b=\"\"\"} 1"),
            &good.replace("straw_a 1", "straw_a one"),
            &good.repeat(2),
            &format!("{good}straw_a 2\n"),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn labels_survive(controller in any::<String>(), kind in any::<String>()) {
            let status = Status::new(Duration::from_secs(60));
            let mut current = current("..gen-1", 1000);
            current.state.controller.clone_from(&controller);
            status.found(&current);
            status.refresh_failed(&kind, "", TOOK);
            let page = read(&status.metrics(at(1000))).unwrap();
            let from = [("controller", &*controller), ("protocol", "24.11")];
            prop_assert!(page.contains_key(&series("straw_config_info", &from)));
            prop_assert!(page.contains_key(&series("straw_refresh_failing", &[("kind", &kind)])));
        }
    }
}
