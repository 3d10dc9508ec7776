//! Real file systems that have no room left, of one kind or another, or cannot be written to.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::Builder;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::place::{Layout, Place, Seen};
use crate::straw::skip;

const LAYOUTS: [Layout; 2] = [Layout::Flat, Layout::Store];

/// Where this thread, and what it starts, may mount what it likes: all of it goes with the thread.
fn in_namespace(body: impl FnOnce(&Path) + Send) {
    let inside = || {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let made = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
        if let Err(errno) = made {
            return skip(&format!("no mount namespace: {errno}"));
        }
        let directory = tempfile::tempdir().unwrap();
        // Images of disks are in memory.
        mount_at(directory.path(), "tmpfs", "mode=755");
        body(directory.path());
    };
    // By its name the test is known.
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    std::thread::scope(|scope| {
        let thread = Builder::new()
            .name(test)
            .spawn_scoped(scope, inside)
            .unwrap();
        thread.join().unwrap();
    });
}

fn mount_at(target: &Path, kind: &str, options: &str) {
    let none = MsFlags::empty();
    mount(Some("none"), target, Some(kind), none, Some(options)).unwrap();
}

/// A directory with this name in it.
fn make(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A new file system of so many bytes, made by this command; `None` where that is not possible.
fn disk(directory: &Path, size: u64, make_it: &str) -> Option<PathBuf> {
    let image = directory.join("image");
    File::create(&image).unwrap().set_len(size).unwrap();
    let target = make(directory, "disk");
    let (image, path) = (image.display(), target.display());
    let made = run(&format!("{make_it} {image}"))
        .and_then(|()| run(&format!("mount -o loop {image} {path}")));
    if let Err(why) = made {
        skip(&format!("{make_it}: {why}"));
        return None;
    }
    Some(target)
}

/// Writes until there is no room, not for another byte.
fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        let piece = vec![b'x'; size];
        while file
            .write_all(&piece)
            .and_then(|()| file.sync_all())
            .is_ok()
        {}
    }
    path
}

/// What straw does where something is amiss, and once it is mended again.
fn amiss(
    place: &Place,
    break_it: impl FnOnce(&Path),
    cause: &str,
    hint: &str,
    mend: impl FnOnce(),
) {
    let directory = place.before();
    break_it(&directory);
    let output = place.straw(&directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(cause), "{said}");
    match place.layout() {
        Layout::Flat => {
            assert_eq!(output.status.code(), Some(9), "{said}");
            assert!(said.contains(hint), "{said}");
        }
        // It goes on with what it has.
        _ => {
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(said.contains("; using the configuration of "), "{said}");
        }
    }
    assert_eq!(place.look(&directory), Seen::Old);
    place.check_tidy(&directory);
    mend();
    place.check_mended(&directory, Seen::New);
}

/// The same for a disk that is full.
fn full(target: &Path, cause: &str) {
    for layout in LAYOUTS {
        let place = Place::within(layout, target);
        let filler = target.join("filler");
        let fill_it = |_: &Path| drop(fill(target));
        let empty_it = || {
            fs::remove_file(&filler).unwrap();
            // Some give room back only with the next transaction.
            run(&format!("sync -f {}", target.display())).unwrap();
        };
        amiss(&place, fill_it, cause, "make room", empty_it);
    }
}

#[test]
fn a_full_disk() {
    in_namespace(|dir| {
        if let Some(disk) = disk(dir, 4 << 20, "mke2fs -q -t ext4 -m 0") {
            full(&disk, "no space left on device");
        }
    });
}

#[test]
fn a_quota() {
    in_namespace(|dir| {
        // Of a subvolume: quotas of ext4 and xfs are not in every kernel.
        let Some(disk) = disk(dir, 128 << 20, "mkfs.btrfs -q") else {
            return;
        };
        let path = disk.display();
        run(&format!("btrfs quota enable {path}")).unwrap();
        run(&format!("btrfs subvolume create {path}/own")).unwrap();
        run(&format!("btrfs qgroup limit 1m {path}/own")).unwrap();
        full(&disk.join("own"), "disk quota exceeded");
    });
}

#[test]
fn no_inodes() {
    in_namespace(|dir| {
        for layout in LAYOUTS {
            // Wherever they run out, at a file, a directory or a link.
            let mut done = Vec::new();
            for spare in 0..16 {
                let target = make(dir, &format!("{layout:?}-{spare}"));
                mount_at(&target, "tmpfs", "nr_inodes=100,mode=755");
                let place = Place::within(layout, &target);
                let directory = place.before();
                let fillers = make(&target, "fillers");
                let filler = |number: usize| fillers.join(number.to_string());
                let made = (0..).find(|&number| File::create(filler(number)).is_err());
                let made = made.unwrap();
                for number in made - spare..made {
                    fs::remove_file(filler(number)).unwrap();
                }
                let output = place.straw(&directory).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                let seen = place.look(&directory);
                match seen {
                    Seen::New => assert!(output.status.success(), "{said}"),
                    _ => {
                        assert!(said.contains("no space left on device"), "{said}");
                        assert_eq!(seen, Seen::Old);
                    }
                }
                place.check_tidy(&directory);
                fs::remove_dir_all(&fillers).unwrap();
                place.check_mended(&directory, Seen::New);
                done.push(seen);
            }
            assert!(done.is_sorted(), "{done:?}");
            assert_eq!((done[0], done[15]), (Seen::Old, Seen::New));
        }
    });
}

#[test]
fn read_only() {
    in_namespace(|dir| {
        for layout in LAYOUTS {
            let target = make(dir, &format!("{layout:?}"));
            mount_at(&target, "tmpfs", "mode=755");
            let place = Place::within(layout, &target);
            let remount = |flags| {
                let flags = MsFlags::MS_REMOUNT | flags;
                mount(None::<&str>, &target, None::<&str>, flags, None::<&str>).unwrap();
            };
            let cause = "read-only file system";
            let hint = "mount a writable volume there";
            let break_it = |_: &Path| remount(MsFlags::MS_RDONLY);
            amiss(&place, break_it, cause, hint, || remount(MsFlags::empty()));
        }
    });
}
