//! A writer that is killed.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::*;

const STEPS: &str = "STRAW_TEST_STEPS";
const DIR: &str = "STRAW_TEST_DIR";
const OLD: [(&str, &str); 4] = [
    ("slurm.conf", "old"),
    ("x", "old"),
    ("scripts/a*", "old"),
    ("gone", "old"),
];
const NEW: [(&str, &str); 5] = [
    ("slurm.conf", "new"),
    ("x", "new"),
    ("scripts/a*", "new"),
    ("come", "new"),
    ("come-too/b", "new"),
];

/// Where the writer is killed, if it is to be at this step.
pub(in crate::store) fn step() {
    static LEFT: LazyLock<Option<AtomicU64>> =
        LazyLock::new(|| Some(AtomicU64::new(std::env::var(STEPS).ok()?.parse().unwrap())));
    if let Some(left) = &*LEFT
        && left.fetch_sub(1, Ordering::Relaxed) == 0
    {
        kill_process(getpid(), Signal::KILL).unwrap();
    }
}

/// The writer.
fn child(test: &str) -> Option<()> {
    let path = std::env::var_os(DIR)?;
    let store = at(path.as_ref());
    if test == "once" {
        put(&store, &NEW);
        return Some(());
    }
    loop {
        put(&store, &NEW);
        put(&store, &OLD);
    }
}

/// The set that a reader sees is one of both, and whole, by all paths.
fn check_whole(path: &Path) -> &'static str {
    let store = at(path);
    let found = store.find().unwrap().unwrap();
    let content = read(path, "slurm.conf");
    let (files, others, word) = if content == "old" {
        (&OLD[..], &["come", "come-too"][..], "old")
    } else {
        (&NEW[..], &["gone"][..], "new")
    };
    assert!(generation::holds(&found.descriptor, &set(files)));
    for (name, content) in files {
        assert_eq!(read(path, name.trim_end_matches('*')), *content);
    }
    for other in others {
        assert!(!path.join(other).exists());
    }
    word
}

/// The next writer leaves nothing behind.
fn check_mended(path: &Path, files: &[(&str, &str)]) {
    let store = at(path);
    put(&store, files);
    check_whole(path);
    let current = store.find().unwrap().unwrap().number;
    let names = names(path);
    let left = names.iter().filter(|name| {
        name.starts_with(generation::NEW)
            || name.starts_with(generation::OLD)
            || name.contains(" -> ..data/")
                && !path.join(name.split(" -> ").next().unwrap()).exists()
    });
    assert_eq!(left.count(), 0, "{names:?}");
    for name in names.iter().filter_map(|name| generation::number(name)) {
        if name != current {
            age(&store, name, Duration::from_secs(120));
        }
    }
    put(&store, files);
    assert_eq!(
        super::names(path)
            .iter()
            .filter(|name| generation::number(name).is_some())
            .count(),
        1
    );
}

#[test]
fn killed_at_each_step_it_leaves_a_whole_set() {
    if child("once").is_some() {
        return;
    }
    let mut seen = Vec::new();
    for steps in 0.. {
        let dir = directory();
        let store = at(dir.path());
        put(&store, &OLD);
        // Its time is not that of its end, as after notes that were renewed.
        age(&store, 1, Duration::from_secs(3600));
        let mut child = again("killed::killed_at_each_step_it_leaves_a_whole_set");
        child.env(STEPS, steps.to_string()).env(DIR, dir.path());
        let status = child.status().unwrap();
        seen.push(check_whole(dir.path()));
        let next = if steps % 2 == 0 { &NEW[..] } else { &OLD[..] };
        if store.number() != Some(1) {
            put(&store, &NEW);
            assert!(
                dir.path().join("..gen-1").exists(),
                "it has only just been superseded"
            );
        }
        check_mended(dir.path(), next);
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9));
    }
    assert!(seen.len() > 12, "{seen:?}");
    assert!(seen.is_sorted_by(|one, other| one >= other), "{seen:?}");
    assert_eq!((seen[0], seen[seen.len() - 1]), ("old", "new"));
}

#[test]
fn killed_at_any_time_it_leaves_a_whole_set() {
    if child("for ever").is_some() {
        return;
    }
    let dir = directory();
    put(&at(dir.path()), &OLD);
    for _ in 0..25 {
        let mut child = again("killed::killed_at_any_time_it_leaves_a_whole_set");
        let mut child = child.env(DIR, dir.path()).spawn().unwrap();
        // Any time is what is wanted.
        std::thread::sleep(Duration::from_micros(fastrand::u64(10_000..40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(dir.path());
    }
    assert!(at(dir.path()).number().unwrap() > 25, "they were at it");
    check_mended(dir.path(), &OLD);
}
