//! Requests that a fuzzer makes up.

use std::time::{Duration, SystemTime};

use super::http::{Answer, Head, head};
use super::status::Status;

/// What became of what came over a connection.
pub enum Asked {
    /// More is waited for.
    Waits,
    /// It is answered so.
    Answered(Vec<u8>),
}

/// Asks a watch whose last refresh failed of this.
pub fn ask(request: &[u8], failure: &str) -> Asked {
    let status = Status::new(Duration::from_secs(60));
    status.refresh_failed("network", failure, Duration::ZERO);
    let answer = match head(request) {
        Head::Partial => return Asked::Waits,
        Head::Whole(request) => request.answer(&status),
        Head::Refused(code) => Answer::refusal(code),
    };
    Asked::Answered(answer.to_bytes(SystemTime::now()))
}
