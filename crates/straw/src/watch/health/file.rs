//! A file that is there while the watch is ready, for whoever can look at files only.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde_json::Value;

use super::HealthError;
use super::status::Status;
use crate::disk::{self, ReplaceError};

/// A longer one, in bytes, is none of straw's.
const LONGEST: u64 = 1 << 20;

/// How long until what could not be written is tried again, if nothing new is told before.
const AGAIN: Duration = Duration::from_secs(5);

/// The same where another straw writes into the directory, which takes it a moment.
const AGAIN_SOON: Duration = Duration::from_millis(250);

const STACK: usize = 128 * 1024;

/// A file that is there while the watch is ready, until this is dropped. It holds an object in
/// JSON, and is replaced in one step whenever something of that changes.
#[derive(Debug)]
pub struct HealthFile {
    status: Arc<Status>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HealthFile {
    /// Makes the file what it should be, and keeps it so in another thread. One that was left by
    /// a straw that was killed is taken over, or removed.
    ///
    /// # Errors
    ///
    /// [`HealthError`] where it cannot be written, or something else stands there.
    pub fn start(path: &Path, status: &Arc<Status>) -> Result<Self, HealthError> {
        let failed = |error| HealthError::from(not_written(path, disk::raw(error)));
        let end = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            // Another working directory later makes it no other file.
            path: std::path::absolute(path).map_err(failed)?,
            status: Arc::clone(status),
            end: Arc::clone(&end),
        };
        disk::can_replace(path)?;
        match keeper.update(status.report(Instant::now(), SystemTime::now()).text) {
            // Only for a moment; then the thread does it.
            Err(HealthError::NotWritten(ReplaceError::Locked { .. })) => {}
            other => other?,
        }
        let thread = thread::Builder::new().name("health".into());
        let thread = thread.stack_size(STACK).spawn(move || keeper.keep());
        Ok(Self {
            status: Arc::clone(status),
            end,
            thread: Some(thread.map_err(failed)?),
        })
    }
}

impl Drop for HealthFile {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        self.status.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Who keeps the file. It goes with its keeper.
struct Keeper {
    path: PathBuf,
    status: Arc<Status>,
    end: Arc<AtomicBool>,
}

impl Keeper {
    fn keep(self) {
        let mut failing = false;
        let mut locked = Duration::ZERO;
        loop {
            let report = self.status.report(Instant::now(), SystemTime::now());
            // Looked at behind the report: who ends this wakes it after saying so.
            if self.end.load(Ordering::Acquire) {
                return;
            }
            let patience = match self.update(report.text) {
                Ok(()) => {
                    failing = false;
                    locked = Duration::ZERO;
                    report.stays
                }
                Err(HealthError::NotWritten(ReplaceError::Locked { path, .. })) => {
                    locked += AGAIN_SOON;
                    if locked == AGAIN {
                        let patience = locked;
                        log::warn!("{}", ReplaceError::Locked { path, patience });
                    }
                    AGAIN_SOON
                }
                Err(error) => {
                    if !failing {
                        log::warn!("{error}; tried again every {} s", AGAIN.as_secs());
                    }
                    failing = true;
                    report.stays.min(AGAIN)
                }
            };
            self.status.wait(report.revision, patience);
        }
    }

    /// Puts a file of this text there, or none.
    fn update(&self, text: Option<String>) -> Result<(), HealthError> {
        match (text, self.look()?) {
            (Some(text), Some(there)) if text.as_bytes() == there => Ok(()),
            // A lock is not waited for there: that takes a thread, for as long as the lock is held.
            (Some(text), _) => Ok(disk::replace(
                &self.path,
                text.as_bytes(),
                0o644,
                Duration::ZERO,
            )?),
            (None, Some(_)) => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(not_written(&self.path, disk::raw(error)).into())
                }
                _ => Ok(()),
            },
            (None, None) => Ok(()),
        }
    }

    /// What the file holds, if there is one. It is straw's, or an error.
    fn look(&self) -> Result<Option<Vec<u8>>, HealthError> {
        let in_the_way = || HealthError::InTheWay {
            path: self.path.clone(),
        };
        let failed = |errno| HealthError::from(not_written(&self.path, errno));
        // Without NONBLOCK a named pipe would keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = match openat(CWD, &self.path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            // A symlink, a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(in_the_way()),
            other => other.map_err(failed)?,
        };
        let mode = fstat(&descriptor).map_err(failed)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(in_the_way());
        }
        let mut bytes = Vec::new();
        let mut file = fs::File::from(descriptor).take(LONGEST);
        file.read_to_end(&mut bytes)
            .map_err(|error| failed(disk::raw(error)))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let is_ours = value["ready"].is_boolean()
            && value["alive"].is_boolean()
            && value["generation"].is_string();
        is_ours.then_some(Some(bytes)).ok_or_else(in_the_way)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        match self.update(None) {
            // It was told of at the start, or is none of straw's business.
            Ok(()) | Err(HealthError::InTheWay { .. }) => {}
            Err(error) => log::debug!("{error}"),
        }
    }
}

