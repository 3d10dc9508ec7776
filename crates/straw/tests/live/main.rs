//! straw against real clusters of every release that the lab has.
//!
//! The clusters need Docker. Where there is none, each test is reported as ignored, by name; with
//! `CI=true` that is a failure. `STRAW_BIN` names the program to test; without it, it is the one
//! that cargo has just built.
//!
//! One test alone: `cargo test -p straw --test live -- 26.05::tokens`.

mod clusters;
mod failover;
mod fetch;
mod names;
mod native;
mod root;
mod tokens;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use lab::Release;
use libtest_mimic::{Arguments, Failed, Trial};

use clusters::Clusters;

/// A test that needs the clusters of one release.
type Test = fn(&Clusters) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("fetch::client_set", fetch::client_set),
    ("fetch::slurmd_set", fetch::slurmd_set),
    (
        "fetch::changes_at_the_controller",
        fetch::changes_at_the_controller,
    ),
    ("fetch::configless_off", fetch::configless_off),
    ("fetch::round_trips", fetch::round_trips),
    ("fetch::every_release_pinned", fetch::every_release_pinned),
    ("fetch::disk", fetch::disk),
    ("native::commands_and_a_job", native::commands_and_a_job),
    ("names::hosts_dns_and_srv", names::hosts_dns_and_srv),
    ("tokens::expired", tokens::expired),
    ("tokens::forged", tokens::forged),
    ("tokens::of_an_unknown_user", tokens::of_an_unknown_user),
    ("root::empty", root::empty),
    ("failover::primary_stopped", failover::primary_stopped),
    ("failover::primary_paused", failover::primary_paused),
    ("failover::primary_cut_off", failover::primary_cut_off),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let available = if arguments.list {
        Ok(())
    } else {
        lab::provision::available()
    };
    if let Err(why) = &available {
        eprintln!("live tests cannot run: {why}");
        if lab::provision::in_ci() {
            return ExitCode::FAILURE;
        }
    }
    let releases = Release::ALL.map(|release| (release, Arc::new(Clusters::new(release))));
    let mut trials = Vec::new();
    for &(name, test) in TESTS {
        for &(release, ref clusters) in &releases {
            let clusters = Arc::clone(clusters);
            trials.push(
                Trial::test(format!("{release}::{name}"), move || {
                    let begin = Instant::now();
                    let result = test(&clusters);
                    eprintln!("{release}::{name}: {:.1} s", begin.elapsed().as_secs_f64());
                    result
                })
                .with_ignored_flag(available.is_err()),
            );
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Here the clusters that were shared end.
    drop(releases);
    conclusion.exit_code()
}
