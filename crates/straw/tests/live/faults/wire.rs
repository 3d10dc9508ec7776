//! What each byte of a RESPONSE_CONFIG stands for, and so what has to come of it when it is another.
//!
//! By docs/protocol.md, and not by straw's decoders, which are what is tested.

use std::collections::BTreeMap;
use std::fmt;

/// The files of a set: mode and content by name.
pub type Set = BTreeMap<String, (u32, Vec<u8>)>;

/// How a run of straw may end.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// With these files.
    Has(Set),
    /// With this exit code, and an error of this kind.
    Fails(u8, &'static str),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Has(set) => write!(f, "Has({:?})", set.keys()),
            Self::Fails(code, kind) => write!(f, "Fails({code}, {kind})"),
        }
    }
}

use Verdict::{Fails, Has};

/// The kinds of errors.
pub const BROKEN_OFF: Verdict = Fails(3, "reply-broken-off");
const NOT_SLURM: Verdict = Fails(5, "not-slurmctld");
const MALFORMED: Verdict = Fails(8, "reply-malformed");

/// What a byte is part of; where it is one of several, which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Length,
    Version,
    Flags,
    Type,
    BodyLength,
    Counts,
    Family,
    Plugin,
    Authentication,
    Exists(String),
    Execute(String),
    Name(String, usize),
    Content(String, usize),
    /// Whether there is a file of this name, and there is none.
    Absent(String),
    /// What is said of a file that is not there, and the index of a message.
    Unread,
    /// Lengths and terminators within the body.
    Body,
}

/// What has a place of its own at version 36.
const FIXED: [&str; 11] = [
    "slurm.conf",
    "acct_gather.conf",
    "cgroup.conf",
    "cgroup_allowed_devices_file.conf",
    "ext_sensors.conf",
    "gres.conf",
    "knl_cray.conf",
    "knl_generic.conf",
    "plugstack.conf",
    "topology.conf",
    "job_container.conf",
];

/// What comes of a set at version 36: there is no room for included files.
pub fn oldest(set: &Set) -> Set {
    let files = set
        .iter()
        .filter(|(name, _)| FIXED.contains(&name.as_str()));
    files
        .map(|(name, file)| (name.clone(), file.clone()))
        .collect()
}

/// Versions of which header and body look the same have the same number; those from 3 on have the
/// newer header.
fn form(version: u16) -> u8 {
    match version {
        ..0x2400 => 0,
        0x2400..0x2500 => 1,
        0x2500..0x2600 => 2,
        0x2600..0x2800 => 3,
        _ => 4,
    }
}

