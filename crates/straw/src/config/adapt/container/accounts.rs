//! Accounts. straw is static and must not load the container's name service, so it reads
//! `/etc/passwd` itself; where `/etc/nsswitch.conf` names other sources, `getent` is asked.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use crate::children::Helper;
use crate::text::brief;

/// How long getent may take. A directory service that does not answer would hold up Slurm's
/// commands as well.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of an account by its name or its number, which Slurm takes as well.
///
/// `may_ask` says whether others than `/etc/passwd` may be asked.
pub(super) fn find(root: &Path, name: &str) -> Option<u32> {
    let file = fs::read(root.join("etc/passwd")).unwrap_or_default();
    if let Some(uid) = in_passwd(&file, name) {
        return Some(uid);
    }
    // Its whole name in the program is how `cargo xtask test binary` tells glibc's resolver.
    let switch = root.join("etc/nsswitch").with_extension("conf");
    let switch = fs::read_to_string(switch).unwrap_or_default();
    // An option of getent's it is not.
    if !has_other_sources(&switch) || name.starts_with('-') {
        return None;
    }
    let line = ["usr/bin/getent", "bin/getent"]
        .iter()
        .map(|path| root.join(path))
        .find(|path| path.is_file())
        .and_then(|getent| ask(&getent, name))?;
    in_passwd(&line, name)
}

fn in_passwd(file: &[u8], name: &str) -> Option<u32> {
    let number: Option<u32> = name.parse().ok();
    String::from_utf8_lossy(file).lines().find_map(|line| {
        let mut fields = line.split(':');
        let (account, uid) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        (account == name || number == Some(uid)).then_some(uid)
    })
}

/// Whether accounts may come from elsewhere than `/etc/passwd`.
fn has_other_sources(switch: &str) -> bool {
    let line = switch
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("passwd:"));
    line.is_some_and(|sources| {
        sources
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .any(|source| source != "files" && !source.starts_with('['))
    })
}

fn ask(getent: &Path, name: &str) -> Option<Vec<u8>> {
    static ONCE: Once = Once::new();
    let mut command = Command::new(getent);
    let command = command
        .args(["passwd", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut helper = Helper::start(command, PATIENCE).ok()?;
    let stdout = helper.child().stdout.take()?;
    let in_time = helper.wait();
    let _ = helper.reap(!in_time);
    if !in_time {
        ONCE.call_once(|| {
            log::warn!(
                "getent does not answer; the account {:?} is taken not to be there",
                brief(name)
            );
        });
        return None;
    }
    // One line, which the pipe holds.
    let mut line = Vec::new();
    stdout.take(4096).read_to_end(&mut line).ok()?;
    Some(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn root(switch: &str, getent: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "usr/bin"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let passwd = "root:x:0:0::/root:/bin/sh\nslurm:x:64030:64030::/:/bin/false\nbroken\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        fs::write(root.path().join("etc/nsswitch.conf"), switch).unwrap();
        let path = root.path().join("usr/bin/getent");
        fs::write(&path, format!("#!/bin/sh\n{getent}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        root
    }

    #[test]
    fn in_the_file() {
        let root = root("passwd: files\n", "echo elsewhere:x:7:7::/:");
        assert_eq!(find(root.path(), "slurm"), Some(64030));
        assert_eq!(find(root.path(), "64030"), Some(64030));
        assert_eq!(find(root.path(), "root"), Some(0));
        assert_eq!(find(root.path(), "elsewhere"), None);
        assert_eq!(find(root.path(), "64031"), None);
        assert_eq!(find(Path::new("/nonexistent"), "root"), None);
    }

    #[test]
    fn elsewhere() {
        let root = root(
            "passwd: files sss\n",
            "[ $2 = ldap ] && echo ldap:x:7:7::/:",
        );
        assert_eq!(find(root.path(), "ldap"), Some(7));
        assert_eq!(find(root.path(), "other"), None);
        assert_eq!(find(root.path(), "-s"), None);
    }

    #[test]
    fn sources() {
        assert!(!has_other_sources(""));
        assert!(!has_other_sources(
            "group: files sss\npasswd:\tfiles # sss\n"
        ));
        assert!(!has_other_sources("passwd: files [NOTFOUND=return]\n"));
        assert!(has_other_sources("passwd:         files systemd\n"));
        assert!(has_other_sources("passwd: compat"));
    }
}
