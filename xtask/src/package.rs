//! The crates as crates.io would get them.

use crate::Result;
use crate::run::{capture, cargo, check};

/// Those that are given out, in the order in which they need each other.
const CRATES: [&str; 2] = ["slurm-protocol", "slurm-straw"];

/// What has to be in each of them, beside its code.
const NEEDED: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Packs them and builds each from its package alone, `slurm-straw` with the `slurm-protocol` that was
/// packed just before.
pub fn run() -> Result {
    for name in CRATES {
        let package = format!("--package={name}");
        let listed = capture(&mut cargo(&[
            "package",
            "--list",
            "--allow-dirty",
            &package,
        ]))?;
        if let Some(missing) = NEEDED
            .iter()
            .find(|file| !listed.lines().any(|line| line == **file))
        {
            return Err(
                format!("{missing} is not in the package of {name}: see its `include`").into(),
            );
        }
        // Both have tests that need more of the repository than is packed.
        if let Some(stray) = listed.lines().find(|line| line.starts_with("tests/")) {
            return Err(format!("{stray} is in the package of {name}: see its `include`").into());
        }
    }
    let packages = CRATES.map(|name| format!("--package={name}"));
    // Quiet, since cargo notes every test that it leaves out.
    let mut command = cargo(&["package", "--quiet", "--allow-dirty"]);
    check(command.args(packages))
}