fn not_written(path: &Path, errno: Errno) -> ReplaceError {
    let path = path.to_owned();
    ReplaceError::File { path, errno }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use serde_json::json;

    use super::super::status::Refresh;
    use super::super::testing::current;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const TOOK: Duration = Duration::from_millis(1250);

    /// Waits until a file is as it should be.
    fn becomes(path: &Path, is_right: impl Fn(Option<&Value>) -> bool) {
        let begin = Instant::now();
        loop {
            let text = fs::read_to_string(path).ok();
            // Never half of one.
            let value = text.map(|text| serde_json::from_str(&text).unwrap());
            if is_right(value.as_ref()) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{value:?}");
            thread::yield_now();
        }
    }

    #[test]
    fn it_is_there_while_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health");
        let status = Status::new(Duration::MAX);
        let file = HealthFile::start(&path, &status).unwrap();
        assert!(!path.exists());

        status.found(&current("..gen-1", 1000));
        becomes(&path, |value| value.is_some());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        let text = fs::read_to_string(&path).unwrap();
        let expected = json!({
            "ready": true,
            "alive": true,
            "controller": "ctl1:6817",
            "protocol": "24.11",
            "checked": "1970-01-01T00:16:40Z",
            "generation": "/shared/slurm/..gen-1",
            "failing": null,
            "token_expires": null,
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);

        status.refresh_failed("unreachable", "nobody answers", TOOK);
        let failing = json!({"kind": "unreachable", "message": "nobody answers"});
        becomes(&path, |value| value.unwrap()["failing"] == failing);
        status.refreshed(&current("..gen-2", 2000), Refresh::Changed, TOOK);
        becomes(&path, |value| {
            let value = value.unwrap();
            value["generation"] == "/shared/slurm/..gen-2" && value["failing"].is_null()
        });
        status.next_sign_by(Instant::now());
        becomes(&path, |value| value.unwrap()["alive"] == false);
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_goes_when_the_set_is_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health");
        let status = Status::new(Duration::from_millis(200));
        let mut set = current("..gen-1", 0);
        let _file = HealthFile::start(&path, &status).unwrap();
        set.checked = SystemTime::now() + HOUR;
        status.found(&set);
        becomes(&path, |value| value.is_some());
        set.checked = SystemTime::now();
        status.found(&set);
        // Nothing more is told.
        becomes(&path, |value| value.is_none());
    }

    #[test]
    fn what_was_left_is_taken_over_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health");
        let left = r#"{"ready": true, "alive": true, "generation": "/old"}"#;

        fs::write(&path, left).unwrap();
        let status = Status::new(Duration::MAX);
        let file = HealthFile::start(&path, &status).unwrap();
        assert!(!path.exists());
        drop(file);

        fs::write(&path, left).unwrap();
        status.found(&current("..gen-1", 1000));
        let file = HealthFile::start(&path, &status).unwrap();
        becomes(&path, |value| value.unwrap()["generation"] != "/old");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::new(Duration::MAX);
        status.found(&current("..gen-1", 1000));
        let fail = |name: &str| {
            let path = dir.path().join(name);
            let error = HealthFile::start(&path, &status).unwrap_err();
            (error.kind(), error.to_string())
        };
        for (name, content) in [("empty", ""), ("text", "ok\n"), ("list", "[1]")] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            let text = format!(
                "{} is in the way: it is no health file of straw's",
                path.display()
            );
            assert_eq!(fail(name), ("health-in-the-way", text));
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        symlink("text", dir.path().join("link")).unwrap();
        assert_eq!(fail("link").0, "health-in-the-way");
        assert!(dir.path().join("link").is_symlink());
        assert_eq!(fail("").0, "health-not-written");
        assert!(fail("not/there").1.ends_with("no such file or directory"));
    }

    #[test]
    fn a_locked_directory_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health");
        let status = Status::new(Duration::MAX);
        status.found(&current("..gen-1", 1000));
        let held = disk::open_directory(dir.path()).unwrap();
        assert!(disk::lock(&held, Duration::ZERO).unwrap());
        let _file = HealthFile::start(&path, &status).unwrap();
        assert!(!path.exists());
        drop(held);
        becomes(&path, |value| value.is_some());
    }

    #[test]
    fn what_comes_in_the_way_later_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health");
        let status = Status::new(Duration::MAX);
        let file = HealthFile::start(&path, &status).unwrap();
        fs::write(&path, "theirs").unwrap();
        status.found(&current("..gen-1", 1000));
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }
}
