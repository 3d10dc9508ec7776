//! The set while rules are at it.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{Adapted, Change, Container, Finding, Severity};
use crate::config::slurm_conf::{Conf, Edit, Kind, Pair, Statement, clean};
use crate::config::{ConfigSet, FileName};
use crate::text::brief;

const SLURM_CONF: &str = "slurm.conf";

/// More files than this are not looked into: each is included by the one before, perhaps.
const MOST_FILES: usize = 256;

/// What is found is told so many times; what was changed, each time.
const MOST_FINDINGS: usize = 256;

/// Longer names, in bytes, are no file's.
const LONGEST_NAME: usize = 4096;

/// Where plugins are looked for, at most.
const MOST_DIRECTORIES: usize = 16;

/// A statement, by the numbers of its file and of its place there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    file: usize,
    index: usize,
}

/// The statements of slurm.conf and of what it includes.
#[derive(Default)]
struct Index {
    /// In the order in which Slurm reads them.
    places: Vec<Place>,
    /// Those that begin with a key, by it, in lower case.
    by_key: HashMap<Vec<u8>, Vec<Place>>,
}

/// A key and its value, the first or only ones of their line.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) value: String,
}

/// What to do with a line.
pub(super) enum Action {
    /// Make it a comment.
    CommentOut { reason: String },
    /// Give it another value.
    Replace { value: String, reason: String },
}

/// Where plugins are, and the names of the files there.
type Plugins = (Vec<PathBuf>, Option<BTreeSet<OsString>>);