/// A whole reply, with its length in front.
pub struct Reply {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

impl Reply {
    /// # Panics
    ///
    /// Where it is no reply with files.
    pub fn new(bytes: &[u8]) -> Self {
        let mut reply = Self {
            bytes: bytes.to_vec(),
            parts: Vec::new(),
        };
        reply.take(4, &Part::Length);
        let version = reply.u16();
        reply.take(2, &Part::Version);
        let authenticated = reply.u16() & 0x40 == 0;
        reply.take(2, &Part::Flags);
        if version < 0x2600 {
            reply.take(2, &Part::Unread);
        }
        assert_eq!(reply.u16(), 2016, "files expected");
        reply.take(2, &Part::Type);
        reply.take(4, &Part::BodyLength);
        reply.take(4, &Part::Counts);
        assert_eq!(reply.u16(), 0, "no address expected");
        reply.take(2, &Part::Family);
        if authenticated {
            assert_eq!(reply.u32(), 102, "auth/jwt expected");
            reply.take(4, &Part::Plugin);
            reply.take(8, &Part::Authentication);
        }
        if version < 0x2500 {
            for name in FIXED {
                reply.text(|at| Part::Content(name.to_owned(), at));
            }
        } else {
            let files = reply.u32();
            reply.take(4, &Part::Body);
            for _ in 0..files {
                reply.file(version >= 0x2800);
            }
        }
        reply.take(4, &Part::Body);
        assert_eq!(reply.parts.len(), bytes.len(), "all of it is known");
        reply
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The version in its header.
    fn version(&self) -> u16 {
        u16::from_be_bytes([self.bytes[4], self.bytes[5]])
    }

    fn take(&mut self, count: usize, part: &Part) {
        for _ in 0..count {
            self.parts.push(part.clone());
        }
    }

    fn u16(&self) -> u16 {
        let at = self.parts.len();
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u32(&self) -> u32 {
        let at = self.parts.len();
        u32::from_be_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    fn file(&mut self, has_execute: bool) {
        // Its name is needed before its turn comes.
        let begin = self.parts.len();
        let flags = 1 + usize::from(has_execute);
        let length = self.bytes[begin + flags + 3] as usize;
        let name = begin + flags + 4;
        let name = &self.bytes[name..name + length - 1];
        let name = String::from_utf8(name.to_vec()).expect("a name in ASCII");
        if self.bytes[begin] == 0 {
            self.take(1, &Part::Absent(name));
            self.take(flags - 1, &Part::Unread);
            self.text(|_| Part::Unread);
            return self.text(|_| Part::Unread);
        }
        self.take(1, &Part::Exists(name.clone()));
        if has_execute {
            self.take(1, &Part::Execute(name.clone()));
        }
        self.text(|at| Part::Name(name.clone(), at));
        self.text(|at| Part::Content(name.clone(), at));
    }

    fn text(&mut self, part: impl Fn(usize) -> Part) {
        let length = self.u32() as usize;
        self.take(4, &Part::Body);
        for at in 0..length.saturating_sub(1) {
            self.parts.push(part(at));
        }
        if length > 0 {
            self.take(1, &Part::Body);
        }
    }

    fn begin(&self, part: &Part) -> usize {
        let found = self.parts.iter().position(|other| other == part);
        found.expect("a part that there is")
    }

    /// What it brings of a set.
    pub fn of(&self, set: &Set) -> Set {
        match self.version() {
            ..0x2500 => oldest(set),
            _ => set.clone(),
        }
    }

    /// How straw has to end that gets this reply, which brings `set`, with some bits of one byte
    /// the other way round.
    pub fn flipped(&self, at: usize, bits: u8, set: &Set) -> Vec<Verdict> {
        let was = self.bytes[at];
        let byte = was ^ bits;
        let mut bytes = self.bytes.clone();
        bytes[at] = byte;
        let field = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        let same = || vec![Has(set.clone())];
        let changed = |change: &dyn Fn(&mut Set)| {
            let mut set = set.clone();
            change(&mut set);
            vec![Has(set)]
        };
        match &self.parts[at] {
            Part::Length => vec![match field(0) as usize {
                _ if matches!(bytes[..2], [0x15 | 0x16, 3]) => Fails(7, "tls-answer"),
                ..20 | 0x4000_0001.. => NOT_SLURM,
                0x0400_0001.. => Fails(8, "reply-too-large"),
                length if length > self.len() - 4 => BROKEN_OFF,
                _ => NOT_SLURM,
            }],
            Part::Version => {
                let version = u16::from_be_bytes([bytes[4], bytes[5]]);
                match (form(self.version()), form(version)) {
                    (own, other) if own == other => same(),
                    // Another header.
                    (3.., ..3) | (..3, 3..) | (_, 0) => vec![NOT_SLURM],
                    _ => vec![MALFORMED],
                }
            }
            Part::Flags if at == 7 && bits & 0x40 != 0 => vec![NOT_SLURM],
            Part::Flags | Part::Unread => same(),
            Part::Type => vec![Fails(8, "reply-unexpected")],
            Part::BodyLength | Part::Counts | Part::Authentication => vec![NOT_SLURM],
            Part::Family => match field(self.begin(&Part::Family) - 2) & 0xffff {
                // An address takes the place of six bytes of the section, and what is left is passed
                // over as that of a plugin that nobody knows.
                2 if self.parts.contains(&Part::Plugin) => same(),
                2 | 10 => vec![NOT_SLURM],
                _ => same(),
            },
            // The section of another plugin is passed over, unless it is known to be shorter.
            Part::Plugin => match field(self.begin(&Part::Plugin)) {
                101 | 103 => vec![NOT_SLURM],
                _ => same(),
            },
            Part::Absent(name) => changed(&|set| {
                set.insert(name.clone(), (0o644, Vec::new()));
            }),
            Part::Exists(_) if byte != 0 => same(),
            Part::Exists(name) if name == "slurm.conf" => vec![Fails(8, "no-slurm-conf")],
            Part::Exists(name) => changed(&|set| drop(set.remove(name))),
            Part::Execute(name) => changed(&|set| {
                if let Some((mode, _)) = set.get_mut(name) {
                    *mode = 0o755;
                }
            }),
            Part::Name(name, place) => {
                let mut other = name.clone().into_bytes();
                other[*place] = byte;
                let renamed = String::from_utf8(other).ok().map(|other| {
                    changed(&|set| {
                        let file = set.remove(name);
                        set.extend(file.map(|file| (other.clone(), file)));
                    })
                });
                let refused = vec![Fails(8, "dangerous-name")];
                match byte {
                    _ if !(0x20..0x7f).contains(&byte) => refused,
                    _ if name == "slurm.conf" => {
                        [refused, vec![Fails(8, "no-slurm-conf")]].concat()
                    }
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => {
                        renamed.unwrap_or_default()
                    }
                    // What else is printed may be refused or not.
                    _ => [refused, renamed.unwrap_or_default()].concat(),
                }
            }
            Part::Content(name, place) => changed(&|set| {
                if let Some((_, content)) = set.get_mut(name) {
                    content[*place] = byte;
                }
            }),
            Part::Body => vec![MALFORMED],
        }
    }
}
