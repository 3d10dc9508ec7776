//! What `straw fetch` does where all is well.

use std::fs;
use std::io::BufRead as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use slurm_protocol::ProtocolVersion;

use crate::fake::{Act, Fake, config, return_code};
use crate::straw::{Straw, program, skip, token};

const V26_05: ProtocolVersion = ProtocolVersion::V26_05;
const FILES: &[(&str, &str)] = &[
    ("slurm.conf", "ClusterName=lab\n"),
    ("plugstack.conf", ""),
    ("prolog.sh*", "#!/bin/sh\n"),
];

#[test]
fn files_land_in_the_directory_whatever_the_umask() {
    let fake = Fake::controller(V26_05, FILES);
    for umask in ["000", "022", "077", "777"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("etc/slurm");
        if umask == "777" {
            // straw makes no directory that nobody may enter.
            fs::create_dir_all(&target).unwrap();
        }
        let script = format!("umask {umask}; exec \"$@\"");
        let output = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(program())
            .args(["fetch", &fake.address.to_string(), "-o"])
            .arg(&target)
            .env("SLURM_JWT", token(60))
            .output()
            .unwrap();
        assert!(output.status.success());
        if umask != "777" {
            for made in [&target, &directory.path().join("etc")] {
                let mode = fs::metadata(made).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o755, "{made:?} at umask {umask}");
            }
        }
        for (name, mode) in [
            ("slurm.conf", 0o644),
            ("plugstack.conf", 0o644),
            ("prolog.sh", 0o755),
        ] {
            let metadata = fs::metadata(target.join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        }
    }
}

#[test]
fn the_old_command_line_does_what_it_did() {
    for (own, version) in [(37, "21.08"), (38, "22.05"), (42, "24.11")] {
        let fake = Fake::controller(ProtocolVersion::from_index(own), FILES);
        let server = fake.address.to_string();
        // Two controllers, the first of them down; files go to the working directory.
        let mut straw = Straw::with_token(&["127.0.0.1:1", &server, version, "--auth", "jwt"]);
        straw.done();
        let text = fs::read_to_string(straw.path().join("slurm.conf")).unwrap();
        assert_eq!(text, "ClusterName=lab\n");
        let requests = fake.requests();
        assert_eq!(requests.len(), 1, "the release was given");
        assert_eq!(requests[0].version.index(), own);

        let mut straw = Straw::with_token(&["-v", "-o", "dir", &server, version]);
        straw.done();
        assert!(straw.path().join("dir/slurm.conf").exists());
    }
}

#[test]
fn the_client_set_is_asked_for_and_the_body_is_never_short() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    for (more, flags) in [(&[][..], 0), (&["--files", "slurmd"], 1)] {
        let mut arguments = vec!["fetch", &server];
        arguments.extend(more);
        Straw::with_token(&arguments).done();
        let requests = fake.requests();
        assert_eq!(requests.len(), 2);
        assert!(!requests[0].has_credential);
        let body = &requests[1].bytes[requests[1].bytes.len() - 6..];
        assert_eq!(body, [0, 0, 0, flags, 0, 0]);
    }
}

#[test]
fn what_was_found_out_is_used_the_next_time() {
    let fake = Fake::controller(ProtocolVersion::V22_05, FILES);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "-o", "dir"]);
    straw.done();
    assert_eq!(fake.requests().len(), 3);
    let said = straw.done();
    assert_eq!(fake.requests().len(), 1);
    assert!(said.contains("unchanged plugstack.conf"), "{said}");
}

#[test]
fn controllers_come_from_the_environment() {
    let fake = Fake::controller(V26_05, FILES);
    let servers = format!("127.0.0.1:1,{}", fake.address);
    let mut straw = Straw::with_token(&["fetch"]).env("SLURM_CONF_SERVER", &servers);
    straw.done();
    // An argument wins over the variable.
    let other = Fake::controller(V26_05, FILES);
    let mut straw = Straw::with_token(&["fetch", &other.address.to_string()])
        .env("SLURM_CONF_SERVER", &servers);
    fake.requests();
    straw.done();
    assert!(fake.requests().is_empty());
    assert!(!other.requests().is_empty());
}

