//! straw against real clusters of every release that the lab has.
//!
//! The clusters need Docker. Where there is none, each test is reported as ignored, by name; with
//! `CI=true` that is a failure. `STRAW_BIN` names the program to test; without it, it is the one
//! that cargo has just built. `STRAW_DIST` names the directory of the artefacts to install; without
//! it, the tests of these are ignored.
//!
//! A test that fails is tried once more, and the last line of a run names those that passed only
//! then.
//!
//! One test alone: `cargo test -p slurm-straw --test live -- 26.05::tokens`.

mod adapting;
mod clusters;
mod dist;
mod doctor;
mod failover;
mod faults;
mod fetch;
mod identity;
mod library;
mod munge;
mod names;
mod native;
mod recipes;
mod renew;
mod root;
mod sack;
mod secrets;
mod shims;
mod store;
mod supervise;
mod tls;
mod tokens;
mod watch;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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
    ("library::examples", library::examples),
    ("native::commands_and_a_job", native::commands_and_a_job),
    ("doctor::all_is_well", doctor::all_is_well),
    ("doctor::on_the_way", doctor::on_the_way),
    ("doctor::in_the_container", doctor::in_the_container),
    ("names::hosts_dns_and_srv", names::hosts_dns_and_srv),
    ("tokens::expired", tokens::expired),
    ("tokens::forged", tokens::forged),
    ("tokens::of_an_unknown_user", tokens::of_an_unknown_user),
    ("root::empty", root::empty),
    ("tls::certificates", tls::certificates),
    ("tls::refused", tls::refused),
    ("tls::client_certificate", tls::client_certificate),
    ("tls::none_there", tls::none_there),
    ("failover::primary_stopped", failover::primary_stopped),
    ("failover::primary_paused", failover::primary_paused),
    ("failover::primary_cut_off", failover::primary_cut_off),
    ("munge::mounted_socket", munge::mounted_socket),
    ("munge::every_release_pinned", munge::every_release_pinned),
    ("munge::munged_stopped", munge::munged_stopped),
    ("munge::another_key", munge::another_key),
    ("munge::token_first", munge::token_first),
    ("renew::by_a_token", renew::by_a_token),
    ("renew::by_munge", renew::by_munge),
    ("renew::a_file_kept_fresh", renew::a_file_kept_fresh),
    ("renew::a_file_of_others", renew::a_file_of_others),
    ("renew::limits", renew::limits),
    ("identity::of_a_person", identity::of_a_person),
    ("secrets::with_munge", secrets::with_munge),
    ("adapting::what_is_not_there", adapting::what_is_not_there),
    ("shims::thirty_at_once", shims::thirty_at_once),
    ("shims::as_without", shims::as_without),
    ("shims::tokens", shims::tokens),
    ("shims::exporter", shims::exporter),
    ("store::first_process", store::first_process),
    ("store::signals", store::signals),
    ("store::shared_volume", store::shared_volume),
    ("store::full_disk", store::full_disk),
    ("store::places", store::places),
    ("watch::changes_and_outages", watch::changes_and_outages),
    ("supervise::changes", supervise::changes),
];

/// Tests of what Slurm has since 23.02 or 23.11, for the releases after that.
const LATER_TESTS: &[(&str, Test)] = &[
    ("sack::mounted_socket", sack::mounted_socket),
    ("sack::places", sack::places),
    (
        "sack::before_munge_and_after_a_token",
        sack::before_munge_and_after_a_token,
    ),
    ("sack::another_key", sack::another_key),
    ("sack::slurmd_killed", sack::slurmd_killed),
    ("sack::native_commands", sack::native_commands),
    ("renew::by_sack", renew::by_sack),
    ("secrets::with_sack", secrets::with_sack),
    ("doctor::another_release", doctor::another_release),
    (
        "identity::of_a_service_account",
        identity::of_a_service_account,
    ),
];

/// Tests that take their time, for the oldest release and the newest.
const LONG_TESTS: &[(&str, Test)] = &[
    ("watch::failover", watch::failover),
    ("watch::tokens", watch::tokens),
    ("names::many_addresses", names::many_addresses),
];

/// Tests of a cluster of the newest release.
const NEWEST_TESTS: &[(&str, Test)] = &[
    ("watch::two_hundred", watch::two_hundred),
    ("watch::upgrade", watch::upgrade),
    ("adapting::an_older_client", adapting::an_older_client),
    ("supervise::signals", supervise::signals),
    ("supervise::daemons", supervise::daemons),
    ("supervise::orphans", supervise::orphans),
];

