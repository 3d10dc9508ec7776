//! Each fault at each byte of a request and of a reply.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lab::Release;
use libtest_mimic::Failed;

use super::proxy::{Fault, Injury, Way};
use super::run::one_error;
use super::side_by_side;
use super::site::{Place, Site, Worker, speaks_up};
use super::wire::{BROKEN_OFF, Reply, Verdict};
use crate::clusters::{Clusters, same};

/// As many as there are processors on a small machine, and one more: some of the time all wait.
const WORKERS: usize = 3;

/// Long enough that what is behind it comes in a packet of its own.
const PAUSE: Duration = Duration::from_millis(2);

pub fn flat(clusters: &Clusters) -> Result<(), Failed> {
    everywhere(clusters, Place::Flat)
}

pub fn store(clusters: &Clusters) -> Result<(), Failed> {
    everywhere(clusters, Place::Store)
}

/// The first connection of a straw that knows the controller's version meets the fault, at each
/// byte of it; later ones meet none.
fn everywhere(clusters: &Clusters, place: Place) -> Result<(), Failed> {
    let (site, workers) = Site::start(clusters, WORKERS)?;
    let (request, reply) = {
        let worker = &workers[0];
        worker.restore(place)?;
        worker.proxy.arm(Vec::new())?;
        let ended = worker.run(place, &[])?;
        worker.judge(place, &ended, &[Verdict::Has(site.new.clone())])?;
        let passed = worker.proxy.passed();
        same("exchanges where the version is known", passed.len(), 1)?;
        (passed[0].request.clone(), Reply::new(&passed[0].reply))
    };
    let mut injuries = Vec::new();
    for (way, length) in [(Way::Request, request.len()), (Way::Reply, reply.len())] {
        for at in 0..length {
            // Each bit has its turn, and now and then several.
            let bits = match at % 9 {
                8 => 0xff,
                bit => 1 << bit,
            };
            let faults = [
                Fault::Cut,
                Fault::Reset,
                Fault::Delay(PAUSE),
                Fault::Flip(bits),
            ];
            let faults = faults.into_iter().filter(|fault| {
                // What comes late is the same set.
                place == Place::Flat || !matches!(fault, Fault::Delay(_))
            });
            injuries.extend(faults.map(|fault| Injury { way, at, fault }));
        }
    }

    let next = AtomicUsize::new(0);
    let told = Mutex::new(BTreeMap::<String, usize>::new());
    let work = |worker: &Worker| -> Result<(), Failed> {
        while let Some(&injury) = injuries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdicts = expected(&site, clusters.release, &request, &reply, injury);
            let code = once(&site, worker, place, injury, &verdicts).map_err(|error| {
                // Nobody else needs to go on.
                next.store(usize::MAX / 2, Ordering::Relaxed);
                let why = error.message().unwrap_or_default();
                let passed = worker.proxy.passed();
                format!("{place:?}, {injury:?}, {verdicts:?}: {why}{passed:#?}")
            })?;
            let line = format!("{:?} {} {code}", injury.way, name(injury.fault));
            *told.lock().unwrap().entry(line).or_default() += 1;
        }
        Ok(())
    };
    side_by_side(&workers, work)?;
    eprintln!(
        "{place:?}: {} runs: {:?}",
        injuries.len(),
        told.lock().unwrap()
    );
    Ok(())
}

/// One run that meets the fault, and one after it that meets none. Returns the exit code of the
/// first.
fn once(
    site: &Site,
    worker: &Worker,
    place: Place,
    injury: Injury,
    verdicts: &[Verdict],
) -> Result<i32, Failed> {
    worker.restore(place)?;
    worker.proxy.arm(vec![Some(injury)])?;
    let options: &[&str] = match (injury.way, injury.at) {
        // The controller waits for more than there is.
        (Way::Request, 0..4) => &["--timeout=1s"],
        _ => &[],
    };
    let ended = worker.run(place, options)?;
    let passed = worker.proxy.passed();
    same("what was done", passed[0].injury, Some(injury))?;
    worker.judge(place, &ended, verdicts)?;
    worker.proxy.arm(Vec::new())?;
    let again = worker.run(place, &[])?;
    worker.judge(place, &again, &[Verdict::Has(site.new.clone())])?;
    Ok(ended.code)
}

