//! Running the program, and making tokens for it.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

pub use lab::provision::skip;

/// A user who owns nothing.
pub const NOBODY: u32 = 65534;

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

    /// As somebody whom permissions bind, unlike root. Whoever is root becomes nobody, whose the directory
    /// is then, with a copy of the program in it: the program itself may be where nobody else may go.
    pub fn bound_by_permissions(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            let copy = self.path().join("straw");
            copy_to(&copy);
            let mut command = Command::new(copy);
            command.args(self.command.get_args()).env_clear();
            for (name, value) in self.command.get_envs() {
                command.env(name, value.unwrap());
            }
            command
                .current_dir(&self.directory)
                .stdin(Stdio::null())
                .uid(NOBODY)
                .gid(NOBODY);
            chown(self.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            self.command = command;
        }
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
