//! Where credentials come from, and what is said when none comes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::fake::{self, Act, Fake, message, return_code};
use crate::messages::golden;
use crate::straw::{Straw, sign, token};

const HS256: &str = r#"{"alg":"HS256"}"#;

/// A daemon behind a socket that answers every connection so; nothing closes it.
pub fn daemon(path: &Path, answer: &'static [u8]) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
}

pub const MUNGE: &[u8] = b"\0\x60\x6d\x4b\x04\x03\0\0\0\0\x0e\0\0\0\0\0\x08MUNGE:x\0";
const MUNGE_ERROR: &[u8] =
    b"\0\x60\x6d\x4b\x04\x03\0\0\0\0\x1d\x0a\x17Invalid cipher type 99\0\0\0\0\0";
const SACK: &[u8] = b"\0\0\0\x06a.b.c\0";

/// Brings about every error with a credential. Returns their kinds.
pub fn errors() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        assert!(!kind.is_empty(), "no error");
        kinds.insert(kind);
    };

    // Tokens.
    let fetch = &["fetch", "127.0.0.1:1"][..];
    let jwt = &["fetch", "127.0.0.1:1", "--auth", "jwt"][..];
    let in_variable = |token: String| Straw::new(fetch).env("SLURM_JWT", token);
    for (name, straw) in [
        ("credential-none", Straw::new(jwt)),
        ("credential-empty", Straw::new(jwt).env("SLURM_JWT", " ")),
        ("token-not", in_variable("not.a.token".into())),
        ("token-expired", in_variable(token(-8000))),
        (
            "token-no-expiry",
            in_variable(sign(HS256, r#"{"sun":"alice"}"#)),
        ),
        (
            "token-unsigned",
            in_variable(sign(r#"{"alg":"none"}"#, r#"{"exp":9999999999}"#)),
        ),
        (
            "token-file-missing",
            Straw::new(&["fetch", "127.0.0.1:1", "--token-file", "/no/such/file"]),
        ),
        (
            "token-file-variable",
            Straw::new(fetch).env("SLURM_JWT_FILE", "/no/such/file"),
        ),
        (
            "token-file-empty",
            Straw::new(fetch).env("SLURM_JWT_FILE", "/dev/null"),
        ),
    ] {
        meet(golden(name, straw, &[]));
    }
    let straw = Straw::new(&["fetch", "127.0.0.1:1", "--token-file", "token"]);
    let path = straw.path().join("token");
    fs::write(&path, token(60)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    meet(golden("token-writable", straw, &[]));

    // A token where something else belongs is not shown.
    let misplaced = Straw::new(fetch).env("SLURM_JWT_FILE", token(60));
    meet(golden("token-as-file-name", misplaced, &[]));
    let misplaced = Straw::with_token(&["fetch"]).env("SLURM_CONF_SERVER", token(60));
    meet(golden("token-as-controller", misplaced, &[]));

    for (name, command, more) in [
        ("token-command-none", "/no/such/command a b", ""),
        ("token-command-failed", "sh -c 'echo why >&2; exit 3'", ""),
        ("token-command-late", "sleep 1000", "--timeout=500ms"),
        ("token-command-not", "echo not a token", ""),
        ("token-command-line", "get-token --password secret 'x", ""),
    ] {
        let mut arguments = vec!["fetch", "127.0.0.1:1", "--token-command", command];
        arguments.extend(more.split_whitespace());
        let straw = Straw::new(&arguments).env("PATH", "/usr/bin:/bin");
        meet(golden(name, straw, &[]));
    }

    // Sockets, with a controller that would answer.
    let fake = Fake::answers(|version| return_code(version, 1007));
    let server = fake.address.to_string();
    for (name, method, answer) in [
        ("munge-none", "munge", None),
        ("munge-refused", "munge", Some(MUNGE_ERROR)),
        ("munge-closed", "munge", Some(&b""[..])),
        ("munge-foreign", "munge", Some(b"HTTP/1.1 400 Bad Request")),
        ("sack-none", "slurm", None),
        ("sack-refused", "slurm", Some(b"")),
        ("sack-foreign", "slurm", Some(b"HTTP/1.1 400 Bad Request")),
        ("refused-munge", "munge", Some(MUNGE)),
        ("refused-sack", "slurm", Some(SACK)),
    ] {
        let straw = with_socket(&server, method, "", answer);
        meet(golden(name, straw, &[&fake]));
    }
    let straw = with_socket(&server, "munge", "", None);
    fs::write(straw.path().join("socket"), "").unwrap();
    meet(golden("munge-not-a-socket", straw, &[&fake]));
    let straw = with_socket(&server, "munge", "", None);
    drop(UnixListener::bind(straw.path().join("socket")).unwrap());
    meet(golden("munge-dead", straw, &[&fake]));
    let straw = with_socket(&server, "slurm", "--release 22.05", Some(SACK));
    meet(golden("sack-too-old", straw, &[&fake]));
    let fake = Fake::start(|_| Act::Close);
    let server = fake.address.to_string();
    for (name, method, answer) in [
        ("silent-munge", "munge", MUNGE),
        ("silent-sack", "slurm", SACK),
    ] {
        let straw = with_socket(&server, method, "", Some(answer));
        meet(golden(name, straw, &[&fake]));
    }

    // A new token.
    let answer = |code: u32| Fake::answers(move |version| return_code(version, code));
    let sends = |body: &'static [u8]| Fake::answers(move |version| message(version, 5040, body));
    for (name, more, fake) in [
        ("tokens-disabled", "", answer(2002)),
        ("token-for-other", "--for bob", answer(2010)),
        ("lifespan-too-long", "--lifespan 1w", answer(2051)),
        ("no-tokens", "", answer(8004)),
        ("no-tokens-old", "", sends(&[0; 4])),
        ("token-not-made", "", answer(6009)),
        ("token-malformed", "", sends(b"\0\0\0\x02x\0")),
        ("token-standby", "", answer(2027)),
    ] {
        let server = fake.address.to_string();
        let mut arguments = vec!["token", "renew", &server];
        arguments.extend(more.split_whitespace());
        meet(golden(name, Straw::with_token(&arguments), &[&fake]));
    }
    // One that is of no use does not take the place of what is there.
    for (name, more, token) in [
        // So long ago that no second shows.
        ("token-new-expired", "", token(-90 * 24 * 3600)),
        ("token-of-another", "--for bob", token(60)),
    ] {
        let fake = Fake::answers(move |version| fake::token(version, &token));
        let server = fake.address.to_string();
        let mut arguments = vec!["token", "renew", &server, "--write", "token"];
        arguments.extend(more.split_whitespace());
        let straw = Straw::with_token(&arguments);
        meet(golden(name, straw, &[&fake]));
    }
    let good = gives_tokens();
    let server = good.address.to_string();
    let straw = Straw::with_token(&["token", "renew", &server, "--write", "/dev/null"]);
    meet(golden("token-into-device", straw, &[&good]));
    let straw = Straw::with_token(&["token", "renew", &server, "--write", "no/token"]);
    meet(golden("token-not-written", straw, &[&good]));
    kinds
}

/// `straw fetch` with a socket in its directory.
fn with_socket(server: &str, method: &str, more: &str, answer: Option<&'static [u8]>) -> Straw {
    let option = match method {
        "munge" => "--munge-socket",
        _ => "--sack-socket",
    };
    let mut arguments = vec!["fetch", server, "--auth", method, option, "socket"];
    arguments.extend(more.split_whitespace());
    let straw = Straw::new(&arguments);
    if let Some(answer) = answer {
        daemon(&straw.path().join("socket"), answer);
    }
    straw
}

/// A controller that gives out tokens of alice's that are good for an hour.
fn gives_tokens() -> Fake {
    Fake::answers(|version| fake::token(version, &token(3600)))
}

/// In a place where clap, and not straw, says what is wrong with it.
#[test]
fn a_token_is_in_no_message_about_arguments() {
    let token = token(3600);
    for line in [
        "fetch --TOKEN",
        "fetch --token-TOKEN",
        "fetch --token=TOKEN",
        "fetch ctl1 --timeout=TOKEN",
        "fetch ctl1 --release TOKEN-old",
        "ping --TOKEN=x",
        "exec --TOKEN -- true",
        "token TOKEN",
        "releases x-TOKEN",
        "--TOKEN",
        "-o TOKEN --refresh",
    ] {
        let line = line.replace("TOKEN", &token);
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = Straw::new(&arguments).run();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        for part in token.split('.') {
            assert!(!said.contains(part), "{}", said.replace(part, "TOKEN"));
        }
    }
}

#[test]
fn a_new_token_goes_where_it_was_asked_to_be() {
    let fake = gives_tokens();
    let server = fake.address.to_string();
    let old = token(30);
    let renew = |more: &str| {
        let mut arguments = vec!["token", "renew", &server];
        arguments.extend(more.split_whitespace());
        Straw::new(&arguments).env("SLURM_JWT", &old)
    };

    // Without a file, what `scontrol token` would print.
    let output = renew("").run();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("SLURM_JWT=ey") && printed.ends_with('\n'));
    assert!(output.stderr.is_empty() && !printed.contains(&old));

    // Into a file, whatever was there.
    let mut straw = renew("--write token --if-under 10m");
    let path = straw.path().join("token");
    fs::write(&path, &old).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let output = straw.run();
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("a token of alice, signed with HS256, good until"),
        "{said}"
    );
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("ey") && !said.contains(written.trim()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read_dir(straw.path()).unwrap().count(), 1);
    let asked = fake.requests().len();

    // It is good for long enough: nobody is asked, and it stays.
    let said = straw.done();
    assert!(
        said.contains("lives for another 59m") && said.contains("not renewed"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    assert_eq!(fake.requests().len(), 0);
    assert!(asked > 0);

    // Unless it is another user's.
    straw.command.args(["--for", "bob"]);
    straw.run();
    assert!(!fake.requests().is_empty());
}

#[test]
fn what_is_asked_for_is_on_the_wire() {
    let fake = gives_tokens();
    let server = fake.address.to_string();
    for (more, body) in [
        ("", &b"\0\0\0\0\0\0\0\0"[..]),
        ("--lifespan 1h", b"\0\0\x0e\x10\0\0\0\0"),
        ("--for bob", b"\0\0\0\0\0\0\0\x04bob\0"),
        // One's own name is not said: controllers up to 21.08 refuse it.
        ("--for alice", b"\0\0\0\0\0\0\0\0"),
    ] {
        let mut arguments = vec!["token", "renew", &server];
        arguments.extend(more.split_whitespace());
        // What comes of it is the same token each time, and not always whose was asked for.
        Straw::with_token(&arguments).run();
        let requests = fake.requests();
        let last = &requests.last().unwrap().bytes;
        assert!(last.ends_with(body), "{more}: {last:x?}");
    }
}

#[test]
fn a_token_is_shown_but_not_itself() {
    let claims = r#"{"exp":9999999999,"iat":0,"iss":"https://idp.example.org",
        "sub":"system:serviceaccount:ns:name","preferred_username":"al\u001b[2Jice"}"#;
    let header = r#"{"alg":"RS256","kid":"one"}"#;
    let token = sign(header, claims);
    let mut straw = Straw::new(&["token", "show"]).env("SLURM_JWT", &token);
    let output = straw.run();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<_> = shown
        .lines()
        .filter(|line| !line.starts_with("time left"))
        .collect();
    assert_eq!(
        lines,
        [
            "token in    SLURM_JWT",
            "user        (no sun or username in it: Slurm needs userclaimfield=)",
            r"known as    al\u{1b}[2Jice",
            "subject     system:serviceaccount:ns:name",
            "issuer      https://idp.example.org",
            "issued      1970-01-01T00:00:00Z",
            "expires     2286-11-20T17:46:39Z",
            "signed with RS256, key one",
        ]
    );
    straw.command.arg("--json");
    let json: serde_json::Value = serde_json::from_slice(&straw.run().stdout).unwrap();
    assert_eq!(json["key_id"], "one");
    assert!(json["user"].is_null() && json["seconds_left"].as_u64() > Some(0));
    for part in token.split('.') {
        assert!(!shown.contains(part) && !json.to_string().contains(part));
    }

    // One that is of no use is shown as well, and is an error.
    let old = crate::straw::token(-60);
    let output = Straw::new(&["token", "show"]).env("SLURM_JWT", &old).run();
    assert_eq!(output.status.code(), Some(4));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("user        alice\n"), "{shown}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("expired 1m ago"), "{said}");
}

#[test]
fn a_token_that_others_can_read_is_warned_about_once() {
    let fake = Fake::controller(
        slurm_protocol::ProtocolVersion::V26_05,
        &[("slurm.conf", "ClusterName=lab\n")],
    );
    let server = fake.address.to_string();
    for (mode, warning) in [
        (0o600, None),
        (0o640, None),
        (0o644, Some("can be read by everyone")),
        (0o660, Some("can be written by its group")),
    ] {
        let mut straw = Straw::new(&["fetch", &server, "--token-file", "token", "-o", "etc"]);
        let path = straw.path().join("token");
        fs::write(&path, token(60)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = straw.done();
        let warned = said.matches("warning: ").count();
        assert_eq!(warned, usize::from(warning.is_some()), "{mode:o}: {said}");
        assert!(
            said.contains(warning.unwrap_or_default()),
            "{mode:o}: {said}"
        );
    }
}

#[test]
fn a_command_is_run_for_each_token() {
    let fake = Fake::controller(
        slurm_protocol::ProtocolVersion::V26_05,
        &[("slurm.conf", "ClusterName=lab\n")],
    );
    let server = fake.address.to_string();
    let arguments = [
        "fetch",
        &server,
        "-o",
        "etc",
        "--token-command",
        "cat 'a token'",
    ];
    // A command that is named wins over a variable of Slurm's, an argument over a variable.
    let mut straw = Straw::new(&arguments)
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_TOKEN_FILE", "/no/such/file")
        .env("SLURM_JWT", "no token");
    fs::write(straw.path().join("a token"), token(60)).unwrap();
    straw.done();
    assert!(straw.path().join("etc/slurm.conf").exists());
}

#[test]
fn a_credential_that_an_argument_names_is_the_one() {
    let fake = Fake::controller(
        slurm_protocol::ProtocolVersion::V26_05,
        &[("slurm.conf", "ClusterName=lab\n")],
    );
    let server = fake.address.to_string();
    let arguments = [
        "fetch",
        &server,
        "-o",
        "etc",
        "-v",
        "--munge-socket",
        "socket",
    ];
    let mut straw = Straw::with_token(&arguments)
        .env("STRAW_AUTH", "slurm")
        .env("SLURM_SACK_SOCKET", "none");
    daemon(&straw.path().join("socket"), MUNGE);
    let said = straw.done();
    assert!(
        said.contains("credential: socket (--munge-socket is given)"),
        "{said}"
    );
}
