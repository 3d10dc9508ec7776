//! What is known about a watch, and how others may ask it: in a file, or over HTTP.
//!
//! ```text
//!                 tells                       asks
//!   the watch ──────────▶  Status  ◀──────────────────  file.rs    FILE, there while it is ready
//!                                  ◀──────────────────  server.rs  /healthz  /readyz  /metrics
//! ```
//!
//! *Ready* is about the set: there is one, and it is not too old to be used. *Alive* is about the
//! watch: it does what it does on time. While no controller can be reached a watch is alive, and
//! ready for as long as the last good set counts, so that nobody restarts what works.
//!
//! The answers are for everybody who can ask: they hold no secret.

mod error;
mod file;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod http;
mod metrics;
mod place;
mod server;
mod status;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use error::HealthError;
pub use file::HealthFile;
pub use place::HealthPlace;
pub use server::Server;
pub use status::{Refresh, Renewal, Status};

/// Begins to tell others how the watch is, in threads of its own.
///
/// # Errors
///
/// [`HealthError`] where the address cannot be listened on, or the file cannot be written.
pub fn tell(place: &HealthPlace, status: &Arc<Status>) -> Result<Health, HealthError> {
    let addresses = match place {
        HealthPlace::File(path) => return HealthFile::start(path, status).map(Health::File),
        HealthPlace::Address(address) => vec![*address],
        HealthPlace::Localhost(port) => place::localhost(*port),
        HealthPlace::Everywhere(port) => place::everywhere(*port),
    };
    let server = Server::start(&addresses, status).map_err(|error| HealthError::NotListening {
        place: place.clone(),
        error,
    })?;
    log::info!("health: listening on {}", server.address());
    Ok(Health::Server(server))
}

/// What tells others how the watch is, until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub enum Health {
    /// In a file, which goes with this.
    File(#[expect(dead_code, reason = "it is there to be dropped")] HealthFile),
    /// Over HTTP.
    Server(#[expect(dead_code, reason = "it is there to be dropped")] Server),
}
