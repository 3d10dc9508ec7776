//! Whole sets, adapted to a container in which some of it is: nothing is done twice, what is changed is
//! said, and every line is still there.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use straw::config::ConfigSet;
use straw::config::adapt::{Adapted, ByHand, Container, Reached, adapt, only_by_hand};
use straw::credential::Method;
use straw_fuzz::{File, reply, scratch};

#[derive(Arbitrary, Debug)]
struct Input {
    slurm_conf: Vec<Piece>,
    plugstack: Vec<Piece>,
    others: Vec<(u8, Vec<Piece>)>,
    with_ca: bool,
    slurm: bool,
    root: bool,
    method: u8,
    resolves: Option<u8>,
    reached: Vec<u8>,
    set: Vec<String>,
    unset: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Pair(u8, Vec<u8>),
    Include(u8),
    Spank(bool, u8),
    Comment,
    Quote,
    Space,
    Continue,
    End,
    Comma,
    Word(u8),
    Text(Vec<u8>),
}

const KEYS: [&str; 34] = [
    "ClusterName",
    "SlurmctldHost",
    "SlurmUser",
    "SlurmdUser",
    "PluginDir",
    "AuthType",
    "CredType",
    "CryptoType",
    "HashPlugin",
    "SelectType",
    "SelectTypeParameters",
    "AccountingStorageType",
    "TLSType",
    "TLSParameters",
    "CliFilterPlugins",
    "JobContainerType",
    "NamespaceType",
    "PrologFlags",
    "DebugFlags",
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
    "AccountingStorageLoc",
    "CertgenType",
    "Unknown",
    "CPUs",
];

const WORDS: [&str; 28] = [
    "ctl1",
    "ctl2(10.0.0.2)",
    "10.0.0.1",
    "root",
    "slurm",
    "nobody9",
    "/plugins",
    "/gone",
    ":",
    "auth/jwt",
    "cred/munge",
    "hash/k12",
    "select/cons_tres",
    "select/linear",
    "CR_CPU",
    "tls/s2n",
    "ca_cert_file=/x.pem",
    "lua",
    "cli_filter/none",
    "none",
    "Contain",
    "Alloc",
    "gang",
    "#",
    "%c",
    "=",
    "/",
    "sub/other.conf",
];

const FILES: [&str; 6] = [
    "other.conf",
    "sub/other.conf",
    "%c.conf",
    "cli_filter.lua",
    "/etc/gone",
    "no*.conf",
];

fn word(list: &[&'static str], choice: u8) -> &'static str {
    list[usize::from(choice) % list.len()]
}

fn text(pieces: &[Piece], into: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Pair(key, words) => {
                into.extend(word(&KEYS, *key).as_bytes());
                into.push(b'=');
                for choice in words {
                    into.extend(word(&WORDS, *choice).as_bytes());
                }
            }
            Piece::Include(name) => {
                into.extend(b"Include ");
                into.extend(word(&FILES, *name).as_bytes());
            }
            Piece::Spank(required, name) => {
                into.extend(if *required {
                    &b"required "[..]
                } else {
                    b"optional "
                });
                into.extend(word(&["there.so", "gone.so", "/plugins/there.so"], *name).as_bytes());
            }
            Piece::Comment => into.push(b'#'),
            Piece::Quote => into.push(b'"'),
            Piece::Space => into.push(b' '),
            Piece::Continue => into.extend(b"\\\n"),
            Piece::End => into.push(b'\n'),
            Piece::Comma => into.push(b','),
            Piece::Word(choice) => into.extend(word(&WORDS, *choice).as_bytes()),
            Piece::Text(bytes) => into.extend(bytes),
        }
    }
}

/// A root with a Slurm of which the keys stand as strings, and one without.
fn roots() -> &'static [PathBuf; 2] {
    static ROOTS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    ROOTS.get_or_init(|| {
        ["with", "without"].map(|name| {
            let root = scratch().join(name);
            let put = |path: &str, content: &[u8]| {
                let path = root.join(path);
                let parent = path.parent().expect("a directory");
                fs::create_dir_all(parent).expect("it can be made");
                fs::write(path, content).expect("it can be written");
            };
            put("etc/passwd", b"root:x:0:0::/:\nslurm:x:64030:64030::/:\n");
            if name == "with" {
                let known = KEYS.iter().filter(|key| **key != "Unknown");
                let words = known.chain(&["Contain", "Alloc", "CR_CPU", "22.05.9"]);
                let library: Vec<_> = words.flat_map(|word| [b"\0", word.as_bytes()]).collect();
                put(
                    "usr/lib/slurm/libslurmfull.so",
                    &[library.concat(), vec![0]].concat(),
                );
                for plugin in [
                    "auth_jwt",
                    "cred_munge",
                    "hash_k12",
                    "select_cons_tres",
                    "there",
                ] {
                    put(&format!("usr/lib/slurm/{plugin}.so"), b"");
                    put(&format!("plugins/{plugin}.so"), b"");
                }
            }
            root
        })
    })
}

