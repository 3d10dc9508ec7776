//! Configurations that nobody has, as large as they are looked into. Each of these once made something
//! grow faster than itself; the bounds are far from what is needed, and from what that took.

use std::time::{Duration, Instant};

use super::super::super::slurm_conf::Conf;
use super::*;

const LINES: usize = 90_000;
const LENGTH: usize = 4_000_000;
const HANG: Duration = Duration::from_secs(60);

/// What becomes of this slurm.conf and plugstack.conf, in a container with Slurm.
fn adapted(conf: &str, plugstack: &str) -> Adapted {
    let root = Root::new();
    let conf = format!("ClusterName=lab\nSlurmctldHost=localhost\n{conf}");
    let set = ConfigSet::of(&[("slurm.conf", &conf), ("plugstack.conf", plugstack)]);
    let begin = Instant::now();
    let resolves = |host: &str| !host.ends_with(".invalid");
    let adapted = adapt(
        &set,
        &root.container((24, 11)).resolver(&resolves),
        &ByHand::default(),
    );
    assert!(begin.elapsed() < HANG, "{:?}", begin.elapsed());
    assert!(
        !adapted
            .findings
            .iter()
            .any(|finding| finding.rule == "size")
    );
    let written: usize = adapted
        .set
        .files()
        .map(|(_, file)| file.content.len())
        .sum();
    assert!(written < 100 << 20, "{written} bytes");
    adapted
}

fn numbered(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn plugins_are_looked_for_in_few_places() {
    let directories = format!("PluginDir=/plugins{}\n", ":/plugins".repeat(LENGTH / 20));
    let required = numbered(LINES / 2, |n| format!("required p{n}.so\n"));
    let changed = adapted(&directories, &required).changes;
    assert_eq!(changed.len(), LINES / 2);
    let filters = numbered(LENGTH / 20, |n| format!("f{n},"));
    adapted(&format!("{directories}CliFilterPlugins={filters}\n"), "");
    adapted(&numbered(LINES, |n| format!("CredType=cred/c{n}\n")), "");
}

#[test]
fn words_and_keys_that_nobody_knows() {
    let words = numbered(LENGTH / 9, |n| format!("w{n}s,"));
    adapted(&format!("PrologFlags={words}\n"), "");
    adapted(&numbered(LINES, |n| format!("K{n}=v\n")), "");
    adapted(&numbered(LINES, |n| format!("SlurmUser=u{n}\n")), "");
}

#[test]
fn a_line_of_nothing_but_unknown_keys() {
    // The reason names them, and stands on each line of the original.
    let keys = numbered(4000, |n| format!("Key{n}=v "));
    let lines = " \\\n".repeat(LINES);
    let changed = adapted(&format!("NodeName=a {keys}{lines}\n"), "").changes;
    assert!(changed[0].reason.chars().count() <= 201);
    // More of them than a line can have.
    let keys = numbered(LENGTH / 12, |n| format!("Key{n}=v "));
    assert!(
        adapted(&format!("NodeName=a {keys}\n"), "")
            .changes
            .is_empty()
    );
}

#[test]
fn what_is_found_is_told_so_often() {
    let hosts = numbered(LINES, |n| format!("SlurmctldHost=h{n}.invalid\n"));
    let root = Root::new();
    let set = ConfigSet::of(&[("slurm.conf", &format!("ClusterName=lab\n{hosts}"))]);
    let container = root.container((24, 11));
    let adapted = adapt(&set, &container.resolver(&|_| false), &ByHand::default());
    assert_eq!(adapted.findings.len(), 256);
}

#[test]
fn a_cluster_whose_name_is_long() {
    let name = "c".repeat(LENGTH / 2);
    let include = format!("Include {}\n", "%c".repeat(500));
    let includes = include.repeat(LENGTH / 4 / include.len());
    let changed = adapted(&format!("ClusterName={name}\n{includes}"), "").changes;
    assert!(!changed.is_empty());
}

#[test]
fn many_parts_of_a_line_are_taken_out_at_once() {
    let line = format!("NodeName=a {}\n", "b=c ".repeat(4000));
    let text = format!("{line}{}", "# \n".repeat(LINES));
    let mut conf = Conf::parse(text.as_bytes());
    let unwanted: Vec<_> = (1..=4000).collect();
    conf.remove(0, &unwanted, "nobody knows them");
    let bytes = conf.to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().nth(1), Some("NodeName=a "));
}
