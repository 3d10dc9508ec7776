//! What a terminal obeys, in every place that a text can come from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{assert_harmless, said, serving, with_slurm_conf};
use crate::credentials::daemon;
use crate::fake::{Act, Fake};
use crate::messages::assert_objects;
use crate::straw::{Straw, sign, token};

/// Clears the screen, sets a title, rings, goes back, turns the direction, hides.
const EVIL: &str =
    "a\x1b[2J\x1b]0;t\x07\x08\x0c\r\x7fb\u{9b}31m\u{202e}c\u{2066}\u{200b}\u{feff}\u{2028}";

/// Runs it as it is, with all there is to say, and as JSON.
#[track_caller]
fn assert_shows_nothing_evil(arguments: &[&str], make: impl Fn(Straw) -> Straw) {
    let command = arguments.iter().position(|argument| *argument == "--");
    let (own, behind) = arguments.split_at(command.unwrap_or(arguments.len()));
    for more in [
        &[][..],
        &["-vvv"],
        &["--json"],
        &["-vvv", "--log-format", "json"],
    ] {
        let line: Vec<_> = own.iter().chain(more).chain(behind).copied().collect();
        let output = make(Straw::new(&line)).run();
        let text = said(&output);
        assert_harmless(&text);
        assert!(!text.contains("panicked"), "{text}");
        assert!(!text.is_empty() || output.status.success(), "{line:?}");
        if more.contains(&"--json") && !output.stdout.is_empty() {
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        }
        if more.contains(&"--log-format") {
            assert_objects(&output.stderr);
        }
    }
}

#[test]
fn arguments() {
    let with_token = |straw: Straw| {
        straw
            .env("SLURM_JWT", token(60))
            .env("PATH", "/usr/bin:/bin")
    };
    let dead = "127.0.0.1:1";
    for arguments in [
        &[EVIL][..],
        &["fetch", EVIL],
        &["fetch", dead, EVIL],
        &["fetch", dead, "--release", EVIL],
        &["fetch", dead, "--timeout", EVIL],
        &["fetch", dead, "--token-file", EVIL],
        &["fetch", dead, "--token-command", EVIL],
        &["fetch", dead, "--token-command", "sh -c 'exit 1'"],
        &["fetch", dead, "--munge-socket", EVIL],
        &["fetch", dead, "--sack-socket", EVIL],
        &["fetch", dead, "--ca-cert", EVIL],
        &["fetch", dead, "--set", EVIL],
        &["fetch", dead, "--unset", EVIL],
        &["fetch", dead, "--files", EVIL],
        &["ping", EVIL],
        &["doctor", EVIL],
        &["watch", dead, "-o", EVIL, "--once"],
        &["watch", dead, "-o", "x", "--pid-file", EVIL, "--once"],
        &["watch", dead, "-o", "x", "--health", EVIL],
        &["token", "show", "--token-file", EVIL],
        &["token", "renew", dead, "--write", EVIL],
        &["shim", "install", "--dir", EVIL, EVIL],
        &["shim", "list", "--dir", EVIL],
        &["shim", "remove", "--dir", EVIL, EVIL],
        &["exec", "--", EVIL],
        &["exec", "--store", EVIL, "--", "true"],
        &["exec", "--", "/nowhere/", EVIL],
    ] {
        assert_shows_nothing_evil(arguments, with_token);
    }
}

#[test]
fn variables_and_settings() {
    for name in [
        "SLURM_CONF_SERVER",
        "SLURM_JWT",
        "SLURM_JWT_FILE",
        "SLURM_SACK_SOCKET",
        "STRAW_CONFIG",
        "PATH",
    ] {
        for arguments in [&["fetch"][..], &["doctor"], &["exec", "--", "sinfo"]] {
            assert_shows_nothing_evil(arguments, |straw| {
                let straw = straw
                    .env("STRAW_SERVERS", "127.0.0.1:1")
                    .env("SLURM_JWT", token(60));
                straw.env(name, EVIL).env("STRAW_STORE", "store")
            });
        }
    }
    let quoted = serde_json::to_string(EVIL).unwrap();
    for settings in [
        format!("\"{EVIL}\" = 1"),
        format!("{quoted} = 1"),
        format!("servers = {quoted}"),
        format!("release = {quoted}"),
        format!("timeout = {quoted}"),
        format!("# {EVIL}"),
    ] {
        assert_shows_nothing_evil(&["fetch"], |straw| {
            std::fs::write(straw.path().join("settings"), &settings).unwrap();
            straw
                .env("STRAW_CONFIG", "settings")
                .env("SLURM_JWT", token(60))
        });
    }
}

