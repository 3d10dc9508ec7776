//! Killed before each of its system calls.

use super::place::{Layout, Place, Seen, check_no_empty_directory};
use super::tracer::{Then, trace};

/// Kills straw before its first system call, its second one, and so on, until it has nothing more
/// to change.
fn kill_everywhere(layout: Layout) {
    let place = Place::new(layout);
    let mut seen = Vec::new();
    for steps in 0..=place.course().len() {
        let directory = place.before();
        let mut calls = 0;
        let before = |_| {
            calls += 1;
            if calls > steps { Then::Kill } else { Then::Go }
        };
        let ended = trace(&mut place.straw(&directory), before, || {});
        assert_eq!((ended.code, calls), (None, steps + 1), "{}", ended.stderr);
        seen.push(place.look(&directory));
        let copy = place.copy(&directory, "copy");
        // Its controller may have gone back meanwhile.
        for (directory, set) in [(&directory, Seen::New), (&copy, Seen::Old)] {
            if place.check_mended(directory, set) {
                check_no_empty_directory(directory);
            }
        }
    }
    assert_eq!((seen[0], seen[seen.len() - 1]), (Seen::Old, Seen::New));
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "traced on x86-64 only")]
fn flat_files_are_whole_wherever_it_is_killed() {
    kill_everywhere(Layout::Flat);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "traced on x86-64 only")]
fn a_store_is_whole_wherever_it_is_killed() {
    kill_everywhere(Layout::Store);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "traced on x86-64 only")]
fn a_store_is_whole_wherever_a_watch_is_killed() {
    kill_everywhere(Layout::Watch);
}
