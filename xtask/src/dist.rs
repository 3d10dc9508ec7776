//! What is given to others: the binary and its manual pages.

use std::collections::BTreeSet;
use std::fs;

use crate::Result;
use crate::binary;
use crate::run::{capture, cargo, say};

pub fn run() -> Result {
    let dist = binary::target().join("dist");
    fs::create_dir_all(&dist)?;
    say("building straw");
    let program = dist.join("straw");
    fs::copy(binary::gates()?, &program)?;

    let man = dist.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(straw::cli::command(), &man)?;

    let size = fs::metadata(&program)?.len();
    let tree = capture(&mut cargo(&[
        "tree",
        "--package=straw",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ]))?;
    let crates: BTreeSet<_> = tree
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let mib = size as f64 / f64::from(1 << 20);
    println!("{}: {size} bytes ({mib:.2} MiB), static", program.display());
    println!(
        "crates in it, straw and slurm-protocol included: {}",
        crates.len()
    );
    println!("manual pages: {}", man.display());
    Ok(())
}
