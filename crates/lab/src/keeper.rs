//! The keeper of a cluster: a small process that outlives ours and clears up after it.
//!
//! Its standard input is a pipe that only we hold open. However our process ends, `kill -9` and
//! Ctrl-C included, the kernel closes the pipe, and the keeper removes everything with the
//! cluster's label. (The standard library opens pipes with close-on-exec, so no other child of ours
//! holds it open by accident.) In the ordinary case the value is dropped: then we remove everything
//! at once ourselves, and tell the keeper that there is nothing left to do.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::error::LabError;
use crate::owner::{KINDS, LABEL};
use crate::process::docker;

/// Everything of one cluster lives until this is dropped.
pub(crate) struct Keeper {
    id: String,
    child: Child,
}

impl Keeper {
    /// Starts the keeper of the cluster `id`, before the first thing of it is made.
    pub(crate) fn start(id: &str) -> Result<Self, LabError> {
        // A session of its own: Ctrl-C in a terminal goes to the whole group, and must not meet it.
        let child = Command::new("setsid")
            .args([
                "sh",
                "-c",
                include_str!("scripts/keeper.sh"),
                "straw-lab",
                id,
            ])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(LabError::io("run setsid"))?;
        Ok(Self {
            id: id.to_owned(),
            child,
        })
    }

    /// Removes everything now; whether nothing of it is left.
    fn clear(&self) -> bool {
        KINDS.iter().all(|(list, remove)| {
            let filter = format!("--filter=label={LABEL}={}", self.id);
            let Ok(found) = docker(list.iter().copied())
                .args(["-q".to_owned(), filter])
                .check()
            else {
                return false;
            };
            let text = found.text();
            text.is_empty()
                || docker(remove.iter().copied())
                    .args(text.lines())
                    .check()
                    .is_ok()
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let cleared = self.clear();
        if let Some(mut pipe) = self.child.stdin.take()
            && cleared
        {
            // If it cannot be told, it looks for itself, and finds nothing.
            drop(pipe.write_all(b"done\n"));
        }
        // Closed now. If something was left, this waits until the keeper has had its tries.
        drop(self.child.wait());
    }
}
