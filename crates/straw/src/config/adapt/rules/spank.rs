//! plugstack.conf.

use super::super::work::Work;

pub(super) fn required(work: &mut Work<'_>) {
    // Where there is no Slurm, who reads the set has one elsewhere.
    if work.container.library().is_none() {
        return;
    }
    for place in work.places_from("plugstack.conf") {
        let Some(statement) = work.statement(place) else {
            continue;
        };
        let line = String::from_utf8_lossy(&statement.joined()).into_owned();
        let mut words = line.split_whitespace();
        let (Some(word), Some(plugin)) = (words.next(), words.next()) else {
            continue;
        };
        if !word.eq_ignore_ascii_case("required") {
            continue;
        }
        let there = match plugin.starts_with('/') {
            true => work.container.has(plugin),
            false => work.has_plugin(plugin),
        };
        if !there {
            work.comment_out(place, &format!("no {plugin} here"));
        }
    }
}