#[test]
fn a_controller_is_reached_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return skip("no IPv6 here");
    };
    let fake = Fake::listen(listener, |seen| {
        Act::Send(match seen.has_credential {
            true => config(seen.version, FILES),
            false => return_code(seen.version, 1007),
        })
    });
    let server = fake.address.to_string();
    assert!(server.starts_with("[::1]:"));
    let said = Straw::with_token(&["fetch", &server]).done();
    assert!(said.contains(&server), "{said}");
}

#[test]
fn options_come_from_the_environment_too() {
    let fake = Fake::controller(V26_05, FILES);
    let mut straw = Straw::with_token(&["fetch"])
        .env("SLURM_CONF_SERVER", fake.address.to_string())
        .env("STRAW_OUTPUT", "from-variable")
        .env("STRAW_RELEASE", "26.05")
        .env("STRAW_QUIET", "1");
    assert_eq!(straw.done(), "");
    assert!(straw.path().join("from-variable/slurm.conf").exists());
    assert_eq!(fake.requests().len(), 1);
    straw.command.args(["-o", "from-option"]);
    straw.done();
    assert!(straw.path().join("from-option/slurm.conf").exists());
}

#[test]
fn one_file_goes_to_stdout_and_none_to_disk() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "--stdout", "slurm.conf"]);
    let output = straw.run();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"ClusterName=lab\n");
    assert_eq!(output.stderr, b"");
    assert_eq!(fs::read_dir(straw.path()).unwrap().count(), 0);
}

#[test]
fn what_is_said_to_nobody_changes_nothing() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    for more in [&[][..], &["-vvv"]] {
        let mut arguments = vec!["fetch", &server];
        arguments.extend(more);
        let mut straw = Straw::with_token(&arguments);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let status = straw.command.stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(straw.path().join("slurm.conf").exists());
    }
}

#[test]
fn an_option_wins_over_the_variable_of_another() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "-o", "dir"])
        .env("STRAW_STDOUT", "slurm.conf")
        .env("STRAW_TIMEOUT", "")
        .env("STRAW_RELEASE", "")
        .env("STRAW_VERBOSE", "");
    straw.done();
    assert!(straw.path().join("dir/slurm.conf").exists());
}

#[test]
fn a_directory_whose_name_is_no_text_is_told_in_json_all_the_same() {
    let fake = Fake::controller(V26_05, FILES);
    let mut straw = Straw::with_token(&["fetch", &fake.address.to_string(), "--json", "-o"]);
    straw.command.arg(std::ffi::OsStr::from_bytes(b"d\xff"));
    let output = straw.run();
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["directory"], "d\u{fffd}");
}

#[test]
fn variables_give_way_to_arguments() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "--stdout", "slurm.conf"])
        .env("STRAW_OUTPUT", "unused")
        .env("STRAW_JSON", "1");
    let output = straw.run();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"ClusterName=lab\n");
    assert!(!straw.path().join("unused").exists());
}

#[test]
fn json_says_what_was_done() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    let mut straw = Straw::with_token(&["fetch", &server, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&straw.run().stdout).unwrap();
    assert_eq!(report["controller"], server);
    assert_eq!(report["protocol_version"], 43);
    assert_eq!(report["exchanges"], 2);
    assert_eq!(report["files"][2]["name"], "slurm.conf");
    assert_eq!(report["files"][2]["change"], "written");
    assert_eq!(report["files"][2]["size"], 16);
    assert_eq!(report["files"][1]["execute"], true);
}

#[test]
fn a_token_file_is_used_with_or_without_its_name_in_front() {
    let fake = Fake::controller(V26_05, FILES);
    let server = fake.address.to_string();
    for prefix in ["", "SLURM_JWT="] {
        let mut straw = Straw::new(&["fetch", &server, "--token-file", "token"]);
        let token = token(60);
        fs::write(straw.path().join("token"), format!("{prefix}{token}\n")).unwrap();
        straw.done();
        let sent = fake.requests().pop().unwrap().bytes;
        let token = token.as_bytes();
        assert!(sent.windows(token.len()).any(|window| window == token));
    }
}

