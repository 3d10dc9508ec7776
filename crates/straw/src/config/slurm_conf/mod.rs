//! A configuration file in Slurm's syntax, to be read and edited. What is not edited comes out
//! byte for byte: comments, order, case, continued lines, bytes that are no text.
//!
//! ```text
//!   bytes ─▶ statements (line.rs), each with its bytes ─▶ edits ─▶ bytes
//! ```
//!
//! How Slurm reads such a file, tried on 22.05, 24.11 and 26.05: docs/adapting.md, "The syntax".

mod line;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr_iter;

pub use line::Pair;
use line::{Logical, Spot};

/// What each of straw's comments begins with.
const MARK: &str = "# straw: ";

/// A file, as a row of statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf<'a> {
    statements: Vec<Statement<'a>>,
}

/// A logical line: one line of the file, or several that are joined by a backslash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Comments of straw's above it: the original, if it was changed, and why.
    note: Vec<u8>,
    bytes: Cow<'a, [u8]>,
    /// Its text, where that is not what the bytes begin with.
    joined: Option<Vec<u8>>,
    line: Option<usize>,
    kind: Kind,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing: a comment, or a line of white space.
    Nothing,
    /// `Include FILE`, with the file's name as it stands there.
    Include(Vec<u8>),
    /// `Key=Value`, once or several times.
    Pairs(Vec<Spot>),
    /// Anything else, as the lines of plugstack.conf, or what Slurm cannot read.
    Other,
}

/// How an edit changed a statement, as text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The line in the original, from 1; none where the statement was not in it.
    pub line: Option<usize>,
    /// What stood there, if anything.
    pub before: Option<String>,
    /// What stands there now, if anything but a comment.
    pub after: Option<String>,
}

impl<'a> Conf<'a> {
    /// Reads a file. There is nothing that it cannot read.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut statements = Vec::new();
        let (mut rest, mut line) = (bytes, 1);
        while !rest.is_empty() {
            let logical = line::logical(rest);
            let (own, after) = rest.split_at(logical.length);
            statements.push(Statement::new(Cow::Borrowed(own), &logical, Some(line)));
            line += memchr_iter(b'\n', own).count();
            rest = after;
        }
        Self { statements }
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for statement in &self.statements {
            bytes.extend_from_slice(&statement.note);
            bytes.extend_from_slice(&statement.bytes);
        }
        bytes
    }

    /// The statements, in their order.
    pub fn statements(&self) -> &[Statement<'a>] {
        &self.statements
    }

    /// Makes a statement a comment, every line of it.
    pub fn comment_out(&mut self, index: usize, reason: &str) -> Edit {
        let statement = &mut self.statements[index];
        let edit = Edit {
            line: statement.line,
            before: Some(statement.text()),
            after: None,
        };
        statement.bytes = Cow::Owned(statement.as_comment(reason));
        statement.joined = None;
        statement.kind = Kind::Nothing;
        edit
    }

    /// Gives a pair another value. The original stays above as a comment, or alone where that
    /// value cannot stand there.
    pub fn replace(&mut self, index: usize, pair: usize, value: &str, reason: &str) -> Edit {
        let statement = &self.statements[index];
        let Kind::Pairs(pairs) = &statement.kind else {
            return self.nothing(index);
        };
        let range = line::logical(&statement.bytes).place(&pairs[pair].value);
        let mut meant: Vec<_> = statement.pairs().map(Pair::said).collect();
        meant[pair].1 = value.as_bytes();
        match statement.with(&[range], &written(value), &meant) {
            Some(new) => self.rewrite(index, new, reason),
            None => self.comment_out(index, reason),
        }
    }

    /// Takes pairs out of a line, in the order in which they stand there. The original stays above
    /// as a comment, or alone where no pair is left.
    pub fn remove(&mut self, index: usize, unwanted: &[usize], reason: &str) -> Edit {
        let statement = &self.statements[index];
        let pairs = match &statement.kind {
            Kind::Pairs(pairs) if unwanted.len() < pairs.len() => pairs,
            _ => return self.comment_out(index, reason),
        };
        let logical = line::logical(&statement.bytes);
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let mut taken = 0;
        let range = |&pair: &usize| {
            let range = logical.place(&pairs[pair].whole());
            // With the space in front of it; the first pair has its space behind.
            let before = statement.bytes[..range.start].iter().rev();
            let before = before.take_while(blank).count();
            let after = statement.bytes[range.end..].iter();
            let after = after.take_while(blank).count();
            let range = match pair {
                0 => range.start..range.end + after,
                _ => (range.start - before).max(taken)..range.end,
            };
            taken = range.end;
            range
        };
        let ranges: Vec<_> = unwanted.iter().map(range).collect();
        let mut unwanted = unwanted.iter().copied().peekable();
        let kept = statement.pairs().enumerate();
        let kept = kept.filter(|(at, _)| unwanted.next_if_eq(at).is_none());
        let meant: Vec<_> = kept.map(|(_, pair)| pair.said()).collect();
        match statement.with(&ranges, "", &meant) {
            Some(new) => self.rewrite(index, new, reason),
            None => self.comment_out(index, reason),
        }
    }

    /// Adds a line at the end, below a comment that says why.
    pub fn append(&mut self, line: &[u8], reason: &str) -> Edit {
        // The last line may lack its end, and a backslash there would join ours to it.
        if let Some(last) = self.statements.last_mut() {
            if !last.bytes.ends_with(b"\n") {
                last.bytes.to_mut().push(b'\n');
            }
            if line::is_continued(&last.bytes) {
                last.bytes.to_mut().push(b'\n');
            }
        }
        let mut bytes = line.to_vec();
        bytes.push(b'\n');
        let mut statement = Statement::own(bytes, None);
        statement.note = format!("{MARK}{}\n", clean(reason)).into_bytes();
        let edit = Edit {
            line: None,
            before: None,
            after: Some(statement.text()),
        };
        self.statements.push(statement);
        edit
    }

    /// Puts a statement in the place of another, and keeps the original above.
    fn rewrite(&mut self, index: usize, new: Statement<'a>, reason: &str) -> Edit {
        let statement = &mut self.statements[index];
        let before = statement.text();
        let mut note = std::mem::take(&mut statement.note);
        if note.is_empty() {
            note = statement.as_comment(reason);
            if !note.ends_with(b"\n") {
                note.push(b'\n');
            }
        } else {
            // The original already stands there; only the reason is new.
            let why = format!("{MARK}{}{}", clean(reason), statement.line_end());
            note.extend(why.as_bytes());
        }
        *statement = Statement { note, ..new };
        Edit {
            line: statement.line,
            before: Some(before),
            after: Some(statement.text()),
        }
    }

    fn nothing(&self, index: usize) -> Edit {
        let statement = &self.statements[index];
        Edit {
            line: statement.line,
            before: Some(statement.text()),
            after: Some(statement.text()),
        }
    }
}

