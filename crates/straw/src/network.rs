//! What straw does to the world outside while it fetches, as one small trait: names, connections
//! and time. Tests put a world of their own in its place.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use crate::dns::{ResolveError, Resolver, SrvRecords};
use crate::transport::tls::{self, Tls};
use crate::transport::{Received, TransportError, tcp};

/// Names, connections and time.
pub trait Network {
    /// The addresses of a host, in the order in which to try them.
    ///
    /// # Errors
    ///
    /// [`ResolveError`], at `deadline` at the latest.
    fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError>;

    /// The SRV records of the service `_slurmctld._tcp`.
    ///
    /// # Errors
    ///
    /// [`ResolveError`], at `deadline` at the latest.
    fn controllers(&self, deadline: Instant) -> Result<SrvRecords, ResolveError>;

    /// Sends a request over a new connection, inside TLS where that is given, and takes the reply,
    /// of at most `max_size` bytes.
    ///
    /// # Errors
    ///
    /// [`TransportError`]: connecting ends at `connect_by`, everything at `deadline`.
    fn exchange(
        &self,
        address: SocketAddr,
        tls: Option<&Tls>,
        request: &[u8],
        max_size: usize,
        connect_by: Instant,
        deadline: Instant,
    ) -> Result<Received, TransportError>;

    /// The time that deadlines are measured by.
    fn now(&self) -> Instant;

    /// The time of day, which a token's expiry is measured by.
    fn time_of_day(&self) -> SystemTime;

    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The real world. `/etc/hosts` and `/etc/resolv.conf` are read at each question, because they
/// can change while straw waits for a controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Network for System {
    fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        Resolver::from_system().addresses(host, deadline)
    }

    fn controllers(&self, deadline: Instant) -> Result<SrvRecords, ResolveError> {
        Resolver::from_system().srv("_slurmctld._tcp", deadline)
    }

    fn exchange(
        &self,
        address: SocketAddr,
        tls: Option<&Tls>,
        request: &[u8],
        max_size: usize,
        connect_by: Instant,
        deadline: Instant,
    ) -> Result<Received, TransportError> {
        match tls {
            None => tcp::exchange(address, request, max_size, connect_by, deadline),
            Some(tls) => tls::exchange(tls, address, request, max_size, connect_by, deadline),
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
