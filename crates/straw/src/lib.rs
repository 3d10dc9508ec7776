//! straw makes a container a client of a Slurm cluster, with no cluster secret and no copied
//! configuration inside. This is the library behind the program of the same name.
//!
//! ```no_run
//! use std::time::Duration;
//! use straw::config::{self, ConfigSet, Origin};
//! use straw::controller::{self, FileSet, Query};
//! use straw::credential::{Source, TokenSource};
//! use straw::endpoint::Endpoint;
//! use straw::network::System;
//!
//! let query = Query {
//!     controllers: Endpoint::parse_list(["ctl1,ctl2"])?,
//!     credential: Source::Token(TokenSource::File("/run/secrets/slurm-jwt".into())),
//!     tls: None,
//!     release: None,
//!     known: Default::default(),
//!     timeout: Duration::from_secs(10),
//!     wait: Duration::ZERO,
//!     max_size: 64 << 20,
//! };
//! let fetched = controller::fetch(&query, FileSet::Client, &System)?;
//! let set = ConfigSet::new(fetched.content)?;
//! let origin = Origin {
//!     controller: fetched.controller.to_string(),
//!     version: fetched.version,
//!     ca: None,
//! };
//! config::write("/etc/slurm".as_ref(), &set, &origin, query.timeout)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way of the data, and which module is which station: `docs/architecture.md`.

// What is shown goes through writers whose failure is dealt with, not through macros that panic.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod children;
pub mod cli;
pub mod config;
pub mod controller;
pub mod credential;
pub mod disk;
pub mod dns;
pub mod doctor;
pub mod endpoint;
pub mod error;
pub mod launch;
pub mod network;
mod signals;
pub mod store;
mod text;
pub mod transport;
pub mod watch;

pub use error::Error;
