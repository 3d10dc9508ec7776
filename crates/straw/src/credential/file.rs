//! A token out of a file.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::io::Errno;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::text::{span, system_text};

/// A longer text than this, in bytes, is no token. Slurm's have about 150, an identity
/// provider's some thousands.
pub(crate) const LONGEST: usize = 64 * 1024;

/// How soon it is noticed that waiting is to stop.
const SLICE: Duration = Duration::from_millis(100);

/// A token's text, and who else can get at it.
pub(super) struct TokenText {
    pub(super) text: SecretString,
    pub(super) access: Access,
}

/// What others may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing that matters.
    Private,
    /// All may read it.
    Readable,
    /// Its group may write it.
    WritableByGroup,
    /// All may write it.
    Writable,
}

impl Access {
    fn of(mode: Mode) -> Self {
        if mode.contains(Mode::WOTH) {
            Self::Writable
        } else if mode.contains(Mode::WGRP) {
            Self::WritableByGroup
        } else if mode.contains(Mode::ROTH) {
            Self::Readable
        } else {
            Self::Private
        }
    }
}

/// Reads a file, or a pipe such as a shell's `<(scontrol token)`, which may never end.
pub(super) fn read(path: &Path, patience: Duration) -> Result<TokenText, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let text = |errno: Errno| system_text(&errno.into());
    let file = open(path, flags, Mode::empty()).map_err(text)?;
    let stat = fstat(&file).map_err(text)?;
    // A pipe or a device is not kept for others to find.
    let access = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Access::of(Mode::from_raw_mode(stat.st_mode)),
        _ => Access::Private,
    };
    match read_to_end(&file, Instant::now() + patience, || false) {
        Ok(text) => Ok(TokenText { text, access }),
        Err(ReadError::Late) => Err(format!("it did not end within {}", span(patience))),
        Err(ReadError::TooLong(most)) => Err(format!("it is longer than {most} bytes")),
        Err(ReadError::Io(error)) => Err(system_text(&error)),
    }
}

/// Why a token's text could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It did not end by the deadline.
    Late,
    /// It is longer than any token: than so many bytes.
    TooLong(usize),
    Io(io::Error),
}

/// Reads to the end of a file or a pipe.
///
/// A pipe that nobody has opened for writing yet is waited for. `stop` is asked now and then whether
/// to give up.
pub(super) fn read_to_end(
    file: &impl AsFd,
    deadline: Instant,
    stop: impl Fn() -> bool,
) -> Result<SecretString, ReadError> {
    let io = |errno: Errno| ReadError::Io(errno.into());
    let flags = fcntl_getfl(file).map_err(io)?;
    fcntl_setfl(file, flags | OFlags::NONBLOCK).map_err(io)?;
    // Of this size from the start, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 1]);
    let mut length = 0;
    let is_pipe =
        fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    // Until then its end is that nobody has begun.
    let mut begun = !is_pipe;
    while length < bytes.len() {
        if !begun {
            await_input(file, deadline, &stop)?;
            begun = true;
        }
        match rustix::io::read(file, &mut bytes[length..]) {
            Ok(0) => {
                // What is not text is no token either, and is said to be none later on.
                let text = String::from_utf8_lossy(&bytes[..length]);
                return Ok(text.into_owned().into());
            }
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                await_input(file, deadline, &stop)?;
            }
            Err(errno) => return Err(io(errno)),
        }
    }
    Err(ReadError::TooLong(LONGEST))
}

/// Waits for something to read, or for the end of it.
fn await_input(
    file: &impl AsFd,
    deadline: Instant,
    stop: &impl Fn() -> bool,
) -> Result<(), ReadError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop() {
            return Err(ReadError::Late);
        }
        let slice = left.min(SLICE).try_into().unwrap_or_default();
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&slice)) {
            Ok(0) | Err(Errno::INTR) => {}
            // Whatever it is, the next read tells.
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_do() {
        let of = |mode| Access::of(Mode::from_raw_mode(mode));
        assert_eq!(of(0o600), Access::Private);
        assert_eq!(of(0o640), Access::Private);
        assert_eq!(of(0o644), Access::Readable);
        assert_eq!(of(0o660), Access::WritableByGroup);
        assert_eq!(of(0o666), Access::Writable);
        assert_eq!(of(0o602), Access::Writable);
    }
}
