//! Fetches by the thousand, each of which may meet anything.

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use libtest_mimic::Failed;

use super::proxy::{Fault, Injury, Passed, Proxy, Way};
use super::side_by_side;
use super::site::{Place, Site, Worker};
use super::wire::{BROKEN_OFF, Reply, Set, Verdict, oldest};
use crate::clusters::Clusters;

/// So many at the same time: most of them wait.
const WORKERS: usize = 8;

/// How many fetches, where `STRAW_FAULTS` does not say: a few seconds of them.
const FETCHES: usize = 1000;

/// After as many there is one without any fault.
const UNHARMED: usize = 10;

/// What a straw is told to give up after, which is more than it takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(4);

/// `STRAW_FAULTS_SEED`, which a failure names, has the same faults again.
pub fn fetches(clusters: &Clusters) -> Result<(), Failed> {
    let count = number("STRAW_FAULTS")?.unwrap_or(FETCHES);
    let seed = number("STRAW_FAULTS_SEED")?.unwrap_or_else(|| fastrand::usize(..));
    let (site, workers) = Site::start(clusters, WORKERS)?;
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let told = Mutex::new(BTreeMap::<String, usize>::new());
    let work = |worker: &Worker| -> Result<(), Failed> {
        let second = Proxy::start(site.controller)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            // Each has faults of its own, whichever worker comes to it.
            let mut rng = Rng::with_seed((seed as u64).wrapping_add(number as u64));
            let code = one(
                &site,
                worker,
                &second,
                &mut rng,
                number.is_multiple_of(UNHARMED),
            );
            let code = code.map_err(|error| {
                next.store(usize::MAX / 2, Ordering::Relaxed);
                let why = error.message().unwrap_or_default();
                let (first, second) = (worker.proxy.passed(), second.passed());
                format!(
                    "STRAW_FAULTS_SEED={seed} STRAW_FAULTS={count}, fetch {number}: {why}\n\
                     {first:#?}\n{second:#?}"
                )
            })?;
            *told.lock().unwrap().entry(code).or_default() += 1;
        }
    };
    side_by_side(&workers, work)?;
    eprintln!(
        "{}: {count} fetches in {:.0} s, seed {seed}: {:?}",
        clusters.release,
        began.elapsed().as_secs_f64(),
        told.lock().unwrap()
    );
    Ok(())
}

/// A variable that is a number.
pub fn number(variable: &str) -> Result<Option<usize>, Failed> {
    let value = env::var(variable).ok();
    let value = value.map(|value| value.parse().map_err(|_| format!("{variable}: {value}")));
    Ok(value.transpose()?)
}

/// One fetch. Returns what is to be counted of it.
fn one(
    site: &Site,
    worker: &Worker,
    second: &Proxy,
    rng: &mut Rng,
    unharmed_after: bool,
) -> Result<String, Failed> {
    let place = match rng.bool() {
        true => Place::Flat,
        false => Place::Store,
    };
    // A store is of the controllers that were named.
    let two = place == Place::Flat && rng.bool();
    let waits = rng.u8(..4) == 0;
    worker.restore(place)?;
    let servers = match two {
        true => format!("{},{}", worker.proxy.address, second.address),
        false => worker.proxy.address.to_string(),
    };
    worker.proxy.arm(plan(rng))?;
    second.arm(plan(rng))?;
    let timeout = format!("--timeout={}s", TIMEOUT.as_secs());
    let options: &[&str] = match waits {
        true => &[&timeout, "--wait=1s"],
        false => &[&timeout],
    };
    // While it waits it says so.
    let ended = worker.run_with(place, &servers, options)?.without_rounds();
    let mut verdicts = expected(&site.new, &worker.proxy.passed(), &second.passed());
    if ended.took >= TIMEOUT / 2 {
        // A controller's turn was over: half of the time where there are two.
        let late = ["no-answer", "reply-broken-off", "unreachable"];
        verdicts.extend(late.map(|kind| Verdict::Fails(3, kind)));
    }
    let judged = worker.judge(place, &ended, &verdicts);
    judged.map_err(|error| {
        let why = error.message().unwrap_or_default();
        format!("{place:?}, two: {two}, waits: {waits}, {verdicts:?}: {why}")
    })?;
    if unharmed_after {
        worker.proxy.arm(Vec::new())?;
        let again = worker.run(place, &[])?;
        worker.judge(place, &again, &[Verdict::Has(site.new.clone())])?;
    }
    Ok(format!("{place:?} {}", ended.code))
}