#[test]
fn claims_of_a_token() {
    let quoted = serde_json::to_string(EVIL).unwrap();
    let claims = format!(
        r#"{{"exp":9999999999,"sun":{quoted},"preferred_username":{quoted},"sub":{quoted},"iss":{quoted}}}"#
    );
    let token = sign(&format!(r#"{{"alg":{quoted},"kid":{quoted}}}"#), &claims);
    for arguments in [
        &["token", "show"][..],
        &["fetch", "127.0.0.1:1"],
        &["doctor", "127.0.0.1:1"],
    ] {
        assert_shows_nothing_evil(arguments, |straw| straw.env("SLURM_JWT", &token));
    }
}

#[test]
fn what_a_controller_sends() {
    let evil = EVIL.as_bytes();
    let conf = |text: &str| {
        let mut files =
            with_slurm_conf(&[(b"plugstack.conf", format!("required {EVIL}\n").as_bytes())]);
        files[0].1.extend(text.replace("EVIL", EVIL).into_bytes());
        files
    };
    let sets = [
        with_slurm_conf(&[(evil, b"")]),
        vec![(evil.to_vec(), evil.to_vec())],
        conf("Include EVIL\n"),
        conf("Include /EVIL\nInclude *EVIL\n"),
        conf("ClusterName=EVIL\nInclude %c\n"),
        conf("SlurmUser=EVIL\nSlurmdUser=\"EVIL EVIL\"\n"),
        conf("SlurmctldHost=EVIL\nSlurmctldHost=x(EVIL)\n"),
        conf("NodeName=EVIL CPUs= \\\n EVIL=\n"),
        conf("PluginDir=/EVIL\nCliFilterPlugins=EVIL,lua\nAuthType=EVIL\nTLSType=tls/EVIL\n"),
    ];
    for files in sets {
        let fake = serving(files);
        let server = fake.address.to_string();
        let make = |straw: Straw| {
            straw
                .env("SLURM_JWT", token(60))
                .env("STRAW_STORE", "store")
        };
        for arguments in [
            &["fetch", &*server, "-o", "etc", "--adapt"][..],
            &["fetch", &server, "--explain"],
            &["doctor", &server],
            &["watch", &server, "-o", "kept", "--once"],
        ] {
            assert_shows_nothing_evil(arguments, make);
        }
    }
    for answer in [
        EVIL.to_owned(),
        format!("HTTP/1.1 400 {EVIL}\r\n\r\n"),
        format!("SSH-2.0-{EVIL}\r\n"),
        format!("\x15\x03\x03{EVIL}"),
    ] {
        let fake = Fake::start(move |_| Act::Send(answer.clone().into_bytes()));
        let server = fake.address.to_string();
        for command in ["fetch", "ping", "doctor"] {
            assert_shows_nothing_evil(&[command, &server], |straw| {
                straw.env("SLURM_JWT", token(60))
            });
        }
    }
}

#[test]
fn what_a_local_daemon_says() {
    // The text of an error, as munged gives it.
    let text = EVIL.as_bytes();
    let length = text.len() as u8 + 1;
    let mut body = vec![10, length];
    body.extend(text);
    body.extend([0; 5]);
    let mut reply = b"\0\x60\x6d\x4b\x04\x03\0".to_vec();
    reply.extend((body.len() as u32).to_be_bytes());
    reply.extend(body);
    let reply: &'static [u8] = reply.leak();
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    assert_shows_nothing_evil(&["fetch", &server, "--munge-socket", "socket"], |straw| {
        daemon(&straw.path().join("socket"), reply);
        straw
    });
}

/// A name that is no text either.
#[test]
fn commands_and_shims() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let name = [EVIL.as_bytes(), b"\xff"].concat();
    let name = OsStr::from_bytes(&name);
    let make = |arguments: &[&str]| {
        Straw::with_token(arguments)
            .env("PATH", "bin:/usr/bin:/bin")
            .env("STRAW_STORE", "store")
            .env("STRAW_SERVERS", &server)
    };
    // One that is there and cannot be run, one that is not, and straw by that name.
    let mut straw = make(&["exec", "--"]);
    straw.command.arg(name);
    let at = straw.path().join("bin");
    std::fs::create_dir(&at).unwrap();
    assert_harmless(&said(&straw.run()));
    std::fs::write(at.join(name), "#!/nowhere\n").unwrap();
    for mode in [0o644, 0o755] {
        std::fs::set_permissions(at.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        let output = straw.run();
        assert!([Some(126), Some(127)].contains(&output.status.code()));
        assert_harmless(&said(&output));
    }
    std::fs::remove_file(at.join(name)).unwrap();
    let link = straw.path().join(name);
    std::os::unix::fs::symlink(crate::straw::program(), &link).unwrap();
    let mut shim = std::process::Command::new(&link);
    let output = shim.current_dir(straw.path()).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert_harmless(&said(&output));
    for arguments in [
        &["shim", "list", "--dir", "."][..],
        &["shim", "list", "--dir", ".", "--json"],
    ] {
        let mut list = make(arguments);
        list.command.current_dir(straw.path());
        assert_harmless(&said(&list.run()));
    }
}
