//! What is here: accounts, Slurm's library and plugins, files, names, and what straw found out on
//! its way to the configuration. Everything is looked up when a rule first asks for it.

mod accounts;
mod elf;
mod library;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use elf::Elf;
pub(super) use library::{Library, Table};

use crate::credential::Method;

/// Commands of Slurm's, one of which is in every client.
const COMMANDS: [&str; 4] = ["sinfo", "squeue", "sbatch", "scontrol"];

/// Where Slurm's library is, by distribution and by habit; `*` stands for the rest of a name.
const USUAL_PLACES: [&str; 16] = [
    "usr/lib/*-linux-gnu/slurm-wlm",
    "usr/lib64/slurm",
    "usr/lib/*-linux-gnu/slurm",
    "usr/lib/slurm",
    "usr/lib/slurm-wlm",
    "usr/local/lib/slurm",
    "usr/local/lib64/slurm",
    "usr/local/slurm/lib/slurm",
    "opt/slurm*/lib/slurm",
    "opt/slurm*/lib64/slurm",
    "opt/slurm/*/lib/slurm",
    "usr/lib64",
    "usr/lib/*-linux-gnu",
    "usr/lib",
    "usr/local/lib",
    "opt/slurm*/lib",
];

/// So many accounts are looked for, and the others are not there; a slurm.conf names two.
const MOST_ACCOUNTS: usize = 8;

/// A library of more bytes is none of Slurm's.
const LARGEST_LIBRARY: u64 = 64 << 20;

/// A controller that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// Its name, as straw was given it.
    pub host: String,
    /// The address that answered.
    pub address: IpAddr,
}

impl Reached {
    /// A controller that answered from this address.
    pub fn new(host: impl Into<String>, address: IpAddr) -> Self {
        let host = host.into();
        Self { host, address }
    }
}

/// A container, as far as Slurm's commands see it.
pub struct Container<'a> {
    root: PathBuf,
    search_path: Vec<PathBuf>,
    euid: u32,
    method: Option<Method>,
    resolves: Option<&'a dyn Fn(&str) -> bool>,
    reached: Vec<Reached>,
    slurm: OnceCell<Option<Slurm>>,
    accounts: RefCell<BTreeMap<String, Option<u32>>>,
    hosts: RefCell<BTreeMap<String, bool>>,
}

/// Slurm, as it is installed.
#[derive(Debug)]
struct Slurm {
    library: Library,
    /// Where its plugins are unless slurm.conf says otherwise.
    plugins: PathBuf,
}

