//! On a real file system.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::Mode;

use super::*;
use crate::config::testing::set;
use crate::config::{CA_CERT, manifest};

const VERSION: ProtocolVersion = ProtocolVersion::V26_05;
const PATIENCE: Duration = Duration::from_secs(60);

fn origin() -> Origin {
    Origin {
        controller: "ctl1:6817".to_owned(),
        version: VERSION,
        ca: None,
    }
}

fn put(directory: &Path, files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    write(directory, &set(files), &origin(), PATIENCE)
        .map(|written| {
            let show = |(name, change): &(FileName, Change)| format!("{} {name}", change.name());
            written.files.iter().map(show).collect()
        })
        .map_err(|error| {
            let path = directory.display().to_string();
            error.to_string().replace(&path, "DIR")
        })
}

/// All regular files below a directory, straw's own notes not counted.
fn tree(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap();
                names.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    names.retain(|name| name != manifest::NAME);
    names.sort();
    names
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_set_is_written_with_slurm_conf_last_and_fixed_modes() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("not/yet/there");
    // The umask of this process is everyone's here; the modes are set in spite of it.
    let changes = put(
        &target,
        &[("slurm.conf", "A"), ("sub/prolog.sh*", "B"), ("x.conf", "")],
    );
    assert_eq!(
        changes.unwrap(),
        [
            "written sub/prolog.sh",
            "written x.conf",
            "written slurm.conf"
        ]
    );
    assert_eq!(tree(&target), ["slurm.conf", "sub/prolog.sh", "x.conf"]);
    assert_eq!(read(&target, "sub/prolog.sh"), "B");
    assert_eq!(mode_of(&target.join("slurm.conf")), 0o644);
    assert_eq!(mode_of(&target.join("sub/prolog.sh")), 0o755);
    assert_eq!(mode_of(&target.join("sub")), 0o755);
}

#[test]
fn what_is_the_same_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = [("slurm.conf", "A"), ("x.conf", "B")];
    put(dir.path(), &first).unwrap();
    let inode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
    let before = (inode("slurm.conf"), inode("x.conf"), inode(manifest::NAME));
    let changes = put(dir.path(), &first).unwrap();
    assert_eq!(changes, ["unchanged slurm.conf", "unchanged x.conf"]);
    assert_eq!(
        before,
        (inode("slurm.conf"), inode("x.conf"), inode(manifest::NAME))
    );

    let mut permissions = fs::metadata(dir.path().join("x.conf"))
        .unwrap()
        .permissions();
    permissions.set_mode(0o600);
    fs::set_permissions(dir.path().join("x.conf"), permissions).unwrap();
    let changes = put(dir.path(), &first).unwrap();
    assert_eq!(changes, ["unchanged slurm.conf", "written x.conf"]);
    assert_eq!(mode_of(&dir.path().join("x.conf")), 0o644);
}

#[test]
fn what_the_controller_no_longer_has_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.conf"), "mine").unwrap();
    put(
        dir.path(),
        &[
            ("slurm.conf", "A"),
            ("a/b/c", "C"),
            ("a/d", "D"),
            ("x.conf", "X"),
        ],
    )
    .unwrap();
    fs::write(dir.path().join("a/mine"), "mine").unwrap();
    let changes = put(dir.path(), &[("slurm.conf", "A")]).unwrap();
    assert_eq!(
        changes,
        [
            "unchanged slurm.conf",
            "removed a/b/c",
            "removed a/d",
            "removed x.conf"
        ]
    );
    assert_eq!(tree(dir.path()), ["a/mine", "mine.conf", "slurm.conf"]);
    assert!(
        !dir.path().join("a/b").exists(),
        "empty directories go as well"
    );
}

#[test]
fn a_directory_of_somebody_elses_stays_though_it_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("own/deep")).unwrap();
    fs::create_dir_all(dir.path().join("half/made")).unwrap();
    fs::set_permissions(dir.path().join("own"), fs::Permissions::from_mode(0o700)).unwrap();
    // What a run left that was killed.
    let notes = r#"{"files": [], "unfinished": ["own/deep", "half/made/not"],
        "directories": ["half", "half/made", "half/made/not"]}"#;
    fs::write(dir.path().join(manifest::NAME), notes).unwrap();
    let some = [("slurm.conf", "A"), ("own/deep/made/x", "X")];
    put(dir.path(), &some).unwrap();
    assert!(!dir.path().join("half").exists());
    put(dir.path(), &some[..1]).unwrap();
    assert!(dir.path().join("own/deep").exists());
    assert!(!dir.path().join("own/deep/made").exists());
    assert_eq!(mode_of(&dir.path().join("own")), 0o700);
    assert!(!read(dir.path(), manifest::NAME).contains("made"));
}

