//! The tool that measures, and the floor, with peers on loopback whose doings are known.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

/// A directory of its own, which goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("measure-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn measure(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_measure"));
    command.args(words).output().unwrap()
}

fn told(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = str::from_utf8(&output.stdout).unwrap();
    let values = text.lines().map(|line| serde_json::from_str(line).unwrap());
    values.collect()
}

/// Answers each connection, after a request of six bytes, with a frame that holds this.
fn answering(body: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], body].concat()).unwrap();
        }
    });
    address
}

/// Says a word of six bytes to a peer, and writes down what comes back, by two processes more.
fn conversation(address: SocketAddr, into: &str) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is no address of IPv4");
    };
    let (ip, port) = (address.ip(), address.port());
    format!("exec 3<>/dev/tcp/{ip}/{port}; printf hello. >&3; (cat <&3 >{into}); (exit 0); true")
}

#[test]
fn a_trace_counts_what_processes_do() {
    let place = Place::new("trace");
    let into = place.path("reply");
    let line = conversation(answering(b"and a reply"), &into);
    let trace = told(&measure(&["trace", "bash", "-c", &line]));
    let number = |name: &str| trace[0][name].as_u64().unwrap();
    assert_eq!(number("connections"), 1, "{trace:?}");
    assert_eq!(number("sent"), 6, "{trace:?}");
    assert_eq!(number("received"), 4 + 11, "{trace:?}");
    assert_eq!(
        (number("processes"), number("threads")),
        (3, 0),
        "{trace:?}"
    );
    assert!(
        number("calls") > 20 && number("peak_kib") > 500,
        "{trace:?}"
    );
    let failed = measure(&["trace", "sh", "-c", "exit 3"]);
    assert!(!failed.status.success(), "{failed:?}");
}

#[test]
fn the_floor_does_again_what_was_recorded() {
    let place = Place::new("record");
    let [record, files, again] = ["record", "files", "again"].map(|name| place.path(name));
    fs::create_dir(&files).unwrap();
    let controller = answering(b"head of it, ClusterName=lab, and the rest");
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = free.local_addr().unwrap();
    drop(free);
    let all = place.path("all");
    let line = format!(
        "{}; tail -c +17 {all} | head -c 15 >{files}/slurm.conf",
        conversation(relay, &all)
    );
    let (listen, to) = (relay.to_string(), controller.to_string());
    let output = measure(&["record", &listen, &to, &record, &files, "bash", "-c", &line]);
    let told = told(&output);
    assert_eq!(told[0]["exchanges"], 1, "{told:?}");
    let pieces = told[0]["pieces"].as_str().unwrap();
    assert_eq!(pieces, "slurm.conf:12:15");
    let request = format!("{record}/1.request");
    assert_eq!(fs::read(&request).unwrap(), b"hello.");

    let status = Command::new(env!("CARGO_BIN_EXE_floor"))
        .args([&to, &again, pieces, &request])
        .status()
        .unwrap();
    assert!(status.success());
    let written = fs::read_to_string(format!("{again}/slurm.conf")).unwrap();
    assert_eq!(written, "ClusterName=lab");
}

#[test]
fn a_storm_tells_the_good_from_the_others() {
    let script = "test $0 -lt 3 || { echo no such luck >&2; exit 7; }";
    let told = told(&measure(&["storm", "5", "60", "sh", "-c", script, "{run}"]));
    assert_eq!(
        (&told[0]["count"], &told[0]["good"]),
        (&5.into(), &3.into())
    );
    let failures = told[0]["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["count"], 2, "{failures:?}");
    assert_eq!(failures[0]["status"], 7, "{failures:?}");
    assert_eq!(failures[0]["said"], "no such luck\n", "{failures:?}");
    assert!(told[0]["last_s"].as_f64() >= told[0]["first_s"].as_f64());
}

#[test]
fn a_storm_gives_those_that_are_not_over_no_status() {
    let told = told(&measure(&["storm", "2", "1", "sleep", "600"]));
    let failures = told[0]["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["count"], 2, "{failures:?}");
    assert_eq!(failures[0]["status"], Value::Null, "{failures:?}");
    assert!(failures[0].get("status").is_some(), "{failures:?}");
}

#[test]
fn runs_are_told_of_in_their_order() {
    let place = Place::new("runs");
    let log = place.path("log");
    let script = format!("echo $WHO {{run}} >>{log}");
    let line = ["sh", "-c", &script];
    let words = [
        &["runs", "2", "WHO=one"][..],
        &line,
        &["--and", "WHO=two"],
        &line,
    ]
    .concat();
    assert_eq!(told(&measure(&words)).len(), 2);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log, "one 1\ntwo 1\none 2\ntwo 2\n");
    let failed = measure(&["runs", "1", "sh", "-c", "echo why >&2; exit 1"]);
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("why"), "{said}");
}
