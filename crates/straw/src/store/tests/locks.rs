//! Many at once, and what is held.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn many_on_a_cold_store_make_one_request() {
    let dir = directory();
    let requests = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let store = at(dir.path());
                if store.current().unwrap().is_some() {
                    return;
                }
                let lock = store.lock(soon()).unwrap().unwrap();
                if store.current().unwrap().is_none() {
                    requests.fetch_add(1, Ordering::Relaxed);
                    let files = set(&[("slurm.conf", "A")]);
                    store.publish(&lock, &files, &state("key")).unwrap();
                }
            });
        }
    });
    assert_eq!(requests.into_inner(), 1);
}

#[test]
fn processes_wait_for_each_other() {
    const DIR: &str = "STRAW_TEST_LOCK_DIR";
    if let Some(path) = std::env::var_os(DIR) {
        let store = at(path.as_ref());
        let _lock = store.lock(soon()).unwrap().unwrap();
        let counter = Path::new(&path).join("counter");
        let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
        fs::write(&counter, (count + 1).to_string()).unwrap();
        return;
    }
    let dir = directory();
    fs::write(dir.path().join("counter"), "0").unwrap();
    let store = at(dir.path());
    let lock = store.lock(soon()).unwrap().unwrap();
    let children: Vec<_> = (0..20)
        .map(|_| {
            let mut child = again("locks::processes_wait_for_each_other");
            child
                .env(DIR, dir.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    drop(lock);
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(read(dir.path(), "counter"), "20");
}

#[test]
fn who_waits_in_vain_leaves_the_lock_to_others() {
    let dir = directory();
    let (one, other) = (at(dir.path()), at(dir.path()));
    let held = one.lock(soon()).unwrap().unwrap();
    assert!(other.lock(Instant::now()).unwrap().is_none());
    let start = Instant::now();
    let wait = Duration::from_millis(80);
    assert!(other.lock(start + wait).unwrap().is_none());
    assert!(start.elapsed() >= wait && start.elapsed() < Duration::from_secs(20));
    // The thread that was left behind gets the lock now, and gives it back at once.
    drop(held);
    for _ in 0..3 {
        assert!(one.lock(soon()).unwrap().is_some());
        assert!(other.lock(soon()).unwrap().is_some());
    }
    // A lock on a file that is no longer there keeps nobody out, and is not handed out.
    let held = one.lock(soon()).unwrap().unwrap();
    fs::remove_file(dir.path().join("..lock")).unwrap();
    assert!(other.lock(Instant::now()).unwrap().is_some());
    std::thread::scope(|scope| {
        fs::File::create(dir.path().join("..lock")).unwrap();
        drop(held);
        let held = one.lock(soon()).unwrap().unwrap();
        let waits = scope.spawn(|| other.lock(Instant::now() + Duration::from_millis(200)));
        std::thread::sleep(Duration::from_millis(50));
        fs::remove_file(dir.path().join("..lock")).unwrap();
        let third = at(dir.path());
        let _third = third.lock(soon()).unwrap().unwrap();
        drop(held);
        assert!(waits.join().unwrap().unwrap().is_none());
    });
}

#[test]
fn what_is_held_stays() {
    alone("locks::what_is_held_stays", |dir| {
        let store = at(dir);
        let first = put(&store, &[("slurm.conf", "1")]).current().clone();
        let hold = first.hold().unwrap();
        let second = first.hold().unwrap();
        put(&store, &[("slurm.conf", "2")]);
        for held in [Some(hold), Some(second), None] {
            age(&store, 1, Duration::from_secs(3600));
            put(&store, &[("slurm.conf", "2")]);
            assert_eq!(first.generation.exists(), held.is_some());
        }
        let error = first.hold().unwrap_err();
        assert_eq!(error.kind(), "store-gone");
        let _current = store.current().unwrap().unwrap().hold().unwrap();
    });
}

#[test]
fn a_command_inherits_what_is_held() {
    alone("locks::a_command_inherits_what_is_held", |dir| {
        let store = at(dir);
        let first = put(&store, &[("slurm.conf", "1")]).current().clone();
        let hold = first.hold().unwrap();
        // The shell becomes the command, as straw does. It ends with this test at the latest.
        let mut command = Command::new("sh");
        let mut child = command
            .args(["-c", "exec cat"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        drop(hold);
        put(&store, &[("slurm.conf", "2")]);
        for running in [true, false] {
            age(&store, 1, Duration::from_secs(3600));
            put(&store, &[("slurm.conf", "2")]);
            assert_eq!(first.generation.exists(), running);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
}
