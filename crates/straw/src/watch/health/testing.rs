//! What several tests tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slurm_protocol::ProtocolVersion;

use crate::store::{Current, State};

/// A time, in seconds since 1970.
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A set of this generation, checked at this time.
pub(super) fn current(generation: &str, checked: u64) -> Current {
    Current {
        generation: format!("/shared/slurm/{generation}").into(),
        stable: "/shared/slurm".into(),
        state: State {
            key: "key".into(),
            controller: "ctl1:6817".into(),
            address: None,
            version: ProtocolVersion::V24_11,
            tls: false,
            fetched: checked,
        },
        checked: at(checked),
    }
}