/// Tests of what is given to others, for the newest release.
const DIST_TESTS: &[(&str, Test)] = &[
    ("dist::tarball", dist::tarball),
    ("dist::wheel", dist::wheel),
    ("dist::image", dist::image),
];

/// Those of them that differ from one Debian to the next.
const LATER_DIST_TESTS: &[(&str, Test)] = &[("dist::package", dist::package)];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting: for daemons to start, for tokens to expire, for a backup to take over.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * processors);
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
    let artefacts = arguments.list || dist::directory().is_some();
    if !artefacts {
        eprintln!(
            "tests of dist:: cannot run: STRAW_DIST is not set; `cargo xtask test live` sets it"
        );
        if lab::provision::in_ci() {
            return ExitCode::FAILURE;
        }
    }
    let releases = Release::ALL.map(|release| (release, Arc::new(Clusters::new(release))));
    let mut trials = Vec::new();
    // What takes longest comes first, so that nobody waits for it alone in the end.
    let newest = [Release::V26_05];
    let tests = NEWEST_TESTS.iter().map(|test| (test, &newest[..]));
    let both = [Release::V22_05, Release::V26_05];
    let long = LONG_TESTS.iter().chain(faults::TESTS);
    let tests = tests.chain(long.map(|test| (test, &both[..])));
    let tests = tests.chain(TESTS.iter().map(|test| (test, &Release::ALL[..])));
    let later = [Release::V24_11, Release::V26_05];
    let tests = tests.chain(LATER_TESTS.iter().map(|test| (test, &later[..])));
    // Their packages take a while to be installed.
    let recipes = recipes::TESTS.iter().map(|test| (test, &newest[..]));
    let recipes = recipes.chain(recipes::LATER_TESTS.iter().map(|test| (test, &later[..])));
    let tests = recipes.chain(tests);
    let tests = tests.chain(DIST_TESTS.iter().map(|test| (test, &newest[..])));
    let tests = tests.chain(LATER_DIST_TESTS.iter().map(|test| (test, &later[..])));
    for (&(name, test), of) in tests {
        for &(release, ref clusters) in releases.iter().filter(|(one, _)| of.contains(one)) {
            let clusters = Arc::clone(clusters);
            trials.push(
                Trial::test(format!("{release}::{name}"), move || {
                    twice(&format!("{release}::{name}"), test, &clusters)
                })
                .with_ignored_flag(available.is_err() || name.starts_with("dist::") && !artefacts),
            );
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Here the clusters that were shared end.
    drop(releases);
    dist::unload();
    let second = SECOND.lock().unwrap_or_else(PoisonError::into_inner);
    if !second.is_empty() {
        eprintln!("passed only at the second try: {}", second.join(", "));
    }
    conclusion.exit_code()
}

/// The names of the tests that passed only at the second try.
static SECOND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many tests were tried once more, and how many are at the most.
static TRIED: AtomicUsize = AtomicUsize::new(0);
const MOST_TRIED: usize = 8;

/// Read by every test while it runs, and written by one that must be alone.
static RUNNING: RwLock<()> = RwLock::new(());

/// Runs a test, and if it fails, once more: with no other beside it, and with clusters that nobody
/// else has used.
fn twice(name: &str, test: Test, clusters: &Clusters) -> Result<(), Failed> {
    let first = {
        let _beside_others = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
        timed(name, test, clusters)
    };
    let Err(cause) = first else {
        return Ok(());
    };
    // So many fail of something that a second try does not mend.
    if TRIED.fetch_add(1, Ordering::SeqCst) >= MOST_TRIED {
        return Err(cause);
    }
    let cause = cause.message().unwrap_or_default();
    eprintln!("{name} failed and is tried once more: {cause}");
    let _alone = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
    timed(name, test, &Clusters::new(clusters.release))?;
    let mut second = SECOND.lock().unwrap_or_else(PoisonError::into_inner);
    second.push(name.to_owned());
    Ok(())
}

fn timed(name: &str, test: Test, clusters: &Clusters) -> Result<(), Failed> {
    let begin = Instant::now();
    let result = test(clusters);
    eprintln!("{name}: {:.1} s", begin.elapsed().as_secs_f64());
    result
}
