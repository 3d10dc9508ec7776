//! Every message that a user can meet, against `tests/golden/`.
//!
//! Each scenario brings one about for real: arguments, environment, a peer. `SNAPSHOTS=overwrite
//! cargo test -p slurm-straw --test cli` writes the files anew; read them before they are committed.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;

use slurm_protocol::ProtocolVersion;
use snapbox::{Assert, Data, Redactions};

use crate::fake::{Act, Fake, config, message, return_code};
use crate::straw::Straw;

const V26_05: ProtocolVersion = ProtocolVersion::V26_05;

/// The page with a row for each kind of error.
const ERRORS: &str = include_str!("../../../../docs/errors.md");

/// Runs the program and compares all that came of it. Returns the kind of its error.
#[track_caller]
pub fn golden(name: &str, straw: Straw, fakes: &[&Fake]) -> String {
    let peers: Vec<_> = fakes.iter().map(|fake| fake.address).collect();
    golden_of(name, straw, &peers)
}

/// The same, for peers of other kinds.
#[track_caller]
pub fn golden_of(name: &str, mut straw: Straw, peers: &[SocketAddr]) -> String {
    let mut redactions = Redactions::new();
    let labels = ["[PORT]", "[OTHER]"];
    for (peer, label) in peers.iter().zip(labels) {
        redactions.insert(label, peer.port().to_string()).unwrap();
    }
    let path = straw.path().canonicalize().unwrap();
    redactions.insert("[DIR]", path).unwrap();
    redactions
        .insert("[VERSION]", env!("CARGO_PKG_VERSION"))
        .unwrap();
    let arguments: Vec<_> = straw
        .command
        .get_args()
        .map(|argument| argument.to_str().unwrap().to_owned())
        .collect();
    let output = straw.run();
    let mut stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if name.starts_with("doctor-") || name.starts_with("ping-") {
        stdout = timeless(&stdout);
    }
    let mut text = format!(
        "$ straw {}\n[exit {}]\n",
        arguments.join(" "),
        output.status.code().unwrap()
    );
    for (stream, content) in [("stdout", stdout), ("stderr", stderr)] {
        if !content.is_empty() {
            text.push_str(&format!("--- {stream}\n{content}"));
        }
    }
    let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .redact_with(redactions)
        .normalize_paths(false)
        .eq(text, Data::read_from(path.as_ref(), None));

    // The same again as JSON, for the kind; and what is said as objects.
    straw.command.arg("--json").env("STRAW_LOG_FORMAT", "json");
    let json = straw.run();
    // A token command's own words are not straw's to change.
    assert_objects(json.stderr.strip_prefix(b"why\n").unwrap_or(&json.stderr));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap_or_default();
    let error = &json["error"];
    let code = output.status.code().unwrap();
    assert!(error.is_null() || error["exit_code"] == code, "{json}");
    let kind = error["kind"].as_str().unwrap_or_default();
    let row = format!("| `{kind}` | {code} |");
    assert!(
        kind.is_empty() || ERRORS.contains(&row),
        "docs/errors.md has no `{row}`"
    );
    kind.to_owned()
}

/// Fails unless each line of what was said is an object, as `--log-format json` has it. Returns them.
#[track_caller]
pub fn assert_objects(said: &[u8]) -> Vec<serde_json::Value> {
    let said = String::from_utf8(said.to_vec()).unwrap();
    let object = |line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let has_all = ["time", "level", "message"].map(|name| value[name].is_string());
        assert_eq!(has_all, [true; 3], "{line}\nin:\n{said}");
        value
    };
    said.lines().map(object).collect()
}

