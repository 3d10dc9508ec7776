//! What can go wrong in the lab.

use std::io;
use std::time::Duration;

/// There can be no cluster on this machine as it is: Docker or an image is out of reach.
///
/// Tests skip when they meet it; everything else is a failure.
#[derive(Debug, thiserror::Error)]
#[error("{what}\nhint: {remedy}")]
pub struct Unavailable {
    /// What is missing, in a sentence.
    pub what: String,
    /// What its reader can do about it.
    pub remedy: String,
}

impl Unavailable {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// This machine has no Docker, or no way to the images.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),

    /// A command ended badly. The values of variables given to it are no part of it.
    #[error("`{command}` ended with status {status}: {stderr}")]
    Command {
        /// The command and its arguments.
        command: String,
        /// Its exit status, or minus the number of the signal that ended it.
        status: i32,
        /// The end of what it wrote to standard error, or to standard output if that was nothing.
        stderr: String,
    },

    /// A command was still running at the end of its time and was killed.
    #[error("`{command}` did not end within {} s", limit.as_secs())]
    Timeout {
        /// The command and its arguments.
        command: String,
        /// The time it had.
        limit: Duration,
    },

    /// A program or file of this machine could not be used.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },

    /// The cluster, or a part of it, did not reach the state it was meant to.
    #[error("{what}\n--- slurmctld's log:\n{log}")]
    NotUp {
        /// What was waited for.
        what: String,
        /// The end of slurmctld's log.
        log: String,
    },

    /// The release does not know the option.
    #[error("Slurm {series} has no {option}: it came with {since}")]
    NotInRelease {
        /// The option of the [`Builder`](crate::Builder).
        option: &'static str,
        /// The series of the cluster.
        series: String,
        /// The first series that has it.
        since: &'static str,
    },

    /// The cluster has no such socket.
    #[error("this cluster of auth/{auth} has no {directory} of {host}")]
    NoSocket {
        /// The directory that the socket would be in.
        directory: &'static str,
        /// The host whose it would be.
        host: String,
        /// How the cluster authenticates.
        auth: &'static str,
    },
}

impl LabError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
