//! straw makes a container a client of a Slurm cluster, with no cluster secret and no copied
//! configuration inside. This is the library behind the program of the same name.
//!
//! ```no_run
//! use straw::config::{self, ConfigSet, Origin};
//! use straw::controller::{self, FileSet, Query};
//! use straw::credential::{Source, TokenSource};
//! use straw::endpoint::Endpoint;
//! use straw::network::System;
//!
//! let controllers = Endpoint::parse_list(["ctl1,ctl2"])?;
//! let token = TokenSource::File("/run/secrets/slurm-jwt".into());
//! let query = Query::new(controllers, Source::Token(token));
//! let fetched = controller::fetch(&query, FileSet::Client, &System)?;
//! let origin = Origin::new(&fetched);
//! let set = ConfigSet::new(fetched.content)?;
//! config::write("/etc/slurm".as_ref(), &set, &origin, query.timeout)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way of the data, and which module is which station: `docs/architecture.md`.

// What is shown goes through writers whose failure is dealt with, not through macros that panic.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod children;
#[doc(hidden)]
pub mod cli;
pub mod config;
pub mod controller;
pub mod credential;
mod disk;
pub mod dns;
mod doctor;
pub mod endpoint;
pub mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod launch;
pub mod network;
mod signals;
pub mod store;
#[cfg(test)]
mod testing;
mod text;
pub mod transport;
mod watch;

pub use error::Error;
pub use slurm_protocol;

/// Its examples are tested with these.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
