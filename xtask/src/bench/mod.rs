//! Measurements on real clusters: what straw costs, and how it compares with the other ways to make
//! a container a client of one.

mod compare;
mod costs;
mod facts;
mod sdiag;
mod table;

use crate::Result;

/// What straw costs beside the least that it could, and beside Slurm's own commands, as a page.
pub fn costs() -> Result {
    costs::run()
}

/// All ways side by side, as a page.
pub fn compare() -> Result {
    compare::run()
}