/// A report without the times in it: how long something took, what is left of a token, and dates but
/// those that are far from now.
fn timeless(text: &str) -> String {
    let mut timeless = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_date = rest.len() >= 20
            && rest.is_char_boundary(20)
            && rest[..20].bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                10 => byte == b'T',
                13 | 16 => byte == b':',
                19 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        if is_date && rest.starts_with("202") {
            timeless.push_str("[DATE]");
            rest = &rest[20..];
        } else if rest.starts_with(" ms") {
            let number = |c: char| c.is_ascii_digit() || c == '.';
            let length = timeless.trim_end_matches(number).trim_end().len();
            timeless.truncate(length);
            timeless.push_str(" [TIME] ms");
            rest = &rest[3..];
        } else if rest.starts_with(" left)") {
            timeless.truncate(timeless.rfind('(').unwrap_or(0));
            timeless.push_str("([TIME] left)");
            rest = &rest[6..];
        } else {
            let next = rest.chars().next().unwrap();
            timeless.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    timeless
}

#[test]
fn help_and_usage() {
    for (name, arguments) in [
        ("help", "--help"),
        ("help-fetch", "fetch --help"),
        ("help-token", "token --help"),
        ("help-exec", "exec --help"),
        ("help-shim", "shim --help"),
        ("help-shim-install", "shim install --help"),
        ("help-token-show", "token show --help"),
        ("help-token-renew", "token renew --help"),
        ("version", "--version"),
        ("releases", "releases"),
        ("releases-old", "-l"),
        ("usage-nothing", ""),
        ("usage-unknown-option", "fetch ctl1 --outptu dir"),
        ("usage-bad-time", "fetch ctl1 --timeout soon"),
        ("usage-bad-size", "fetch ctl1 --max-size 2G"),
        ("usage-bad-set", "fetch ctl1 --files all"),
        ("usage-no-time", "fetch ctl1 --timeout 0"),
        ("usage-slip", "fetc ctl1"),
        ("help-doctor", "doctor --help"),
        ("help-ping", "ping --help"),
        ("usage-doctor-wait", "doctor ctl1 --wait 1m"),
        ("usage-watch-nowhere", "watch ctl1"),
        (
            "usage-stdout-and-output",
            "fetch ctl1 --stdout slurm.conf -o dir",
        ),
        (
            "usage-two-tokens",
            "fetch ctl1 --token-file a --token-command b",
        ),
        (
            "usage-two-credentials",
            "fetch ctl1 --token-file a --munge-socket b",
        ),
        ("usage-exec-option", "exec --adapt sinfo"),
        ("usage-auth", "fetch ctl1 --auth munge --token-file a"),
        ("usage-if-under", "token renew ctl1 --if-under 10m"),
        ("usage-lifespan", "token renew ctl1 --lifespan 0"),
    ] {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        golden(name, Straw::new(&arguments), &[]);
    }
}

/// All kinds of errors, each brought about once; and the list of them in the documentation.
#[test]
fn errors() {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        assert!(!kind.is_empty(), "no error");
        kinds.insert(kind);
    };

    for (name, arguments) in [
        ("endpoint", &["fetch", "ctl1:slurm"][..]),
        ("endpoint-v6", &["fetch", "fd00::1:x:6817"]),
        ("release-unknown", &["ctl1", "27.05"]),
        ("release-not", &["fetch", "ctl1", "--release", "24"]),
        ("release-twice", &["ctl1", "24.11", "--release", "26.05"]),
        ("host-name", &["fetch", "ctl!1"]),
        // Port 1 of loopback: nobody listens there.
        ("unreachable", &["fetch", "127.0.0.1:1"]),
        ("unreachable-two", &["fetch", "127.0.0.1:1,[::1]:1"]),
    ] {
        meet(golden(name, Straw::with_token(arguments), &[]));
    }

    // What a controller, or something else at its port, can answer.
    let silent = || Fake::start(|_| Act::Close);
    let answer = |code: u32| Fake::answers(move |version| return_code(version, code));
    let raw = |bytes: &'static [u8]| Fake::start(|_| Act::Send(bytes.to_vec()));
    let sends = |bytes: fn(ProtocolVersion) -> Vec<u8>| Fake::answers(bytes);
    let from = |own: u8| Fake::controller(ProtocolVersion::from_index(own), &[]);
    let refuses = || Fake::answers(|version| return_code(version, 1007));
    let refuses_silently = || {
        Fake::start(|seen| match seen.has_credential {
            true => Act::Close,
            false => Act::Send(return_code(seen.version, 1007)),
        })
    };
    for (name, more, fake) in [
        ("silent", "", silent()),
        ("silent-pinned", "--release 22.05", silent()),
        ("refused", "", refuses()),
        ("refused-silently", "", refuses_silently()),
        ("standby", "", answer(2131)),
        ("busy", "--timeout 500ms", answer(1804)),
        ("hard-drop", "", answer(1805)),
        ("configless-off", "", answer(2126)),
        ("slurmd-set", "--files slurmd", answer(2010)),
        ("not-allowed", "", answer(2010)),
        ("slurm-error", "", answer(2002)),
        ("slurm-error-unknown", "", answer(4711)),
        (
            "tls-required",
            "",
            Fake::start(|seen| Act::Send(return_code(seen.version, 13000))),
        ),
        ("tls-required-pinned", "--release 26.05", answer(13000)),
        ("tls-answer", "", raw(b"\x15\x03\x03\x00\x02\x02\x46")),
        ("http", "", raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        (
            "http-pinned",
            "--release 22.05",
            raw(b"HTTP/1.1 405 NOT ALLOWED\r\n\r\n"),
        ),
        ("not-slurm", "", raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
        (
            "not-slurm-frame",
            "",
            raw(b"\0\0\0\x18no header of Slurm's, no"),
        ),
        ("too-new", "", from(50)),
        ("wrong-release", "--release 22.05", from(43)),
        ("no-answer", "--timeout 500ms", Fake::start(|_| Act::Hold)),
        ("broken-off", "", raw(b"\0\0\x01\0half")),
        ("too-large", "--max-size 1K", sends(|_| vec![0, 0, 16, 0])),
        (
            "malformed",
            "",
            sends(|version| message(version, 2016, &[0, 0, 0, 9, 1, 1])),
        ),
        (
            "unexpected",
            "",
            sends(|version| message(version, 4711, &[0; 4])),
        ),
        (
            "no-slurm-conf",
            "",
            sends(|version| config(version, &[("x.conf", "")])),
        ),
        ("rc-zero", "", answer(0)),
        (
            "tls-answer-pinned",
            "--release 26.05",
            raw(b"\x15\x03\x03\x00\x02\x02\x46"),
        ),
        (
            "slurm-conf-empty",
            "",
            sends(|version| config(version, &[("slurm.conf", "")])),
        ),
        (
            "name-differs",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), ("slurm.conf", "b")])),
        ),
        (
            "name-outside",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), ("../x", "")])),
        ),
        (
            "name-hidden",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), (".bashrc", "")])),
        ),
        (
            "name-ca",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), ("ca_cert.pem", "")])),
        ),
        (
            "name-terminal",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), ("\x1b[2Jx", "")])),
        ),
        (
            "name-twice",
            "",
            sends(|version| config(version, &[("slurm.conf", "a"), ("a", ""), ("a/b", "")])),
        ),
        (
            "not-sent",
            "--stdout gres.conf",
            sends(|version| config(version, &[("slurm.conf", "a"), ("plugstack.conf", "")])),
        ),
    ] {
        let server = fake.address.to_string();
        let mut arguments = vec!["fetch", &server];
        arguments.extend(more.split_whitespace());
        let straw = Straw::with_token(&arguments);
        let kind = golden(name, straw, &[&fake]);
        meet(kind);
    }

    // Several controllers: what each said.
    let (standby, refusing) = (answer(2131), refuses());
    let servers = format!("{},{}", standby.address, refusing.address);
    let straw = Straw::with_token(&["fetch", &servers]);
    meet(golden("two-controllers", straw, &[&standby, &refusing]));

    // The file system.
    let serving = || Fake::controller(V26_05, &[("slurm.conf", "ClusterName=lab\n")]);
    let fake = serving();
    let server = fake.address.to_string();
    let straw = Straw::with_token(&["fetch", &server]);
    std::fs::create_dir(straw.path().join("slurm.conf")).unwrap();
    meet(golden("file-is-directory", straw, &[&fake]));

    let straw = Straw::with_token(&["fetch", &server, "-o", "/proc/none"]);
    meet(golden("directory-none", straw, &[&fake]));

    let straw = Straw::with_token(&["fetch", &server, "--timeout", "1s"]);
    let held = File::open(straw.path()).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    meet(golden("directory-locked", straw, &[&fake]));
    drop(held);

    let to_stdout = ["fetch", &server, "--stdout", "slurm.conf"];
    for words in [&to_stdout[..], &["help", "fetch"], &["--version"]] {
        let mut straw = Straw::with_token(words);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = straw
            .command
            .stdout(Stdio::from(full))
            .stderr(Stdio::piped());
        let output = output.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(9), "{words:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.starts_with("error: standard output cannot be written to: "),
            "{stderr}"
        );
    }
    meet("output-failed".into());

    // These need a name server of the test's own; they are met in `live`.
    meet("name-not-resolved".into());
    meet("no-controller".into());
    // This one would be a bug.
    meet("request-impossible".into());

    // Of rights that only another user can have: `hostile::rights`.
    kinds.insert("borrowed-rights".to_owned());
    kinds.insert("notes-unreadable".to_owned());
    kinds.append(&mut crate::credentials::errors());
    kinds.append(&mut crate::exec::errors());
    kinds.append(&mut crate::settings::errors());
    kinds.append(&mut crate::tls::errors());
    kinds.append(&mut crate::watch::errors());

    let documented: BTreeSet<String> = ERRORS
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(kinds, documented, "docs/errors.md");
}