#[test]
fn a_token_is_seen_nowhere() {
    // With every verbosity, where all is well and where it is not.
    let good = Fake::controller(V26_05, FILES);
    let bad = Fake::answers(|version| return_code(version, 1007));
    let silent = Fake::start(|_| Act::Close);
    for fake in [&good, &bad, &silent] {
        for more in [&[][..], &["--json"], &["--stdout", "slurm.conf"]] {
            let server = fake.address.to_string();
            let secret = token(60);
            let mut arguments = vec!["fetch", &server, "-vvv"];
            arguments.extend(more);
            let mut straw = Straw::new(&arguments).env("SLURM_JWT", &secret);
            let output = straw.run();
            let code = if std::ptr::eq(fake, &good) { 0 } else { 4 };
            assert_eq!(output.status.code(), Some(code));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("asked for the configuration"), "{said}");
            let mut seen = vec![output.stdout, output.stderr];
            for entry in fs::read_dir(straw.path()).unwrap() {
                seen.push(fs::read(entry.unwrap().path()).unwrap());
            }
            for part in secret.split('.') {
                for place in &seen {
                    assert!(!String::from_utf8_lossy(place).contains(part));
                }
            }
        }
    }
}

#[test]
fn a_peer_that_drips_is_left_when_time_is_up() {
    // A frame of 16 MiB, one byte in a tenth of a second.
    let fake = Fake::start(|_| Act::Drip(vec![1; 400]));
    let server = fake.address.to_string();
    let begin = std::time::Instant::now();
    let output = Straw::with_token(&["fetch", &server, "--timeout", "1s"]).run();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(20),
        "it hung"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("of 16843009 bytes: timed out"), "{said}");
}

#[test]
fn waiting_bridges_a_proxy_that_has_no_controller_yet() {
    for before in [
        Act::Close,
        Act::Send(b"HTTP/1.1 503 Unavailable\r\n\r\n".to_vec()),
    ] {
        let count = std::sync::atomic::AtomicU32::new(0);
        let fake = Fake::start(move |seen| {
            // A round takes two exchanges with HTTP, and six with silence.
            if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 6 {
                return before.clone();
            }
            match seen.has_credential {
                true => Act::Send(config(seen.version, FILES)),
                false => Act::Send(return_code(seen.version, 1007)),
            }
        });
        let server = fake.address.to_string();
        let said = Straw::with_token(&["fetch", &server, "--wait", "1m"]).done();
        assert!(said.contains("trying again"), "{said}");
    }
}

#[test]
fn the_first_process_of_a_container_ends_when_it_is_told_to() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can make a PID namespace");
    }
    let straw = Straw::with_token(&["fetch", "127.0.0.1:1", "--wait", "5m"]);
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--pid", "--fork"])
        .arg(program())
        .args(straw.command.get_args())
        .env("SLURM_JWT", token(600))
        .current_dir(straw.path())
        .stderr(std::process::Stdio::piped());
    let mut child = unshare.spawn().unwrap();
    // Its warning shows that it waits.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("trying again"), "{line}");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let pid = fs::read_to_string(children).unwrap();
    let pid = pid.trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn waiting_ends_when_the_controller_is_there() {
    // The controller refuses service for the first requests, as one in standby does.
    let count = std::sync::atomic::AtomicU32::new(0);
    let fake = Fake::start(move |seen| {
        if !seen.has_credential {
            return Act::Send(return_code(seen.version, 1007));
        }
        match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => Act::Send(return_code(seen.version, 2131)),
            _ => Act::Send(config(seen.version, FILES)),
        }
    });
    let server = fake.address.to_string();
    let said = Straw::with_token(&["fetch", &server, "--wait", "1m"]).done();
    assert_eq!(said.matches("trying again").count(), 2, "{said}");
}
