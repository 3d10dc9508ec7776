//! A directory that a set is replaced in, as flat files or as a store, and what must always hold there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use libc::c_long;
use tempfile::TempDir;

use super::tracer::{Then, trace};
use crate::fake::{Fake, config};
use crate::straw::{program, token};

type Files = &'static [(&'static str, &'static str)];

const OLD: Files = &[
    ("slurm.conf", "ClusterName=old\n"),
    ("x", "old"),
    ("same", "same"),
    ("scripts/a*", "old"),
    ("gone", "old"),
    ("gone-too/b", "old"),
];
const NEW: Files = &[
    ("slurm.conf", "ClusterName=new\n"),
    ("x", "new"),
    ("same", "same"),
    ("scripts/a*", "new"),
    ("come", "new"),
    ("come-too/b", "new"),
];

/// How a set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `straw fetch -o`.
    Flat,
    /// `straw exec --store`.
    Store,
    /// The same by `straw watch --once`.
    Watch,
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    Old,
    /// Of flat files only: slurm.conf is the old one still, others are new.
    Mixed,
    New,
}

/// A controller that has another set than before, and a directory with the one of before.
pub struct Place {
    layout: Layout,
    fake: Fake,
    new: Arc<AtomicBool>,
    root: TempDir,
    /// What was mended already.
    mended: RefCell<BTreeSet<(Contents, Seen)>>,
}

impl Place {
    /// In memory where that is possible: much is written.
    pub fn new(layout: Layout) -> Self {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => Self::within(layout, memory),
            false => Self::within(layout, &std::env::temp_dir()),
        }
    }

    /// In a directory of its own in this one.
    pub fn within(layout: Layout, parent: &Path) -> Self {
        let new = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&new);
        let fake = Fake::answers(move |version| {
            config(
                version,
                if now.load(Ordering::Relaxed) {
                    NEW
                } else {
                    OLD
                },
            )
        });
        let root = tempfile::tempdir_in(parent).unwrap();
        let place = Self {
            layout,
            fake,
            new,
            root,
            mended: RefCell::default(),
        };
        let before = place.root.path().join("before");
        assert!(place.straw(&before).status().unwrap().success());
        fs::write(before.join("mine"), "mine").unwrap();
        if layout != Layout::Flat {
            // As after notes that were renewed: its time is not that of its end.
            age(&before.join("..gen-1"));
        }
        place.controller_has(Seen::New);
        assert_eq!(place.look(&before), Seen::Old);
        place
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Which set the controller gives out.
    pub fn controller_has(&self, set: Seen) {
        self.new.store(set == Seen::New, Ordering::Relaxed);
    }

    /// A copy of the directory as it was before.
    pub fn before(&self) -> PathBuf {
        self.copy(&self.root.path().join("before"), "now")
    }

    /// A copy of a directory, in the place of an earlier one of this name.
    pub fn copy(&self, directory: &Path, name: &str) -> PathBuf {
        let copy = self.root.path().join(name);
        let _ = fs::remove_dir_all(&copy);
        let mut command = Command::new("cp");
        command.arg("-a").arg(directory).arg(&copy);
        assert!(command.status().unwrap().success());
        copy
    }

    /// straw, which puts the controller's set there.
    pub fn straw(&self, directory: &Path) -> Command {
        let server = self.fake.address.to_string();
        let mut command = Command::new(program());
        command
            .env_clear()
            .env("SLURM_JWT", token(3600))
            .env("STRAW_RELEASE", "26.05")
            .env("STRAW_SERVERS", server)
            .current_dir(self.root.path());
        match self.layout {
            Layout::Flat => command.args(["fetch", "--quiet", "-o"]).arg(directory),
            Layout::Store => command
                .args(["exec", "--verbatim", "--max-age", "0s", "--store"])
                .arg(directory)
                .args(["--", "/bin/true"]),
            Layout::Watch => command
                .args(["watch", "--quiet", "--verbatim", "--once", "-o"])
                .arg(directory),
        };
        command
    }

    /// The system calls of a run that nothing happens to, up to the one after which nothing is
    /// changed. What a reader finds is looked at between any two.
    pub fn course(&self) -> Vec<c_long> {
        let directory = self.before();
        let mut calls = Vec::new();
        let mut seen = vec![Seen::Old];
        let mut last = (0, contents(&directory));
        let calls_so_far = Cell::new(0);
        let before = |call| {
            calls.push(call);
            calls_so_far.set(calls.len());
            Then::Go
        };
        let ended = trace(&mut self.straw(&directory), before, || {
            seen.push(self.look(&directory));
            let now = contents(&directory);
            if last.1 != now {
                last = (calls_so_far.get(), now);
            }
        });
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(seen.is_sorted() && seen.ends_with(&[Seen::New]), "{seen:?}");
        self.check_tidy(&directory);
        calls.truncate(last.0);
        calls
    }

    /// What a reader finds there. It fails if that is not what may be found.
    pub fn look(&self, directory: &Path) -> Seen {
        match self.layout {
            Layout::Flat => look_at_flat(directory),
            Layout::Store | Layout::Watch => look_at_store(directory),
        }
    }

    /// Whether all files of the new set are there, whatever else is.
    pub fn has_new(&self, directory: &Path) -> bool {
        NEW.iter().all(|file| is(directory, file))
    }

    /// Fails unless nothing is there but the set, and what was there before.
    pub fn check_tidy(&self, directory: &Path) {
        let mut names = Vec::new();
        list(directory, "", &mut names);
        let left: Vec<_> = names.iter().filter(|name| is_temporary(name)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
        assert_eq!(read(directory, "mine").unwrap(), "mine");
    }

    /// Fails unless another run puts all to rights, whatever state a run left: one that gets this
    /// set. Each state is tried once; says whether it was now.
    pub fn check_mended(&self, directory: &Path, set: Seen) -> bool {
        if !self.mended.borrow_mut().insert((contents(directory), set)) {
            return false;
        }
        self.controller_has(set);
        let done = |mut command: Command| {
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        };
        done(self.straw(directory));
        assert_eq!(self.look(directory), set);
        if self.layout != Layout::Flat {
            // What is superseded is kept for a minute.
            for name in generations(directory) {
                age(&directory.join(name));
            }
            done(self.straw(directory));
            assert_eq!(generations(directory).len(), 1);
        }
        self.check_tidy(directory);
        let files = if set == Seen::New { NEW } else { OLD };
        let name = |(name, _): &(&str, _)| {
            let name = name.trim_end_matches('*');
            match self.layout {
                Layout::Flat => name.to_owned(),
                // There is a link for each at the top.
                Layout::Store | Layout::Watch => {
                    name.split('/').next().unwrap_or_default().to_owned()
                }
            }
        };
        let wanted: BTreeSet<_> = files.iter().map(name).chain(["mine".to_owned()]).collect();
        assert_eq!(not_ours(directory), wanted);
        self.controller_has(Seen::New);
        true
    }
}

