//! An environment that somebody hostile has set: what straw reads of it is refused or used, and nothing
//! of it makes straw wait, go round in circles, or end otherwise than it promises.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{assert_ends, assert_harmless, said, serving, with_slurm_conf};
use crate::straw::{Straw, copy_to, program, token};

/// All variables that straw reads.
fn variables() -> BTreeSet<String> {
    fn of(command: &clap::Command, into: &mut BTreeSet<String>) {
        let names = command.get_arguments().filter_map(clap::Arg::get_env);
        into.extend(names.map(|name| name.to_str().unwrap().to_owned()));
        command
            .get_subcommands()
            .for_each(|command| of(command, into));
    }
    let mut names = BTreeSet::new();
    of(&straw::cli::command(), &mut names);
    assert!(names.len() > 30, "{names:?}");
    let others = [
        "SLURM_JWT",
        "SLURM_JWT_FILE",
        "SLURM_SACK_SOCKET",
        "SLURM_CONF_SERVER",
        "SLURM_CONF",
        "STRAW_CONFIG",
        "STRAW_SHIM",
        "STRAW_SLURM_CONF",
        "STRAW_SLURM_JWT",
        "XDG_RUNTIME_DIR",
        "PATH",
        "NO_COLOR",
        "TERM",
        "LC_ALL",
        "LANG",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "MALLOC_PERTURB_",
        "TMPDIR",
        "HOME",
        "RES_OPTIONS",
        "LOCALDOMAIN",
        "HOSTALIASES",
        "RUST_BACKTRACE",
        "RUST_LOG",
        "RUST_MIN_STACK",
    ];
    names.extend(others.map(str::to_owned));
    names
}

/// Whether it ended as it promises to.
#[track_caller]
fn assert_promised(output: &Output) {
    let code = output.status.code();
    let said = said(output);
    let promised = matches!(code, Some(0 | 2..=9 | 126 | 127));
    assert!(promised, "{:?}: {said}", output.status);
    assert!(!said.contains("panicked"), "{said}");
    assert_harmless(&said);
}

#[test]
fn any_value_of_any_variable() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let huge = "x".repeat(100_000);
    let values: [&OsStr; 4] = [
        OsStr::from_bytes(b"\xff\xfe\x1b[2J\x9b"),
        OsStr::new(&huge),
        OsStr::new(""),
        OsStr::new("-18446744073709551616"),
    ];
    let commands: [&[&str]; 5] = [
        &["fetch", "--timeout", "1s", "--wait", "0", "-o", "etc"],
        &[
            "exec",
            "--timeout",
            "1s",
            "--wait",
            "0",
            "--store",
            "store",
            "--",
            "true",
        ],
        &[
            "watch",
            "--timeout",
            "1s",
            "--wait",
            "0",
            "-o",
            "kept",
            "--once",
        ],
        &["token", "show", "--timeout", "1s"],
        &["shim", "list", "--dir", "."],
    ];
    for name in variables() {
        for value in values {
            // Each a few commands only; which, changes from one to the next.
            let skip = (name.len() + value.len()) % commands.len();
            for arguments in commands.iter().cycle().skip(skip).take(2) {
                // That of the dynamic loader is the command's own affair.
                if name.starts_with("LD_") && arguments[0] == "exec" {
                    continue;
                }
                let mut straw = Straw::with_token(arguments)
                    .env("PATH", "/usr/bin:/bin")
                    .env("STRAW_SERVERS", &server)
                    .env(&name, value);
                assert_promised(&straw.run());
            }
        }
    }
}

#[test]
fn a_slurm_conf_that_is_none() {
    let root = tempfile::tempdir().unwrap();
    let [pipe, around] = ["pipe", "around"].map(|name| root.path().join(name));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    symlink("around", &around).unwrap();
    for path in [
        &pipe,
        &around,
        Path::new("/dev/zero"),
        Path::new("/"),
        Path::new("/proc/self/mem"),
    ] {
        let mut straw = Straw::with_token(&["doctor", "127.0.0.1:1"])
            .env("SLURM_CONF", path)
            .env("STRAW_STORE", "store");
        assert_promised(&straw.run());
        for name in [
            "STRAW_CONFIG",
            "STRAW_CA_CERT",
            "SLURM_JWT_FILE",
            "STRAW_STORE",
            "STRAW_OUTPUT",
        ] {
            for arguments in [
                &["fetch", "127.0.0.1:1", "--timeout", "1s"][..],
                &["exec", "--timeout", "1s", "--", "true"],
            ] {
                let mut straw = Straw::new(arguments)
                    .env("PATH", "/usr/bin:/bin")
                    .env("STRAW_SERVERS", "127.0.0.1:1")
                    .env(name, path);
                if name != "SLURM_JWT_FILE" {
                    straw = straw.env("SLURM_JWT", token(60));
                }
                let output = straw.run();
                assert_promised(&output);
                assert_ne!(output.status.code(), Some(0), "{name} {path:?}");
            }
        }
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a PATH can be made of to have a shim find itself.
#[test]
fn a_path_that_leads_back() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for directory in ["shims", "links", "copies", "more", "loops", "files", "real"] {
        fs::create_dir(at(directory)).unwrap();
    }
    symlink(program(), at("shims/sinfo")).unwrap();
    symlink(at("shims/sinfo"), at("links/sinfo")).unwrap();
    copy_to(&at("copies/sinfo"));
    fs::hard_link(at("copies/sinfo"), at("more/sinfo")).unwrap();
    symlink("squeue", at("loops/sinfo")).unwrap();
    symlink("sinfo", at("loops/squeue")).unwrap();
    fs::create_dir(at("files/sinfo")).unwrap();
    script(&at("real/sinfo"), "echo real");
    let run = |path: &str, from: &str| {
        let path: Vec<OsString> = path
            .split(':')
            .map(|name| match name.starts_with('+') {
                true => at(&name[1..]).into(),
                false => name.into(),
            })
            .collect();
        Command::new(at("shims/sinfo"))
            .env_clear()
            .env("PATH", path.join(OsStr::new(":")))
            .env("SLURM_CONF", "/nowhere/slurm.conf")
            .current_dir(at(from))
            .output()
            .unwrap()
    };
    for (path, from, found) in [
        ("+shims:+links:+loops:+files", ".", false),
        ("+shims:+shims:+shims", ".", false),
        ("+shims:+copies", ".", false),
        ("+copies:+shims:+more", ".", false),
        ("+shims:+copies:+more:+links", ".", false),
        // Relative ones, and the working directory, in which straw is, too.
        ("shims:.:", "shims", false),
        ("+shims:../shims/../shims:.::", "links", false),
        ("+shims::", "real", true),
        ("+shims:real", ".", true),
        ("+shims:+loops:+files:+links:+real", ".", true),
        ("", ".", false),
        (":::", "shims", false),
        ("/dev/null:/proc/self/fd:\u{1b}", ".", false),
    ] {
        let output = run(path, from);
        if found {
            assert_eq!(said(&output), "real\n", "{path}");
        } else {
            assert_ends(&output, 127);
        }
    }
}

/// straw by the name of a command, with nothing at all around it.
#[test]
fn a_shim_without_an_environment() {
    for name in ["sinfo", "-sinfo", "a/", "..", "strawberry"] {
        let output = Command::new(program())
            .arg0(name)
            .env_clear()
            .output()
            .unwrap();
        let code = output.status.code().unwrap();
        assert!([2, 127].contains(&code), "{name}: {code}");
        assert_ends(&output, code);
    }
}
