//! Finding a command on the PATH, as a shell does.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::LaunchError;

/// Finds a command: by its path where it has a slash in it, else on the PATH.
///
/// # Errors
///
/// [`LaunchError`], told apart as a shell does: not found, or found and not executable.
pub fn find(name: &OsStr, path: &OsStr) -> Result<PathBuf, LaunchError> {
    if name.as_encoded_bytes().contains(&b'/') {
        let program = PathBuf::from(name);
        let is_missing = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        };
        if fs::symlink_metadata(&program).is_err_and(|error| is_missing(&error)) {
            return Err(LaunchError::NotFound {
                name: name.to_string_lossy().into_owned(),
                why: format!("there is no {}", program.display()),
            });
        }
        // What else is wrong with it, the kernel says.
        return Ok(program);
    }
    let mut in_the_way = None;
    for candidate in candidates(name, path) {
        match executable(&candidate) {
            Some(true) => return Ok(candidate),
            Some(false) => in_the_way = in_the_way.or(Some(candidate)),
            None => {}
        }
    }
    match in_the_way {
        Some(program) => Err(LaunchError::NotRun {
            program,
            error: ErrorKind::PermissionDenied.into(),
        }),
        None => Err(not_found(name, path)),
    }
}

/// Finds the command that a shim of this name stands in front of: further down the PATH than the
/// first place where straw itself is, else anywhere on it; never straw.
///
/// # Errors
///
/// [`LaunchError::NotFound`].
pub fn find_behind(name: &OsStr, path: &OsStr) -> Result<PathBuf, LaunchError> {
    let candidates: Vec<_> = candidates(name, path).collect();
    let own = candidates.iter().position(|candidate| is_straw(candidate));
    let (before, behind) = candidates.split_at(own.unwrap_or(0));
    behind
        .iter()
        .chain(before)
        .find(|candidate| executable(candidate) == Some(true) && !is_straw(candidate))
        .cloned()
        .ok_or_else(|| not_found(name, path))
}

/// Where a command can be. An empty part of the PATH is the working directory, and is said to be:
/// without a slash the kernel's helper would look on the PATH again.
fn candidates(name: &OsStr, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path).map(move |directory| match directory.as_os_str().is_empty() {
        true => Path::new(".").join(name),
        false => directory.join(name),
    })
}

fn not_found(name: &OsStr, path: &OsStr) -> LaunchError {
    LaunchError::NotFound {
        name: name.to_string_lossy().into_owned(),
        why: format!(
            "it is not on the PATH ({})",
            path.to_string_lossy().escape_debug()
        ),
    }
}

/// Whether there is a file, and whether it can be executed.
fn executable(path: &Path) -> Option<bool> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}

/// Whether a path leads to straw: to this very file, or to one that is called straw.
pub(super) fn is_straw(path: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let itself = identity(Path::new("/proc/self/exe"));
    if itself.is_some() && identity(path) == itself {
        return true;
    }
    fs::canonicalize(path).is_ok_and(|target| is_straws_name(target.file_name()))
}

/// Whether a program of this name is straw, rather than a shim.
pub(crate) fn is_straws_name(name: Option<&OsStr>) -> bool {
    name.is_none_or(|name| name.is_empty() || name.as_encoded_bytes().starts_with(b"straw"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Directories with these files in them: executable ones, unless they end in `!`, and links to
    /// what stands behind `=`.
    fn path(directories: &[&[&str]]) -> (tempfile::TempDir, std::ffi::OsString) {
        let root = tempfile::tempdir().unwrap();
        let mut path = Vec::new();
        for (at, files) in directories.iter().enumerate() {
            let directory = root.path().join(at.to_string());
            fs::create_dir(&directory).unwrap();
            for file in *files {
                if let Some((name, target)) = file.split_once('=') {
                    symlink(root.path().join(target), directory.join(name)).unwrap();
                    continue;
                }
                let name = directory.join(file.trim_end_matches('!'));
                fs::write(&name, "").unwrap();
                let mode = if file.ends_with('!') { 0o644 } else { 0o755 };
                fs::set_permissions(&name, fs::Permissions::from_mode(mode)).unwrap();
            }
            path.push(directory);
        }
        let path = env::join_paths(path).unwrap();
        (root, path)
    }

    fn shown(root: &tempfile::TempDir, found: Result<PathBuf, LaunchError>) -> String {
        let root = root.path().display().to_string();
        match found {
            Ok(path) => path.display().to_string().replace(&root, "ROOT"),
            Err(error) => error.kind().to_owned(),
        }
    }

    #[test]
    fn a_command_is_found_as_a_shell_finds_it() {
        let (root, path) = path(&[&["a!"], &["a", "b!"], &["a"]]);
        let found = |name: &str| shown(&root, find(OsStr::new(name), &path));
        assert_eq!(found("a"), "ROOT/1/a");
        assert_eq!(found("b"), "command-not-run");
        assert_eq!(found("c"), "command-not-found");
        assert_eq!(found("/x/c"), "command-not-found");
        assert_eq!(found("/etc/passwd"), "/etc/passwd");
    }

    #[test]
    fn a_shim_finds_what_is_behind_it() {
        let (root, path) = path(&[
            &["straw", "other"],
            &["sinfo=0/straw"],
            &["sinfo", "squeue"],
            &["squeue=0/straw", "sbatch=0/straw"],
        ]);
        let behind = |name: &str| shown(&root, find_behind(OsStr::new(name), &path));
        assert_eq!(behind("sinfo"), "ROOT/2/sinfo");
        // Called by its path while another comes first: then that other.
        assert_eq!(behind("squeue"), "ROOT/2/squeue");
        // Never straw itself, under whatever name.
        assert_eq!(behind("sbatch"), "command-not-found");
        assert_eq!(behind("other"), "ROOT/0/other");
    }
}