/// As if it had been changed an hour ago.
fn age(directory: &Path) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let directory = fs::File::open(directory).unwrap();
    directory.set_modified(hour_ago).unwrap();
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// The files and links that are there, but for straw's own.
fn not_ours(directory: &Path) -> BTreeSet<String> {
    let mut names = Vec::new();
    list(directory, "", &mut names);
    let is_directory = |name: &String| {
        let metadata = directory.join(name).symlink_metadata();
        metadata.unwrap().is_dir()
    };
    names.retain(|name| !name.starts_with('.') && !is_directory(name));
    names.into_iter().collect()
}

/// Fails if there is a directory with nothing in it.
pub fn check_no_empty_directory(directory: &Path) {
    let mut all = Vec::new();
    list(directory, "", &mut all);
    for name in all {
        let path = directory.join(&name);
        let is_directory = path.symlink_metadata().unwrap().is_dir();
        assert!(
            !is_directory || names(&path).count() > 0,
            "{name} is left over"
        );
    }
}

fn generations(directory: &Path) -> Vec<String> {
    names(directory)
        .filter(|name| name.starts_with("..gen-"))
        .collect()
}

fn is_temporary(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap();
    [".straw-new.", "..new-", "..old-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// All that is there; links are not followed.
fn list(directory: &Path, path: &str, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{path}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), into);
        }
        into.push(name);
    }
}

/// Names, with the content of files and the targets of links.
type Contents = Vec<(String, String)>;

/// All that is there.
fn contents(directory: &Path) -> Contents {
    let mut names = Vec::new();
    list(directory, "", &mut names);
    names.sort();
    let content = |name: &String| {
        let path = directory.join(name);
        match fs::read_link(&path) {
            Ok(target) => target.to_str().unwrap().to_owned(),
            Err(_) => fs::read_to_string(&path).unwrap_or_default(),
        }
    };
    names
        .into_iter()
        .map(|name| {
            let mut content = content(&name);
            if name.ends_with(".straw.json") {
                // The time, and what else counts up.
                content.retain(|letter| !letter.is_ascii_digit());
            }
            (name, content)
        })
        .collect()
}

fn read(directory: &Path, name: &str) -> Option<String> {
    match fs::read_to_string(directory.join(name)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Whether a file is there just so.
fn is(directory: &Path, (name, content): &(&str, &str)) -> bool {
    let mode = if name.ends_with('*') { 0o755 } else { 0o644 };
    let name = name.trim_end_matches('*');
    read(directory, name).is_some_and(|text| {
        let permissions = fs::metadata(directory.join(name)).unwrap().permissions();
        text == *content && permissions.mode() & 0o7777 == mode
    })
}

/// Each file is whole, and slurm.conf is the new one only once all it refers to is.
fn look_at_flat(directory: &Path) -> Seen {
    let has = |files: Files, file: &str| {
        let one = files
            .iter()
            .find(|(name, _)| name.trim_end_matches('*') == file);
        match one {
            Some(one) => is(directory, one),
            None => read(directory, file).is_none(),
        }
    };
    let names = OLD
        .iter()
        .chain(NEW)
        .map(|(name, _)| name.trim_end_matches('*'));
    for name in names.clone() {
        assert!(has(OLD, name) || has(NEW, name), "{name} is not whole");
    }
    let all = |files| names.clone().all(|name| has(files, name));
    match has(NEW, "slurm.conf") {
        true => {
            assert!(
                NEW.iter().all(|file| is(directory, file)),
                "slurm.conf came too early"
            );
            Seen::New
        }
        false if all(OLD) => Seen::Old,
        false => {
            assert!(has(OLD, "gone"), "removed too early");
            Seen::Mixed
        }
    }
}

/// One set or the other, and nothing of the other, by both ways to it.
fn look_at_store(directory: &Path) -> Seen {
    let (files, others, seen) = match is(directory, &NEW[0]) {
        true => (NEW, OLD, Seen::New),
        false => (OLD, NEW, Seen::Old),
    };
    for way in [directory, &directory.join("..data")] {
        for file in files {
            assert!(is(way, file), "{} is not of the {seen:?} set", file.0);
        }
        for (name, _) in others {
            let is_there = files.iter().any(|(one, _)| one == name);
            assert!(
                is_there || read(way, name).is_none(),
                "{name} is of another set"
            );
        }
    }
    seen
}
