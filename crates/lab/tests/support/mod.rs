//! What the tests of the lab share.

use std::thread;
use std::time::{Duration, Instant};

/// Whether there is a Docker to try it with; in CI there must be.
pub fn have_docker() -> bool {
    if lab::provision::in_ci() {
        lab::provision::docker(&mut |line| eprintln!("{line}")).expect("CI has Docker");
        return true;
    }
    match lab::provision::available() {
        Ok(()) => true,
        Err(unavailable) => {
            lab::provision::skip(&unavailable.to_string());
            false
        }
    }
}

/// Tries until something is there.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
