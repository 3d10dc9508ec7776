//! The set while rules are at it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Adapted, Change, Container, Finding, Severity};
use crate::config::slurm_conf::{Conf, Edit, Kind, Pair, Statement};
use crate::config::{ConfigSet, FileName};

const SLURM_CONF: &str = "slurm.conf";

/// More files than this are not looked into: each is included by the one before, perhaps.
const MOST_FILES: usize = 256;

/// A statement, by its file and its index there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: FileName,
    pub(super) index: usize,
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

/// A set that is being adapted.
pub(super) struct Work<'a> {
    pub(super) container: &'a Container<'a>,
    set: &'a ConfigSet,
    files: BTreeMap<FileName, Conf>,
    /// The cluster's name, once slurm.conf is read.
    cluster: OnceCell<String>,
    rule: &'static str,
    changes: Vec<Change>,
    findings: Vec<Finding>,
}

impl<'a> Work<'a> {
    pub(super) fn new(set: &'a ConfigSet, container: &'a Container<'a>) -> Self {
        let mut work = Self {
            container,
            set,
            files: BTreeMap::new(),
            cluster: OnceCell::new(),
            rule: "",
            changes: Vec::new(),
            findings: Vec::new(),
        };
        for start in [SLURM_CONF, "plugstack.conf"] {
            if let Ok(name) = FileName::parse(start.as_bytes()) {
                work.load(name);
            }
        }
        work
    }

    /// Reads a file and those that it includes.
    fn load(&mut self, name: FileName) {
        let mut names = vec![name];
        while let Some(name) = names.pop() {
            let Some(file) = self.set.get(name.as_str()) else {
                continue;
            };
            if self.files.contains_key(&name) {
                continue;
            }
            let conf = Conf::parse(&file.content);
            // Which cluster it is decides which file `%c` is; that is seen once slurm.conf is read.
            self.files.insert(name.clone(), conf);
            names.extend(self.includes(&name));
        }
    }

    fn includes(&self, name: &FileName) -> Vec<FileName> {
        self.statements(name)
            .filter_map(|(_, statement)| self.included(statement))
            .collect()
    }

