//! munged and sackd, or what a neighbour put in their place.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{assert_ends, serving, with_slurm_conf};
use crate::straw::Straw;

type Serve = fn(&mut UnixStream) -> std::io::Result<()>;

/// The beginning of what munged answers with, up to the length of the rest.
const MUNGED: &[u8] = b"\0\x60\x6d\x4b\x04\x03\0";

fn listen(path: &Path, serve: Serve) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = serve(&mut stream);
            });
        }
    });
}

fn silent(stream: &mut UnixStream) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn endless(stream: &mut UnixStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[0x41; 65536])?;
    }
}

fn drips(stream: &mut UnixStream) -> std::io::Result<()> {
    // As a beginning that is right.
    stream.write_all(&MUNGED[..4])?;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&[0])?;
    }
}

fn munged(stream: &mut UnixStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(MUNGED)?;
    stream.write_all(&(body.len() as u32).to_be_bytes())?;
    stream.write_all(body)
}

fn sack(stream: &mut UnixStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(&(text.len() as u32).to_be_bytes())?;
    stream.write_all(text)
}

/// munged's reply with a credential of these bytes.
fn credential(text: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 2];
    body.extend((text.len() as u32).to_be_bytes());
    body.extend(text);
    body
}

#[test]
fn a_daemon_that_misbehaves() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    let both: [Serve; 3] = [silent, endless, drips];
    let of_munge: [Serve; 8] = [
        |s| s.write_all(MUNGED),
        // Lengths: 4 GB, nothing, less and more than there is.
        |s| s.write_all(&[MUNGED, &[0xff; 4]].concat()),
        |s| s.write_all(&[MUNGED, &[0; 4]].concat()),
        |s| munged(s, &[0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        |s| munged(s, &[0, 0xff, 0]),
        // What would become another line, another variable, another request.
        |s| munged(s, &credential(b"MUNGE:a\nSLURM_JWT=x\0")),
        |s| munged(s, &credential(b"MUNGE:\0\0\x1b[2J")),
        |s| munged(s, &credential(b"\xff\xfe")),
    ];
    let of_sack: [Serve; 6] = [
        |s| s.write_all(&[0xff; 4]),
        |s| s.write_all(&[0; 4]),
        |s| sack(s, b"a.b.c\nSLURM_JWT=x\0"),
        |s| sack(s, b"a.b\0.c\0"),
        |s| sack(s, b"\x1b]0;\x07\0"),
        |s| sack(s, b"\0"),
    ];
    let run = |method: &str, option: &str, serve: Serve| {
        let mut straw = Straw::new(&[
            "fetch",
            &server,
            "--auth",
            method,
            option,
            "socket",
            "--timeout",
            "1s",
            "-vvv",
        ]);
        listen(&straw.path().join("socket"), serve);
        let begin = Instant::now();
        assert_ends(&straw.run(), 4);
        assert!(begin.elapsed() < Duration::from_secs(30), "it hung");
        assert!(!straw.path().join("slurm.conf").exists());
    };
    for serve in both.iter().chain(&of_munge) {
        run("munge", "--munge-socket", *serve);
    }
    for serve in both.iter().chain(&of_sack) {
        run("slurm", "--sack-socket", *serve);
    }
    // None of them had the controller see anything but a question without a credential.
    assert!(fake.requests().iter().all(|seen| !seen.has_credential));
}

#[test]
fn what_is_no_socket() {
    let fake = serving(with_slurm_conf(&[]));
    let server = fake.address.to_string();
    for (method, option) in [("munge", "--munge-socket"), ("slurm", "--sack-socket")] {
        for kind in ["pipe", "file", "directory", "device", "loop", "long"] {
            let long = "n/".repeat(200);
            let path = match kind {
                "device" => "/dev/zero",
                "long" => &long,
                _ => "socket",
            };
            let mut straw = Straw::new(&["fetch", &server, "--auth", method, option, path]);
            let at = straw.path().join("socket");
            match kind {
                "pipe" => mknodat(CWD, &at, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                "file" => std::fs::write(&at, "MUNGE:x").unwrap(),
                "directory" => std::fs::create_dir(&at).unwrap(),
                "loop" => std::os::unix::fs::symlink("socket", &at).unwrap(),
                _ => {}
            }
            assert_ends(&straw.run(), 4);
        }
    }
}
