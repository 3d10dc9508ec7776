//! The example that needs no cluster, with a recorded reply. (`configless` is run by straw's
//! live tests.)

use std::env;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Runs an example; cargo has built it beside the tests.
fn run(name: &str, stdin: &[u8]) -> Output {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let mut child = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error} (cargo build --examples)", program.display()));
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// The recorded replies of a release: the bytes, and what they mean.
fn recorded(release: &str) -> impl Iterator<Item = (Vec<u8>, Value)> {
    let path = format!("{}/tests/wire/{release}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(&path))
        .collect();
    lines.into_iter().filter_map(|mut line| {
        let reply = STANDARD.decode(line["reply_b64"].as_str()?).unwrap();
        Some((reply, line["expected"].take()))
    })
}

#[test]
fn decode_lists_the_files_of_a_reply() {
    for release in ["20.11", "22.05", "24.11", "26.05"] {
        let (reply, expected) = recorded(release)
            .find(|(_, expected)| expected["files"].is_array())
            .unwrap();
        let output = run("decode", &reply);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("message  RESPONSE_CONFIG\n"), "{said}");
        let files = expected["files"].as_array().unwrap().iter();
        let listed: Vec<_> = files
            .filter(|file| file["exists"] == true)
            .map(|file| {
                let (length, name) = (file["length"].as_u64(), file["name"].as_str());
                format!("{:8} {}", length.unwrap(), name.unwrap())
            })
            .collect();
        assert!(listed.iter().any(|file| file.ends_with(" slurm.conf")));
        for file in &listed {
            assert!(said.lines().any(|line| line == file), "{file} in {said}");
        }
        let shown = said.lines().filter(|line| line.starts_with(' '));
        assert_eq!(shown.count(), listed.len(), "{said}");
    }
}

#[test]
fn decode_names_a_return_code() {
    let (reply, _) = recorded("24.11")
        .find(|(_, expected)| expected["rc"] == 2126)
        .unwrap();
    let said = String::from_utf8(run("decode", &reply).stdout).unwrap();
    assert!(said.contains("ESLURM_CONFIGLESS_DISABLED"), "{said}");
}

#[test]
fn decode_says_that_a_reply_breaks_off() {
    let (reply, _) = recorded("26.05").next().unwrap();
    let output = run("decode", &reply[..reply.len() - 1]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("it breaks off"), "{said}");
}
