//! Whose a container, network, volume or image is, and the removal of what nobody owns any more.
//!
//! Everything the lab makes in Docker carries two labels: [`LABEL`] with the name of its cluster, and
//! [`OWNER_LABEL`] with the process that made it, written so that a process which only has the same
//! number is not taken for it.

use std::fs;
use std::process;

use crate::error::LabError;
use crate::process::docker;

/// The label whose value is the name of a cluster.
pub const LABEL: &str = "straw-lab";

/// The label whose value is the owner.
pub(crate) const OWNER_LABEL: &str = "straw-lab-owner";

/// A process: its number and the time it started at, in the boot and the process namespace where
/// these mean anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    boot: String,
    namespace: String,
    pid: u32,
    start: String,
}

impl Owner {
    fn this_process() -> Result<Self, LabError> {
        let pid = process::id();
        Ok(Self {
            boot: boot()?,
            namespace: namespace(),
            pid,
            start: start(pid).unwrap_or_default(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let owner = Self {
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.to_owned(),
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(owner)
    }

    fn label(&self) -> String {
        let Self {
            boot,
            namespace,
            pid,
            start,
        } = self;
        format!("{boot}/{namespace}/{pid}/{start}")
    }

    /// Whether it has certainly ended. One that cannot be seen from here is taken to be alive.
    fn is_gone(&self, here: &Self) -> bool {
        if self.boot != here.boot {
            return true;
        }
        self.namespace == here.namespace && start(self.pid).as_ref() != Some(&self.start)
    }
}

fn boot() -> Result<String, LabError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).map_err(LabError::io(format!("read {path}")))?;
    Ok(id.trim().to_owned())
}

fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// When a process started, in clock ticks since the boot; `None` if there is none, or only what a
/// parent has yet to collect.
fn start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, spaces too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(18).map(str::to_owned)
}

/// The options that label a thing of the cluster `id` as this process's.
pub(crate) fn labels(id: &str) -> Result<Vec<String>, LabError> {
    let owner = Owner::this_process()?.label();
    Ok(vec![
        format!("--label={LABEL}={id}"),
        format!("--label={OWNER_LABEL}={owner}"),
    ])
}

/// The kinds of things a cluster is made of, in the order in which they can be removed: how to list
/// those with a label, and how to remove one.
pub(crate) const KINDS: [(&[&str], &[&str]); 4] = [
    (&["ps", "-a"], &["rm", "-f", "-v"]),
    (&["network", "ls"], &["network", "rm"]),
    (&["volume", "ls"], &["volume", "rm", "-f"]),
    (&["images"], &["rmi", "-f"]),
];

/// Removes what processes that are gone have left in Docker, whatever test or program they were.
/// [`Builder::start`](crate::Builder::start) calls it.
///
/// # Errors
///
/// When Docker does not answer. That a thing cannot be removed is no error: another sweep may have
/// been faster, or may be luckier.
pub fn sweep() -> Result<(), LabError> {
    let here = Owner::this_process()?;
    for (list, remove) in KINDS {
        // `docker images` has no `.Label`, and `docker volume` no `.ID`: each is asked in its own way.
        for (thing, label) in labelled(list)? {
            if Owner::parse(&label).is_some_and(|owner| owner.is_gone(&here)) {
                docker(remove.iter().copied()).args([thing]).run()?;
            }
        }
    }
    Ok(())
}

/// What carries an owner's label: its name and the label's value.
fn labelled(list: &[&str]) -> Result<Vec<(String, String)>, LabError> {
    let filter = format!("--filter=label={OWNER_LABEL}");
    let label = format!("{{{{.Label \"{OWNER_LABEL}\"}}}}");
    let format = match list[0] {
        "ps" | "network" => format!("--format={{{{.ID}}}} {label}"),
        "volume" => format!("--format={{{{.Name}}}} {label}"),
        _ => return labelled_images(&filter),
    };
    let out = docker(list.iter().copied())
        .args([filter, format])
        .check()?;
    Ok(pairs(&out.text()))
}

/// `docker images` knows no labels in its format, so each image is inspected.
fn labelled_images(filter: &str) -> Result<Vec<(String, String)>, LabError> {
    let ids = docker(["images", "-q", filter]).check()?.text();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let format = format!("--format={{{{.Id}}}} {{{{index .Config.Labels \"{OWNER_LABEL}\"}}}}");
    // One that went away meanwhile makes the status bad and leaves the others as they are.
    let out = docker(["image", "inspect", &format])
        .args(ids.lines())
        .run()?;
    Ok(pairs(&out.text()))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(thing, label)| (thing.to_owned(), label.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_reads_back_and_names_a_living_process() {
        let here = Owner::this_process().unwrap();
        let read = Owner::parse(&here.label()).unwrap();
        assert_eq!(read, here);
        assert!(!read.is_gone(&here));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let here = Owner::this_process().unwrap();
        let other = Owner {
            start: "1".to_owned(),
            ..here.clone()
        };
        assert!(other.is_gone(&here));
    }

    #[test]
    fn what_cannot_be_seen_is_left_alone() {
        let here = Owner::this_process().unwrap();
        let elsewhere = Owner {
            namespace: "pid:[1]".to_owned(),
            start: "1".to_owned(),
            ..here.clone()
        };
        assert!(!elsewhere.is_gone(&here));
    }
}