/// What the connections of one fetch are to meet.
pub fn plan(rng: &mut Rng) -> Vec<Option<Injury>> {
    (0..rng.usize(1..8))
        .map(|_| {
            let way = match rng.u8(..3) {
                0 => Way::Request,
                _ => Way::Reply,
            };
            let fault = match rng.u8(..8) {
                0..2 => Fault::Cut,
                2..4 => Fault::Reset,
                4 => Fault::Delay(Duration::from_millis(rng.u64(1..30))),
                _ => Fault::Flip(rng.u8(1..)),
            };
            // More often near the beginning, where most of the sense is.
            let at = match rng.bool() {
                true => rng.usize(..64),
                false => rng.usize(..4096),
            };
            (rng.u8(..5) > 0).then_some(Injury { way, at, fault })
        })
        .collect()
}

/// How it may end, by what was passed on in the end.
fn expected(new: &Set, first: &[Passed], second: &[Passed]) -> Vec<Verdict> {
    let all = || first.iter().chain(second);
    let last = all().max_by_key(|passed| passed.began);
    let last = last.filter(|last| last.is_set());
    if let Some(Injury {
        way: Way::Request,
        fault: Fault::Flip(_),
        ..
    }) = last.and_then(|last| last.injury)
    {
        // A controller may take it for another version, and repeat flags that it does not know.
        let whole = [Verdict::Has(new.clone()), Verdict::Has(oldest(new))];
        return whole.into_iter().chain(all().flat_map(failures)).collect();
    }
    let reply = last.map(|last| Reply::new(&last.reply));
    let brought = reply.as_ref().map(|reply| reply.of(new));
    let mut verdicts = match (last, reply, brought) {
        (Some(last), Some(reply), Some(brought)) => match last.injury {
            Some(Injury {
                way: Way::Reply,
                at,
                fault: Fault::Flip(bits),
            }) => reply.flipped(at, bits, &brought),
            Some(injury) if injury.way == Way::Reply && !injury.spares(&last.reply) => Vec::new(),
            // It came as it was sent, and nothing is asked for after it.
            _ => return vec![Verdict::Has(brought)],
        },
        _ => Vec::new(),
    };
    verdicts.extend(all().flat_map(failures));
    verdicts
}

/// The errors that can come of one exchange, alone or with others that are cut off.
fn failures(passed: &Passed) -> Vec<Verdict> {
    let fails = |kinds: &[(u8, &'static str)]| {
        let kinds = kinds.iter().map(|&(code, kind)| Verdict::Fails(code, kind));
        kinds.collect::<Vec<_>>()
    };
    // The controller's silence, a version that it does not speak, and what it makes of both.
    let silence = [
        (4, "closed-silently"),
        (4, "credential-refused"),
        (5, "http-answer"),
        (5, "no-common-version"),
    ];
    let Some(Injury { way, at, fault }) = passed.injury else {
        // As the second or third of several exchanges.
        return fails(&silence);
    };
    match (way, fault) {
        (_, Fault::Delay(_)) => Vec::new(),
        (Way::Request, Fault::Cut | Fault::Reset) => fails(&silence),
        (Way::Reply, Fault::Cut | Fault::Reset) if at == 0 => fails(&silence),
        (Way::Reply, Fault::Cut | Fault::Reset) if at < passed.reply.len() => vec![BROKEN_OFF],
        (Way::Reply, Fault::Cut | Fault::Reset) => fails(&silence),
        (Way::Request, Fault::Flip(_)) => [
            fails(&silence),
            fails(&[
                (3, "no-answer"),
                (5, "not-slurmctld"),
                (6, "set-not-allowed"),
                (6, "slurm-error"),
                (8, "reply-malformed"),
                (8, "reply-unexpected"),
            ]),
        ]
        .concat(),
        (Way::Reply, Fault::Flip(_)) => [
            fails(&silence),
            fails(&[
                (3, "reply-broken-off"),
                (5, "not-slurmctld"),
                (6, "slurm-error"),
                (7, "tls-answer"),
                (8, "reply-malformed"),
                (8, "reply-too-large"),
                (8, "reply-unexpected"),
            ]),
        ]
        .concat(),
    }
}