    /// Changes from now on are those of this rule.
    pub(super) fn begin(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    /// The set as it is now, and what was done to it.
    pub(super) fn finish(self) -> Adapted {
        let mut set = self.set.clone();
        for (name, conf) in &self.files {
            let changed = |change: &Change| change.file == name.as_str();
            if self.changes.iter().any(changed) {
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

    /// The statements of a file, with their indexes.
    pub(super) fn statements(&self, name: &FileName) -> impl Iterator<Item = (usize, &Statement)> {
        let statements = self.files.get(name).map(Conf::statements);
        statements.unwrap_or_default().iter().enumerate()
    }

    /// A statement, where there still is one.
    pub(super) fn statement(&self, place: &Place) -> Option<&Statement> {
        self.files.get(&place.file)?.statements().get(place.index)
    }

    /// The file of the set that a statement includes. Names count from slurm.conf's directory, in
    /// whatever file they stand.
    pub(super) fn included(&self, statement: &Statement) -> Option<FileName> {
        let Kind::Include(name) = statement.kind() else {
            return None;
        };
        let name = self.file_name(name);
        let name = FileName::parse(name.as_bytes()).ok()?;
        self.set.contains(&name).then_some(name)
    }

    /// The name of an included file, with the cluster's name in the place of `%c`.
    pub(super) fn file_name(&self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name).into_owned();
        if !name.contains("%c") {
            return name;
        }
        // Files included before it are not looked into; ClusterName is in slurm.conf itself.
        let cluster = self.cluster.get_or_init(|| {
            let file = FileName::parse(SLURM_CONF.as_bytes()).ok();
            let statements = file.iter().flat_map(|file| self.statements(file));
            statements
                .flat_map(|(_, statement)| statement.pairs().first())
                .filter(|pair| pair.is("ClusterName"))
                .last()
                .map(|pair| pair.text().to_lowercase())
                .unwrap_or_default()
        });
        name.replace("%c", cluster)
    }

    /// All statements of slurm.conf and of what it includes, in the order in which Slurm reads
    /// them.
    pub(super) fn places(&self) -> Vec<Place> {
        self.places_from(SLURM_CONF)
    }

    /// The same for another file that is read by itself.
    pub(super) fn places_from(&self, name: &str) -> Vec<Place> {
        let mut places = Vec::new();
        if let Ok(name) = FileName::parse(name.as_bytes()) {
            self.walk(&name, &mut BTreeSet::new(), &mut places);
        }
        places
    }

    /// Each file once, though it be included twice, or by itself: it is changed in one place.
    fn walk(&self, file: &FileName, seen: &mut BTreeSet<FileName>, places: &mut Vec<Place>) {
        if seen.len() == MOST_FILES || !seen.insert(file.clone()) {
            return;
        }
        for (index, statement) in self.statements(file) {
            places.push(Place {
                file: file.clone(),
                index,
            });
            if let Some(included) = self.included(statement) {
                self.walk(&included, seen, places);
            }
        }
    }

    /// All lines of this key, in the order in which Slurm reads them.
    pub(super) fn all(&self, key: &str) -> Vec<Setting> {
        let setting = |place: Place| {
            let pair = self.statement(&place)?.pairs().first()?;
            pair.is(key).then(|| Setting {
                key: pair.key(),
                value: pair.text(),
                place,
            })
        };
        self.places().into_iter().filter_map(setting).collect()
    }

    /// Whether a line stands there just so.
    pub(super) fn has_line(&self, line: &str) -> bool {
        let places = self.places();
        let mut statements = places.iter().filter_map(|place| self.statement(place));
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

    /// Looks at each line of this key.
    pub(super) fn each(&mut self, key: &str, decide: impl Fn(&Self, &str) -> Option<Action>) {
        for setting in self.all(key) {
            match decide(self, &setting.value) {
                None => {}
                Some(Action::CommentOut { reason }) => self.comment_out(&setting.place, &reason),
                Some(Action::Replace { value, reason }) => {
                    self.replace(&setting.place, &value, &reason);
                }
            }
        }
    }

    /// Makes a statement a comment.
    pub(super) fn comment_out(&mut self, place: &Place, reason: &str) {
        self.edit(&place.file, reason, |conf| {
            conf.comment_out(place.index, reason)
        });
    }

    /// Gives the first pair of a statement another value.
    pub(super) fn replace(&mut self, place: &Place, value: &str, reason: &str) {
        self.edit(&place.file, reason, |conf| {
            conf.replace(place.index, 0, value.as_bytes(), reason)
        });
    }

    /// Takes pairs out of a statement.
    pub(super) fn remove(&mut self, place: &Place, pairs: &[usize], reason: &str) {
        self.edit(&place.file, reason, |conf| {
            conf.remove(place.index, pairs, reason)
        });
    }

    /// Adds a line to slurm.conf.
    pub(super) fn append(&mut self, line: &str, reason: &str) {
        if let Ok(file) = FileName::parse(SLURM_CONF.as_bytes()) {
            self.edit(&file, reason, |conf| conf.append(line.as_bytes(), reason));
        }
    }

    fn edit(&mut self, file: &FileName, reason: &str, edit: impl FnOnce(&mut Conf) -> Edit) {
        let Some(conf) = self.files.get_mut(file) else {
            return;
        };
        let edit = edit(conf);
        self.changes.push(Change {
            rule: self.rule,
            file: file.to_string(),
            line: edit.line,
            before: edit.before,
            after: edit.after,
            reason: reason.to_owned(),
        });
    }

    /// Notes what is not mended.
    pub(super) fn find(
        &mut self,
        severity: Severity,
        place: Option<&Place>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let line = place.and_then(|place| self.statement(place)?.line());
        let finding = Finding {
            rule: self.rule,
            severity,
            file: place.map(|place| place.file.to_string()),
            line,
            message: message.into(),
            hint: hint.into(),
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The pairs of a statement.
    pub(super) fn pairs(&self, place: &Place) -> &[Pair] {
        self.statement(place).map_or(&[], Statement::pairs)
    }
}