#[test]
fn notes_that_lie_remove_nothing_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(dir.path().join("outside"), "x").unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    fs::write(dir.path().join("elsewhere/file"), "x").unwrap();
    symlink(dir.path().join("elsewhere"), target.join("link")).unwrap();
    let lies = r#"{"files": ["../outside", "/etc/passwd", "link/file", "", ".", "a/../b"]}"#;
    fs::write(target.join(manifest::NAME), lies).unwrap();
    put(&target, &[("slurm.conf", "A")]).unwrap();
    assert!(dir.path().join("outside").exists());
    assert!(dir.path().join("elsewhere/file").exists());

    // Notes that somebody else wrote, or could have written, do not count at all.
    let ours = target.join(manifest::NAME);
    for (owner, mode) in [(0, 0o666), (4711, 0o644)] {
        fs::write(target.join("ours.conf"), "x").unwrap();
        fs::remove_file(&ours).unwrap();
        fs::write(&ours, r#"{"files": ["ours.conf"]}"#).unwrap();
        fs::set_permissions(&ours, fs::Permissions::from_mode(mode)).unwrap();
        if owner > 0 && std::os::unix::fs::chown(&ours, Some(owner), None).is_err() {
            continue; // only root can try that
        }
        put(&target, &[("slurm.conf", "A")]).unwrap();
        assert!(target.join("ours.conf").exists());
    }

    fs::write(target.join(manifest::NAME), "no JSON").unwrap();
    assert!(Known::of(&target).unwrap().versions.is_empty());
    assert_eq!(
        put(&target, &[("slurm.conf", "A")]).unwrap(),
        ["unchanged slurm.conf"]
    );
}

#[test]
fn what_somebody_else_put_there_just_so_stays_theirs() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.conf"), "X").unwrap();
    fs::set_permissions(dir.path().join("x.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let changes = put(dir.path(), &[("slurm.conf", "A"), ("x.conf", "X")]).unwrap();
    assert_eq!(changes, ["unchanged x.conf", "written slurm.conf"]);
    assert_eq!(
        put(dir.path(), &[("slurm.conf", "A")]).unwrap(),
        ["unchanged slurm.conf"]
    );
    assert_eq!(tree(dir.path()), ["slurm.conf", "x.conf"]);
}

#[test]
fn a_file_of_ours_gives_way_to_a_directory_and_back() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &[("slurm.conf", "A"), ("inc", "1")]).unwrap();
    put(dir.path(), &[("slurm.conf", "A"), ("inc/a", "2")]).unwrap();
    assert_eq!(tree(dir.path()), ["inc/a", "slurm.conf"]);
    put(dir.path(), &[("slurm.conf", "A"), ("inc", "3")]).unwrap();
    assert_eq!(tree(dir.path()), ["inc", "slurm.conf"]);
}

#[test]
fn more_files_than_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..2000).map(|at| format!("file{at}")).collect();
    let mut files = vec![("slurm.conf", "A")];
    files.extend(names.iter().map(|name| (name.as_str(), "x")));
    put(dir.path(), &files).unwrap();
    assert_eq!(tree(dir.path()).len(), 2001);
}

#[test]
fn the_version_of_a_controller_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let some = set(&[("slurm.conf", "A")]);
    write(dir.path(), &some, &origin(), PATIENCE).unwrap();
    write(
        dir.path(),
        &some,
        &Origin {
            controller: "ctl2:6817".to_owned(),
            version: ProtocolVersion::V22_05,
            ca: None,
        },
        PATIENCE,
    )
    .unwrap();
    let known = Known::of(dir.path()).unwrap().versions;
    assert_eq!(known.get("ctl1:6817"), Some(&VERSION));
    assert_eq!(known.get("ctl2:6817"), Some(&ProtocolVersion::V22_05));
}

#[test]
fn no_symlink_is_followed_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir_all(&target).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("slurm.conf"), "theirs").unwrap();

    symlink(&elsewhere, target.join("sub")).unwrap();
    let error = put(&target, &[("slurm.conf", "A"), ("sub/x", "B")]).unwrap_err();
    assert!(
        error.starts_with("DIR/sub/x cannot be written: "),
        "{error}"
    );
    assert_eq!(tree(&elsewhere), ["slurm.conf"]);
    assert!(!target.join("slurm.conf").exists(), "nothing is half done");

    // A symlink in the place of a file is replaced, not written through.
    symlink(elsewhere.join("slurm.conf"), target.join("slurm.conf")).unwrap();
    put(&target, &[("slurm.conf", "A")]).unwrap();
    assert_eq!(read(&elsewhere, "slurm.conf"), "theirs");
    assert!(!target.join("slurm.conf").is_symlink());

    // Nor one in the place of a temporary file.
    let temporary = target.join(format!("{TEMPORARY}slurm.conf"));
    symlink(elsewhere.join("slurm.conf"), &temporary).unwrap();
    put(&target, &[("slurm.conf", "B")]).unwrap();
    assert_eq!(read(&elsewhere, "slurm.conf"), "theirs");
    assert_eq!(read(&target, "slurm.conf"), "B");
    assert!(!temporary.exists());

    // The directory that the user named may be one.
    symlink(&target, dir.path().join("alias")).unwrap();
    put(&dir.path().join("alias"), &[("slurm.conf", "C")]).unwrap();
    assert_eq!(read(&target, "slurm.conf"), "C");
}

