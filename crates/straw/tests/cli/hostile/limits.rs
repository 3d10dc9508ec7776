//! Limits of a hostile or thoughtless environment, and standard streams that are not what they should be.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;

use super::{assert_ends, assert_harmless, in_shell, said, serving, with_slurm_conf};
use crate::fake::{self, Fake};
use crate::straw::{Straw, token};

#[test]
fn next_to_nothing_is_allowed() {
    let fake = serving(with_slurm_conf(&[(b"sub/x.conf", &[b'x'; 100_000])]));
    let server = fake.address.to_string();
    for (limits, codes) in [
        ("ulimit -f 0", &[9][..]),
        ("ulimit -f 1", &[9]),
        ("ulimit -n 3", &[2]),
        ("ulimit -n 4", &[3, 4, 9]),
        ("ulimit -n 5", &[0, 3, 4, 9]),
        ("ulimit -n 8", &[0]),
        ("ulimit -c 0; ulimit -l 0; ulimit -s 1024", &[0]),
    ] {
        for command in [&["fetch", "-o", "etc"][..], &["exec", "--", "true"]] {
            let mut straw = Straw::with_token(command)
                .env("PATH", "/usr/bin:/bin")
                .env("STRAW_STORE", "etc")
                .env("STRAW_SERVERS", &server);
            let output = in_shell(&format!("{limits} && exec \"$@\""), &straw);
            let code = output.status.code();
            let said = said(&output);
            assert!(!said.contains("panicked"), "{limits}: {said}");
            // The limit is the cause, not the disk.
            let is_of_files = limits.starts_with("ulimit -f");
            assert_eq!(
                said.contains("(ulimit -f)"),
                is_of_files,
                "{limits}: {said}"
            );
            // `true` needs descriptors of its own.
            let expected = code.is_some_and(|code| codes.contains(&code) || code == 127);
            assert!(expected, "{limits}: {:?} {said}", output.status);
            // All or nothing, and the next one with room does what there is to do.
            let conf = straw.path().join("etc/slurm.conf");
            assert_eq!(
                conf.exists(),
                code == Some(0) || code == Some(127),
                "{limits}: {said}"
            );
            straw.done();
            assert!(conf.exists());
        }
    }
}

#[test]
fn what_fails_removes_the_directories_that_it_made_and_no_others() {
    let mut files = with_slurm_conf(&[(b"own/b.conf", b"b"), (b"made/deep/c.conf", b"c")]);
    files[0].1.resize(12_000, b'\n');
    let fake = serving(files);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "-o", "etc"]);
    let at = |name: &str| straw.path().join("etc").join(name);
    let (own, made) = (at("own"), at("made"));
    fs::create_dir_all(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    let of_own = || {
        let metadata = fs::metadata(&own).unwrap();
        (metadata.ino(), metadata.mode() & 0o7777)
    };
    let before = of_own();
    let fail = |straw: &Straw| {
        let output = in_shell("ulimit -f 8 && exec \"$@\"", straw);
        assert_ends(&output, 9);
        assert!(fs::read_dir(&own).unwrap().next().is_none());
    };
    fail(&straw);
    assert!(!made.exists());
    // Made by somebody else after that, it is theirs.
    fs::create_dir(&made).unwrap();
    fail(&straw);
    assert!(made.exists());
    straw.done();
    assert!(own.join("b.conf").exists() && made.join("deep/c.conf").exists());
    assert_eq!(of_own(), before);
}

/// What straw becomes has the signal as it was: it ends at its own limit.
#[test]
fn a_limit_on_files_is_the_commands_own_as_well() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["exec", "--", "sh", "-c", "ulimit -f 0; echo x > file"])
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_STORE", "store")
        .env("STRAW_SERVERS", &server);
    let status = straw.run().status;
    // The shell writes by itself, so the signal ends it.
    assert_eq!(status.signal(), Some(libc::SIGXFSZ), "{status:?}");
}

#[test]
fn standard_streams_that_are_closed_get_nothing_of_anybodys() {
    let secret = token(3000);
    let new = secret.clone();
    let fake = serving(with_slurm_conf(&[(b"sub/x.conf", b"x")]));
    let tokens = Fake::answers(move |version| fake::token(version, &new));
    let [server, of_tokens] = [&fake, &tokens].map(|fake| fake.address.to_string());
    for closed in [
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&-",
        ">&- 2>&-",
        "<&- 2>&-",
        "<&- >&- 2>&-",
    ] {
        let straw = Straw::with_token(&["fetch", &server, "-o", "etc", "-vvv", "--json"]);
        let output = in_shell(&format!("exec \"$@\" {closed}"), &straw);
        assert!(
            matches!(output.status.code(), Some(0 | 9)),
            "{closed}: {:?}",
            output.status
        );
        for (name, content) in with_slurm_conf(&[(b"sub/x.conf", b"x")]) {
            let name = String::from_utf8(name).unwrap();
            assert_eq!(
                fs::read(straw.path().join("etc").join(name)).unwrap(),
                content,
                "{closed}"
            );
        }
        let straw = Straw::with_token(&["token", "renew", &of_tokens, "--write", "token", "-vvv"]);
        let output = in_shell(&format!("exec \"$@\" {closed}"), &straw);
        assert_eq!(output.status.code(), Some(0), "{closed}");
        assert_eq!(
            fs::read_to_string(straw.path().join("token")).unwrap(),
            secret.clone() + "\n"
        );
        // The command finds them closed, or empty.
        let mut straw = Straw::with_token(&["exec", "--", "sh", "-c", "echo said; echo too >&2"]);
        straw = straw
            .env("PATH", "/usr/bin:/bin")
            .env("STRAW_STORE", "store");
        straw = straw.env("STRAW_SERVERS", &server);
        in_shell(&format!("exec \"$@\" {closed}"), &straw);
        let conf = fs::read(straw.path().join("store/slurm.conf")).unwrap();
        assert!(
            conf.starts_with(b"ClusterName") && conf.ends_with(b"localhost\n"),
            "{closed}"
        );
    }
}

#[test]
fn a_reader_that_is_gone_or_a_device_that_is_full() {
    let fake = serving(with_slurm_conf(&[(b"long", &[b'x'; 200_000])]));
    let server = fake.address.to_string();
    for arguments in [
        &["fetch", &*server, "--stdout", "long"][..],
        &["fetch", &server, "--explain"],
        &["fetch", &server, "--json", "-o", "etc"],
        &["releases"],
        &["doctor", &server],
        &["--help"],
    ] {
        let straw = Straw::with_token(arguments);
        // The exit code of the first of them, which is written to where nobody else writes.
        let broken = "{ \"$@\"; echo $? > code; } | true; cat code";
        for script in [
            broken,
            "\"$@\" > /dev/full; echo $?",
            "\"$@\" > /dev/full 2>&1; echo $?",
        ] {
            let straw_output = in_shell(&format!("PATH=/usr/bin:/bin; {script}"), &straw);
            let text = said(&straw_output);
            let code = text.lines().next().unwrap_or_default();
            assert!(
                ["0", "2", "3", "9", "126", "141"].contains(&code),
                "{arguments:?} {script}: {text}"
            );
            assert!(!text.contains("panicked"), "{text}");
            assert_harmless(&text);
        }
    }
}
