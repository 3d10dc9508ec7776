//! On real file systems.

mod locks;
mod mounts;
mod place;
mod readers;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lab::provision::skip;
use slurm_protocol::ProtocolVersion;
use tempfile::TempDir;

use super::*;
use crate::config::ConfigSet;
use crate::config::testing::set;

fn state(key: &str) -> State {
    State {
        key: key.to_owned(),
        controller: "ctl1".to_owned(),
        address: Some("192.0.2.1:6817".to_owned()),
        version: ProtocolVersion::V26_05,
        tls: false,
        fetched: 1_700_000_000,
    }
}

/// In memory where that is possible: these tests write to the disk often.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn at(path: &Path) -> Store {
    Store::at(path).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn try_put(store: &Store, set: &ConfigSet, state: &State) -> Result<Published, StoreError> {
    let lock = store.lock(soon())?.unwrap();
    store.publish(&lock, set, state)
}

fn put(store: &Store, files: &[(&str, &str)]) -> Published {
    try_put(store, &set(files), &state("key")).unwrap()
}

/// What is wrong, with DIR in the place of the directory.
fn failure(store: &Store, files: &[(&str, &str)]) -> (&'static str, String) {
    let error = try_put(store, &set(files), &state("key")).unwrap_err();
    let path = store.path().display().to_string();
    assert!(!error.hint().is_empty());
    (error.kind(), error.to_string().replace(&path, "DIR"))
}

/// What is in a directory, links with their targets.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match fs::read_link(&path) {
            Ok(target) => format!("{name} -> {}", target.display()),
            Err(_) => name,
        }
    });
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

fn read(path: &Path, name: &str) -> String {
    fs::read_to_string(path.join(name)).unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// As if it had been superseded so long ago.
fn age(store: &Store, number: u64, by: Duration) {
    store.mark(number, Some(SystemTime::now() - by)).unwrap();
}

/// This test program again, for one test only, or part of one.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    arguments(&mut command, test);
    command
}

fn arguments(command: &mut Command, test: &str) {
    let name = format!("store::tests::{test}");
    command.args(["--exact", &name, "--nocapture", "--quiet"]);
}

/// Runs a test in a process of its own, with a directory: what is held is inherited by whatever
/// the process starts meanwhile, for other tests too.
fn alone(test: &str, body: impl FnOnce(&Path)) {
    alone_by(again(test), body);
}

fn alone_by(mut command: Command, body: impl FnOnce(&Path)) {
    const INSIDE: &str = "STRAW_TEST_INSIDE";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let dir = Path::new(&dir);
        body(dir);
        return fs::write(dir.join("done"), "").unwrap();
    }
    let dir = directory();
    let status = command.env(INSIDE, dir.path()).status().unwrap();
    assert!(status.success() && dir.path().join("done").exists());
}

#[test]
fn how_a_store_is_laid_out() {
    let dir = directory();
    let path = dir.path().join("not/yet");
    let store = at(&path);
    assert_eq!(store.current().unwrap(), None);
    let before = SystemTime::now();
    let published = put(
        &store,
        &[
            ("slurm.conf", "A"),
            ("sub/x/prolog.sh*", "B"),
            ("sub/y", ""),
        ],
    );
    let current = store.current().unwrap().unwrap();
    assert_eq!(published, Published::New(current.clone()));
    assert_eq!(current.state, state("key"));
    assert!(current.checked >= before && current.checked <= SystemTime::now());
    assert_eq!(current.stable, path);
    assert_eq!(current.generation, path.join("..gen-1"));

    assert_eq!(
        names(&path),
        [
            "..data -> ..gen-1",
            "..gen-1",
            "..lock",
            "slurm.conf -> ..data/slurm.conf",
            "sub -> ..data/sub"
        ]
    );
    assert_eq!(
        names(&current.generation),
        [".straw.json", "slurm.conf", "sub"]
    );
    assert_eq!(read(&path, "sub/x/prolog.sh"), "B");
    assert_eq!(read(&current.generation, "slurm.conf"), "A");
    assert_eq!(mode_of(&path), 0o755);
    assert_eq!(mode_of(&dir.path().join("not")), 0o755);
}

