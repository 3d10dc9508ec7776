//! What a service manager is told, where it asks for it (`NOTIFY_SOCKET`, as systemd's
//! `Type=notify`): that the set can be used, how things are, and that the watch lives.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sd_notify::NotifyState;

use super::health::Status;

/// Begins to tell, in a thread of its own, where there is somebody to be told.
///
/// # Errors
///
/// Where no thread can be had.
pub fn tell(status: &Arc<Status>) -> io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    // Twice as often as it is waited for.
    let watchdog = sd_notify::watchdog_enabled().map(|within| within / 2);
    let status = Arc::clone(status);
    let tell = move || {
        let mut told = None;
        loop {
            let revision = status.revision();
            let ready = status.ready(SystemTime::now());
            if told.as_ref() != Some(&ready) {
                match &ready {
                    Ok(()) => send(&[NotifyState::Ready, NotifyState::Status("ready")]),
                    Err(why) => send(&[NotifyState::Status(why)]),
                }
                told = Some(ready);
            }
            if watchdog.is_some() && status.alive(Instant::now()).is_ok() {
                send(&[NotifyState::Watchdog]);
            }
            let patience = watchdog.unwrap_or(Duration::from_secs(60));
            status.wait(revision, patience);
        }
    };
    thread::Builder::new().spawn(tell).map(drop)
}

/// Tells that the watch ends.
pub fn tell_of_the_end() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager cannot be told: {error}");
    }
}