/// How straw may end that meets this first.
fn expected(
    site: &Site,
    release: Release,
    request: &[u8],
    reply: &Reply,
    injury: Injury,
) -> Vec<Verdict> {
    let well = || vec![Verdict::Has(site.new.clone())];
    match (injury.way, injury.fault) {
        // Whole, if late.
        (_, Fault::Delay(_)) => well(),
        // The controller says nothing, as one does that does not accept the version. It is asked
        // which it would.
        (Way::Request, Fault::Cut | Fault::Reset) => well(),
        (Way::Reply, Fault::Cut | Fault::Reset) if injury.at == 0 => well(),
        (Way::Reply, Fault::Cut | Fault::Reset) => vec![BROKEN_OFF],
        (Way::Reply, Fault::Flip(bits)) => reply.flipped(injury.at, bits, &site.new),
        (Way::Request, Fault::Flip(_)) => of_request(release, request, injury.at)
            .into_iter()
            .chain(well())
            .collect(),
    }
}

/// How a straw may fail whose request came with other bits. What the controller makes of them is
/// not ours to say; where it takes them for a version that it does not accept, all ends well.
fn of_request(release: Release, request: &[u8], at: usize) -> Vec<Verdict> {
    let token = 28..request.len() - 11;
    let refused = Verdict::Fails(4, "credential-refused");
    match at {
        // It waits for more.
        0..4 => vec![Verdict::Fails(3, "no-answer")],
        at if token.contains(&at) && speaks_up(release) => vec![refused],
        _ => vec![refused],
    }
}

/// The first connection of a straw that knows nothing of the controller meets the fault: a probe
/// without a credential, and its answer.
pub fn first_contact(clusters: &Clusters) -> Result<(), Failed> {
    let (site, workers) = Site::start(clusters, 1)?;
    let worker = &workers[0];
    let ask = |injury: Option<Injury>| {
        worker.proxy.arm(vec![injury])?;
        let ended = worker.ask_first()?;
        match ended.code == 0 {
            true => same("slurm.conf", &ended.stdout, &site.new["slurm.conf"].1)?,
            false => one_error(&ended.stderr)?,
        }
        Ok::<_, Failed>((ended.code, worker.proxy.passed()))
    };
    let (code, passed) = ask(None)?;
    same("exit code", code, 0)?;
    let probe = [
        (Way::Request, passed[0].request.len()),
        (Way::Reply, passed[0].reply.len()),
    ];
    let mut told = BTreeMap::<(&str, i32), usize>::new();
    for (way, at) in probe
        .into_iter()
        .flat_map(|(way, length)| (0..length).map(move |at| (way, at)))
    {
        let bits = 1 << (at % 8);
        for fault in [
            Fault::Cut,
            Fault::Reset,
            Fault::Delay(PAUSE),
            Fault::Flip(bits),
        ] {
            let injury = Injury { way, at, fault };
            let (code, passed) = ask(Some(injury))?;
            let codes: &[i32] = match (way, fault) {
                (_, Fault::Delay(_)) => &[0],
                (_, Fault::Flip(_)) => &[0, 3, 4, 5, 6, 8],
                (Way::Reply, _) if at > 0 => &[3],
                // Another connection makes up for it.
                _ => &[0],
            };
            if passed[0].injury != Some(injury) || !codes.contains(&code) {
                let why = format!("{injury:?}: {code} is none of {codes:?}: {passed:#?}");
                return Err(why.into());
            }
            *told.entry((name(fault), code)).or_default() += 1;
            same("exit code right after", ask(None)?.0, 0)?;
        }
    }
    eprintln!("first contact: {told:?}");
    Ok(())
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Cut => "cut",
        Fault::Reset => "reset",
        Fault::Delay(_) => "delayed",
        Fault::Flip(_) => "flipped",
    }
}
