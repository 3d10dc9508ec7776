//! Keys as such.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Severity;
use super::super::container::{Library, Table};
use super::super::work::{Action, Place, Work};

pub(super) fn empty_value(work: &mut Work<'_>) {
    for place in work.places() {
        // Only the last pair of a line can be without a value: else the next word would be it.
        let pairs = work.pairs(&place);
        let Some(last) = pairs.last().filter(|pair| pair.is_empty()) else {
            continue;
        };
        let reason = format!("{} has no value", last.key());
        let index = pairs.len() - 1;
        work.remove(&place, &[index], &reason);
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
    for place in &places {
        for (table, key) in keys_of(work, place).into_iter().flatten() {
            keys.entry(table).or_default().insert(key);
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
        let (indexes, names): (Vec<_>, Vec<_>) = keys_of(work, &place)
            .into_iter()
            .enumerate()
            .filter_map(|(index, key)| Some((index, key?)))
            .filter(|(_, (table, key))| unknown[table].contains(key))
            .map(|(index, (_, key))| (index, key))
            .unzip();
        let reason = format!("{here} does not know {}", names.join(", "));
        match indexes.first() {
            None => {}
            // Where the first key is unknown, the whole line is.
            Some(0) => work.comment_out(&place, &reason),
            Some(_) => work.remove(&place, &indexes, &reason),
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
fn keys_of(work: &Work<'_>, place: &Place) -> Vec<Option<(Table, String)>> {
    let pairs = work.pairs(place);
    let rest = match pairs.first() {
        Some(first) if first.is("NodeName") => Some(Table::Node),
        Some(first) if first.is("PartitionName") => Some(Table::Partition),
        _ => None,
    };
    pairs
        .iter()
        .enumerate()
        .map(|(index, pair)| match index {
            0 => Some((Table::Top, pair.key())),
            _ => rest.map(|table| (table, pair.key())),
        })
        .collect()
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