#[test]
fn what_is_the_same_is_not_published_again() {
    let dir = directory();
    let store = at(dir.path());
    let files = [("slurm.conf", "A"), ("x*", "B"), ("d/e", "C")];
    let Published::New(first) = put(&store, &files) else {
        panic!("it is new")
    };
    let inode = fs::metadata(dir.path().join("x")).unwrap().ino();
    let Published::Unchanged(second) = put(&store, &files) else {
        panic!("it is unchanged")
    };
    assert_eq!(first.generation, second.generation);
    assert!(second.checked > first.checked);
    assert_eq!(fs::metadata(dir.path().join("x")).unwrap().ino(), inode);

    // What else was found out is noted all the same.
    let mut other = state("key");
    other.version = ProtocolVersion::V24_11;
    other.fetched += 60;
    let published = try_put(&store, &set(&files), &other).unwrap();
    assert_eq!(published.current().state, other);
    assert_eq!(published.current().generation, first.generation);
    assert_eq!(fs::metadata(dir.path().join("x")).unwrap().ino(), inode);

    for (number, files) in [
        (2, vec![("slurm.conf", "A2"), ("x*", "B"), ("d/e", "C")]),
        (3, vec![("slurm.conf", "A2"), ("x", "B"), ("d/e", "C")]),
        (4, vec![("slurm.conf", "A2"), ("x", "B")]),
        (5, vec![("slurm.conf", "A2"), ("x", "B"), ("y", "")]),
    ] {
        let published = put(&store, &files);
        assert!(matches!(published, Published::New(_)));
        let generation = dir.path().join(format!("..gen-{number}"));
        assert_eq!(published.current().generation, generation);
    }
    let files = set(&[("slurm.conf", "A2"), ("x", "B"), ("y", "")]);
    let other = try_put(&store, &files, &state("other")).unwrap();
    assert!(matches!(other, Published::New(_)), "of another key");
    // Somebody had a hand in it.
    fs::write(dir.path().join("x"), "Z").unwrap();
    let mended = try_put(&store, &files, &state("other")).unwrap();
    assert!(matches!(mended, Published::New(_)));
    assert_eq!(read(dir.path(), "x"), "B");
}

#[test]
fn names_come_and_go() {
    let dir = directory();
    let store = at(dir.path());
    // A name can become a directory, and a directory a name.
    put(
        &store,
        &[("slurm.conf", "1"), ("a", "1"), ("b/c", "1"), ("gone", "1")],
    );
    fs::write(dir.path().join("mine"), "mine").unwrap();
    symlink("..data/elsewhere", dir.path().join("my-link")).unwrap();
    put(
        &store,
        &[("slurm.conf", "2"), ("a/d", "2"), ("b", "2"), ("new", "2")],
    );
    let links: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|name| !name.starts_with(".."))
        .collect();
    assert_eq!(
        links,
        [
            "a -> ..data/a",
            "b -> ..data/b",
            "mine",
            "my-link -> ..data/elsewhere",
            "new -> ..data/new",
            "slurm.conf -> ..data/slurm.conf"
        ]
    );
    assert_eq!(read(dir.path(), "a/d"), "2");
    assert_eq!(read(dir.path(), "b"), "2");
    // A link that somebody removed comes back.
    fs::remove_file(dir.path().join("new")).unwrap();
    put(
        &store,
        &[("slurm.conf", "2"), ("a/d", "2"), ("b", "2"), ("new", "2")],
    );
    assert_eq!(read(dir.path(), "new"), "2");
}

#[test]
fn a_store_can_be_moved() {
    let dir = directory();
    let before = dir.path().join("before");
    put(&at(&before), &[("slurm.conf", "A"), ("sub/x", "B")]);
    let after = dir.path().join("after");
    fs::rename(&before, &after).unwrap();
    assert_eq!(read(&after, "slurm.conf"), "A");
    assert_eq!(read(&after, "sub/x"), "B");
    let store = at(&after);
    let current = store.current().unwrap().unwrap();
    assert_eq!(current.generation, after.join("..gen-1"));
    put(&store, &[("slurm.conf", "C")]);
    assert_eq!(read(&after, "slurm.conf"), "C");
}

#[test]
fn modes_are_set_in_spite_of_the_umask() {
    const DIR: &str = "STRAW_TEST_UMASK";
    if let Ok(path) = std::env::var(DIR) {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let store = Store::at(path.as_ref()).unwrap();
        put(&store, &[("slurm.conf", "A"), ("sub/x*", "B")]);
        return;
    }
    let dir = directory();
    let path = dir.path().join("store");
    let mut child = again("modes_are_set_in_spite_of_the_umask");
    assert!(child.env(DIR, &path).status().unwrap().success());
    for (name, mode) in [
        ("", 0o755),
        ("..gen-1", 0o755),
        ("slurm.conf", 0o644),
        ("..data/.straw.json", 0o644),
        ("sub", 0o755),
        ("sub/x", 0o755),
        ("..lock", 0o600),
    ] {
        assert_eq!(mode_of(&path.join(name)), mode, "{name}");
    }
}

