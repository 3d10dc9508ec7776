//! Anything at all in the place of each thing that straw expects, or makes, in a directory.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::place::{Layout, Place};

type Kind = (&'static str, fn(&Path));

const KINDS: &[Kind] = &[
    ("file", |path| fs::write(path, "something").unwrap()),
    ("directory", |path| fs::create_dir(path).unwrap()),
    ("full directory", |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("something"), "").unwrap();
    }),
    ("pipe", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }),
    ("socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("link to nowhere", |path| symlink("nowhere", path).unwrap()),
    ("link to itself", |path| {
        symlink(path.file_name().unwrap(), path).unwrap();
    }),
    ("link to a file", |path| symlink("mine", path).unwrap()),
    ("link to a directory", |path| symlink(".", path).unwrap()),
    ("link to a device", |path| {
        symlink("/dev/zero", path).unwrap();
    }),
];

/// Puts each kind of thing in the place of each of these names, and has straw put its set there.
/// Either it does, or it says what is in the way and changes nothing.
fn everywhere(layout: Layout, names: &[&str]) {
    let place = Place::new(layout);
    for name in names {
        for (kind, make) in KINDS {
            let directory = place.before();
            let path = directory.join(name);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path).unwrap(),
                Ok(_) => fs::remove_file(&path).unwrap(),
                Err(_) => {}
            }
            make(&path);
            let output = place.straw(&directory).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("a {kind} as {name}: {said}");
            match output.status.code() {
                Some(0) => {
                    assert!(said.lines().count() < 2, "{what}");
                    assert!(place.has_new(&directory), "{what}");
                    place.check_tidy(&directory);
                }
                Some(9) => {
                    assert!(said.contains(name) && said.contains("remove "), "{what}");
                }
                _ => panic!("{what}"),
            }
            // Neither through a link nor into a pipe.
            assert_eq!(fs::read_to_string(directory.join("mine")).unwrap(), "mine");
            assert!(
                fs::metadata("/dev/zero")
                    .unwrap()
                    .file_type()
                    .is_char_device()
            );
        }
    }
}

#[test]
fn what_a_file_server_keeps_of_removed_files_is_left_alone() {
    for layout in [Layout::Flat, Layout::Store] {
        let place = Place::new(layout);
        let directory = place.before();
        let below = match layout {
            Layout::Flat => [".", "gone-too", "scripts"],
            _ => [".", "..gen-1", "..gen-1/gone-too"],
        };
        let names = below.map(|below| directory.join(below).join(".nfs000000000001"));
        for name in &names {
            fs::write(name, "removed, and open").unwrap();
        }
        let output = place.straw(&directory).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(place.has_new(&directory) && output.stderr.is_empty());
        place.check_tidy(&directory);
        assert!(names.iter().all(|name| name.exists()));
    }
}

#[test]
fn flat_files() {
    let names = [
        ".straw.json",
        ".straw-new.slurm.conf",
        ".straw-new..straw.json",
        "come",
        "come-too",
        "gone",
        "gone-too",
        "scripts",
        "scripts/a",
        "scripts/.straw-new.a",
        "slurm.conf",
    ];
    everywhere(Layout::Flat, &names);
}

#[test]
fn stores() {
    let names = [
        "..data",
        "..failed",
        "..gen-1",
        "..gen-1/.straw.json",
        "..gen-1/scripts",
        "..gen-1/slurm.conf",
        "..gen-2",
        "..lock",
        "..new-2",
        "..new-link",
        "..old-1",
        "come",
        "gone",
        "slurm.conf",
    ];
    everywhere(Layout::Store, &names);
}
