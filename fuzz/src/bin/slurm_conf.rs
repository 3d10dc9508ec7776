//! Files in Slurm's syntax, edited as the rules and a person do it: what is read afterwards is what
//! was meant, and all other lines are as they were, byte for byte.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use straw::fuzzing::{Conf, Kind, Pair, Statement};

#[derive(Arbitrary, Debug)]
enum Piece {
    Pair(u8, Value),
    Include(Value),
    Spank(Value),
    Continue,
    End,
    EndOfWindows,
    Space,
    Comment(Value),
    Escape,
    Quote,
    Equals,
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Word(u8),
    List(u8, u8),
    Quoted(u8, u8),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Change {
    CommentOut(u8),
    Replace(u8, u8, String),
    Remove(u8, Vec<u8>),
    Append(u8, u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    pieces: Vec<Piece>,
    changes: Vec<Change>,
    reason: String,
}

const KEYS: [&str; 6] = [
    "NodeName",
    "SlurmUser",
    "plugindir",
    "SlurmctldHost",
    "A",
    "Key_9.x",
];
const WORDS: [&str; 6] = ["a", "/usr/lib", "none", "x#y", "a,b", "ctl1(10.0.0.1)"];

impl Value {
    fn put(&self, into: &mut Vec<u8>) {
        let word = |choice: u8| WORDS[usize::from(choice) % WORDS.len()].as_bytes();
        match self {
            Self::Word(one) => into.extend(word(*one)),
            Self::List(one, other) => into.extend([word(*one), b":", word(*other)].concat()),
            Self::Quoted(one, other) => {
                into.extend([b"\"", word(*one), b" ", word(*other), b"\""].concat());
            }
            Self::Text(text) => into.extend(text.as_bytes()),
            Self::Bytes(bytes) => into.extend(bytes),
        }
    }
}

fn file(pieces: &[Piece]) -> Vec<u8> {
    let mut file = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Pair(key, value) => {
                file.extend(KEYS[usize::from(*key) % KEYS.len()].as_bytes());
                file.push(b'=');
                value.put(&mut file);
            }
            Piece::Include(value) => {
                file.extend(b"Include ");
                value.put(&mut file);
            }
            Piece::Spank(value) => {
                file.extend(b"required ");
                value.put(&mut file);
            }
            Piece::Comment(value) => {
                file.push(b'#');
                value.put(&mut file);
            }
            Piece::Continue => file.extend(b"\\\n"),
            Piece::End => file.push(b'\n'),
            Piece::EndOfWindows => file.extend(b"\r\n"),
            Piece::Space => file.push(b' '),
            Piece::Escape => file.push(b'\\'),
            Piece::Quote => file.push(b'"'),
            Piece::Equals => file.push(b'='),
            Piece::Bytes(bytes) => file.extend(bytes),
        }
    }
    file
}

/// What a statement says, wherever it stands.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Include(Vec<u8>),
    Pairs(Vec<(String, String)>),
    Other(Vec<u8>),
}

fn said(statement: &Statement<'_>) -> Option<Said> {
    match statement.kind() {
        Kind::Nothing => None,
        Kind::Include(file) => Some(Said::Include(file.clone())),
        Kind::Pairs(_) => {
            let text = |pair: Pair<'_>| {
                let (key, value) = (pair.key_text(), pair.value_text());
                (key.into_owned(), value.into_owned())
            };
            Some(Said::Pairs(statement.pairs().map(text).collect()))
        }
        _ => Some(Said::Other(statement.joined().into_owned())),
    }
}

fn all_said(conf: &Conf<'_>) -> Vec<Said> {
    conf.statements().iter().filter_map(said).collect()
}

