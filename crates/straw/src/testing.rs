//! What tests of several modules need.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Runs this as another user, whom permissions bind, unlike root. The kernel knows users of threads, so
/// it is done in a thread of its own, which ends with it. Only root can do that.
pub(crate) fn as_user(user: u32, body: impl FnOnce() + Send) {
    let inside = || {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        body();
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(inside).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
