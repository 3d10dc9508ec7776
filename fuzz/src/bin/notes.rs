//! What straw finds on a disk: settings, and its own notes, which others may have changed.

#![no_main]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use straw::config::{self, ConfigSet, Known};
use straw::fuzzing::{origin, settings};
use straw::store::{Failure, State, Store};
use straw_fuzz::{File, is_harmless, reply, scratch};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => settings_file(rest),
        1 => directory(rest),
        2 => store(rest),
        _ => values(rest),
    }
});

fn settings_file(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let keys = ["servers", "timeout", "token-file", "json"].map(str::to_owned);
    match settings(text, &keys) {
        Ok(values) => assert!(values.keys().all(|key| keys.contains(key))),
        Err(error) => assert!(is_harmless(&straw::fuzzing::safe(&error))),
    }
}

/// Only what is below the directory, and noted as straw's, is removed.
fn directory(notes: &[u8]) {
    let top = scratch().join("top");
    let directory = top.join("slurm");
    let _ = fs::remove_dir_all(&top);
    fs::create_dir_all(directory.join("sub")).expect("it can be made");
    let (outside, hidden) = (top.join("outside"), directory.join(".hidden"));
    for file in [&outside, &hidden] {
        fs::write(file, "x").expect("it can be written");
    }
    symlink(&top, directory.join("link")).expect("it can be made");
    fs::write(directory.join(".straw.json"), notes).expect("it can be written");
    // Notes that are no notes are read as none; only a disk can keep them from being read.
    let known = Known::of(&directory).expect("they can be read");
    assert!(known.versions.len() < notes.len().max(1));
    let file = File {
        exists: true,
        execute: false,
        name: b"slurm.conf".to_vec(),
        content: b"ClusterName=a\n".to_vec(),
    };
    let set = ConfigSet::new(reply(&[file])).expect("a set");
    let _ = config::write(&directory, &set, &origin(), Duration::from_secs(60));
    assert!(outside.exists() && hidden.exists());
}

fn store(notes: &[u8]) {
    let top = scratch().join("store");
    let generation = top.join("..gen-1");
    if !generation.exists() {
        fs::create_dir_all(&generation).expect("it can be made");
        symlink("..gen-1", top.join("..data")).expect("it can be made");
    }
    fs::write(generation.join(".straw.json"), notes).expect("it can be written");
    let store = Store::at(Path::new(&top)).expect("a directory");
    if let Ok(Some(current)) = store.current() {
        let _ = current.age();
    }
}

/// What is read and written again is read as the same.
fn values(text: &[u8]) {
    if let Ok(failure) = serde_json::from_slice::<Failure>(text) {
        let again = serde_json::to_vec(&failure).expect("it can be written");
        assert_eq!(
            serde_json::from_slice::<Failure>(&again).ok(),
            Some(failure)
        );
    }
    if let Ok(state) = serde_json::from_slice::<State>(text) {
        let again = serde_json::to_vec(&state).expect("it can be written");
        assert_eq!(serde_json::from_slice::<State>(&again).ok(), Some(state));
    }
}
