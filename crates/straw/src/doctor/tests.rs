//! What becomes of checks; how each comes about is tested from outside, in `tests/cli` and
//! `tests/live`.

use super::*;

fn report() -> Report {
    let mut checks = Checks::of(Group::Network);
    checks.well("a", "seen");
    checks.warn("b", "seen", "do this");
    checks.skip("c", "because of b");
    checks.fail("d", "seen", "", ExitCode::Tls);
    checks.fail("e", "seen", "do that", ExitCode::Credential);
    Report {
        checks: checks.list,
    }
}

#[test]
fn the_first_failure_counts() {
    let mut report = report();
    assert_eq!(report.exit_code(), Some(ExitCode::Tls));
    assert_eq!(report.count(Outcome::Failure), 2);
    report
        .checks
        .retain(|check| check.outcome != Outcome::Failure);
    assert_eq!(report.exit_code(), None);
    assert_eq!(report.to_json()["exit_code"], 0);
}

#[test]
fn json_has_what_text_has_and_no_token() {
    let token = lab::jwt::sign_text(b"key", r#"{"alg":"HS256"}"#, r#"{"sun":"alice"}"#);
    let mut report = report();
    report.checks[0].seen = format!("a controller named {token}");
    let json = report.to_json();
    assert_eq!(json["exit_code"], 7);
    assert_eq!(json["checks"][0]["seen"], "a controller named [a token]");
    assert_eq!(json["checks"][1]["outcome"], "warning");
    assert_eq!(json["checks"][1]["remedy"], "do this");
    assert!(json["checks"][3]["remedy"].is_null());
    assert_eq!(json["checks"][4]["group"], "names and network");
}

#[test]
fn long_texts_are_cut() {
    let mut checks = Checks::of(Group::Network);
    checks.well("a", "ü".repeat(MOST_SEEN));
    checks.well("b", "ü".repeat(MOST_SEEN + 1));
    let lengths = checks.list.iter().map(|check| check.seen.chars().count());
    assert_eq!(lengths.collect::<Vec<_>>(), [MOST_SEEN, MOST_SEEN + 1]);
    assert!(checks.list[1].seen.ends_with("ü…"));
}

#[test]
fn one_that_works_is_enough() {
    let mut report = Checks::of(Group::Network);
    report.list = self::report().checks;
    report.soften();
    let report = Report {
        checks: report.list,
    };
    assert_eq!(report.exit_code(), None);
    assert_eq!(report.count(Outcome::Warning), 3);
    assert_eq!(report.checks[4].remedy.as_deref(), Some("do that"));
}

#[test]
fn long_lists_are_cut() {
    let names: Vec<_> = (0..20).map(|name| name.to_string()).collect();
    assert!(list(&names).ends_with("10, 11 and 8 more"));
    assert_eq!(list(&names[..2]), "0, 1");
}
