//! `straw doctor` and `straw ping`, with peers on loopback. What real controllers and real commands
//! show is tested in `live`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use slurm_protocol::ProtocolVersion;

use crate::credentials::{MUNGE, daemon};
use crate::fake::{self, Act, Fake, Seen, config, message, return_code};
use crate::messages::golden_of;
use crate::straw::{Straw, program, sign, token};
use crate::tls;

const V26_05: ProtocolVersion = ProtocolVersion::V26_05;
const FILES: &[(&str, &str)] = &[("slurm.conf", "ClusterName=lab\nSlurmctldHost=127.0.0.1\n")];

/// `straw doctor` with nothing of this machine's in it that differs from another's.
fn doctor(arguments: &[&str]) -> Straw {
    let arguments = [&["doctor"], arguments, &["--store", "store"]].concat();
    Straw::new(&arguments)
}

/// The same with a token of alice's.
fn with_token(arguments: &[&str]) -> Straw {
    doctor(arguments).env("SLURM_JWT", fresh())
}

/// A token that was made now.
fn fresh() -> String {
    made(0)
}

/// One that was made so many seconds from now, and is good for long.
fn made(ahead: i64) -> String {
    let issued = now() + ahead;
    let claims = format!(r#"{{"exp":9999999999,"iat":{issued},"sun":"alice"}}"#);
    sign(r#"{"alg":"HS256"}"#, &claims)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() as i64
}

/// A controller as a real one of this version is: it gives files and tokens, the latter by a clock
/// that is so many seconds ahead, but not slurmd's files.
fn controller(own: ProtocolVersion, files: &'static [(&str, &str)], ahead: i64) -> Fake {
    Fake::start(move |seen| Act::Send(answer(seen, own, files, ahead)))
}

fn answer(seen: &Seen, own: ProtocolVersion, files: &[(&str, &str)], ahead: i64) -> Vec<u8> {
    if !own.accepted_by_controller().contains(&seen.version) {
        return match own >= ProtocolVersion::V25_11 {
            true => b"HTTP/1.1 405 NOT ALLOWED\r\n\r\n".to_vec(),
            false => return_code(own, 1007),
        };
    }
    if !seen.has_credential {
        return return_code(seen.version, 1007);
    }
    match u16::from_be_bytes([seen.bytes[8], seen.bytes[9]]) {
        5039 => fake::token(seen.version, &made(ahead)),
        // REQUEST_CONFIG: its flags are the last but its port.
        _ if seen.bytes.ends_with(&[0, 0, 0, 1, 0, 0]) => return_code(seen.version, 2010),
        _ => config(seen.version, files),
    }
}

/// Runs it, and compares what it prints. What differs from run to run is made the same.
#[track_caller]
fn golden(name: &str, straw: Straw, fakes: &[&Fake]) {
    let peers: Vec<_> = fakes.iter().map(|fake| fake.address).collect();
    golden_of(&format!("doctor-{name}"), straw, &peers);
}

/// The checks as JSON has them; the exit code is that of the process.
fn checks(straw: &mut Straw) -> Vec<Value> {
    straw.command.arg("--json");
    let output = straw.run();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["exit_code"], output.status.code().unwrap());
    report["checks"].as_array().unwrap().clone()
}

fn find<'a>(checks: &'a [Value], group: &str, name: &str) -> &'a Value {
    checks
        .iter()
        .find(|check| check["group"] == group && check["name"] == name)
        .unwrap_or_else(|| panic!("no {group}, {name} in {checks:#?}"))
}

#[test]
fn all_is_well() {
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    golden("well", with_token(&[&server]), &[&fake]);
    let ascii = with_token(&[&server]).env("LANG", "C");
    golden("well-ascii", ascii, &[&fake]);
    golden(
        "well-colors",
        with_token(&[&server, "--color", "always"]),
        &[&fake],
    );
    let mut straw = with_token(&[&server, "-q"]);
    let output = straw.run();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    // It writes nothing.
    assert_eq!(fs::read_dir(straw.path()).unwrap().count(), 0);
}