/// A real file, or one that is likely to be read in a way of its own.
fn input(data: &[u8]) -> Option<(Vec<u8>, Vec<Change>, String)> {
    let (&choice, rest) = data.split_first()?;
    if choice % 2 == 0 {
        let Input {
            pieces,
            changes,
            reason,
        } = Input::arbitrary(&mut Unstructured::new(rest)).ok()?;
        return Some((file(&pieces), changes, reason));
    }
    let changes = vec![
        Change::Replace(choice, choice, "/usr/lib#x y".to_owned()),
        Change::Remove(choice / 2, vec![choice / 3, 1]),
        Change::CommentOut(choice / 4),
        Change::Append(choice, choice),
    ];
    Some((rest.to_vec(), changes, "why".to_owned()))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((bytes, changes, reason)) = input(data) else {
        return;
    };
    let mut conf = Conf::parse(&bytes);
    assert_eq!(conf.to_bytes(), bytes);
    for change in &changes {
        let before: Vec<_> = conf.statements().iter().map(said).collect();
        let count = before.len();
        if count == 0 && !matches!(change, Change::Append(..)) {
            continue;
        }
        let (index, meant) = apply(&mut conf, change, &before, &reason);
        let after: Vec<_> = conf.statements().iter().map(said).collect();
        let (Some(left), Some(now)) = (before.get(..index), after.get(..index)) else {
            panic!("no statement {index}");
        };
        assert_eq!(left, now);
        // What cannot be written so is a comment at least.
        assert!(
            after[index] == meant || after[index].is_none(),
            "{change:?}: {:?}",
            after[index]
        );
        let behind = |list: &[Option<Said>]| list.get(index + 1..).unwrap_or_default().to_vec();
        assert_eq!(behind(&before), behind(&after));
        let written = conf.to_bytes();
        assert_eq!(
            all_said(&Conf::parse(&written)),
            all_said(&conf),
            "read again"
        );
    }
    untouched(&bytes, &conf.to_bytes(), changes.len());
});

/// Makes a change; which statement it is about, and what that is to say.
fn apply(
    conf: &mut Conf<'_>,
    change: &Change,
    before: &[Option<Said>],
    reason: &str,
) -> (usize, Option<Said>) {
    let chosen = |choice: u8| usize::from(choice) % before.len();
    match change {
        Change::CommentOut(choice) => {
            conf.comment_out(chosen(*choice), reason);
            (chosen(*choice), None)
        }
        Change::Replace(choice, pair, value) => {
            let index = chosen(*choice);
            let mut meant = before[index].clone();
            if let Some(Said::Pairs(pairs)) = &mut meant {
                let pair = usize::from(*pair) % pairs.len();
                pairs[pair].1.clone_from(value);
                conf.replace(index, pair, value, reason);
            }
            (index, meant)
        }
        Change::Remove(choice, which) => {
            let index = chosen(*choice);
            let mut meant = before[index].clone();
            if let Some(Said::Pairs(pairs)) = &mut meant {
                let mut which: Vec<_> = which
                    .iter()
                    .map(|one| usize::from(*one) % pairs.len())
                    .collect();
                which.sort_unstable();
                which.dedup();
                if !which.is_empty() {
                    conf.remove(index, &which, reason);
                    for pair in which.iter().rev() {
                        pairs.remove(*pair);
                    }
                }
                if pairs.is_empty() {
                    meant = None;
                }
            }
            (index, meant)
        }
        Change::Append(key, value) => {
            let key = KEYS[usize::from(*key) % KEYS.len()];
            let value = WORDS[usize::from(*value) % WORDS.len()];
            let line = format!("{key}={}", value.replace('#', "\\#"));
            conf.append(line.as_bytes(), reason);
            let pair = (key.to_owned(), value.to_owned());
            (before.len(), Some(Said::Pairs(vec![pair])))
        }
    }
}

/// Every line of the original is still there, as it was, or behind a mark of straw's.
fn untouched(original: &[u8], written: &[u8], changes: usize) {
    let mut lines = written.split_inclusive(|byte| *byte == b'\n');
    for line in original.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let found = lines.any(|other| {
            let other = other.strip_suffix(b"\n").unwrap_or(other);
            other == bare || (other.starts_with(b"# straw: ") && other.ends_with(bare))
        });
        assert!(found, "{} is gone", line.escape_ascii());
    }
    if changes == 0 {
        assert_eq!(original, written);
    }
}
