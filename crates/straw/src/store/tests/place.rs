//! Places that nobody named, and what others do to them.

use std::os::unix::fs::chown;

use super::*;
use crate::testing::as_user;

struct Places {
    dir: TempDir,
    root: bool,
}

impl Places {
    fn new() -> Self {
        let dir = directory();
        for (name, mode) in [("run", 0o755), ("tmp", 0o1777), ("xdg", 0o700)] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            chmod(&path, mode);
        }
        let root = rustix::process::geteuid().is_root();
        Self { dir, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        self.dir.path().join(name.replace("UID", &user.to_string()))
    }

    fn open(&self, xdg: Option<&Path>) -> Result<Store, (&'static str, String)> {
        let env = PlaceEnv::below(
            xdg.map(Path::to_owned),
            &self.path("run"),
            &self.path("tmp"),
        );
        Store::private(&env, "key").map_err(|error| {
            let text = error.to_string();
            (
                error.kind(),
                text.replace(self.dir.path().to_str().unwrap(), "DIR"),
            )
        })
    }

    /// `/tmp` is all there is.
    fn open_tmp(&self) -> Result<Store, (&'static str, String)> {
        let _ = fs::remove_dir(self.path("run"));
        self.open(None)
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_that_is_fit() {
    let places = Places::new();
    let store = places.open(Some(&places.path("xdg"))).unwrap();
    let own = places.path("xdg/straw");
    assert_eq!(store.path().parent(), Some(own.as_path()));
    assert_eq!((mode_of(&own), mode_of(store.path())), (0o700, 0o700));
    let name = store
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    // The same in every release: FNV-1a of `key`.
    assert_eq!(name, "3dc94a19365b10ec");
    put(&store, &[("slurm.conf", "A")]);
    let again = places.open(Some(&places.path("xdg"))).unwrap();
    assert!(again.current().unwrap().is_some());
    let env = PlaceEnv::below(None, &places.path("run"), &places.path("tmp"));
    let one = Store::private(&env, "ctl1").unwrap();
    let other = Store::private(&env, "ctl2").unwrap();
    assert_ne!(one.path(), other.path());

    let second = if places.root {
        "run/straw"
    } else {
        "tmp/straw-UID"
    };
    let second = places.path(second).join(&name);
    assert_eq!(places.open(None).unwrap().path(), second);
    // What is junk is passed over.
    let writable = places.path("writable");
    fs::create_dir(&writable).unwrap();
    chmod(&writable, 0o770);
    fs::write(places.path("file"), "").unwrap();
    let relative = Path::new("relative");
    for junk in [
        &writable,
        &places.path("file"),
        &places.path("missing"),
        relative,
        "".as_ref(),
    ] {
        assert_eq!(
            places.open(Some(junk)).unwrap().path(),
            second,
            "{}",
            junk.display()
        );
    }
    if places.root {
        let theirs = places.path("theirs");
        fs::create_dir(&theirs).unwrap();
        chmod(&theirs, 0o700);
        chown(&theirs, Some(4711), None).unwrap();
        assert_eq!(places.open(Some(&theirs)).unwrap().path(), second);
        assert_eq!(names(&theirs).len(), 0);
    }
    let third = places.path("tmp/straw-UID").join(&name);
    fs::remove_dir_all(places.path("run")).unwrap();
    assert_eq!(places.open(None).unwrap().path(), third);
    fs::remove_dir_all(places.path("tmp")).unwrap();
    assert_eq!(places.open(None).unwrap_err().0, "store-unusable");
}

#[test]
fn what_others_put_there_is_refused_and_left_alone() {
    let places = Places::new();
    let own = places.path("tmp/straw-UID");
    let shown = own
        .strip_prefix(places.dir.path())
        .unwrap()
        .display()
        .to_string();
    let refused = |reason: &str| {
        let expected = format!("the store DIR/{shown} is not used: {reason}");
        assert_eq!(places.open_tmp().unwrap_err(), ("store-not-ours", expected));
    };
    let elsewhere = places.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    chmod(&elsewhere, 0o700);
    symlink(&elsewhere, &own).unwrap();
    refused("it is a symlink");
    assert_eq!(names(&elsewhere).len(), 0);
    fs::remove_file(&own).unwrap();
    symlink("nowhere", &own).unwrap();
    refused("it is a symlink");
    fs::remove_file(&own).unwrap();

    fs::write(&own, "").unwrap();
    refused("it is no directory");
    fs::remove_file(&own).unwrap();

    fs::create_dir(&own).unwrap();
    for mode in [0o777, 0o750, 0o701] {
        chmod(&own, mode);
        refused(&format!("others may use it, too (its mode is {mode:04o})"));
        assert_eq!(mode_of(&own), mode, "it is left as it is");
    }
    chmod(&own, 0o700);
    let store = places.open_tmp().unwrap();
    put(&store, &[("slurm.conf", "A")]);
    // One level below as well.
    let path = store.path().to_owned();
    chmod(&path, 0o755);
    assert_eq!(places.open_tmp().unwrap_err().0, "store-not-ours");
    chmod(&path, 0o700);
    fs::rename(&path, own.join("aside")).unwrap();
    symlink("aside", &path).unwrap();
    assert_eq!(places.open_tmp().unwrap_err().0, "store-not-ours");
    fs::remove_file(&path).unwrap();
    fs::rename(own.join("aside"), &path).unwrap();
    assert!(places.open_tmp().unwrap().current().unwrap().is_some());

    if places.root {
        chown(&own, Some(4711), None).unwrap();
        refused("it belongs to user 4711");
        chown(&own, Some(0), None).unwrap();
    }
    // A directory above in which others can exchange ours.
    chmod(&places.path("tmp"), 0o777);
    let (kind, message) = places.open_tmp().unwrap_err();
    assert_eq!(kind, "store-not-ours");
    assert_eq!(
        message,
        "the store DIR/tmp is not used: others may rename what is in it (it has no sticky bit)"
    );
}

#[test]
fn what_others_could_have_written_does_not_count() {
    let places = Places::new();
    let store = places.open(None).unwrap();
    let files = [("slurm.conf", "A")];
    for name in ["", ".straw.json"] {
        let path = put(&store, &files).current().generation.join(name);
        let mode = mode_of(&path);
        chmod(&path, mode | 0o020);
        assert_eq!(store.current().unwrap(), None);
        // Who names a directory says that it is to be trusted.
        assert!(at(store.path()).current().unwrap().is_some());
        chmod(&path, mode);
        assert!(store.current().unwrap().is_some());
        if places.root {
            chown(&path, Some(4711), None).unwrap();
            assert_eq!(store.current().unwrap(), None);
        }
        assert!(matches!(put(&store, &files), Published::New(_)) || !places.root);
    }
}

#[test]
fn an_ordinary_user() {
    let places = Places::new();
    if !places.root {
        return skip("only root can become another user");
    }
    chmod(places.dir.path(), 0o755);
    let shared = Store::at(&places.path("shared")).unwrap();
    put(&shared, &[("slurm.conf", "A")]);
    at(&places.path("private"));
    chmod(&places.path("private"), 0o700);
    as_user(4711, || {
        let env = PlaceEnv::below(None, &places.path("run"), &places.path("tmp"));
        let mine = Store::private(&env, "key").unwrap();
        assert!(mine.path().starts_with(places.path("tmp/straw-4711")));
        put(&mine, &[("slurm.conf", "mine")]);
        // Root's store can be read where it is shared, and not be written.
        let shared = at(&places.path("shared"));
        let current = shared.current().unwrap().unwrap();
        assert_eq!(read(&current.generation, "slurm.conf"), "A");
        let _hold = current.hold().unwrap();
        let error = shared.lock(soon()).unwrap_err();
        assert_eq!(error.kind(), "store-read-only");
        assert!(error.is_good_to_read() && error.hint().contains("may write to"));
        assert!(
            error
                .to_string()
                .ends_with("is read-only here: permission denied")
        );
        let private = Store::at(&places.path("private")).unwrap_err();
        assert_eq!(private.kind(), "store-unusable");
        let new = Store::at(&places.path("shared/new")).unwrap_err();
        assert_eq!(new.kind(), "store-read-only");
    });
}
