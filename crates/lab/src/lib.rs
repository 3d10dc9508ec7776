//! Real Slurm clusters in Docker, for straw's tests, demo and benchmarks.
//!
//! A [`Cluster`] is a `slurmctld`, perhaps a backup, and a node, of one [`Release`], from Debian's own
//! packages, on a private network. It lives as long as its value, and not longer: what it made is
//! removed when the value is dropped, and also when the process dies without dropping it.
//!
//! ```no_run
//! use lab::{ClientOptions, Cluster, Release};
//!
//! # fn main() -> Result<(), lab::LabError> {
//! let cluster = Cluster::builder(Release::V24_11).start()?;
//! let client = cluster.client(&ClientOptions::default())?;
//! let token = cluster.token("alice", 600)?;
//! let out = client
//!     .exec(["sinfo", "-h"])
//!     .user("alice")
//!     .env("SLURM_JWT", &token)
//!     .env("SLURM_CONF_SERVER", "ctl1")
//!     .run()?;
//! assert_eq!(out.status, 0, "{out}");
//! # Ok(())
//! # }
//! ```
//!
//! The way of a cluster, each part a module:
//!
//! ```text
//! provision ──▶ image ──▶ cluster (builder ─▶ config ─▶ boot) ──▶ container, client, empty_root
//! is there a    what the   an owner's label and a keeper that      what tests run things in
//! Docker?       hosts run  removes what the owner leaves behind
//! ```
//!
//! Beside it, the ways in that a site may have: the [`Socket`] of a daemon, mounted in a client;
//! tokens of our own ([`jwt`]) and of an [identity] provider; and [`tls`] in front of slurmctld. A
//! [`BuiltImage`] is what somebody builds from a Dockerfile of theirs, a [`Compose`] what they start
//! with a compose file, and [artefact] what straw's packages are installed on.

#![forbid(unsafe_code)]

pub mod artefact;
mod client;
mod cluster;
mod compose;
mod container;
mod empty_root;
mod error;
pub mod identity;
pub mod image;
pub mod jwt;
mod keeper;
mod owner;
mod process;
pub mod provision;
mod random;
mod recipe;
mod release;
mod socket;
mod tar;
pub mod tls;

pub use client::{ClientNetwork, ClientOptions, FirstProcess};
pub use cluster::{Builder, Cluster};
pub use compose::Compose;
pub use container::{Container, Exec};
pub use empty_root::EmptyRoot;
pub use error::{LabError, Unavailable};
pub use image::{Images, Moved};
pub use owner::{LABEL, sweep};
pub use process::Output;
pub use recipe::BuiltImage;
pub use release::{Release, UnknownRelease};
pub use socket::{Auth, Socket};
