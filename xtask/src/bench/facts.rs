//! What a page says of the run that it comes from.

use std::fs;
use std::process::Command;

use crate::Result;
use crate::run::{capture, root};

/// When, of what, and where.
pub struct Facts {
    pub date: String,
    pub commit: String,
    pub machine: String,
    /// At the start.
    pub load: String,
}

impl Facts {
    pub fn now() -> Result<Self> {
        let date = capture(Command::new("date").args(["-u", "+%F"]))?;
        Ok(Self {
            date: date.trim().to_owned(),
            commit: commit()?,
            machine: machine()?,
            load: load()?,
        })
    }

    #[cfg(test)]
    pub fn example() -> Self {
        let [date, commit, machine, load] =
            ["2026-01-02", "abc", "2 × x", "0.1"].map(str::to_owned);
        Self {
            date,
            commit,
            machine,
            load,
        }
    }
}

/// What the machine does, on average of the last minute.
pub fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// The last change of what straw is made of.
fn commit() -> Result<String> {
    let git = |command: &[&str]| {
        let mut git = Command::new("git");
        let paths = ["--", "crates/straw", "crates/slurm-protocol"];
        capture(git.current_dir(root()).args(command).args(paths))
    };
    let last = git(&["log", "-1", "--format=%h"])?;
    let changed = git(&["status", "--porcelain"])?;
    let changed = if changed.is_empty() { "" } else { ", changed" };
    Ok(format!("{}{changed}", last.trim()))
}

/// The machine, as far as it matters to times.
fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpus
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split_once(": "))
        .map(|(_, model)| model.trim())
        .collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let docker = capture(Command::new("docker").args(["version", "--format={{.Server.Version}}"]))?;
    Ok(format!(
        "{} × {}, Linux {}, Docker {}",
        models.len(),
        models.first().unwrap_or(&"a processor without a name"),
        kernel.trim(),
        docker.trim()
    ))
}
