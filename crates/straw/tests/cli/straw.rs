//! Running the program, and making tokens for it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The program with an environment of its own, in a directory of its own.
pub struct Straw {
    pub command: Command,
    pub directory: tempfile::TempDir,
}

impl Straw {
    pub fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .current_dir(&directory)
            .stdin(Stdio::null());
        Self { command, directory }
    }

    /// With a token of alice's that is good for an hour.
    pub fn with_token(arguments: &[&str]) -> Self {
        Self::new(arguments).env("SLURM_JWT", token(3600))
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn run(&mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Runs it; it must end well. Returns what it said on stderr.
    pub fn done(&mut self) -> String {
        let output = self.run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        stderr
    }
}

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_straw").into()
}

/// A copy of the program. `cp` makes it: what this process has open for writing, a child of another
/// test's can still hold, and the copy would be "text file busy".
pub fn copy_to(path: &Path) {
    let copied = Command::new("cp").arg(program()).arg(path).status();
    assert!(copied.unwrap().success());
}

/// Says that the test of this thread, or a part of it, cannot be done here.
///
/// It is said past what the harness keeps to itself of a test that passes.
///
/// # Panics
///
/// With `CI=true`: there, what cannot be tested is a failure. Most of it needs root, so `.ci/run` has to
/// be root, and the user of a hosted runner is not.
#[track_caller]
pub fn skip(why: &str) {
    assert!(!lab::provision::in_ci(), "cannot be tested: {why}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("{test}: skipped: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A token of alice's that expires in so many seconds.
pub fn token(lifespan: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expires = now.as_secs() as i64 + lifespan;
    sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &format!(r#"{{"exp":{expires},"iat":0,"sun":"alice"}}"#),
    )
}

/// A token with any header and claims, signed with a key that no cluster has.
pub fn sign(header: &str, claims: &str) -> String {
    lab::jwt::sign_text(b"a key of this test", header, claims)
}
