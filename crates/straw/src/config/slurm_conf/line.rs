//! One logical line: how its lines are joined, and what it says.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// A line with more pairs is none that Slurm has keys for, and is left as it is.
const MOST_PAIRS: usize = 4096;

/// A logical line at the beginning of some bytes.
pub(super) struct Logical<'a> {
    /// How many of the bytes it is.
    pub(super) length: usize,
    /// What remains of it without comments, its lines joined.
    pub(super) text: Cow<'a, [u8]>,
    /// Where each byte of the text stands. Without it, the text is what the bytes begin with.
    places: Option<Vec<Range<usize>>>,
}

impl Logical<'_> {
    /// Where a part of the text stands among the bytes.
    pub(super) fn place(&self, part: &Range<usize>) -> Range<usize> {
        let Some(places) = &self.places else {
            return part.clone();
        };
        let end = |at: usize| at.checked_sub(1).map_or(0, |before| places[before].end);
        match part.is_empty() {
            true => end(part.start)..end(part.start),
            false => places[part.start].start..end(part.end),
        }
    }
}

/// The first logical line: first the comment goes, then the white space behind, and where a
/// backslash is last then, the next line follows.
pub(super) fn logical(bytes: &[u8]) -> Logical<'_> {
    let length = line(bytes);
    // Most lines have none: no byte of theirs moves.
    if memchr(b'\\', &bytes[..length]).is_none() {
        let comment = memchr(b'#', &bytes[..length]);
        let end = trimmed(&bytes[..comment.unwrap_or(length)]);
        return Logical {
            length,
            text: Cow::Borrowed(&bytes[..end]),
            places: None,
        };
    }
    let mut joined = Joined::default();
    let mut length = 0;
    while length < bytes.len() {
        let rest = &bytes[length..];
        let first = joined.text.len();
        joined.strip(&rest[..line(rest)], length);
        length += line(rest);
        if joined.text[first..].last() != Some(&b'\\') {
            break;
        }
        joined.truncate(joined.text.len() - 1);
    }
    Logical {
        length,
        text: Cow::Owned(joined.text),
        places: Some(joined.places),
    }
}

/// Whether what follows these bytes would be joined to them.
pub(super) fn is_continued(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let mut joined = Joined::default();
    joined.strip(lines.next_back().unwrap_or_default(), 0);
    joined.text.last() == Some(&b'\\')
}

/// The length of the first line.
fn line(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// The length without the white space at the end.
fn trimmed(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|&byte| !is_space(byte));
    last.map_or(0, |at| at + 1)
}

/// Lines that are being joined.
#[derive(Default)]
struct Joined {
    text: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Joined {
    /// Adds one line without its comment and the white space at its end. `\#` is no comment.
    fn strip(&mut self, line: &[u8], offset: usize) {
        let first = self.text.len();
        let mut at = 0;
        while at < line.len() {
            let (byte, length) = match line[at..] {
                [b'\\', b'#', ..] => (b'#', 2),
                [b'#', ..] => break,
                [byte, ..] => (byte, 1),
                [] => break,
            };
            self.text.push(byte);
            self.places.push(offset + at..offset + at + length);
            at += length;
        }
        self.truncate(first + trimmed(&self.text[first..]));
    }

    fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
        self.places.truncate(length);
    }
}

/// Where `Key=Value` stands in the text of its statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    key: Range<usize>,
    /// As it is written, with its quotes; empty behind the `=` where nothing is.
    pub(super) value: Range<usize>,
}

impl Spot {
    pub(super) fn whole(&self) -> Range<usize> {
        self.key.start..self.value.end
    }
}

/// `Key=Value`.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub(super) text: &'a [u8],
    pub(super) spot: &'a Spot,
}

impl<'a> Pair<'a> {
    /// Whether it has this key; case does not matter.
    pub fn is(self, key: &str) -> bool {
        self.key().eq_ignore_ascii_case(key.as_bytes())
    }

    /// The key, as it is written: letters and digits.
    pub fn key(self) -> &'a [u8] {
        &self.text[self.spot.key.clone()]
    }

    /// The key as text.
    pub fn key_text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key())
    }

    /// The value, without quotes.
    pub fn value(self) -> &'a [u8] {
        match &self.text[self.spot.value.clone()] {
            // Only where both are there does a value end with one.
            [b'"', value @ .., b'"'] => value,
            value => value,
        }
    }

    /// The value as text; what is no text is replaced.
    pub fn value_text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.value())
    }

    /// What it says: key and value.
    pub(super) fn said(self) -> (&'a [u8], &'a [u8]) {
        (self.key(), self.value())
    }

    /// Whether nothing at all stands behind the `=`, which Slurm takes for an error. It does not
    /// mind `""`.
    pub fn is_empty(self) -> bool {
        self.spot.value.is_empty()
    }
}

/// What a joined line says.
pub(super) fn kind(text: &[u8]) -> super::Kind {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip(is_space);
    if scanner.rest().is_empty() {
        return super::Kind::Nothing;
    }
    if let Some(file) = scanner.include() {
        return super::Kind::Include(file.to_vec());
    }
    let mut pairs = Vec::with_capacity(memchr_iter(b'=', text).count().min(MOST_PAIRS));
    while !scanner.rest().is_empty() {
        match scanner.pair() {
            Some(pair) if pairs.len() < MOST_PAIRS => pairs.push(pair),
            _ => return super::Kind::Other,
        }
        scanner.skip(is_space);
    }
    super::Kind::Pairs(pairs)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Goes to the first byte of another kind, and says where the others are.
    fn skip(&mut self, skipped: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|&byte| skipped(byte)) {
            self.at += 1;
        }
        start..self.at
    }

    /// `Include FILE` and nothing behind it.
    fn include(&self) -> Option<&'a [u8]> {
        const WORD: &[u8] = b"include";
        let (word, file) = self.rest().split_at_checked(WORD.len())?;
        if !word.eq_ignore_ascii_case(WORD) || !file.first().is_some_and(|&byte| is_space(byte)) {
            return None;
        }
        let file = file.trim_ascii();
        let one = !file.is_empty() && !file.iter().any(|&byte| is_space(byte));
        (one && file[0] != b'=').then_some(file)
    }

    fn pair(&mut self) -> Option<Spot> {
        let key = self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
        self.skip(is_space);
        if let [b'+' | b'-' | b'*' | b'/', b'=', ..] = self.rest() {
            self.at += 1;
        }
        if key.is_empty() || self.rest().first() != Some(&b'=') {
            return None;
        }
        self.at += 1;
        let behind = self.at;
        self.skip(is_space);
        let value = match self.value() {
            value if value.is_empty() => behind..behind,
            value => value,
        };
        Some(Spot { key, value })
    }

    /// A value as it is written: in quotes, or up to the next white space.
    fn value(&mut self) -> Range<usize> {
        if let [b'"', rest @ ..] = self.rest()
            && let Some(length) = memchr(b'"', rest)
        {
            let start = self.at;
            self.at += length + 2;
            return start..self.at;
        }
        self.skip(|byte| !is_space(byte))
    }
}

/// White space as C has it.
pub(super) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
