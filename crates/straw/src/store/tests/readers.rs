//! Readers beside a writer.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, openat};

use super::*;

fn content(directory: &OwnedFd, name: &str) -> String {
    let file = openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).unwrap();
    text
}

/// Publishes one set after the other, names coming and going, while readers read.
fn publish_beside(store: &Store, readers: &[&(dyn Fn() + Sync)], after: impl Fn(u64)) {
    const SETS: u64 = 300;
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for reader in readers {
            threads.push(scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    reader();
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let publish = || {
            for number in 2.. {
                let enough = number > SETS && reads.load(Ordering::Relaxed) > SETS;
                if enough
                    || threads
                        .iter()
                        .any(std::thread::ScopedJoinHandle::is_finished)
                {
                    break;
                }
                let text = number.to_string();
                let extra = format!("extra{}", number % 3);
                put(
                    store,
                    &[("slurm.conf", &text), ("sub/x", &text), (&extra, &text)],
                );
                after(number);
            }
        };
        let published = std::panic::catch_unwind(std::panic::AssertUnwindSafe(publish));
        done.store(true, Ordering::Relaxed);
        published.unwrap();
    });
}

#[test]
fn a_reader_sees_one_set() {
    let dir = directory();
    let store = at(dir.path());
    put(
        &store,
        &[("slurm.conf", "1"), ("sub/x", "1"), ("extra1", "1")],
    );
    let last = AtomicU64::new(0);
    let one_set = || {
        // One look at the link; what comes after it is of one set.
        let at = open_directory(&dir.path().join("..data")).unwrap();
        let number: u64 = content(&at, "slurm.conf").parse().unwrap();
        assert_eq!(content(&at, "sub/x"), number.to_string());
        assert_eq!(
            content(&at, &format!("extra{}", number % 3)),
            number.to_string()
        );
        assert!(
            last.fetch_max(number, Ordering::Relaxed) <= number,
            "only forward"
        );
    };
    let stable = || {
        assert!(!read(dir.path(), "slurm.conf").is_empty());
        assert!(!read(dir.path(), "sub/x").is_empty());
    };
    let current = || {
        let current = store.current().unwrap().unwrap();
        let text = read(&current.generation, "slurm.conf");
        assert_eq!(read(&current.generation, "sub/x"), text);
    };
    publish_beside(&store, &[&one_set, &stable, &current], |_| {});
}

#[test]
fn who_holds_a_set_can_take_any_time_over_it() {
    alone(
        "readers::who_holds_a_set_can_take_any_time_over_it",
        |dir| {
            let store = at(&dir.join("store"));
            put(
                &store,
                &[("slurm.conf", "1"), ("sub/x", "1"), ("extra1", "1")],
            );
            let holder = || {
                let current = store.current().unwrap().unwrap();
                let Ok(_hold) = current.hold() else {
                    return; // Gone: there is a newer one.
                };
                let text = read(&current.generation, "slurm.conf");
                std::thread::yield_now();
                assert_eq!(read(&current.generation, "sub/x"), text);
            };
            // No generation is spared for being new.
            let at_once = |number: u64| age(&store, number - 1, Duration::from_secs(120));
            publish_beside(&store, &[&holder, &holder], at_once);
            for number in names(store.path())
                .iter()
                .filter_map(|name| generation::number(name))
            {
                age(&store, number, Duration::from_secs(120));
            }
            put(&store, &[("slurm.conf", "end")]);
            let names = names(store.path());
            let generations = names
                .iter()
                .filter(|name| generation::number(name).is_some());
            assert_eq!(generations.count(), 2, "{names:?}");
        },
    );
}
