//! File systems of all kinds, in a mount namespace of their own.

use super::*;

/// Runs a test where it may mount what it likes.
fn in_namespace(test: &str, body: impl FnOnce(&Path)) {
    let unshare = ["-m", "--propagation", "private"];
    let possible = Command::new("unshare").args(unshare).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return skip("no mount namespaces here");
    }
    let mut command = Command::new("unshare");
    command.args(unshare).arg(std::env::current_exe().unwrap());
    arguments(&mut command, &format!("mounts::{test}"));
    alone_by(command, body);
}

/// Mounts something; says whether it could.
fn mount(arguments: &[&str], target: &Path) -> bool {
    let output = Command::new("mount")
        .args(arguments)
        .arg(target)
        .output()
        .unwrap();
    if !output.status.success() {
        skip(&format!(
            "mount {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    output.status.success()
}

fn make(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn read_only() {
    in_namespace("read_only", |dir| {
        let (original, elsewhere) = (dir.join("original"), make(dir.join("elsewhere")));
        let first = put(&at(&original), &[("slurm.conf", "A"), ("sub/x", "B")]);
        let options = ["--bind", "-o", "ro", original.to_str().unwrap()];
        if !mount(&options, &elsewhere) {
            return;
        }
        let store = at(&elsewhere);
        let current = store.current().unwrap().unwrap();
        assert_eq!(current.state, first.current().state);
        assert_eq!(current.checked, first.current().checked);
        assert_eq!(current.generation, elsewhere.join("..gen-1"));
        assert_eq!(read(&elsewhere, "sub/x"), "B");
        let error = store.lock(soon()).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_good_to_read()),
            ("store-read-only", true)
        );
        assert!(
            error
                .to_string()
                .ends_with("/elsewhere/..lock is read-only here: read-only file system")
        );
        // What a reader there holds stays, and it follows.
        let hold = current.hold().unwrap();
        let writer = at(&original);
        put(&writer, &[("slurm.conf", "C")]);
        assert_eq!(read(&elsewhere, "slurm.conf"), "C");
        age(&writer, 1, Duration::from_secs(120));
        put(&writer, &[("slurm.conf", "C")]);
        assert!(current.generation.exists());
        drop(hold);
        put(&writer, &[("slurm.conf", "C")]);
        assert!(!current.generation.exists());

        let missing = Store::at(&elsewhere.join("missing")).unwrap_err();
        assert_eq!(missing.kind(), "store-read-only");
        // No private place on it either: the next one is taken.
        let tmp = make(dir.join("tmp"));
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        let store = Store::private(&PlaceEnv::below(None, &elsewhere, &tmp), "key").unwrap();
        assert!(store.path().starts_with(&tmp));
    });
}

#[test]
fn a_full_disk() {
    in_namespace("a_full_disk", |dir| {
        let dir = make(dir.join("small"));
        if !mount(&["-t", "tmpfs", "-o", "size=128k,mode=755", "none"], &dir) {
            return;
        }
        // The store is the mount point itself.
        let store = at(&dir);
        put(&store, &[("slurm.conf", "A"), ("x", "B")]);
        let before = names(&dir);
        let large = "C".repeat(200_000);
        let (kind, message) = failure(&store, &[("slurm.conf", "C"), ("y", "C"), ("z", &large)]);
        assert_eq!(kind, "store-full");
        assert_eq!(
            message,
            "the store DIR/..new-2/z is full: no space left on device"
        );
        assert_eq!(names(&dir), before, "nothing is left over");
        assert_eq!(read(&dir, "x"), "B");

        // Old generations make room.
        let half = "D".repeat(50_000);
        put(&store, &[("slurm.conf", &half)]);
        put(&store, &[("slurm.conf", "E")]);
        fs::write(dir.join("filler"), "F".repeat(45_000)).unwrap();
        let (kind, _) = failure(&store, &[("slurm.conf", &half), ("x", "G")]);
        assert_eq!(kind, "store-full");
        age(&store, 2, Duration::from_secs(61));
        put(&store, &[("slurm.conf", &half), ("x", "G")]);

        // With no room at all it can still be noted that a set is as it was.
        let _ = fs::write(dir.join("more"), &large);
        let unchanged = put(&store, &[("slurm.conf", &half), ("x", "G")]);
        assert!(matches!(unchanged, Published::Unchanged(_)));
    });
}

#[test]
fn no_room_for_names() {
    in_namespace("no_room_for_names", |dir| {
        // Wherever the names run out, at a file, a directory or a link: all is taken back.
        let mut kept = Vec::new();
        for inodes in 12..40 {
            let dir = make(dir.join(inodes.to_string()));
            let options = format!("nr_inodes={inodes},mode=755");
            if !mount(&["-t", "tmpfs", "-o", &options, "none"], &dir) {
                return;
            }
            let store = at(&dir);
            put(&store, &[("slurm.conf", "A"), ("x", "B")]);
            let before = names(&dir);
            let files = ["slurm.conf", "a", "b/c/d", "e", "f", "g/h"].map(|name| (name, "C"));
            match try_put(&store, &set(&files), &state("key")) {
                Ok(_) => assert_eq!(read(&dir, "b/c/d"), "C"),
                Err(error) => {
                    assert_eq!(error.kind(), "store-full");
                    assert_eq!(names(&dir), before);
                    assert_eq!(read(&dir, "x"), "B");
                }
            }
            kept.push(read(&dir, "slurm.conf") == "A");
        }
        assert!(kept.is_sorted_by(|one, other| one >= other), "{kept:?}");
        assert!(kept[10] && !kept[kept.len() - 1], "{kept:?}");
    });
}

#[test]
fn a_mounted_file_is_in_the_way() {
    in_namespace("a_mounted_file_is_in_the_way", |dir| {
        let store = at(&make(dir.join("store")));
        let target = dir.join("store/slurm.conf");
        fs::write(&target, "").unwrap();
        fs::write(dir.join("file"), "mounted").unwrap();
        if !mount(&["--bind", dir.join("file").to_str().unwrap()], &target) {
            return;
        }
        let (kind, message) = failure(&store, &[("slurm.conf", "A")]);
        assert_eq!(kind, "store-in-the-way");
        assert_eq!(message, "DIR/slurm.conf is in the way: it is a mount point");
        assert_eq!(read(dir, "file"), "mounted");
        assert_eq!(store.current().unwrap(), None);
    });
}

#[test]
fn overlayfs() {
    in_namespace("overlayfs", |dir| {
        // Overlays do not nest on every kernel: a tmpfs is below.
        let dir = &make(dir.join("base"));
        if !mount(&["-t", "tmpfs", "none"], dir) {
            return;
        }
        let [lower, upper, work, merged] =
            ["lower", "upper", "work", "merged"].map(|name| make(dir.join(name)));
        // The image holds a store already.
        put(
            &at(&lower.join("store")),
            &[("slurm.conf", "1"), ("sub/x", "1"), ("y", "1")],
        );
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        if !mount(&["-t", "overlay", "overlay", "-o", &options], &merged) {
            return;
        }
        let path = merged.join("store");
        let store = at(&path);
        let first = store.current().unwrap().unwrap();
        let same = put(&store, &[("slurm.conf", "1"), ("sub/x", "1"), ("y", "1")]);
        assert!(matches!(&same, Published::Unchanged(now) if now.checked > first.checked));
        put(&store, &[("slurm.conf", "2"), ("sub/x", "2"), ("z", "2")]);
        assert_eq!(
            (read(&path, "sub/x"), read(&path, "z")),
            ("2".into(), "2".into())
        );
        let hold = first.hold().unwrap();
        age(&store, 1, Duration::from_secs(120));
        put(&store, &[("slurm.conf", "3")]);
        assert_eq!(read(&first.generation, "sub/x"), "1");
        drop(hold);
        age(&store, 2, Duration::from_secs(120));
        put(&store, &[("slurm.conf", "3")]);
        assert_eq!(
            names(&path),
            [
                "..data -> ..gen-3",
                "..gen-3",
                "..lock",
                "slurm.conf -> ..data/slurm.conf"
            ]
        );
    });
}