impl<'a> Container<'a> {
    /// The one that this process is in.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// One whose file system is at this path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            search_path: Vec::new(),
            euid: rustix::process::geteuid().as_raw(),
            method: None,
            resolves: None,
            reached: Vec::new(),
            slurm: OnceCell::new(),
            accounts: RefCell::default(),
            hosts: RefCell::default(),
        }
    }

    /// Names the directories of `PATH`. Slurm's commands in them know where their library is.
    #[must_use]
    pub fn search_path(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.search_path = directories.into_iter().collect();
        self
    }

    /// Who writes the files; by default, this process.
    #[must_use]
    pub fn euid(mut self, euid: u32) -> Self {
        self.euid = euid;
        self
    }

    /// How Slurm's commands will show who they are, where that is known.
    #[must_use]
    pub fn method(mut self, method: Option<Method>) -> Self {
        self.method = method;
        self
    }

    /// How to find out whether a name of a host can be resolved. Without it they all can.
    #[must_use]
    pub fn resolver(mut self, resolves: &'a dyn Fn(&str) -> bool) -> Self {
        self.resolves = Some(resolves);
        self
    }

    /// The controllers that answered, the first first.
    #[must_use]
    pub fn reached(mut self, controllers: impl IntoIterator<Item = Reached>) -> Self {
        self.reached = controllers.into_iter().collect();
        self
    }

    /// The release of the Slurm that is here, year and month, where its library says so.
    pub fn release(&self) -> Option<(u16, u16)> {
        self.library().and_then(Library::version)
    }

    /// Whether Slurm's library is here.
    pub fn has_slurm(&self) -> bool {
        self.slurm().is_some()
    }

    pub(super) fn is_root(&self) -> bool {
        self.euid == 0
    }

    pub(super) fn owner(&self) -> u32 {
        self.euid
    }

    pub(super) fn credential(&self) -> Option<Method> {
        self.method
    }

    pub(super) fn controllers(&self) -> &[Reached] {
        &self.reached
    }

    /// Whether a host's name or address is of use.
    pub(super) fn resolves(&self, host: &str) -> bool {
        let Some(resolves) = self.resolves.filter(|_| host.parse::<IpAddr>().is_err()) else {
            return true;
        };
        // To ask for a name that is not there can take its time.
        let mut hosts = self.hosts.borrow_mut();
        *hosts
            .entry(host.to_owned())
            .or_insert_with(|| resolves(host))
    }

    /// The number of an account, by its name or number; none where there is none.
    pub(super) fn account(&self, name: &str) -> Option<u32> {
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(name) {
            return None;
        }
        *accounts
            .entry(name.to_owned())
            .or_insert_with(|| accounts::find(&self.root, name))
    }

    /// Whether there is something at this absolute path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.inside(Path::new(path)).exists()
    }

    /// Whether there is a directory at this absolute path.
    pub(super) fn has_directory(&self, path: &str) -> bool {
        path.starts_with('/') && self.inside(Path::new(path)).is_dir()
    }

    /// Slurm's library; none in a container without Slurm.
    pub(super) fn library(&self) -> Option<&Library> {
        self.slurm().map(|slurm| &slurm.library)
    }

    /// Where plugins are unless slurm.conf says otherwise.
    pub(super) fn plugin_directory(&self) -> Option<&Path> {
        self.slurm().map(|slurm| slurm.plugins.as_path())
    }

    fn slurm(&self) -> Option<&Slurm> {
        self.slurm.get_or_init(|| self.find_slurm()).as_ref()
    }

    fn find_slurm(&self) -> Option<Slurm> {
        let file = self.beside_commands().or_else(|| {
            let places = USUAL_PLACES.iter().flat_map(|place| self.expand(place));
            places.into_iter().find_map(|place| library_in(&place))
        })?;
        let library = Library::new(&open(&file)?);
        let directory = file.parent()?;
        // A build with one shared library has it among the plugins; others, one directory above.
        let plugins = [
            directory.to_owned(),
            directory.join("slurm"),
            directory.join("slurm-wlm"),
        ]
        .into_iter()
        .find(|directory| holds_plugins(directory))
        .unwrap_or_else(|| directory.to_owned());
        log::debug!("Slurm's library is {}", file.display());
        Some(Slurm { library, plugins })
    }

    /// The library where Slurm's commands look for it, or beside them.
    fn beside_commands(&self) -> Option<PathBuf> {
        let commands = self.search_path.iter().flat_map(|directory| {
            let directory = self.inside(directory);
            COMMANDS.map(|command| directory.join(command))
        });
        for command in commands.filter(|command| command.is_file()) {
            let Ok(command) = fs::canonicalize(command) else {
                continue;
            };
            // A script, as straw's own shims may be, is no ELF file.
            let Some(file) = open(&command) else {
                continue;
            };
            let Some(elf) = Elf::parse(&file) else {
                continue;
            };
            let run_path = elf.run_path().unwrap_or_default();
            let mut places: Vec<_> = run_path
                .split(':')
                .filter(|place| place.starts_with('/'))
                .map(|place| self.inside(Path::new(place)))
                .collect();
            if let Some(prefix) = command.parent().and_then(Path::parent) {
                places.extend(
                    ["lib/slurm", "lib64/slurm", "lib", "lib64"].map(|lib| prefix.join(lib)),
                );
            }
            let library = places.iter().find_map(|place| library_in(place));
            if library.is_some() {
                return library;
            }
        }
        None
    }

    /// The directories that a pattern names.
    fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        let mut directories = vec![self.root.clone()];
        for part in pattern.split('/') {
            let Some((prefix, suffix)) = part.split_once('*') else {
                for directory in &mut directories {
                    directory.push(part);
                }
                continue;
            };
            directories = directories
                .iter()
                .filter_map(|directory| fs::read_dir(directory).ok())
                .flat_map(Iterator::flatten)
                .filter(|entry| {
                    let name = entry.file_name();
                    let rest = name.as_encoded_bytes().strip_prefix(prefix.as_bytes());
                    rest.is_some_and(|rest| rest.ends_with(suffix.as_bytes()))
                })
                .map(|entry| entry.path().into_os_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(PathBuf::from)
                .collect();
        }
        directories
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path of a file of this container, for a rule that was given a directory by slurm.conf.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.inside(Path::new(path))
    }

    /// Puts a library in the place of the one that would be looked for.
    #[cfg(test)]
    pub(super) fn with_library(self, library: Library, plugins: &str) -> Self {
        let plugins = self.inside(Path::new(plugins));
        let _ = self.slurm.set(Some(Slurm { library, plugins }));
        self
    }
}

impl fmt::Debug for Container<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("root", &self.root)
            .field("euid", &self.euid)
            .field("method", &self.method)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

/// Slurm's library in a directory: the one that its own commands use before the public one.
fn library_in(directory: &Path) -> Option<PathBuf> {
    let full = directory.join("libslurmfull.so");
    if full.is_file() {
        return Some(full);
    }
    let entries = fs::read_dir(directory).ok()?;
    let public = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix("libslurm.so.")?;
        let number: u32 = number.split('.').next()?.parse().ok()?;
        Some((number, entry.path()))
    };
    let (_, newest) = entries.flatten().filter_map(public).max()?;
    Some(newest)
}

/// Whether plugins of Slurm's are in a directory. None works without one of these.
fn holds_plugins(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name.as_encoded_bytes().starts_with(b"auth_"))
}

fn open(file: &Path) -> Option<File> {
    // A pipe would keep us waiting for somebody to write into it.
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let file = File::open(file).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.len() <= LARGEST_LIBRARY).then_some(file)
}
