//! What comes to pass between straw and a real controller: connections that break anywhere, bytes
//! that are others, peers that are none.

mod names;
mod offsets;
mod peers;
mod proxy;
mod random;
mod site;
mod tree;
mod watch;
mod wire;

use crate::Test;

/// For the oldest release and the newest.
pub const TESTS: &[(&str, Test)] = &[
    ("faults::flat", offsets::flat),
    ("faults::store", offsets::store),
    ("faults::peers", peers::each),
    ("faults::names", names::many_addresses),
    ("faults::random", random::fetches),
    ("faults::watch", watch::through_faults),
];