#[test]
fn names_and_network() {
    let refused = with_token(&["127.0.0.1:1"]);
    golden("refused", refused, &[]);
    golden("bad-name", with_token(&["ctl!1"]), &[]);
    let unknown = with_token(&["ctl.invalid", "--timeout", "3s"]);
    let mut unknown = unknown;
    let seen = checks(&mut unknown);
    let name = find(&seen, "names and network", "ctl.invalid");
    assert_eq!(
        (&name["outcome"], &name["exit_code"]),
        (&"failure".into(), &3.into())
    );
    assert_eq!(
        find(&seen, "names and network", "ctl.invalid:6817")["outcome"],
        "skipped"
    );

    let raw = |bytes: &'static [u8]| Fake::start(move |_| Act::Send(bytes.to_vec()));
    for (name, fake) in [
        ("http", raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        ("ssh", raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
        ("tls", raw(b"\x15\x03\x03\x00\x02\x02\x46")),
        ("other", raw(b"220 \x1b[2Jmail.example.org ESMTP\r\n")),
        ("not-slurm", raw(b"\0\0\0\x18no header of Slurm's, no")),
    ] {
        let server = fake.address.to_string();
        golden(name, with_token(&[&server]), &[&fake]);
    }
    let fake = Fake::start(|_| Act::Hold);
    let server = fake.address.to_string();
    let straw = with_token(&[&server, "--timeout", "300ms"]);
    golden("mute", straw, &[&fake]);
    // One that works is enough.
    let fake = controller(V26_05, FILES, 0);
    let servers = format!("{},127.0.0.1:1", fake.address);
    golden("one-of-two", with_token(&[&servers]), &[&fake]);
    let odd = Fake::answers(|version| message(version, 9999, b"what"));
    let servers = format!("{},{}", fake.address, odd.address);
    golden("one-odd", with_token(&[&servers]), &[&fake, &odd]);
    golden("odd", with_token(&[&odd.address.to_string()]), &[&odd]);
}

/// The ports of Slurm's other daemons; where something else has them, there is nothing to see.
#[test]
fn other_daemons() {
    for (port, name) in [(6818, "slurmd"), (6819, "slurmdbd")] {
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else {
            continue;
        };
        let fake = Fake::listen(listener, |_| Act::Close);
        let server = fake.address.to_string();
        golden(name, with_token(&[&server]), &[]);
    }
}

#[test]
fn what_controllers_say() {
    let answers = |code: u32| Fake::answers(move |version| return_code(version, code));
    for (name, fake) in [
        ("standby", answers(2131)),
        ("configless-off", answers(2126)),
        ("busy", answers(1805)),
        ("slurm-error", answers(4711)),
        (
            "too-new",
            controller(ProtocolVersion::from_index(50), FILES, 0),
        ),
        (
            "tls-required",
            Fake::start(|seen| Act::Send(return_code(seen.version, 13000))),
        ),
    ] {
        let server = fake.address.to_string();
        golden(name, with_token(&[&server]), &[&fake]);
    }
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    golden(
        "pinned",
        with_token(&[&server, "--release", "22.05"]),
        &[&fake],
    );
    let standby = answers(2131);
    let servers = format!("{},{}", standby.address, fake.address);
    let mut straw = with_token(&[&servers]);
    let seen = checks(&mut straw);
    let role = find(&seen, "controller", &standby.address.to_string());
    assert!(role["seen"].as_str().unwrap().contains("standby"));
    assert_eq!(role["outcome"], "ok");
    // The primary is named, and down.
    let servers = format!("127.0.0.1:1,{}", standby.address);
    golden("standby-alone", with_token(&[&servers]), &[&standby]);
}

#[test]
fn releases_are_told_exactly() {
    for (own, said) in [
        (46, "Slurm 26.11 or newer"),
        (45, "Slurm 26.05, for clients of 24.11 to 26.05"),
        (44, "Slurm 25.11, for clients of 24.05 to 25.11"),
        (43, "Slurm 25.05, for clients of 23.11 to 25.05"),
        (42, "Slurm 24.11, for clients of 23.02 to 24.11"),
        (41, "Slurm 24.05, for clients of 23.02 to 24.05"),
        (40, "Slurm 23.11, for clients of 22.05 to 23.11"),
        (39, "Slurm 23.02, for clients of 21.08 to 23.02"),
        (38, "Slurm 22.05, for clients of 20.11 to 22.05"),
        (37, "Slurm 21.08, for clients of"),
    ] {
        let own = ProtocolVersion::from_index(own);
        let fake = match own >= ProtocolVersion::V24_11 {
            true => controller(own, FILES, 0),
            false => Fake::controller(own, FILES),
        };
        let mut straw = with_token(&[&fake.address.to_string()]);
        let seen = checks(&mut straw);
        let line = find(&seen, "controller", &fake.address.to_string());
        let line = line["seen"].as_str().unwrap();
        assert!(line.starts_with(said), "{line}");
    }
}

#[test]
fn tls_and_certificates() {
    let ca = tls::authority("my_slurm_ca");
    let with_ca = |peer: &tls::Peer| {
        let server = peer.address.to_string();
        let straw = with_token(&[&server, "--ca-cert", "ca.pem"]);
        fs::write(straw.path().join("ca.pem"), ca.pem()).unwrap();
        straw
    };
    let leaf = tls::params("ctld");
    for (name, peer) in [
        (
            "certificate-expired",
            tls::Peer::controller(tls::server(&tls::years(leaf.clone(), 2001, 2002), &ca)),
        ),
        (
            "certificate-of-another",
            tls::Peer::controller(tls::server(&leaf, &tls::authority("other_ca"))),
        ),
        (
            "no-tls",
            tls::Peer::plain(return_code(ProtocolVersion::V25_05, 1007)),
        ),
    ] {
        golden_of(&format!("doctor-{name}"), with_ca(&peer), &[peer.address]);
    }
    let peer = tls::Peer::controller(tls::server(&leaf, &ca));
    let mut straw = with_ca(&peer);
    let seen = checks(&mut straw);
    let line = find(&seen, "controller", &peer.address.to_string());
    let line = line["seen"].as_str().unwrap();
    assert!(
        line.starts_with("TLS 1.3; certificate of CN=ctld, signed by CN=my_slurm_ca, good until "),
        "{line}"
    );
    // One that ends soon is no failure yet.
    let mut soon = leaf.clone();
    let in_three_days = Duration::from_secs(now().cast_unsigned() + 3 * 24 * 3600);
    soon.not_after = rcgen::date_time_ymd(1970, 1, 1) + in_three_days;
    let ending = tls::Peer::controller(tls::server(&soon, &ca));
    let seen = checks(&mut with_ca(&ending));
    let line = find(&seen, "controller", &ending.address.to_string());
    assert_eq!(line["outcome"], "warning");
    let said = line["seen"].as_str().unwrap();
    assert!(said.ends_with(": 2d 23h left"), "{said}");
    // Nothing is sent without the CA that was asked for.
    let mut none = with_ca(&peer);
    fs::remove_file(none.path().join("ca.pem")).unwrap();
    let seen = checks(&mut none);
    assert_eq!(find(&seen, "controller", "TLS")["exit_code"], 7);
    assert_eq!(
        find(&seen, "controller", "controllers")["outcome"],
        "skipped"
    );
}

#[test]
fn credentials() {
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    // On this machine there may be sockets.
    golden(
        "no-credential",
        doctor(&[&server, "--auth", "jwt"]),
        &[&fake],
    );
    let claims = |claims: &str| sign(r#"{"alg":"RS256","kid":"one"}"#, claims);
    let soon = now() + 155;
    for (name, token) in [
        ("token-expired", token(-7300)),
        ("token-not", "secret".to_owned()),
        (
            "token-unsigned",
            sign(r#"{"alg":"none"}"#, r#"{"exp":9999999999}"#),
        ),
        (
            "token-short",
            claims(&format!(r#"{{"exp":{soon},"sun":"alice"}}"#)),
        ),
        (
            "token-to-come",
            claims(r#"{"exp":9999999999,"nbf":9999999000,"sun":"al\u001b[2Jice"}"#),
        ),
        (
            "token-no-user",
            claims(r#"{"exp":9999999999,"iss":"https://idp.example.org","sub":"me"}"#),
        ),
    ] {
        let mut straw = doctor(&[&server]).env("SLURM_JWT", &token);
        let output = straw.run();
        let said = String::from_utf8(output.stdout).unwrap();
        for part in token.split('.') {
            assert!(part.len() < 10 || !said.contains(part), "{said}");
        }
        golden(name, straw, &[&fake]);
    }
    for (name, mode) in [("token-readable", 0o644), ("token-writable", 0o666)] {
        let straw = doctor(&[&server, "--token-file", "token"]);
        let path = straw.path().join("token");
        fs::write(&path, fresh()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        golden(name, straw, &[&fake]);
    }

    // Sockets: none, one that nobody listens on, one that works.
    let munge = || doctor(&[&server, "--munge-socket", "socket"]);
    golden("munge-none", munge(), &[&fake]);
    let straw = munge();
    drop(std::os::unix::net::UnixListener::bind(straw.path().join("socket")).unwrap());
    golden("munge-dead", straw, &[&fake]);
    let straw = munge();
    daemon(&straw.path().join("socket"), MUNGE);
    golden("munge", straw, &[&fake]);
    golden(
        "sack-none",
        doctor(&[&server, "--sack-socket", "socket"]),
        &[&fake],
    );
}

#[test]
fn a_refusal_is_told_apart_as_far_as_can_be() {
    let refuses = Fake::answers(|version| return_code(version, 1007));
    let server = refuses.address.to_string();
    golden("credential-refused", with_token(&[&server]), &[&refuses]);
    // It is dated in the future.
    let token = made(7290);
    let early = doctor(&[&server]).env("SLURM_JWT", token);
    golden("credential-refused-early", early, &[&refuses]);
    let silent = Fake::start(|_| Act::Close);
    let server = silent.address.to_string();
    golden(
        "credential-refused-silently",
        with_token(&[&server]),
        &[&silent],
    );

    // munge (plugin 101) is accepted, a token is not.
    let picky = Fake::start(|seen| {
        let by_munge = seen.has_credential && seen.bytes[20..24] == [0, 0, 0, 101];
        Act::Send(match by_munge {
            true => config(seen.version, FILES),
            false => return_code(seen.version, 1007),
        })
    });
    let server = picky.address.to_string();
    let straw = with_token(&[&server]).env("STRAW_MUNGE_SOCKET", "socket");
    daemon(&straw.path().join("socket"), MUNGE);
    golden("credential-other-accepted", straw, &[&picky]);
}

#[test]
fn clocks() {
    for (name, ahead) in [("clock-behind", 7290), ("clock-ahead", -7290)] {
        let fake = controller(V26_05, FILES, ahead);
        let server = fake.address.to_string();
        golden(name, with_token(&[&server]), &[&fake]);
    }
}

#[test]
fn configuration() {
    let sends = |files: &'static [(&str, &str)]| controller(V26_05, files, 0);
    for (name, fake) in [
        (
            "include",
            sends(&[(
                "slurm.conf",
                "ClusterName=lab\nSlurmctldHost=127.0.0.1\nInclude gone.conf\nInclude \
                 /nowhere/of.conf\n",
            )]),
        ),
        (
            "adapting",
            sends(&[(
                "slurm.conf",
                "ClusterName=lab\nSlurmctldHost=127.0.0.1\nSlurmUser=nobody-here\nPowerPlugin=\n",
            )]),
        ),
        ("essential", sends(&[("slurm.conf", "Mine=1\n")])),
        ("dangerous", sends(&[("slurm.conf", "a"), ("../x", "")])),
        ("slurm-conf-none", sends(&[])),
    ] {
        let server = fake.address.to_string();
        let straw = with_token(&[&server]);
        let native = straw.path().join("native");
        command(&native, "sinfo");
        golden(name, straw.env("PATH", native), &[&fake]);
    }
    // Where no command meets it as it came, nothing is amiss.
    let fake = sends(&[(
        "slurm.conf",
        "ClusterName=lab\nSlurmctldHost=127.0.0.1\nSlurmUser=nobody-here\nInclude gone.conf\n",
    )]);
    let server = fake.address.to_string();
    golden("adapting-no-commands", with_token(&[&server]), &[&fake]);
    let outcome = |straw: Straw| {
        let native = straw.path().join("native");
        let shims = straw.path().join("shims");
        command(&native, "sinfo");
        fs::create_dir(&shims).unwrap();
        symlink(program(), shims.join("sinfo")).unwrap();
        let path = std::env::join_paths([shims, native]).unwrap();
        let seen = checks(&mut straw.env("PATH", path));
        find(&seen, "configuration", "adapting")["outcome"].clone()
    };
    assert_eq!(outcome(with_token(&[&server])), "ok");
    assert_eq!(outcome(with_token(&[&server, "--verbatim"])), "warning");
    // Who may have everything has too much.
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    golden("slurmd-set", with_token(&[&server]), &[&fake]);
    let malformed = Fake::answers(|version| message(version, 2016, b"no list"));
    let server = malformed.address.to_string();
    golden("malformed", with_token(&[&server]), &[&malformed]);
}

/// A program of this name that does nothing.
fn command(directory: &Path, name: &str) {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn this_container() {
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    let straw = with_token(&[&server]).env("SLURM_CONF", "none.conf");
    golden("slurm-conf-missing", straw, &[&fake]);
    // Neither a pipe that nobody writes to nor a file without an end keeps it.
    let straw = with_token(&[&server]).env("SLURM_CONF", "pipe");
    let pipe = straw.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    golden("slurm-conf-pipe", straw, &[&fake]);
    let mut straw = with_token(&[&server]).env("SLURM_CONF", "/dev/zero");
    let seen = checks(&mut straw);
    let check = find(&seen, "this container", "SLURM_CONF");
    let text = check["seen"].as_str().unwrap();
    assert!(text.ends_with("cannot be read: it is no file"), "{text}");
    let straw = with_token(&[&server]).env("SLURM_CONF", "mine.conf");
    fs::write(straw.path().join("mine.conf"), "ClusterName=old\n").unwrap();
    golden("slurm-conf-stale", straw, &[&fake]);
    let straw = with_token(&[&server]).env("SLURM_CONF", "conf/slurm.conf");
    fs::create_dir(straw.path().join("conf")).unwrap();
    fs::write(straw.path().join("conf/slurm.conf"), FILES[0].1).unwrap();
    fs::write(straw.path().join("conf/slurm.key"), "key").unwrap();
    golden("slurm-key", straw, &[&fake]);

    // Commands, and shims behind them instead of in front.
    let straw = with_token(&[&server]);
    let (native, shims) = (straw.path().join("native"), straw.path().join("shims"));
    command(&native, "srun");
    fs::create_dir(&shims).unwrap();
    symlink(program(), shims.join("srun")).unwrap();
    symlink(program(), shims.join("sinfo")).unwrap();
    // A directory that is named twice has nothing in it twice.
    let path = std::env::join_paths([&native, &shims, &native, &shims]).unwrap();
    golden("shims", straw.env("PATH", path), &[&fake]);

    // What is kept: a set that is old, and a store that is none.
    let arguments = [
        "exec",
        "--servers",
        &server,
        "--store",
        "store",
        "--",
        "true",
    ];
    let mut exec = Straw::new(&arguments)
        .env("SLURM_JWT", fresh())
        .env("PATH", "/usr/bin:/bin");
    exec.done();
    let kept = |max_stale: &str| {
        let straw = with_token(&[&server, "--max-stale", max_stale]);
        let from = exec.path().join("store");
        symlink(from, straw.path().join("store")).unwrap();
        straw
    };
    let notes = exec.path().join("store/..gen-1/.straw.json");
    let long_ago = SystemTime::now() - Duration::from_secs(3 * 3600 + 60);
    let notes = File::options().write(true).open(notes).unwrap();
    notes.set_modified(long_ago).unwrap();
    golden("store", kept("24h"), &[&fake]);
    golden("store-stale", kept("1h"), &[&fake]);
    notes
        .set_modified(SystemTime::now() + Duration::from_secs(3600))
        .unwrap();
    golden("store-to-come", kept("24h"), &[&fake]);
    let straw = with_token(&[&server]);
    fs::write(straw.path().join("store"), "").unwrap();
    golden("store-file", straw, &[&fake]);
}

/// A peer can say what it likes: it ends, in time, without a panic.
#[test]
fn hostile_peers_neither_stop_nor_break_it() {
    let bytes = |length: usize, seed: u8| -> Vec<u8> {
        (0..length)
            .map(|at| (at as u8).wrapping_mul(31) ^ seed)
            .collect()
    };
    for seed in 0..12 {
        let fake = Fake::start(move |seen| {
            let mut reply = match seed % 4 {
                0 => bytes(200, seed),
                1 => message(seen.version, 2016, &bytes(64, seed)),
                2 => message(ProtocolVersion(0xffff), 8001, &bytes(4, seed)),
                _ => [&[0, 0, 1, 0][..], &bytes(40, seed)].concat(),
            };
            if seed > 7 {
                reply.truncate(11);
            }
            Act::Send(reply)
        });
        let mut straw = with_token(&[&fake.address.to_string(), "--timeout", "1s", "-vvv"]);
        let begin = std::time::Instant::now();
        let output = straw.run();
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(
            output.status.code().is_some_and(|code| code > 0),
            "{seed}: {output:?}"
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
    }
    let drip = Fake::start(|_| Act::Drip([vec![0, 0, 1, 0], vec![0; 1000]].concat()));
    let mut straw = with_token(&[&drip.address.to_string(), "--timeout", "500ms"]);
    let begin = std::time::Instant::now();
    assert_eq!(straw.run().status.code(), Some(3));
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn ping() {
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    let ping = |arguments: &[&str]| Straw::with_token(&[&["ping"], arguments].concat());
    let golden = |name: &str, straw: Straw, fakes: &[&Fake]| {
        let peers: Vec<_> = fakes.iter().map(|fake| fake.address).collect();
        golden_of(&format!("ping-{name}"), straw, &peers)
    };
    golden("one", ping(&[&server]), &[&fake]);
    let standby = Fake::answers(|version| return_code(version, 2131));
    let servers = format!("{server},{},127.0.0.1:1", standby.address);
    golden("three", ping(&[&servers]), &[&fake, &standby]);
    let kind = golden("none", ping(&["127.0.0.1:1"]), &[]);
    assert_eq!(kind, "unreachable");
    let odd = Fake::answers(|version| message(version, 9999, b"what"));
    let kind = golden("odd", ping(&[&odd.address.to_string()]), &[&odd]);
    assert_eq!(kind, "reply-unexpected");
    let refuses = Fake::answers(|version| return_code(version, 1007));
    golden(
        "refused",
        ping(&[&refuses.address.to_string()]),
        &[&refuses],
    );
    let without = Straw::new(&["ping", &server, "--auth", "jwt"]);
    golden("without-credential", without, &[&fake]);
    let old = Fake::controller(ProtocolVersion::V22_05, FILES);
    let server = old.address.to_string();
    golden("old", ping(&[&server]), &[&old]);
    let without = Straw::new(&["ping", &server, "--auth", "jwt"]);
    assert_eq!(
        golden("old-without-credential", without, &[&old]),
        "closed-silently"
    );
    // Who knows the release asks once.
    old.requests();
    assert_eq!(
        ping(&[&server, "--release", "22.05"]).run().status.code(),
        Some(0)
    );
    assert_eq!(old.requests().len(), 1);

    // As JSON.
    let output = ping(&[&servers, "--json"]).run();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let controllers = json["controllers"].as_array().unwrap();
    let roles: Vec<_> = controllers.iter().map(|one| &one["role"]).collect();
    assert_eq!(
        roles,
        [
            &Value::from("in charge"),
            &Value::from("standby"),
            &Value::Null
        ]
    );
    assert_eq!(controllers[2]["kind"], "unreachable");
    assert_eq!(controllers[0]["release"], "26.05");
}

/// The story in order, and nothing of the credential in it at any verbosity.
#[test]
fn what_is_done_is_told() {
    let fake = controller(V26_05, FILES, 0);
    let server = fake.address.to_string();
    let secret = fresh();
    let told = |verbosity: &str| {
        let arguments = ["fetch", &server, "--stdout", "slurm.conf", verbosity];
        let mut straw = Straw::new(&arguments).env("SLURM_JWT", &secret);
        straw.done()
    };
    let in_order = |text: &str, parts: &[&str]| {
        let mut rest = text;
        for part in parts {
            let Some(at) = rest.find(part) else {
                panic!("`{part}` expected, in this order, in:\n{text}");
            };
            rest = &rest[at..];
        }
    };
    let story = [
        "info: controllers: ",
        "info: credential: SLURM_JWT",
        "info: asking ",
        " answered",
    ];
    in_order(&told("-v"), &story);
    let more = [
        "credential: ",
        "a token of alice",
        "asking ",
        "without a credential at",
        "asked for the configuration at",
        " answered",
    ];
    in_order(&told("-vv"), &more);
    let all = told("-vvv");
    in_order(
        &all,
        &[
            "asking ",
            "sent 20 bytes",
            "0000  ",
            "got ",
            "sent ",
            "not shown",
            "got ",
            "Cluster",
        ],
    );
    let hex = |text: &str| -> String {
        let bytes: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(" ")
    };
    for piece in secret.as_bytes().chunks(6).filter(|piece| piece.len() == 6) {
        let piece = str::from_utf8(piece).unwrap();
        assert!(!all.contains(piece) && !all.contains(&hex(piece)), "{all}");
    }
    assert!(!told("-vv").contains("sent "));
}

/// Each set of settings has a place of its own: the one that was used last is told of.
#[test]
fn of_many_stores_the_last_one_is_shown() {
    let runtime = tempfile::tempdir().unwrap();
    fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let fakes = [V26_05, V26_05, V26_05].map(|own| controller(own, FILES, 0));
    for fake in &fakes {
        let server = fake.address.to_string();
        Straw::new(&["exec", "--servers", &server, "--", "true"])
            .env("SLURM_JWT", fresh())
            .env("XDG_RUNTIME_DIR", runtime.path())
            .env("PATH", "/usr/bin:/bin")
            .done();
    }
    let last = fakes[2].address.to_string();
    let mut straw = Straw::new(&["doctor", &last])
        .env("SLURM_JWT", fresh())
        .env("XDG_RUNTIME_DIR", runtime.path());
    let seen = checks(&mut straw);
    let stores = seen.iter().filter(|check| check["name"] == "store");
    let stores: Vec<_> = stores
        .map(|check| check["seen"].as_str().unwrap())
        .collect();
    assert_eq!(stores.len(), 2, "{stores:?}");
    assert!(
        stores[0].contains(&format!("from {last}, checked ")),
        "{stores:?}"
    );
    // There may be others in other places of this machine.
    assert!(stores[1].ends_with(" more, not used lately"), "{stores:?}");
}
