//! Another user of the same machine, who was there first.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};

use super::{assert_ends, serving, with_slurm_conf};
use crate::fake::{self, Fake};
use crate::straw::{Straw, copy_to, skip, token};

/// One that straw is run as, and one that is there first.
const USER: u32 = 40_001;
const OTHER: u32 = 40_002;

/// Where `/tmp` is this directory, for one command.
fn in_tmp(tmp: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    let mount = format!("mount --bind {} /tmp && {script}", tmp.display());
    command.args(["--mount", "sh", "-c", &mount, "sh"]);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[test]
fn a_store_in_tmp_that_somebody_made_first_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can be two users");
    }
    let conf = with_slurm_conf(&[]);
    let fake = serving(conf);
    let server = fake.address.to_string();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let straw = root.path().join("straw");
    copy_to(&straw);
    for kind in [
        "nothing",
        "directory",
        "open",
        "link",
        "dangling",
        "pipe",
        "file",
    ] {
        let tmp = root.path().join(kind);
        fs::create_dir(&tmp).unwrap();
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        let theirs = root.path().join(format!("{kind}-theirs"));
        fs::create_dir(&theirs).unwrap();
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
        let place = tmp.join(format!("straw-{USER}"));
        match kind {
            "directory" | "open" => fs::create_dir(&place).unwrap(),
            "link" => symlink(&theirs, &place).unwrap(),
            "dangling" => symlink(theirs.join("new"), &place).unwrap(),
            "pipe" => mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            "file" => fs::write(&place, "").unwrap(),
            _ => {}
        }
        if kind == "open" {
            // Its owner's, as it should be, and open to others.
            chown(&place, Some(USER), Some(USER)).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        } else if kind != "nothing" {
            std::os::unix::fs::lchown(&place, Some(OTHER), Some(OTHER)).unwrap();
        }
        let drop = format!("exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\"");
        let output = in_tmp(&tmp, &drop)
            .arg(&straw)
            .args(["exec", "--", "sh", "-c", "cat \"$SLURM_CONF\""])
            .env("SLURM_JWT", token(60))
            .env("STRAW_SERVERS", &server)
            .current_dir("/")
            .output()
            .unwrap();
        let said = assert_ends(&output, if kind == "nothing" { 0 } else { 9 });
        assert_eq!(
            said.contains("ClusterName=lab"),
            kind == "nothing",
            "{kind}: {said}"
        );
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0, "{kind}");
    }
}

/// What stands at the places that straw was told to write to.
#[test]
fn places_that_were_named_and_are_no_files() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    for kind in ["pipe", "device", "directory"] {
        for arguments in [
            &["watch", &*server, "-o", "kept", "--health", "./place"][..],
            &["watch", &server, "-o", "kept", "--pid-file", "place"],
            &["token", "renew", &server, "--write", "place"],
        ] {
            let mut straw = Straw::with_token(arguments);
            let place = straw.path().join("place");
            match kind {
                "pipe" => mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                "device" => symlink("/dev/full", &place).unwrap(),
                _ => fs::create_dir(&place).unwrap(),
            }
            straw.command.stderr(std::process::Stdio::null());
            let mut child = straw.command.spawn().unwrap();
            let begin = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if begin.elapsed() > Duration::from_secs(30) {
                    let _ = child.kill();
                    panic!("{kind} {arguments:?}: it goes on");
                }
                std::thread::yield_now();
            };
            assert!(
                matches!(status.code(), Some(2 | 9)),
                "{kind} {arguments:?}: {status:?}"
            );
        }
    }
}

/// Somebody who holds a lock for good: `-o` and a store can be shared on purpose.
#[test]
fn a_lock_that_is_held_for_ever() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let mut fetch = Straw::with_token(&["fetch", &server, "-o", "etc", "--timeout", "1s"]);
    fs::create_dir(fetch.path().join("etc")).unwrap();
    let held = fs::File::open(fetch.path().join("etc")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    assert_ends(&fetch.run(), 9);

    let mut exec = Straw::with_token(&["exec", "--timeout", "1s", "--", "true"])
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_STORE", "store")
        .env("STRAW_SERVERS", &server);
    fs::create_dir(exec.path().join("store")).unwrap();
    let lock = exec.path().join("store/..lock");
    let held = fs::File::create(&lock).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    assert_ends(&exec.run(), 9);
    // And what else can be in its place.
    drop(held);
    for kind in ["pipe", "link", "directory"] {
        fs::remove_file(&lock)
            .or_else(|_| fs::remove_dir(&lock))
            .unwrap();
        match kind {
            "pipe" => mknodat(CWD, &lock, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            "link" => symlink("../made", &lock).unwrap(),
            _ => fs::create_dir(&lock).unwrap(),
        }
        let output = exec.run();
        let code = output.status.code().unwrap();
        assert!([0, 9].contains(&code), "{kind}");
        assert_ends(&output, code);
        assert!(!exec.path().join("made").exists());
    }
}

/// A second name of the token's file is the same file: who can write to it by that name can do so by the
/// other.
#[test]
fn a_second_name_of_the_token_is_no_way_around_its_mode() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let mut straw = Straw::new(&["fetch", &server, "--token-file", "link"]);
    let [file, link] = ["token", "link"].map(|name| straw.path().join(name));
    fs::write(&file, token(60)).unwrap();
    fs::hard_link(&file, &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_ends(&straw.run(), 4);
    // Renewed, the other name keeps the old token: straw writes into no file that is there.
    let old = fs::read(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let new = token(3600);
    let fake = Fake::answers(move |version| fake::token(version, &new));
    let server = fake.address.to_string();
    let mut renew = Straw::with_token(&["token", "renew", &server, "--write", "link"]);
    renew.command.current_dir(straw.path());
    renew.done();
    assert_eq!(fs::read(&file).unwrap(), old);
    assert_ne!(fs::read(&link).unwrap(), old);
}