/// A set that is being adapted.
pub(super) struct Work<'a> {
    pub(super) container: &'a Container<'a>,
    set: &'a ConfigSet,
    files: Vec<(&'a FileName, Conf<'a>)>,
    /// Made when it is first asked for, and again after an edit of which lines there are.
    index: OnceCell<Index>,
    /// The cluster's name, once slurm.conf is read.
    cluster: OnceCell<String>,
    rule: &'static str,
    changes: Vec<Change>,
    findings: Vec<Finding>,
    /// Where plugins are, and the names of the files there, once a rule looks for one.
    plugins: OnceCell<Option<Plugins>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(set: &'a ConfigSet, container: &'a Container<'a>) -> Self {
        let mut work = Self {
            container,
            set,
            files: Vec::new(),
            index: OnceCell::new(),
            cluster: OnceCell::new(),
            rule: "",
            changes: Vec::new(),
            findings: Vec::new(),
            plugins: OnceCell::new(),
        };
        for start in [SLURM_CONF, "plugstack.conf"] {
            work.load(start);
        }
        work
    }

    /// Reads a file and those that it includes.
    fn load(&mut self, name: &str) {
        let mut names = vec![name.to_owned()];
        while let Some(name) = names.pop() {
            let Some((name, file)) = self.set.entry(&name) else {
                continue;
            };
            if self.number(name.as_str()).is_some() {
                continue;
            }
            // Which cluster it is decides which file `%c` is; that is seen once slurm.conf is read.
            self.files.push((name, Conf::parse(&file.content)));
            let statements = self.statements(name.as_str());
            let included = statements.filter_map(|statement| self.included(statement));
            names.extend(included.map(|name| name.as_str().to_owned()));
        }
    }

    /// The number of a file that was read.
    fn number(&self, name: &str) -> Option<usize> {
        let mut names = self.files.iter().map(|(name, _)| name.as_str());
        names.position(|other| other == name)
    }

    /// Changes from now on are those of this rule.
    pub(super) fn begin(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    /// The set as it is now, and what was done to it.
    pub(super) fn finish(self) -> Adapted {
        let mut set = self.set.clone();
        let changes = self.changes.iter();
        let changed: BTreeSet<_> = changes.map(|change| change.file.as_str()).collect();
        for (name, conf) in self.files {
            if changed.contains(name.as_str()) {
                set.set_content(name, conf.to_bytes());
            }
        }
        Adapted {
            set,
            changes: self.changes,
            findings: self.findings,
        }
    }

    /// Whether the set has a file.
    pub(super) fn has_file(&self, name: &str) -> bool {
        self.set.get(name).is_some()
    }

    /// The statements of a file.
    fn statements(&self, name: &str) -> impl Iterator<Item = &Statement<'a>> {
        let number = self.number(name);
        let statements = number.map(|number| self.files[number].1.statements());
        statements.unwrap_or_default().iter()
    }

    /// A statement, where there still is one.
    pub(super) fn statement(&self, place: Place) -> Option<&Statement<'a>> {
        let (_, conf) = self.files.get(place.file)?;
        conf.statements().get(place.index)
    }

    /// The file of the set that a statement includes. Names count from slurm.conf's directory, in
    /// whatever file they stand.
    pub(super) fn included(&self, statement: &Statement<'_>) -> Option<FileName> {
        let Kind::Include(name) = statement.kind() else {
            return None;
        };
        let name = FileName::parse(self.file_name(name).as_bytes()).ok()?;
        self.has_file(name.as_str()).then_some(name)
    }

    /// The name of an included file, with the cluster's name in the place of `%c`.
    pub(super) fn file_name(&self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name).into_owned();
        if !name.contains("%c") {
            return name;
        }
        // Files included before it are not looked into; ClusterName is in slurm.conf itself.
        let cluster = self.cluster.get_or_init(|| {
            self.statements(SLURM_CONF)
                .filter_map(|statement| statement.pairs().next())
                .filter(|pair| pair.is("ClusterName") && !pair.is_empty())
                .last()
                .map(|pair| pair.value_text().to_lowercase())
                .unwrap_or_default()
        });
        // A name that the system has no room for, to be shown and not to be found.
        if name.matches("%c").count() * cluster.len() > LONGEST_NAME {
            return name;
        }
        name.replace("%c", cluster)
    }

    /// All statements of slurm.conf and of what it includes, in the order in which Slurm reads
    /// them.
    pub(super) fn places(&self) -> Vec<Place> {
        self.index().places.clone()
    }

    /// The same for another file that is read by itself.
    pub(super) fn places_from(&self, name: &str) -> Vec<Place> {
        let mut places = Vec::new();
        if let Some(file) = self.number(name) {
            self.walk(file, &mut BTreeSet::new(), &mut places);
        }
        places
    }

    /// Each file once, though it be included twice, or by itself: it is changed in one place.
    fn walk(&self, file: usize, seen: &mut BTreeSet<usize>, places: &mut Vec<Place>) {
        if seen.len() == MOST_FILES || !seen.insert(file) {
            return;
        }
        for (index, statement) in self.files[file].1.statements().iter().enumerate() {
            places.push(Place { file, index });
            let included = self.included(statement);
            if let Some(included) = included.and_then(|name| self.number(name.as_str())) {
                self.walk(included, seen, places);
            }
        }
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let places = self.places_from(SLURM_CONF);
            let mut by_key: HashMap<Vec<u8>, Vec<Place>> = HashMap::new();
            let mut key = Vec::new();
            for &place in &places {
                let statement = self.statement(place);
                let Some(first) = statement.and_then(|statement| statement.pairs().next()) else {
                    continue;
                };
                key.clear();
                key.extend(first.key().iter().map(u8::to_ascii_lowercase));
                match by_key.get_mut(&key) {
                    Some(places) => places.push(place),
                    None => drop(by_key.insert(key.clone(), vec![place])),
                }
            }
            Index { places, by_key }
        })
    }

    /// All lines of this key, in the order in which Slurm reads them.
    pub(super) fn all(&self, key: &str) -> Vec<Setting> {
        let places = self.index().by_key.get(key.to_ascii_lowercase().as_bytes());
        let setting = |&place: &Place| {
            // It can have become a comment since.
            let pair = self.statement(place)?.pairs().next()?;
            pair.is(key).then(|| Setting {
                key: pair.key_text().into_owned(),
                value: pair.value_text().into_owned(),
                place,
            })
        };
        places.into_iter().flatten().filter_map(setting).collect()
    }

    /// Whether a line stands there just so.
    pub(super) fn has_line(&self, line: &str) -> bool {
        let places = self.index().places.iter();
        let mut statements = places.filter_map(|&place| self.statement(place));
        statements.any(|statement| statement.text() == line)
    }

    /// The line of this key that counts: the last one.
    pub(super) fn effective(&self, key: &str) -> Option<Setting> {
        self.all(key).pop()
    }

    /// The value of this key.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        self.effective(key).map(|setting| setting.value)
    }

    /// Whether a file is where plugins are; where nobody knows where that is, it may be. PluginDir is
    /// not changed any more when this is first asked.
    pub(super) fn has_plugin(&self, name: &str) -> bool {
        match self.plugins.get_or_init(|| self.plugins()) {
            None => true,
            Some((_, Some(names))) if !name.contains('/') => names.contains(OsStr::new(name)),
            Some((directories, _)) => directories
                .iter()
                .any(|directory| directory.join(name).is_file()),
        }
    }

    /// One look for all that is asked for: to look for each takes its time on some file systems.
    /// Without names where a directory cannot be listed, which says nothing of what is in it.
    fn plugins(&self) -> Option<Plugins> {
        let directories: Vec<_> = match self.value("PluginDir") {
            Some(value) => {
                let directories = value.split(':').take(MOST_DIRECTORIES);
                directories.map(|path| self.container.path(path)).collect()
            }
            None => vec![self.container.plugin_directory()?.to_owned()],
        };
        let is_file = |entry: &fs::DirEntry| match entry.file_type() {
            Ok(kind) if kind.is_symlink() => entry.path().is_file(),
            kind => kind.is_ok_and(|kind| kind.is_file()),
        };
        let list = |directory: &PathBuf| match fs::read_dir(directory) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        };
        let entries: Result<Vec<_>, _> = directories.iter().map(list).collect();
        let names = entries.ok().map(|entries| {
            let files = entries.into_iter().flatten().filter(is_file);
            files.map(|entry| entry.file_name()).collect()
        });
        Some((directories, names))
    }

    /// Looks at each line of this key.
    pub(super) fn each(&mut self, key: &str, decide: impl Fn(&Self, &str) -> Option<Action>) {
        for setting in self.all(key) {
            match decide(self, &setting.value) {
                None => {}
                Some(Action::CommentOut { reason }) => self.comment_out(setting.place, &reason),
                Some(Action::Replace { value, reason }) => {
                    self.replace(setting.place, &value, &reason);
                }
            }
        }
    }

    /// Makes a statement a comment.
    pub(super) fn comment_out(&mut self, place: Place, reason: &str) {
        let statement = self.statement(place);
        if statement.is_some_and(|statement| matches!(statement.kind(), Kind::Include(_))) {
            self.index.take();
        }
        self.edit(place.file, reason, |conf, reason| {
            conf.comment_out(place.index, reason)
        });
    }

    /// Gives the first pair of a statement another value.
    pub(super) fn replace(&mut self, place: Place, value: &str, reason: &str) {
        self.edit(place.file, reason, |conf, reason| {
            conf.replace(place.index, 0, value, reason)
        });
    }

    /// Takes pairs out of a statement, though not the first one alone: that is the line's.
    pub(super) fn remove(&mut self, place: Place, pairs: &[usize], reason: &str) {
        self.edit(place.file, reason, |conf, reason| {
            conf.remove(place.index, pairs, reason)
        });
    }

    /// Adds a line to slurm.conf.
    pub(super) fn append(&mut self, line: &str, reason: &str) {
        if let Some(file) = self.number(SLURM_CONF) {
            self.index.take();
            self.edit(file, reason, |conf, reason| {
                conf.append(line.as_bytes(), reason)
            });
        }
    }

    fn edit(&mut self, file: usize, reason: &str, edit: impl FnOnce(&mut Conf<'_>, &str) -> Edit) {
        // It can stand on each line of what it is about.
        let reason = brief(reason);
        let Some((name, conf)) = self.files.get_mut(file) else {
            return;
        };
        let edit = edit(conf, &reason);
        self.changes.push(Change {
            rule: self.rule,
            file: name.to_string(),
            line: edit.line,
            before: edit.before,
            after: edit.after,
            reason: clean(&reason).into_owned(),
        });
    }

    /// Notes what is not mended.
    pub(super) fn find(
        &mut self,
        severity: Severity,
        place: Option<Place>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let line = place.and_then(|place| self.statement(place)?.line());
        let finding = Finding {
            rule: self.rule,
            severity,
            file: place.map(|place| self.files[place.file].0.to_string()),
            line,
            message: brief(&clean(&message.into())).into_owned(),
            hint: brief(&hint.into()).into_owned(),
        };
        if self.findings.len() < MOST_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The pairs of a statement.
    pub(super) fn pairs(&self, place: Place) -> impl Iterator<Item = Pair<'_>> {
        self.files[place.file].1.statements()[place.index].pairs()
    }
}
