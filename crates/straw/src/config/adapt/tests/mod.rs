//! Each rule in a small container of its own making; a file for each of `rules/`.

mod accounts;
mod bounds;
mod by_hand;
mod controllers;
mod documented;
mod files;
mod flags;
mod keys;
mod plugins;
mod spank;
mod tls;

use std::fs;
use std::path::Path;

use super::container::{Library, Table};
use super::*;
use crate::credential::Method;

const PLUGINS: &str = "/plugins";

/// A root with accounts and plugins.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let this = Self(root);
        this.put(
            "etc/passwd",
            "root:x:0:0::/:\nslurm:x:64030:64030::/:\nalice:x:2001:2001::/:\n",
        );
        for plugin in [
            "auth_jwt",
            "auth_munge",
            "cred_munge",
            "hash_k12",
            "select_cons_tres",
        ] {
            this.put(&format!("plugins/{plugin}.so"), "");
        }
        this
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// As alice, with a Slurm of this release.
    fn container(&self, release: (u16, u16)) -> Container<'_> {
        const TOP: &[&str] = &[
            "ClusterName",
            "SlurmctldHost",
            "AccountingStorageLoc",
            "SlurmUser",
            "SlurmdUser",
            "PluginDir",
            "AuthType",
            "CredType",
            "CryptoType",
            "HashPlugin",
            "SelectType",
            "AccountingStorageType",
            "TLSType",
            "TLSParameters",
            "CliFilterPlugins",
            "JobContainerType",
            "NamespaceType",
            "PrologFlags",
            "DebugFlags",
            "SelectTypeParameters",
            "TaskPluginParam",
            "PreemptMode",
            "AccountingStorageEnforce",
            "SwitchType",
            "MpiDefault",
            "NodeName",
            "PartitionName",
            "ControlMachine",
            "ControlAddr",
            "BackupController",
            "BackupAddr",
            "MailProg",
        ];
        let tables = [
            (Table::Top, TOP),
            (Table::Node, &["CPUs", "State"][..]),
            (Table::Partition, &["Nodes", "Default"][..]),
        ];
        let words = [
            "Alloc",
            "Contain",
            "X11",
            "Steps",
            "CR_CPU",
            "CR_Memory",
            "gang",
            "suspend",
        ];
        let library = Library::fake(release, &tables, &words);
        Container::at(self.path())
            .euid(2001)
            .method(Some(Method::Jwt))
            .with_library(library, PLUGINS)
    }
}

/// What a set becomes: each file's content, the changes' rules, the findings' rules.
struct Outcome {
    adapted: Adapted,
}

impl Outcome {
    fn file(&self, name: &str) -> String {
        let file = self.adapted.set.get(name).unwrap();
        String::from_utf8(file.content.clone()).unwrap()
    }

    /// The lines of slurm.conf without the two that every one here begins with.
    fn lines(&self) -> Vec<String> {
        let text = self.file("slurm.conf");
        text.lines().skip(2).map(str::to_owned).collect()
    }

    fn changes(&self) -> Vec<String> {
        self.adapted
            .changes
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn findings(&self) -> Vec<String> {
        self.adapted
            .findings
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

const HEAD: &str = "ClusterName=lab\nSlurmctldHost=ctl1\n";

/// Adapts, and checks that adapting again changes nothing.
fn outcome(container: &Container<'_>, files: &[(&str, &str)]) -> Outcome {
    let set = ConfigSet::of(files);
    let adapted = adapt(&set, container, &ByHand::default());
    let again = adapt(&adapted.set, container, &ByHand::default());
    assert_eq!(again.changes, [], "adapted twice");
    assert_eq!(again.set, adapted.set);
    Outcome { adapted }
}

/// Adapts these lines in a container of 26.05.
fn lines(root: &Root, text: &str) -> Vec<String> {
    lines_in(&root.container((26, 5)), text)
}

fn lines_in(container: &Container<'_>, text: &str) -> Vec<String> {
    outcome(container, &[("slurm.conf", &format!("{HEAD}{text}"))]).lines()
}

#[test]
fn what_fits_is_left_alone() {
    let root = Root::new();
    let text = "SlurmUser=slurm\nPluginDir=/plugins\nAuthType=auth/munge\nCredType = cred/munge # c\r\n\
                HashPlugin=hash/k12\nPrologFlags=alloc,CONTAIN\nNodeName=n CPUs=4\n\
                PartitionName=p Nodes=n \\\n\tDefault=YES\nAccountingStorageType=accounting_storage/none";
    let conf = format!("{HEAD}{text}");
    let outcome = outcome(
        &root.container((24, 11)),
        &[("slurm.conf", &conf), ("other", "x\n")],
    );
    assert_eq!(outcome.file("slurm.conf"), conf);
    assert_eq!(outcome.changes(), [""; 0]);
    assert_eq!(outcome.findings(), [""; 0]);
}

#[test]
fn a_container_without_slurm() {
    let root = Root::new();
    let container = Container::at(root.path()).euid(2001);
    let conf = format!(
        "{HEAD}New=1\nCredType=cred/gone\nDebugFlags=New\nSlurmUser=gone\nPluginDir=/gone\n"
    );
    let plugstack = "required x.so\nrequired /gone/y.so\n";
    let files: &[(&str, &str)] = &[("slurm.conf", &conf), ("plugstack.conf", plugstack)];
    let outcome = outcome(&container, files);
    assert_eq!(outcome.changes().len(), 1, "{:?}", outcome.changes());
    assert_eq!(outcome.findings().len(), 1);
    assert_eq!(outcome.adapted.findings[0].severity, Severity::Note);
}

#[test]
fn nothing_is_handed_on_that_a_terminal_would_obey() {
    let root = Root::new();
    let conf = format!("{HEAD}SlurmUser=a\x1b[2J\nSlurmctldHost=b\x1b[2J\nAuthType=\x1b[2J\n");
    let resolves = |_: &str| false;
    let container = root.container((26, 5)).method(None).resolver(&resolves);
    let outcome = outcome(&container, &[("slurm.conf", &conf)]);
    let said = [outcome.changes(), outcome.findings()].concat();
    assert!(said.len() >= 4, "{said:?}");
    assert!(said.iter().all(|line| !line.contains('\x1b')), "{said:?}");
}

#[test]
fn one_line_each() {
    let root = Root::new();
    let conf = format!("{HEAD}SlurmUser=gone\nPluginDir=/plugins:/gone\n");
    let set = ConfigSet::of(&[("slurm.conf", &conf)]);
    let by_hand = ByHand {
        set: vec![ByHand::parse_set("MailProg=/x").unwrap()],
        unset: Vec::new(),
    };
    let adapted = adapt(&set, &root.container((26, 5)), &by_hand);
    let lines: Vec<_> = adapted.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "slurm.conf:4: `PluginDir=/plugins:/gone` becomes `PluginDir=/plugins`: no /gone here \
             [plugin-dir]",
            "slurm.conf:3: `SlurmUser=gone` is commented out: no account gone here [slurm-user]",
            "slurm.conf: `MailProg=/x` is added: set by hand [set]",
        ]
    );
    assert_eq!(
        serde_json::to_value(&adapted.changes[1]).unwrap(),
        serde_json::json!({
            "rule": "slurm-user", "file": "slurm.conf", "line": 3, "before": "SlurmUser=gone",
            "after": null, "reason": "no account gone here",
        })
    );
}
