//! Keys as such.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Severity;
use super::super::container::{Library, Table};
use super::super::work::{Action, Place, Work};

pub(super) fn empty_value(work: &mut Work<'_>) {
    for place in work.places() {
        // Only the last pair of a line can be without a value: else the next word would be it.
        let last = work.pairs(place).enumerate().last();
        let Some((index, last)) = last.filter(|(_, pair)| pair.is_empty()) else {
            continue;
        };
        let reason = format!("{} has no value", last.key_text());
        work.remove(place, &[index], &reason);
    }
}

pub(super) fn unknown(work: &mut Work<'_>) {
    let Some(library) = work.container.library() else {
        work.find(
            Severity::Note,
            None,
            "there is no libslurm here, so what it would not accept is not known",
            "nothing is amiss if Slurm's commands are not to be run here; else say where they are \
             with PATH",
        );
        return;
    };
    let places = work.places();
    let mut keys: BTreeMap<Table, BTreeSet<String>> = BTreeMap::new();
    // Thousands of lines of nodes have the same keys.
    let mut before = Vec::new();
    for &place in &places {
        for (at, key) in keys_of(work, place).enumerate() {
            if before.get(at) == Some(&key) {
                continue;
            }
            before.truncate(at);
            before.push(key);
            if let Some((table, key)) = key {
                let key = String::from_utf8_lossy(key).into_owned();
                keys.entry(table).or_default().insert(key);
            }
        }
    }
    let unknown: BTreeMap<Table, BTreeSet<String>> = keys
        .iter()
        .map(|(&table, keys)| (table, library.unknown(table, keys)))
        .collect();
    if unknown.values().all(BTreeSet::is_empty) {
        return;
    }
    let here = match library.version() {
        Some((year, month)) => format!("Slurm {year}.{month:02} here"),
        None => "the Slurm here".to_owned(),
    };
    for place in places {
        let (indexes, names): (Vec<_>, Vec<_>) = keys_of(work, place)
            .enumerate()
            .filter_map(|(index, key)| {
                let (table, key) = key?;
                let key = str::from_utf8(key).ok()?;
                unknown[&table].contains(key).then_some((index, key))
            })
            .unzip();
        let reason = format!("{here} does not know {}", names.join(", "));
        match indexes.first() {
            None => {}
            // Where the first key is unknown, the whole line is.
            Some(0) => work.comment_out(place, &reason),
            Some(_) => work.remove(place, &indexes, &reason),
        }
    }
}

pub(super) fn removed(work: &mut Work<'_>) {
    /// Known by name, and refused. They were removed before 22.05.
    const REMOVED: [&str; 3] = [
        "AccountingStorageLoc",
        "AccountingStoreJobComment",
        "SallocDefaultCommand",
    ];
    let refused = |library: &Library| library.since((22, 5));
    if !work.container.library().is_some_and(refused) {
        return;
    }
    for key in REMOVED {
        work.each(key, |_, _| {
            Some(Action::CommentOut {
                reason: "the Slurm here refuses it, since it was removed".to_owned(),
            })
        });
    }
}

/// The keys of a statement, each with the table that it has to stand in. What can stand in other
/// lines than those of nodes and partitions has not changed since 20.11.
fn keys_of<'a>(
    work: &'a Work<'_>,
    place: Place,
) -> impl Iterator<Item = Option<(Table, &'a [u8])>> {
    let pairs = work.pairs(place);
    let mut rest = None;
    pairs.enumerate().map(move |(index, pair)| {
        if index > 0 {
            return rest.map(|table| (table, pair.key()));
        }
        rest = [
            ("NodeName", Table::Node),
            ("PartitionName", Table::Partition),
        ]
        .into_iter()
        .find_map(|(key, table)| pair.is(key).then_some(table));
        Some((Table::Top, pair.key()))
    })
}

pub(super) fn essential(work: &mut Work<'_>) {
    if work.effective("ClusterName").is_none() {
        work.find(
            Severity::AllFail,
            None,
            "there is no ClusterName in slurm.conf, without which every command ends",
            "give it with --set ClusterName=NAME",
        );
    }
    let controller = ["SlurmctldHost", "ControlMachine"];
    if controller.iter().all(|key| work.effective(key).is_none()) {
        work.find(
            Severity::AllFail,
            None,
            "there is no SlurmctldHost in slurm.conf, without which every command ends",
            "give it with --set SlurmctldHost=NAME",
        );
    }
}