/// A real file, or one that is likely to be changed.
fn input(data: &[u8]) -> Option<Input> {
    let (&choice, rest) = data.split_first()?;
    if choice % 2 == 0 {
        return Input::arbitrary(&mut Unstructured::new(rest)).ok();
    }
    Some(Input {
        slurm_conf: vec![Piece::Text(rest.to_vec())],
        plugstack: vec![Piece::Text(rest.to_vec())],
        others: Vec::new(),
        with_ca: choice & 2 != 0,
        slurm: choice & 4 != 0,
        root: choice & 8 != 0,
        method: choice >> 4,
        resolves: (choice & 64 != 0).then_some(choice),
        reached: vec![choice],
        set: vec!["SlurmUser=root".to_owned(), "NodeName=x CPUs=1".to_owned()],
        unset: vec![choice],
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(input) = input(data) else { return };
    let Some(set) = set(&input) else { return };
    let [with, without] = roots();
    let reached = input.reached.iter().map(|choice| {
        Reached::new(
            word(&["ctl1", "ctl2.example.org", "10.0.0.1", "other"], *choice),
            [10, 0, 0, *choice].into(),
        )
    });
    let resolves = |host: &str| {
        input
            .resolves
            .is_none_or(|mask| host.len() as u8 & mask != 0)
    };
    let container = Container::at(if input.slurm { with } else { without })
        .euid(if input.root { 0 } else { 2001 })
        .method([None, Some(Method::Jwt), Some(Method::Munge)][usize::from(input.method) % 3])
        .resolver(&resolves)
        .reached(reached);
    let mut by_hand = ByHand::default();
    by_hand.set = input
        .set
        .iter()
        .filter_map(|text| ByHand::parse_set(text).ok())
        .collect();
    by_hand.unset = input
        .unset
        .iter()
        .map(|choice| word(&KEYS, *choice).to_owned())
        .collect();
    // What is unset is not there to be set again.
    let is_set = |key: &String| {
        let mut set = by_hand.set.iter();
        set.any(|(set, _)| set.eq_ignore_ascii_case(key))
    };
    let unset = by_hand
        .unset
        .iter()
        .filter(|key| !is_set(key))
        .cloned()
        .collect();
    by_hand.unset = unset;

    check(&set, &adapt(&set, &container, &by_hand));
    let adapted = adapt(&set, &container, &ByHand::default());
    check(&set, &adapted);
    let again = adapt(&adapted.set, &container, &ByHand::default());
    assert_eq!(again.changes, [], "adapted twice: {:?}", adapted.changes);
    assert_eq!(again.set, adapted.set);
    // A rule can take away again what was set by hand, so this is looked at by itself.
    let by_hand_too = only_by_hand(&adapted.set, &by_hand);
    let again = only_by_hand(&by_hand_too.set, &by_hand);
    assert_eq!(again.changes, [], "set twice: {by_hand:?}");
});

fn set(input: &Input) -> Option<ConfigSet> {
    let mut slurm_conf = b"ClusterName=Lab\nSlurmctldHost=ctl1\n".to_vec();
    text(&input.slurm_conf, &mut slurm_conf);
    let mut files = vec![("slurm.conf", slurm_conf)];
    let mut plugstack = Vec::new();
    text(&input.plugstack, &mut plugstack);
    files.push(("plugstack.conf", plugstack));
    for (name, pieces) in &input.others {
        let name = word(
            &["other.conf", "sub/other.conf", "lab.conf", "cli_filter.lua"],
            *name,
        );
        let mut content = Vec::new();
        text(pieces, &mut content);
        if !files.iter().any(|(other, _)| *other == name) {
            files.push((name, content));
        }
    }
    let file = |(name, content): (&str, Vec<u8>)| File {
        exists: true,
        execute: false,
        name: name.into(),
        content,
    };
    let files: Vec<_> = files.into_iter().map(file).collect();
    let set = ConfigSet::new(reply(&files)).ok()?;
    Some(if input.with_ca {
        set.with_ca(b"x")
    } else {
        set
    })
}

/// Every line is still there, and only files of which a change tells are others.
fn check(before: &ConfigSet, adapted: &Adapted) {
    assert!(before.names().eq(adapted.set.names()));
    for (name, file) in before.files() {
        let now = &adapted.set.get(name.as_str()).expect("it is there").content;
        if !adapted
            .changes
            .iter()
            .any(|change| change.file == name.as_str())
        {
            assert_eq!(*now, file.content);
            continue;
        }
        let mut lines = now.split_inclusive(|byte| *byte == b'\n');
        for line in file.content.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let found = lines.any(|other| {
                let other = other.strip_suffix(b"\n").unwrap_or(other);
                other == bare || (other.starts_with(b"# straw: ") && other.ends_with(bare))
            });
            assert!(found, "{} is gone", line.escape_ascii());
        }
    }
    let changes = adapted.changes.iter().map(ToString::to_string);
    let findings = adapted.findings.iter().map(ToString::to_string);
    for line in changes.chain(findings) {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
