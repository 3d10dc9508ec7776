//! Accounts that the container has, or has not.

use super::*;

#[test]
fn accounts() {
    let root = Root::new();
    assert_eq!(
        lines(
            &root,
            "SlurmUser=nobody9\nslurmduser = x\nSlurmUser=slurm\nSlurmdUser=0\n"
        ),
        [
            "# straw: no account nobody9 here: SlurmUser=nobody9",
            "# straw: no account x here: slurmduser = x",
            "SlurmUser=slurm",
            "SlurmdUser=0",
        ]
    );
}
