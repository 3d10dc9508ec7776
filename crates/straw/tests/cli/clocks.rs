//! Clocks that were set, seen in the times of files, and tokens with any time in them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slurm_protocol::ProtocolVersion;

use crate::fake::{Fake, config, return_code};
use crate::straw::{Straw, sign};

const FILES: &[(&str, &str)] = &[("slurm.conf", "ClusterName=lab\n")];
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn set_time(path: &Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Times that are nowhere near now.
fn other_times() -> [SystemTime; 7] {
    let now = SystemTime::now();
    [
        UNIX_EPOCH,
        now - YEAR,
        now - HOUR,
        now + HOUR,
        now + YEAR,
        // The last second of 32 bits, and one that no file system keeps.
        UNIX_EPOCH + Duration::from_secs(u32::MAX.into()),
        UNIX_EPOCH + Duration::from_secs(1 << 40),
    ]
}

/// A controller, which can be in standby.
fn controller() -> (Fake, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let fake = Fake::answers(move |version| match away.load(Ordering::Relaxed) {
        false => config(version, FILES),
        true => return_code(version, 2131),
    });
    (fake, is_away)
}

/// straw with a store that holds a set.
fn with_store(fake: &Fake) -> Straw {
    let line = ["exec", "--verbatim", "--store", "store", "--max-age", "30m"];
    let mut straw = Straw::with_token(&line)
        .env("STRAW_SERVERS", fake.address.to_string())
        .env("STRAW_RELEASE", "26.05");
    straw.command.args(["--", "/bin/true"]);
    straw.done();
    straw
}

#[test]
fn whenever_a_set_was_checked_and_a_failure_noted_a_controller_is_asked() {
    let (fake, is_away) = controller();
    for time in other_times() {
        is_away.store(false, Ordering::Relaxed);
        let mut straw = with_store(&fake);
        let store = straw.path().join("store");
        let notes = store.join("..gen-1/.straw.json");
        is_away.store(true, Ordering::Relaxed);
        set_time(&notes, SystemTime::now() - HOUR);
        let said = straw.done();
        assert!(said.contains("; using the configuration of 1h"), "{said}");

        set_time(&notes, time);
        set_time(&store.join("..failed"), time + Duration::from_secs(1));
        set_time(&store.join("..gen-1"), time);
        is_away.store(false, Ordering::Relaxed);
        fake.requests();
        assert_eq!(straw.done(), "", "{time:?}");
        assert_eq!(fake.requests().len(), 1, "{time:?}: nobody was asked");
        let checked = fs::metadata(&notes).unwrap().modified().unwrap();
        assert!(checked.elapsed().is_ok_and(|age| age < HOUR), "{time:?}");
        // Now it is fresh.
        straw.done();
        assert!(fake.requests().is_empty(), "{time:?}: asked again");
    }
}

#[test]
fn a_set_of_a_time_to_come_bridges_an_outage() {
    let (fake, is_away) = controller();
    let mut straw = with_store(&fake);
    let notes = straw.path().join("store/..gen-1/.straw.json");
    set_time(&notes, SystemTime::now() + YEAR);
    is_away.store(true, Ordering::Relaxed);
    let said = straw.done();
    let what = "; using the configuration of a time to come (the clock was set back)";
    assert!(said.contains(what), "{said}");
}

#[test]
fn whatever_times_a_token_names_it_is_an_error_or_it_is_used() {
    let fake = Fake::controller(ProtocolVersion::V26_05, FILES);
    let server = fake.address.to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let times = [
        "0".to_owned(),
        "-1".to_owned(),
        (now - YEAR).as_secs().to_string(),
        (now + YEAR).as_secs().to_string(),
        u32::MAX.to_string(),
        i64::MAX.to_string(),
        u64::MAX.to_string(),
        "1e300".to_owned(),
        "\"soon\"".to_owned(),
    ];
    let hour = (now + HOUR).as_secs().to_string();
    let mut all = Vec::new();
    for time in &times {
        all.push((time, format!(r#"{{"exp":{time},"iat":0,"sun":"a"}}"#)));
        for claim in ["iat", "nbf"] {
            let claims = format!(r#"{{"exp":{hour},"{claim}":{time},"sun":"a"}}"#);
            all.push((&hour, claims));
        }
        all.push((
            time,
            format!(r#"{{"exp":{time},"iat":{time},"nbf":{time}}}"#),
        ));
    }
    for (expires, claims) in all {
        let token = sign(r#"{"alg":"HS256"}"#, &claims);
        let is_good = expires
            .parse::<f64>()
            .is_ok_and(|expires| expires > now.as_secs_f64());
        let exec = ["exec", "--verbatim", "--store", "store", "--", "/bin/true"];
        for line in [
            &["token", "show"][..],
            &["fetch", "-o", "flat"],
            &exec,
            &["doctor"],
        ] {
            let mut straw = Straw::new(line)
                .env("SLURM_JWT", &token)
                .env("STRAW_SERVERS", &server);
            let output = straw.run();
            let said = String::from_utf8_lossy(&output.stderr);
            if line == ["doctor"] {
                // What else it finds depends on the machine.
                let panicked = [None, Some(101)].contains(&output.status.code());
                assert!(!panicked, "{claims}: {said}");
                continue;
            }
            let wanted = if is_good { 0 } else { 4 };
            assert_eq!(
                output.status.code(),
                Some(wanted),
                "{line:?}: {claims}: {said}"
            );
        }
    }
}
