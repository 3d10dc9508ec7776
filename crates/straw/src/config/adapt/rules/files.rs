//! Includes.

use super::super::work::Work;
use crate::config::slurm_conf::Kind;

pub(super) fn include(work: &mut Work<'_>) {
    // A file that is no longer included is not looked at any more, so one after the other.
    for place in work.places() {
        let Some(statement) = work.statement(place) else {
            continue;
        };
        let Kind::Include(name) = statement.kind() else {
            continue;
        };
        if work.included(statement).is_some() {
            continue;
        }
        let name = work.file_name(name);
        let reason = if name.contains(['*', '?', '[']) {
            "a pattern is not expanded by Slurm's commands".to_owned()
        } else if !name.starts_with('/') {
            format!("the controller sent no {name}")
        } else if !work.container.has(&name) {
            format!("there is no {name} here")
        } else {
            continue;
        };
        work.comment_out(place, &reason);
    }
}
