use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use slurm_protocol::ProtocolVersion;

use super::*;
use crate::launch::How;
use crate::store::State;

fn set(number: u32, checked: SystemTime) -> Current {
    Current {
        generation: format!("/store/..gen-{number}").into(),
        stable: "/store".into(),
        state: State {
            key: String::new(),
            controller: "ctl1:6817".into(),
            address: None,
            version: ProtocolVersion::V24_11,
            tls: false,
            fetched: 0,
        },
        checked,
    }
}

/// What a refresh comes to: a set that was checked just now, or an error.
type Outcome = Result<u32, ()>;

/// Runs a watch that refreshes so often, and has these come of it, one after the other; then it is
/// told to end. Returns the generations that were told of, and the age that was asked for each time.
fn watch(
    interval: Duration,
    current: Option<Current>,
    outcomes: Vec<Outcome>,
    wake_after_each: bool,
) -> (Vec<String>, Vec<Duration>, Arc<Status>) {
    let (sender, wake): (Sender<Wake>, _) = channel();
    let outcomes = Mutex::new(outcomes.into_iter().peekable());
    let asked: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let status = Status::new(Duration::from_secs(3600));
    let watch = Watch {
        interval,
        max_stale: Duration::from_secs(3600),
        patience: Duration::from_secs(10),
        refresh: {
            let asked = Arc::clone(&asked);
            Box::new(move |fresh| {
                asked.lock().unwrap().push(fresh);
                let mut outcomes = outcomes.lock().unwrap();
                let outcome = outcomes.next();
                match outcomes.peek() {
                    None => sender.send(Wake::End).unwrap(),
                    Some(_) if wake_after_each => sender.send(Wake::Refresh).unwrap(),
                    Some(_) => {}
                }
                match outcome.expect("it was told to end") {
                    Ok(number) => Ok(Ready {
                        current: set(number, SystemTime::now()),
                        how: How::Unchanged,
                    }),
                    Err(()) => Err(Error::TlsWithoutCa),
                }
            })
        },
        changed: {
            let told = Arc::clone(&told);
            Box::new(move |new| {
                let name = new.generation.file_name().unwrap_or_default();
                told.lock()
                    .unwrap()
                    .push(name.to_string_lossy().into_owned());
            })
        },
        tokens: None,
        status: Arc::clone(&status),
    };
    watch.run(current, &wake);
    let told = told.lock().unwrap().clone();
    let asked = asked.lock().unwrap().clone();
    (told, asked, status)
}

#[test]
fn whoever_wants_to_know_is_told_of_each_new_set_once() {
    let outcomes = vec![Ok(1), Ok(1), Ok(2), Ok(2), Ok(1)];
    let (told, asked, _) = watch(Duration::from_millis(5), None, outcomes.clone(), false);
    assert_eq!(told, ["..gen-1", "..gen-2", "..gen-1"]);
    // What others have asked for meanwhile counts, up to the interval.
    let shorter = Duration::from_millis(4)..=Duration::from_millis(5);
    assert!(
        asked.iter().all(|fresh| shorter.contains(fresh)),
        "{asked:?}"
    );
    // Not of one that was there at the start.
    let old = set(1, SystemTime::UNIX_EPOCH);
    let (told, ..) = watch(Duration::from_millis(5), Some(old), outcomes, false);
    assert_eq!(told, ["..gen-2", "..gen-1"]);
}

#[test]
fn a_set_that_is_fresh_is_not_asked_for_before_it_is_due() {
    let begin = Instant::now();
    let interval = Duration::from_secs(1);
    let fresh = set(1, SystemTime::now());
    watch(interval, Some(fresh), vec![Ok(1)], false);
    assert!(begin.elapsed() >= interval / 2);
}

#[test]
fn who_is_woken_asks_at_once_however_fresh_the_set_is() {
    let hour = Duration::from_secs(3600);
    let outcomes = vec![Ok(1), Err(()), Err(()), Ok(2)];
    let (told, asked, status) = watch(hour, None, outcomes, true);
    assert_eq!(told, ["..gen-1", "..gen-2"]);
    assert_eq!(asked[1..], [Duration::ZERO; 3]);
    let metrics = status.metrics(SystemTime::now());
    for line in [
        r#"straw_refreshes_total{result="failed"} 2"#,
        r#"straw_refreshes_total{result="unchanged"} 2"#,
        "straw_ready 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_clock_that_was_set_is_noticed() {
    let then = Clocks::now();
    let after = |ours: u64, people: i64| {
        let seconds = Duration::from_secs(people.unsigned_abs());
        let now = Clocks {
            ours: then.ours + Duration::from_secs(ours),
            people: match people < 0 {
                true => then.people - seconds,
                false => then.people + seconds,
            },
        };
        now.jump_since(&then)
    };
    assert_eq!(after(30, 30), None);
    assert_eq!(after(30, 25), None);
    assert_eq!(after(3600, 3609), None);
    assert_eq!(after(30, 7230).unwrap(), "2h ahead");
    assert_eq!(after(30, -30).unwrap(), "1m back");
}

#[test]
fn many_who_want_the_same_are_one() {
    use Wake::{End, Refresh};
    let all = |wakes: &[Wake]| wakes.iter().copied().fold(Refresh, Wake::and);
    assert_eq!(all(&[Refresh, Refresh]), Refresh);
    assert_eq!(all(&[Refresh, End, Refresh]), End);
}

/// A set that was right before a failure says nothing of what came after it.
#[test]
fn after_a_failure_only_what_is_newer_will_do() {
    let (sender, wake) = channel();
    let asked: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let told = Arc::clone(&asked);
    let watch = Watch {
        interval: Duration::from_secs(3600),
        max_stale: Duration::from_secs(24 * 3600),
        patience: Duration::from_secs(10),
        refresh: Box::new(move |fresh| {
            let mut asked = told.lock().unwrap();
            asked.push(fresh);
            match asked.len() {
                1 => Err(Error::TlsWithoutCa),
                _ => {
                    sender.send(Wake::End).unwrap();
                    let current = set(1, SystemTime::now());
                    let how = How::Fresh;
                    Ok(Ready { current, how })
                }
            }
        }),
        changed: Box::new(|_| {}),
        tokens: None,
        status: Status::new(Duration::from_secs(24 * 3600)),
    };
    watch.run(None, &wake);
    let asked = asked.lock().unwrap();
    // It was tried again after three seconds at the most, on an idle machine.
    assert!(asked[0] > Duration::from_secs(2800), "{asked:?}");
    assert!(asked[1] < Duration::from_secs(60), "{asked:?}");
}
