//! What comes to pass between straw and a real controller: connections that break anywhere, bytes
//! that are others, peers that are none.

mod offsets;
mod peers;
mod proxy;
mod random;
mod run;
mod site;
mod tree;
mod watch;
mod wire;

use std::panic::resume_unwind;
use std::thread;

use libtest_mimic::Failed;

use crate::Test;

/// For the oldest release and the newest.
pub const TESTS: &[(&str, Test)] = &[
    ("faults::first_contact", offsets::first_contact),
    ("faults::flat", offsets::flat),
    ("faults::store", offsets::store),
    ("faults::peers", peers::each),
    ("faults::random", random::fetches),
    ("faults::watch", watch::through_faults),
];

/// Does the work with all of them at the same time, to the end. The first that fails is told of.
fn side_by_side<T: Sync>(
    all: &[T],
    work: impl Fn(&T) -> Result<(), Failed> + Sync,
) -> Result<(), Failed> {
    thread::scope(|scope| {
        let work = &work;
        let threads = all.iter().map(|one| scope.spawn(move || work(one)));
        let mut threads = threads.collect::<Vec<_>>().into_iter();
        threads.try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
