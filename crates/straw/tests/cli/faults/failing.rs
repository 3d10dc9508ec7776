//! Each of its system calls that has to do with files fails, in each way that it can.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use libc::c_long;
use nix::errno::Errno::{self, *};

use super::place::{Layout, Place, Seen};
use super::tracer::{Ended, Then, trace};

/// Calls, and what they can fail with.
const CALLS: &[(&[c_long], &[Errno])] = &[
    (
        &[libc::SYS_openat],
        &[
            EINTR,
            EACCES,
            EDQUOT,
            EIO,
            EMFILE,
            ENAMETOOLONG,
            ENFILE,
            ENOMEM,
            ENOSPC,
            EROFS,
            ESTALE,
        ],
    ),
    (
        &[libc::SYS_mkdirat, libc::SYS_symlinkat],
        &[
            EINTR,
            EACCES,
            EDQUOT,
            EIO,
            EMLINK,
            ENAMETOOLONG,
            ENOSPC,
            EROFS,
            ESTALE,
        ],
    ),
    (
        &[libc::SYS_renameat],
        &[
            EINTR, EACCES, EBUSY, EDQUOT, EIO, EMLINK, ENOSPC, EROFS, ESTALE, EXDEV,
        ],
    ),
    (
        &[libc::SYS_unlinkat],
        &[EINTR, EACCES, EBUSY, EIO, EROFS, ESTALE],
    ),
    (
        &[libc::SYS_write, libc::SYS_fsync],
        &[EINTR, EDQUOT, EIO, ENOSPC, ESTALE],
    ),
    (
        &[libc::SYS_fchmod, libc::SYS_utimensat],
        &[EINTR, EIO, EPERM, EROFS, ESTALE],
    ),
    (&[libc::SYS_flock], &[EINTR, EIO, ENOLCK, ENOMEM]),
    (
        &[
            libc::SYS_fstat,
            libc::SYS_getdents64,
            libc::SYS_newfstatat,
            libc::SYS_read,
            libc::SYS_readlinkat,
        ],
        &[EINTR, EACCES, EIO, ENOMEM, ESTALE],
    ),
    // The standard library's own, which it does not make again.
    (&[libc::SYS_statx], &[EACCES, EIO, ENOMEM, ESTALE]),
    (&[libc::SYS_fcntl], &[EMFILE]),
];

/// Those that change what is there.
const CHANGES: [c_long; 5] = [
    libc::SYS_mkdirat,
    libc::SYS_openat,
    libc::SYS_renameat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
];

fn ways(call: c_long) -> &'static [Errno] {
    let of = CALLS.iter().find(|(calls, _)| calls.contains(&call));
    of.map_or(&[], |(_, ways)| ways)
}

/// The nth call of its kind. (How many others there are before it depends on the network.)
#[derive(Clone, Copy, Debug)]
struct Nth(c_long, usize);

/// Runs straw, with this in the place of one call, and of those after it if `ever`.
fn run(place: &Place, directory: &Path, nth: Nth, then: Then, ever: bool) -> Ended {
    let mut left = nth.1 + 1;
    let before = |call| match left {
        0 if !ever => Then::GoOn,
        0 if CHANGES.contains(&call) || call == libc::SYS_fsync => then,
        0 => Then::Go,
        _ if call != nth.0 => Then::Go,
        _ => {
            left -= 1;
            if left == 0 { then } else { Then::Go }
        }
    };
    trace(&mut place.straw(directory), before, || {})
}

/// Fails unless straw did what was wanted, or says in one message what went wrong, and what to do.
fn check_end(ended: &Ended, seen: Seen, errno: Errno) {
    let said = &ended.stderr;
    match ended.code {
        Some(0) if seen == Seen::New => {}
        // It goes on with what it has, and says so.
        Some(0) => {
            assert!(errno != EINTR, "not tried again: {said}");
            let warnings = said.matches("warning: ").count();
            assert!(
                warnings == 1 && said.contains("; using the configuration of "),
                "{said}"
            );
        }
        Some(9) => {
            assert!(errno != EINTR, "not tried again: {said}");
            let (cause, hint) = said.split_once("\n\nhint: ").expect(said);
            assert!(
                cause.matches("error: ").count() == 1 && hint.len() > 10,
                "{said}"
            );
            if [EMFILE, ENFILE, ENOMEM].contains(&errno) {
                assert!(
                    !hint.contains("--store") && !hint.contains("-o DIR"),
                    "{said}"
                );
            }
        }
        code => panic!("{code:?}: {said}"),
    }
}

fn fail_everywhere(layout: Layout) {
    let place = Place::new(layout);
    let course = place.course();
    let mut failures = Vec::new();
    let mut check = |nth: Nth, then, errno, ever: bool| {
        let directory = place.before();
        let ended = run(&place, &directory, nth, then, ever);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let seen = place.look(&directory);
            check_end(&ended, seen, errno);
            // What could not be removed may be left.
            if nth.0 != libc::SYS_unlinkat && !ever {
                place.check_tidy(&directory);
            }
            place.check_mended(&directory, Seen::New);
        }));
        if result.is_err() {
            failures.push(format!("{then:?}, {nth:?}, ever: {ever}"));
        }
    };
    for (at, &call) in course.iter().enumerate() {
        let earlier = course[..at].iter().filter(|one| **one == call);
        let nth = Nth(call, earlier.count());
        for &errno in ways(call) {
            check(nth, Then::Fail(errno), errno, false);
        }
        if CHANGES.contains(&call) {
            check(nth, Then::Fail(EIO), EIO, true);
        }
        if CHANGES.contains(&call) && call != libc::SYS_openat {
            check(nth, Then::GoAndFail(EIO), EIO, false);
            check(nth, Then::GoAndFail(ESTALE), ESTALE, false);
        }
    }
    assert!(failures.is_empty(), "{layout:?}: {failures:#?}");
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "traced on x86-64 only")]
fn flat_files_survive_every_failure() {
    fail_everywhere(Layout::Flat);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "traced on x86-64 only")]
fn a_store_survives_every_failure() {
    fail_everywhere(Layout::Store);
}