#[test]
fn what_is_not_of_the_store_is_not_replaced() {
    let dir = directory();
    let store = at(dir.path());
    put(&store, &[("slurm.conf", "A")]);
    let before = names(dir.path());
    let path = dir.path().join("x");

    fs::write(&path, "mine").unwrap();
    let (kind, message) = failure(&store, &[("slurm.conf", "B"), ("x", "B")]);
    assert_eq!(kind, "store-in-the-way");
    assert_eq!(
        message,
        "DIR/x is in the way: it is a file, and not of this store"
    );
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    let (_, message) = failure(&store, &[("slurm.conf", "B"), ("x/y", "B")]);
    assert_eq!(
        message,
        "DIR/x is in the way: it is a directory, and not of this store"
    );
    fs::remove_dir(&path).unwrap();

    symlink("/etc/passwd", &path).unwrap();
    let (_, message) = failure(&store, &[("slurm.conf", "B"), ("x", "B")]);
    assert_eq!(message, "DIR/x is in the way: it is not of this store");
    fs::remove_file(&path).unwrap();
    assert_eq!(names(dir.path()), before);
    assert_eq!(read(dir.path(), "slurm.conf"), "A");

    // As Kubernetes mounts a ConfigMap.
    let dir = directory();
    fs::create_dir(dir.path().join("..2026_11_01")).unwrap();
    symlink("..2026_11_01", dir.path().join("..data")).unwrap();
    let store = at(dir.path());
    assert_eq!(store.current().unwrap(), None);
    let (_, message) = failure(&store, &[("slurm.conf", "B")]);
    assert_eq!(
        message,
        "DIR/..data is in the way: it is a link of something else"
    );

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::at(&file).unwrap_err();
    assert_eq!(
        (error.kind(), error.hint().as_str()),
        ("store-unusable", "name a directory with --store")
    );
}

#[test]
fn what_is_damaged_does_not_count_and_is_mended() {
    let dir = directory();
    let store = at(dir.path());
    let files = [("slurm.conf", "A"), ("x", "B")];
    let damages: [&dyn Fn(&Path); 4] = [
        &|generation| fs::write(generation.join(".straw.json"), "{").unwrap(),
        &|generation| fs::remove_file(generation.join(".straw.json")).unwrap(),
        &|generation| fs::remove_dir_all(generation).unwrap(),
        &|generation| {
            fs::remove_dir_all(generation).unwrap();
            symlink("/etc", generation).unwrap();
        },
    ];
    for damage in damages {
        let current = put(&store, &files).current().clone();
        damage(&current.generation);
        assert!(!matches!(store.current(), Ok(Some(_))));
        // What a link of another's leads to is not gone through, and stays.
        let _ = fs::remove_file(&current.generation);
        assert!(matches!(put(&store, &files), Published::New(_)));
        assert_eq!(read(dir.path(), "x"), "B");
    }
}

#[test]
fn generations_go_after_a_while() {
    let dir = directory();
    let store = at(dir.path());
    let there = |number: u64| dir.path().join(generation::name(number)).exists();
    put(&store, &[("slurm.conf", "1")]);
    let marked = || {
        fs::metadata(dir.path().join("..gen-1"))
            .unwrap()
            .modified()
            .unwrap()
    };
    put(&store, &[("slurm.conf", "2")]);
    assert!(marked().elapsed().unwrap() < Duration::from_secs(30));
    age(&store, 1, Duration::from_secs(50));
    put(&store, &[("slurm.conf", "3")]);
    assert!(there(1), "somebody may have just found its name");
    age(&store, 1, Duration::from_secs(61));
    put(&store, &[("slurm.conf", "3")]);
    assert!(
        !there(1) && there(2) && there(3),
        "a set that is unchanged tidies up, too"
    );

    // Killed before it could be noted, or the clock was set back: it counts from when it is seen.
    for time in [UNIX_EPOCH, SystemTime::now() + Duration::from_secs(3600)] {
        store.mark(2, Some(time)).unwrap();
        put(&store, &[("slurm.conf", "3")]);
        let marked = fs::metadata(dir.path().join("..gen-2")).unwrap().modified();
        let ago = marked.unwrap().elapsed().unwrap();
        assert!(ago < Duration::from_secs(30));
    }
    // The current one is, whatever its time.
    age(&store, 3, Duration::from_secs(3600));
    put(&store, &[("slurm.conf", "3")]);
    assert!(there(3));
    // And it is not taken for long superseded right after.
    put(&store, &[("slurm.conf", "4")]);
    put(&store, &[("slurm.conf", "4")]);
    assert!(there(3));
}

#[test]
fn a_number_is_a_number() {
    assert_eq!(generation::number("..gen-12"), Some(12));
    for name in [
        "..gen-",
        "..gen-01",
        "..gen-+1",
        "..gen--1",
        "gen-1",
        "../..gen-1",
        "..gen-1/x",
    ] {
        assert_eq!(generation::number(name), None, "{name}");
    }
}