impl<'a> Statement<'a> {
    fn new(bytes: Cow<'a, [u8]>, logical: &Logical<'_>, line: Option<usize>) -> Self {
        let kind = line::kind(&logical.text);
        let joined = match &logical.text {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text.clone()),
        };
        Self {
            note: Vec::new(),
            bytes,
            joined,
            line,
            kind,
        }
    }

    fn own(bytes: Vec<u8>, line: Option<usize>) -> Self {
        let logical = line::logical(&bytes);
        Self::new(Cow::Owned(bytes.clone()), &logical, line)
    }

    /// What it says.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its first line in the original, from 1; none for what was added.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The pairs of the line, where it has any.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let spots = match &self.kind {
            Kind::Pairs(spots) => spots.as_slice(),
            _ => &[],
        };
        let text = self.joined.as_deref().unwrap_or(&self.bytes);
        spots.iter().map(move |spot| Pair { text, spot })
    }

    /// Its bytes, without comments, its lines joined.
    pub fn joined(&self) -> Cow<'_, [u8]> {
        line::logical(&self.bytes).text
    }

    /// The whole of it on one line, for people.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        match text.trim() {
            one if !one.contains('\n') => clean(one).into_owned(),
            _ => {
                let joined = self.joined();
                let joined = String::from_utf8_lossy(&joined);
                let words: Vec<_> = joined.split_whitespace().collect();
                clean(&words.join(" ")).into_owned()
            }
        }
    }

    /// It with other bytes in the place of these, which ascend; `None` where it would not say what
    /// was meant then, as with a quote that another one closes.
    fn with(
        &self,
        ranges: &[Range<usize>],
        new: &str,
        meant: &[(&[u8], &[u8])],
    ) -> Option<Statement<'a>> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + new.len());
        let mut at = 0;
        for range in ranges {
            bytes.extend(&self.bytes[at..range.start]);
            bytes.extend(new.as_bytes());
            at = range.end;
        }
        bytes.extend(&self.bytes[at..]);
        let is_one = line::logical(&bytes).length == bytes.len();
        let new = Statement::own(bytes, self.line);
        let as_meant = new.pairs().map(Pair::said).eq(meant.iter().copied());
        (is_one && as_meant).then_some(new)
    }

    /// It, with a mark in front of each of its lines. A comment is not continued by a backslash.
    fn as_comment(&self, reason: &str) -> Vec<u8> {
        let mut comment = Vec::new();
        for line in self.bytes.split_inclusive(|&byte| byte == b'\n') {
            comment.extend(MARK.as_bytes());
            comment.extend(clean(reason).as_bytes());
            comment.extend(b": ");
            comment.extend(line);
        }
        comment
    }

    fn line_end(&self) -> &'static str {
        let first = self.bytes.split_inclusive(|&byte| byte == b'\n').next();
        match first.is_some_and(|line| line.ends_with(b"\r\n")) {
            true => "\r\n",
            false => "\n",
        }
    }
}

/// A value as it has to be written to be read as it is.
pub fn written(value: &str) -> String {
    let value = value.replace('#', r"\#");
    match value.is_empty() || value.bytes().any(line::is_space) {
        true => format!("\"{value}\""),
        false => value,
    }
}

/// A text that stays on its line and that no terminal obeys.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::new();
    for c in text.chars() {
        match c {
            '\t' => clean.push(' '),
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}
