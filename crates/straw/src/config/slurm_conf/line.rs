//! One logical line: how its lines are joined, and what it says.

use std::ops::Range;

/// A byte of a joined line, and where it stands among the original ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) byte: u8,
    start: usize,
    end: usize,
}

/// `Key=Value`, and where it stands in the bytes of its statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    key: Vec<u8>,
    value: Vec<u8>,
    empty: bool,
    range: Range<usize>,
    value_range: Range<usize>,
}

impl Pair {
    /// Whether it has this key; case does not matter.
    pub fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key.as_bytes())
    }

    /// The key, as it is written.
    pub fn key(&self) -> String {
        // It is letters and digits.
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The value, without quotes.
    #[cfg(test)]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The value as text; what is no text is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }

    /// Whether nothing at all stands behind the `=`, which Slurm takes for an error. It does not
    /// mind `""`.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(super) fn value_range(&self) -> Range<usize> {
        self.value_range.clone()
    }
}

/// The length of the first logical line, and what remains of it without comments, with its lines
/// joined: first the comment goes, then the white space behind, and where a backslash is last
/// then, the next line follows.
pub(super) fn logical(bytes: &[u8]) -> (usize, Vec<Piece>) {
    let mut joined = Vec::new();
    let mut start = 0;
    loop {
        let rest = &bytes[start..];
        let length = match rest.iter().position(|&byte| byte == b'\n') {
            Some(at) => at + 1,
            None => rest.len(),
        };
        let first = joined.len();
        strip(&rest[..length], start, &mut joined);
        start += length;
        let more = joined.len() > first && joined.last().is_some_and(|last| last.byte == b'\\');
        if !more {
            return (start, joined);
        }
        joined.pop();
        if start == bytes.len() {
            return (start, joined);
        }
    }
}

/// Whether what follows these bytes would be joined to them.
pub(super) fn is_continued(bytes: &[u8]) -> bool {
    let line = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .next_back()
        .unwrap_or_default();
    let mut pieces = Vec::new();
    strip(line, 0, &mut pieces);
    pieces.last().is_some_and(|last| last.byte == b'\\')
}

/// Adds one line without its comment and the white space at its end. `\#` is no comment.
fn strip(line: &[u8], offset: usize, joined: &mut Vec<Piece>) {
    let first = joined.len();
    let mut at = 0;
    while at < line.len() {
        let (byte, length) = match line[at..] {
            [b'\\', b'#', ..] => (b'#', 2),
            [b'#', ..] => break,
            [byte, ..] => (byte, 1),
            [] => break,
        };
        joined.push(Piece {
            byte,
            start: offset + at,
            end: offset + at + length,
        });
        at += length;
    }
    while joined.len() > first && joined.last().is_some_and(|last| is_space(last.byte)) {
        joined.pop();
    }
}

/// What a joined line says.
pub(super) fn kind(joined: &[Piece]) -> super::Kind {
    let mut scanner = Scanner { joined, at: 0 };
    scanner.skip(is_space);
    if scanner.rest().is_empty() {
        return super::Kind::Nothing;
    }
    if let Some(file) = scanner.include() {
        return super::Kind::Include(file);
    }
    let mut pairs = Vec::new();
    while !scanner.rest().is_empty() {
        match scanner.pair() {
            Some(pair) => pairs.push(pair),
            None => return super::Kind::Other,
        }
        scanner.skip(is_space);
    }
    super::Kind::Pairs(pairs)
}

struct Scanner<'a> {
    joined: &'a [Piece],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [Piece] {
        &self.joined[self.at..]
    }

    fn skip(&mut self, skipped: fn(u8) -> bool) -> &'a [Piece] {
        let rest = self.rest();
        let count = rest.iter().take_while(|piece| skipped(piece.byte)).count();
        self.at += count;
        &rest[..count]
    }

    /// `Include FILE` and nothing behind it.
    fn include(&self) -> Option<Vec<u8>> {
        const WORD: &[u8] = b"include";
        let rest = bytes(self.rest());
        let (word, file) = rest.split_at_checked(WORD.len())?;
        let file = match file {
            [first, ..] if is_space(*first) => file.trim_ascii(),
            _ => return None,
        };
        let one = !file.is_empty() && !file.iter().any(|&byte| is_space(byte));
        (word.eq_ignore_ascii_case(WORD) && one && file[0] != b'=').then(|| file.to_vec())
    }

    fn pair(&mut self) -> Option<Pair> {
        let start = self.rest().first()?.start;
        let key = bytes(self.skip(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte)));
        self.skip(is_space);
        if let [operator, equals, ..] = self.rest()
            && b"+-*/".contains(&operator.byte)
            && equals.byte == b'='
        {
            self.at += 1;
        }
        let equals = self.rest().first().filter(|piece| piece.byte == b'=')?;
        if key.is_empty() {
            return None;
        }
        self.at += 1;
        self.skip(is_space);
        let (value, written) = self.value();
        let value_range = match written {
            [first, .., last] => first.start..last.end,
            [only] => only.start..only.end,
            [] => equals.end..equals.end,
        };
        Some(Pair {
            key,
            value,
            empty: written.is_empty(),
            range: start..value_range.end,
            value_range,
        })
    }

    /// A value, and as it is written: in quotes, or up to the next white space.
    fn value(&mut self) -> (Vec<u8>, &'a [Piece]) {
        let rest = self.rest();
        if rest.first().is_some_and(|piece| piece.byte == b'"')
            && let Some(length) = rest[1..].iter().position(|piece| piece.byte == b'"')
        {
            self.at += length + 2;
            return (bytes(&rest[1..=length]), &rest[..length + 2]);
        }
        let written = self.skip(|byte| !is_space(byte));
        (bytes(written), written)
    }
}

fn bytes(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().map(|piece| piece.byte).collect()
}

/// White space as C has it.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