#[test]
fn what_cannot_be_replaced_is_found_out_before_anything_changes() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &[("slurm.conf", "old")]).unwrap();
    fs::create_dir(dir.path().join("x.conf")).unwrap();
    let error = put(dir.path(), &[("slurm.conf", "new"), ("x.conf", "X")]).unwrap_err();
    assert_eq!(error, "DIR/x.conf cannot be written: it is a directory");
    assert_eq!(read(dir.path(), "slurm.conf"), "old");

    let file = dir.path().join("slurm.conf");
    let error = write(&file, &set(&[("slurm.conf", "A")]), &origin(), PATIENCE).unwrap_err();
    assert!(matches!(
        error,
        WriteError::Directory {
            errno: Errno::NOTDIR,
            ..
        }
    ));

    fs::write(dir.path().join("sub"), "a file").unwrap();
    let error = put(dir.path(), &[("slurm.conf", "new"), ("sub/y", "Y")]).unwrap_err();
    assert_eq!(error, "DIR/sub/y cannot be written: not a directory");
    assert_eq!(read(dir.path(), "slurm.conf"), "old");
}

#[test]
fn a_named_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["slurm.conf", manifest::NAME] {
        let path = dir.path().join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
    }
    put(dir.path(), &[("slurm.conf", "A")]).unwrap();
    assert_eq!(read(dir.path(), "slurm.conf"), "A");
}

#[test]
fn two_at_once_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = ("A".repeat(100_000), "B".repeat(100_000));
    std::thread::scope(|scope| {
        for content in [&a, &b, &a, &b] {
            scope.spawn(|| {
                for _ in 0..10 {
                    put(dir.path(), &[("slurm.conf", content), ("x.conf", content)]).unwrap();
                }
            });
        }
    });
    assert_eq!(read(dir.path(), "slurm.conf"), read(dir.path(), "x.conf"));
    assert_eq!(tree(dir.path()), ["slurm.conf", "x.conf"]);
}

#[test]
fn what_a_killed_run_left_goes_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["slurm.conf", "no-longer.conf"] {
        let left = dir.path().join(format!("{TEMPORARY}{name}"));
        fs::write(&left, "half").unwrap();
    }
    put(dir.path(), &[("slurm.conf", "A")]).unwrap();
    assert_eq!(tree(dir.path()), ["slurm.conf"]);
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_not_one_without_a_ca() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| Known::of(&dir.path().join(name));
    symlink("loop", dir.path().join("loop")).unwrap();
    for (name, expected) in [
        ("loop", Errno::LOOP),
        ("loop/below", Errno::LOOP),
        (&"x".repeat(300), Errno::NAMETOOLONG),
    ] {
        let WriteError::Directory { errno, .. } = at(name).unwrap_err() else {
            panic!("{name}");
        };
        assert_eq!(errno, expected, "{name}");
    }

    // Where there is no directory there is nothing in it.
    fs::write(dir.path().join("file"), "").unwrap();
    for name in ["missing", "missing/below", "file", "file/below"] {
        assert_eq!(at(name).unwrap(), Known::default(), "{name}");
    }
}

#[test]
fn a_ca_stays_while_files_come_through_tls() {
    let dir = tempfile::tempdir().unwrap();
    let some = set(&[("slurm.conf", "a")]);
    let tls = Origin {
        ca: Some("PEM".to_owned()),
        ..origin()
    };
    let write_with = || write(dir.path(), &some.clone().with_ca(b"PEM"), &tls, PATIENCE).unwrap();
    write_with();
    let path = dir.path().join(CA_CERT);
    assert_eq!(fs::read_to_string(&path).unwrap(), "PEM");
    let known = |pem: Option<&str>| {
        Some(KnownCa {
            path: path.clone(),
            pem: pem.map(str::to_owned),
        })
    };
    assert_eq!(Known::of(dir.path()).unwrap().ca, known(Some("PEM")));

    // Notes that do not count are no reason to do without: neither those that others could have
    // written, nor damaged ones; nor a file that is not there yet.
    let notes = dir.path().join(manifest::NAME);
    let text = fs::read(&notes).unwrap();
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o664)).unwrap();
    assert_eq!(Known::of(dir.path()).unwrap().ca, known(None));
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&notes, &text[..10]).unwrap();
    assert_eq!(Known::of(dir.path()).unwrap().ca, known(None));
    fs::write(&notes, &text).unwrap();
    fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert_eq!(Known::of(dir.path()).unwrap().ca, known(Some("PEM")));

    // Who removes it wants no TLS any more.
    fs::remove_file(&path).unwrap();
    assert_eq!(Known::of(dir.path()).unwrap().ca, None);
    write_with();
    write(dir.path(), &some, &origin(), PATIENCE).unwrap();
    assert!(!path.exists());
    assert_eq!(Known::of(dir.path()).unwrap().ca, None);
}
