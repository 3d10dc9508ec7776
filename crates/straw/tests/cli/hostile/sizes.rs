//! Replies that cost their sender little. What they cost straw is bounded by what came: the memory that
//! it may have is limited here, and no time is asserted but one that no sane run takes.

use std::process::Output;
use std::time::{Duration, Instant};

use super::{assert_ends, in_shell, serving, with_slurm_conf};
use crate::fake::{Fake, message};
use crate::straw::Straw;

const HANG: Duration = Duration::from_secs(60);

/// Runs straw with no more address space than this, in MiB.
fn within(mebibytes: u64, straw: &Straw) -> Output {
    let begin = Instant::now();
    let script = format!("ulimit -v {} && exec \"$@\"", mebibytes * 1024);
    let output = in_shell(&script, straw);
    assert!(begin.elapsed() < HANG, "{:?}", begin.elapsed());
    output
}

fn fetch(fake: &Fake, more: &[&str]) -> Straw {
    let server = fake.address.to_string();
    let mut arguments = vec!["fetch", &server, "-o", "etc", "--timeout", "30s"];
    arguments.extend(more);
    Straw::with_token(&arguments)
}

#[test]
fn more_files_than_anybody_has() {
    let files = (0..1_000_000).map(|n| (format!("f{n:07}").into_bytes(), Vec::new()));
    let fake = serving(files.collect());
    let straw = fetch(&fake, &[]);
    let said = assert_ends(&within(512, &straw), 8);
    assert!(said.contains("1000000 claimed"), "{said}");
    assert!(!straw.path().join("etc").exists());
}

#[test]
fn what_is_claimed_and_did_not_come() {
    const MOST: [u8; 4] = u32::MAX.to_be_bytes();
    let bodies: [&[&[u8]]; 5] = [
        // A count; a name; a content; the rest behind the files.
        &[&MOST],
        &[&[0, 0, 0, 1, 1, 0], &MOST, b"slurm.conf\0"],
        &[&[0, 0, 0, 1, 1, 0, 0, 0, 0, 2], b"x\0", &MOST, b"y\0"],
        &[&[0; 4], &MOST],
        &[&[0x7f, 0xff, 0xff, 0xff], &[0xff; 4096]],
    ];
    for body in bodies.map(<[_]>::concat) {
        let fake = Fake::answers(move |version| message(version, 2016, &body));
        assert_ends(&within(256, &fetch(&fake, &[])), 8);
    }
    // The frame itself.
    let fake = Fake::answers(|_| [&MOST[..], &[0; 4096]].concat());
    assert_ends(&within(256, &fetch(&fake, &[])), 5);
    let fake = Fake::answers(|_| [&[3, 0xff, 0xff, 0xff][..], &[0; 4096]].concat());
    assert_ends(&within(256, &fetch(&fake, &[])), 3);
}

/// As long as a reply may be unless somebody says otherwise.
#[test]
fn a_file_as_long_as_a_reply_can_be() {
    const LENGTH: usize = 60 << 20;
    let repeated = |piece: &str| piece.repeat(LENGTH / piece.len()).into_bytes();
    for (content, more) in [
        (repeated("ClusterName=lab \\\n"), &[][..]),
        // Looked into as far as that makes sense.
        (
            repeated("NodeName=n[1-1000000000] X=y "),
            &["--adapt", "-vvv"],
        ),
        (
            repeated("NodeName=n[1-1000000000]\nInclude a\n"),
            &["--adapt", "-vvv"],
        ),
    ] {
        let fake = serving(vec![(b"slurm.conf".to_vec(), content.clone())]);
        let straw = fetch(&fake, more);
        assert_ends(&within(768, &straw), 0);
        let written = std::fs::read(straw.path().join("etc/slurm.conf")).unwrap();
        assert!(written == content);
    }
    // In a name.
    let fake = serving(vec![(repeated("name"), Vec::new())]);
    assert_ends(&within(768, &fetch(&fake, &["-vvv"])), 8);
    let fake = serving(vec![(repeated("\u{202e}\x1b\n"), Vec::new())]);
    assert_ends(&within(768, &fetch(&fake, &["-vvv", "--json"])), 8);
}

/// What is looked into, in a container without Slurm: each of these made something grow faster than
/// itself. (What takes a Slurm: `config::adapt`.)
#[test]
fn what_is_looked_into_is_not_looked_into_for_ever() {
    const LENGTH: usize = 4_000_000;
    let numbered = |line: &dyn Fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    for (what, conf) in [
        ("continued", "NodeName=a Bcd=e \\\n".repeat(90_000)),
        ("one line", "Aa= ".repeat(LENGTH / 4)),
        (
            "includes of nothing",
            numbered(&|n| format!("Include {n}/x\n")),
        ),
        ("includes of itself", "Include slurm.conf\n".repeat(20_000)),
        ("quotes", "\"".repeat(LENGTH)),
        ("comments", "#".repeat(LENGTH)),
    ] {
        let mut files = with_slurm_conf(&[]);
        files[0].1.extend(conf.as_bytes());
        let fake = serving(files);
        let straw = fetch(&fake, &["--adapt", "--unset", "K1"]);
        assert_ends(&within(512, &straw), 0);
        let straw = fetch(&fake, &["--adapt", "--explain", "--json"]);
        let output = within(512, &straw);
        assert_eq!(output.status.code(), Some(0), "{what}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    }
}

/// Files that include each other, in a circle and as deep as can be.
#[test]
fn includes_that_do_not_end() {
    let names: Vec<_> = (0..3000).map(|n| format!("c{n}.conf")).collect();
    let files = names.iter().enumerate().map(|(n, name)| {
        let next = &names[(n + 1) % names.len()];
        let content = format!("Include {next}\nInclude slurm.conf\nInclude {name}\nKey{n}=\n");
        (name.clone().into_bytes(), content.into_bytes())
    });
    let mut all = with_slurm_conf(&[]);
    all[0].1.extend(b"Include c0.conf\n");
    all.extend(files);
    let fake = serving(all);
    let straw = fetch(&fake, &["--adapt", "--explain", "--json"]);
    let output = within(512, &straw);
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!report["changes"].as_array().unwrap().is_empty());
}
