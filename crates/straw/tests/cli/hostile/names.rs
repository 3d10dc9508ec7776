//! Names of files, as a hostile controller gives them; and what a neighbour put at them beforehand.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::{assert_ends, serving, with_slurm_conf};
use crate::straw::Straw;

/// All that is below a directory.
fn below(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path.clone());
            }
            let name = path.strip_prefix(directory).unwrap();
            found.insert(name.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_name_that_is_none_is_refused_and_nothing_is_written() {
    let deep = "a/".repeat(10_000) + "x";
    let [long, longer] = [241, 5000].map(|length| "n".repeat(length));
    let names: &[&[u8]] = &[
        b"",
        b".",
        b"..",
        b"./",
        b"./.",
        b"/",
        b"//",
        b"/etc/passwd",
        b"//etc/passwd",
        b"../x",
        b"a/../../b",
        b"a/../slurm.conf",
        b"a/..",
        b"..data/slurm.conf",
        b"..gen-1/slurm.conf",
        b"..lock",
        b"..failed",
        b".straw.json",
        b".straw-new.slurm.conf",
        b".ssh/authorized_keys",
        b"./.bashrc",
        b"a/.hidden",
        b"ca_cert.pem",
        b"./ca_cert.pem",
        b"CA_Cert.PEM",
        b"x/",
        b"a//b",
        b"-rf",
        b"a/-rf",
        b"a\0b",
        b"a\nb",
        b"a\tb",
        b"a\x1b[2Jb",
        b"a\x7f",
        b"\xff.conf",
        b"a\xc3",
        "a\u{9b}31m".as_bytes(),
        "a\u{202e}fnoc".as_bytes(),
        "a\u{200b}".as_bytes(),
        "a\u{2028}b".as_bytes(),
        "slurm.conf/x".as_bytes(),
        long.as_bytes(),
        longer.as_bytes(),
        deep.as_bytes(),
    ];
    for name in names {
        let fake = serving(with_slurm_conf(&[(name, b"theirs")]));
        let server = fake.address.to_string();
        let mut straw = Straw::with_token(&["fetch", &server, "-o", "in/etc"]);
        assert_ends(&straw.run(), 8);
        assert!(below(straw.path()).is_empty(), "{:?}", below(straw.path()));
        // And in a store.
        straw = Straw::with_token(&["exec", "--", "true"])
            .env("PATH", "/usr/bin:/bin")
            .env("STRAW_STORE", "store")
            .env("STRAW_SERVERS", &server);
        assert_ends(&straw.run(), 8);
        let found = below(straw.path());
        assert!(
            found
                .iter()
                .all(|name| ["store", "store/..lock", "store/..failed"].contains(&name.as_str())),
            "{found:?}"
        );
    }
}

#[test]
fn names_that_are_odd_and_good_and_contents_that_are_no_text() {
    let long = "n".repeat(240);
    let content: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let names = [
        "CON",
        "nul.conf",
        "Slurm.conf",
        "a b;rm -rf $HOME`x`",
        "a*?[x]",
        &long,
        "COM1/aux",
    ];
    let more: Vec<_> = names
        .iter()
        .map(|name| (name.as_bytes(), &content[..]))
        .collect();
    let mut files = with_slurm_conf(&more);
    // Once more with the same content.
    files.push((b"./CON".to_vec(), content.clone()));
    let fake = serving(files);
    let server = fake.address.to_string();
    let mut fetch = Straw::with_token(&["fetch", &server, "-o", "etc"]);
    fetch.done();
    let mut exec = Straw::with_token(&["exec", "--", "true"])
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_STORE", "etc")
        .env("STRAW_SERVERS", &server);
    exec.done();
    for straw in [&fetch, &exec] {
        for name in names {
            let written = fs::read(straw.path().join("etc").join(name)).unwrap();
            assert!(written == content, "{name}");
        }
        // They differ in case only.
        let conf = fs::read(straw.path().join("etc/slurm.conf")).unwrap();
        assert!(conf.starts_with(b"ClusterName"));
    }
}

/// What a neighbour who may write to the target can put there first.
#[test]
fn what_was_put_in_the_way_is_neither_followed_nor_waited_for() {
    let files = with_slurm_conf(&[(b"sub/prolog.sh*", b"#!/bin/sh\n")]);
    let fake = serving(files);
    let server = fake.address.to_string();
    // Where it is put, and whether straw can do without the place.
    for (place, code) in [
        ("slurm.conf", 0),
        (".straw-new.slurm.conf", 0),
        (".straw.json", 0),
        (".straw-new..straw.json", 0),
        ("sub/prolog.sh", 0),
        ("sub/.straw-new.prolog.sh", 0),
        ("sub", 9),
    ] {
        for kind in ["file", "directory", "dangling", "pipe", "socket"] {
            let mut straw = Straw::with_token(&["fetch", &server, "-o", "etc"]);
            let at = straw.path().join("etc").join(place);
            let outside = straw.path().join("outside");
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("file"), "theirs").unwrap();
            match kind {
                "file" => symlink("../outside/file", &at).unwrap(),
                "directory" => symlink("../outside", &at).unwrap(),
                "dangling" => symlink("../outside/new", &at).unwrap(),
                "pipe" => mknodat(CWD, &at, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                _ => drop(UnixListener::bind(&at).unwrap()),
            }
            let output = straw.run();
            assert_ends(&output, code);
            assert_eq!(
                below(&outside),
                BTreeSet::from(["file".to_owned()]),
                "{place} {kind}"
            );
            assert_eq!(fs::read(outside.join("file")).unwrap(), b"theirs");
            if code == 0 && !place.contains(".straw") {
                let now = fs::symlink_metadata(&at).unwrap().file_type();
                assert!(now.is_file() && !now.is_fifo(), "{place} {kind}");
            }
        }
    }
}

/// A neighbour who exchanges what stands at a name, over and over, while straw writes.
#[test]
fn what_is_exchanged_between_a_look_and_its_use_leads_nowhere() {
    let fake = serving(with_slurm_conf(&[
        (b"a/b/one.conf", b"1"),
        (b"a/b/two.conf", b"2"),
        (b"a/three.conf", b"3"),
    ]));
    let server = fake.address.to_string();
    let root = tempfile::tempdir().unwrap();
    let (target, outside) = (root.path().join("etc"), root.path().join("outside"));
    fs::create_dir_all(target.join("a/b")).unwrap();
    fs::create_dir_all(outside.join("b")).unwrap();
    symlink("../outside", target.join("x")).unwrap();
    symlink("../../outside", target.join("y")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let racer = {
        let (stop, target) = (Arc::clone(&stop), target.clone());
        std::thread::spawn(move || {
            let swap = |one: &Path, other: &Path| {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
            };
            let mut swapped = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                swapped += u64::from(swap(&target.join("a"), &target.join("x")));
                swapped += u64::from(swap(&target.join("a/b"), &target.join("y")));
            }
            swapped
        })
    };
    let mut ends = BTreeSet::new();
    for _ in 0..40 {
        let mut straw = Straw::with_token(&["fetch", &server, "--timeout", "5s", "-o"]);
        straw.command.arg(&target);
        let output = straw.run();
        let code = output.status.code().unwrap();
        assert!([0, 9].contains(&code), "{code}");
        assert_ends(&output, code);
        ends.insert(code);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(racer.join().unwrap() > 40, "nothing was exchanged");
    assert!(ends.contains(&9), "never in the way");
    // The directory itself wanders in and out, with what is in it; nothing was made in the other one.
    for name in below(&outside) {
        let made = name.contains("three.conf");
        assert!(!made, "{name}");
    }
    for name in ["one.conf", "two.conf", "three.conf"] {
        assert!(!outside.join(name).exists(), "{name}");
    }
}

/// The same with the target itself.
#[test]
fn a_target_that_is_renamed_meanwhile_gets_its_files_or_an_error() {
    let fake = serving(with_slurm_conf(&[(b"a/one.conf", b"1")]));
    let server = fake.address.to_string();
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("etc");
    let decoy = root.path().join("decoy");
    fs::create_dir(&target).unwrap();
    fs::create_dir(&decoy).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let racer = {
        let (stop, target) = (Arc::clone(&stop), target.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &target, CWD, &decoy, RenameFlags::EXCHANGE);
            }
        })
    };
    for _ in 0..20 {
        let mut straw = Straw::with_token(&["fetch", &server, "--timeout", "5s", "-o"]);
        straw.command.arg(&target);
        assert_ends(&straw.run(), 0);
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    // Each of the two has all or nothing.
    for directory in [&target, &root.path().join("decoy")] {
        let found = below(directory);
        let whole = ["slurm.conf", "a", "a/one.conf", ".straw.json"];
        assert!(
            found.is_empty() || whole.iter().all(|name| found.contains(*name)),
            "{found:?}"
        );
    }
}
