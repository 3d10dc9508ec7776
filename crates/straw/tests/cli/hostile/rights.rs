//! straw with rights that whoever calls it does not have.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{StatVfsMountFlags, XattrFlags, setxattr, statvfs};

use super::assert_ends;
use crate::straw::{NOBODY, copy_to, skip, token};

const HINT: &str = "who calls it decides";

/// Calls it as somebody else, with a file to read that must not be.
fn call(program: &Path, name: &str, user: u32) -> Output {
    Command::new(program)
        .arg0(name)
        .args(["token", "show", "-vvv"])
        .env_clear()
        .env("SLURM_JWT_FILE", program.with_file_name("token"))
        .env("STRAW_CONFIG", "/etc/shadow")
        .uid(user)
        .gid(user)
        .current_dir("/")
        .output()
        .unwrap()
}

#[test]
fn set_user_id_is_refused_before_anything_is_read() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can make a program set-user-ID to another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let flags = statvfs(directory.path()).unwrap().f_flag;
    if flags.contains(StatVfsMountFlags::NOSUID) {
        let path = directory.path().display();
        return skip(&format!("{path} is mounted with nosuid"));
    }
    // Others can call it.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("straw");
    copy_to(&copy);
    let secret = copy.with_file_name("token");
    fs::write(&secret, token(60)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mode = |mode| fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
    // As itself it says that it may not read that.
    let plain = call(&copy, "straw", NOBODY);
    assert!(!assert_ends(&plain, 2).contains(HINT));
    for (bits, owner) in [
        (0o4755, 0),
        (0o2755, 0),
        (0o6755, 0),
        (0o4755, 1),
        (0o2755, 1),
    ] {
        chown(&copy, Some(owner), Some(owner)).unwrap();
        mode(bits);
        for name in ["straw", "sinfo"] {
            let said = assert_ends(&call(&copy, name, NOBODY), 2);
            assert!(said.contains(HINT), "{bits:o} of {owner}: {said}");
            assert!(!said.contains("shadow"), "{said}");
        }
        // Whom it makes nobody else, it works for.
        let own = call(&copy, "straw", owner);
        assert!(!assert_ends(&own, own.status.code().unwrap()).contains(HINT));
    }
    // Capabilities of the file: CAP_DAC_READ_SEARCH, effective, as `setcap` writes it.
    chown(&copy, Some(0), Some(0)).unwrap();
    mode(0o755);
    let mut capabilities = 0x0200_0001_u32.to_le_bytes().to_vec();
    capabilities.extend(4_u32.to_le_bytes());
    capabilities.extend([0; 12]);
    let set = setxattr(
        &copy,
        "security.capability",
        &capabilities,
        XattrFlags::empty(),
    );
    if let Err(errno) = set {
        return skip(&format!("no capabilities of files: {errno}"));
    }
    let said = assert_ends(&call(&copy, "straw", NOBODY), 2);
    assert!(said.contains(HINT), "{said}");
    let root = call(&copy, "straw", 0);
    assert!(!assert_ends(&root, 2).contains(HINT));
}

/// A fetch as somebody else into a directory of theirs, where TLS may be remembered. Nobody must be asked
/// then: the token does not go out in the clear because nothing can be seen.
fn asks_nobody(prepare: impl Fn(&Path), code: i32) -> String {
    let directory = tempfile::tempdir().unwrap();
    // Others can call it.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("straw");
    copy_to(&copy);
    let etc = directory.path().join("etc");
    let [ca, notes] = ["ca_cert.pem", ".straw.json"].map(|name| etc.join(name));
    fs::create_dir(&etc).unwrap();
    fs::write(&ca, "PEM").unwrap();
    fs::write(&notes, r#"{"files": [], "ca": "PEM"}"#).unwrap();
    for path in [&ca, &notes, &etc] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    prepare(&etc);
    // Nobody answers: who asks stays in its queue.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let mut all_said = String::new();
    for more in ["--quiet", "--json", "--explain"] {
        let output = Command::new(&copy)
            .args(["fetch", &server, "--timeout", "5s", more, "-o"])
            .arg(&etc)
            .env_clear()
            .env("SLURM_JWT", token(60))
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .output()
            .unwrap();
        let said = assert_ends(&output, code);
        let asked = listener.accept().map_err(|error| error.kind());
        assert_eq!(asked.unwrap_err(), ErrorKind::WouldBlock, "{said}");
        all_said += &said;
    }
    all_said
}

#[test]
fn nobody_is_asked_where_a_ca_may_be_remembered() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can run straw as another user");
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for directory in [0o300, 0o400, 0o000] {
        let said = asks_nobody(|etc| mode(etc, directory).unwrap(), 9);
        assert!(said.contains("cannot be used: permission denied"), "{said}");
    }
    let said = asks_nobody(|etc| mode(&etc.join(".straw.json"), 0).unwrap(), 9);
    assert!(
        said.contains(".straw.json cannot be read: permission denied"),
        "{said}"
    );
    assert!(
        said.contains("\"notes-unreadable\"")
            && said.contains("hint: have this user read it; or remove it"),
        "{said}"
    );
    // That there is a CA is seen here, and that it is none.
    let said = asks_nobody(|etc| mode(etc, 0o500).unwrap(), 7);
    assert!(said.contains("ca_cert.pem"), "{said}");
}
