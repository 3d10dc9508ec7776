//! What the container's libslurm can be asked without running it: its release, the keys that it
//! reads, and whether a word stands in it.
//!
//! The keys stand in tables: arrays of equal records, each of which begins with a pointer to a
//! key. One table is for slurm.conf as such, others for lines of nodes and of partitions (seen in
//! 22.05, 24.11 and 26.05: docs/adapting.md, "What a library knows"). The pointers are found among
//! the library's relocations. Where that fails, for another kind of processor or linker, a key is
//! taken for known where it stands as a string.
//!
//! No more of the file is read than the part with the keys and the relocations: half of it is code.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use memchr::{memchr, memchr_iter};

use super::elf::{Elf, Source};

/// As many words as this are nobody's configuration; then none is taken for unknown.
const MOST_WORDS: usize = 4096;

/// The kinds of lines that have keys of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config::adapt) enum Table {
    /// A line of slurm.conf.
    Top,
    /// What stands behind `NodeName`.
    Node,
    /// What stands behind `PartitionName`.
    Partition,
}

impl Table {
    /// A key that this table has and no other, in every release.
    fn anchor(self) -> &'static str {
        match self {
            Self::Top => "SlurmctldHost",
            Self::Node => "NodeHostname",
            Self::Partition => "AllowAccounts",
        }
    }

    /// The fewest keys that it can have. There are 24 for nodes in 22.05.
    fn fewest(self) -> usize {
        match self {
            Self::Top => 100,
            Self::Node | Self::Partition => 15,
        }
    }
}

/// The sizes of a record, in pointers: 40 bytes in 22.05, 56 in 24.11 and 26.05.
const SIZES: std::ops::RangeInclusive<u64> = 3..=12;

/// A key is pointed at from one or two places, and a table has some hundreds.
const MOST_ANCHORS: usize = 16;
const MOST_KEYS: u64 = 4096;

/// What is known of a libslurm.
#[derive(Debug)]
pub(in crate::config::adapt) struct Library {
    /// The part of the file that holds its strings.
    strings: Vec<u8>,
    tables: Tables,
    version: Option<(u16, u16)>,
}

impl Library {
    pub(super) fn new<S: Source + ?Sized>(file: &S) -> Self {
        let (tables, strings) = match Elf::parse(file).and_then(|elf| tables(&elf)) {
            Some(found) => found,
            None => {
                let all = file.read(0..file.length()).unwrap_or_default();
                (BTreeMap::new(), all)
            }
        };
        // The other strings are where the keys are.
        Self {
            version: version(&strings),
            tables,
            strings: strings.into_owned(),
        }
    }

    /// Its release: `(24, 11)`.
    pub(in crate::config::adapt) fn version(&self) -> Option<(u16, u16)> {
        self.version
    }

    /// Whether it is older than a release. One that does not say is taken for a new one.
    pub(in crate::config::adapt) fn before(&self, release: (u16, u16)) -> bool {
        self.version.is_some_and(|version| version < release)
    }

    /// Whether it is of a release or newer. One that does not say is taken for a new one, though
    /// not for one that never comes.
    pub(in crate::config::adapt) fn since(&self, release: (u16, u16)) -> bool {
        self.version.unwrap_or((99, 0)) >= release
    }

    /// Which of these keys it does not know in such a line.
    pub(in crate::config::adapt) fn unknown(
        &self,
        table: Table,
        keys: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let missing = |known: &BTreeSet<String>| {
            let known = |key: &&String| !known.contains(&key.to_ascii_lowercase());
            keys.iter().filter(known).cloned().collect()
        };
        match self.tables.get(&table) {
            Some(known) => missing(known),
            None => self.absent(keys),
        }
    }

    /// Which of these words do not stand in it as strings. A linker lets `Port` be the end of
    /// `SlurmdPort`, so one that is the end of another counts as standing there.
    pub(in crate::config::adapt) fn absent(&self, words: &BTreeSet<String>) -> BTreeSet<String> {
        if words.len() > MOST_WORDS {
            return BTreeSet::new();
        }
        let mut missing = words.clone();
        let mut by_last: BTreeMap<u8, Vec<&String>> = BTreeMap::new();
        for word in words {
            if let Some(last) = word.bytes().last() {
                let last = last.to_ascii_lowercase();
                by_last.entry(last).or_default().push(word);
            }
        }
        let mut interesting = [false; 256];
        for &last in by_last.keys() {
            interesting[usize::from(last)] = true;
            interesting[usize::from(last.to_ascii_uppercase())] = true;
        }
        for at in memchr_iter(0, &self.strings) {
            let before = at
                .checked_sub(1)
                .and_then(|before| self.strings.get(before));
            let Some(&last) = before.filter(|&&last| interesting[usize::from(last)]) else {
                continue;
            };
            for word in by_last
                .get(&last.to_ascii_lowercase())
                .into_iter()
                .flatten()
            {
                let start = at.checked_sub(word.len());
                let found = start.is_some_and(|start| {
                    self.strings[start..at].eq_ignore_ascii_case(word.as_bytes())
                });
                if found {
                    missing.remove(*word);
                }
            }
        }
        missing
    }
}

/// The tables that can be found, with their keys in lower case.
type Tables = BTreeMap<Table, BTreeSet<String>>;

/// The tables, and the part of the file that the keys are in.
fn tables<'a, S: Source + ?Sized>(elf: &Elf<'a, S>) -> Option<(Tables, Cow<'a, [u8]>)> {
    let (address, strings) = elf.parts().into_iter().find_map(|part| {
        let bytes = elf.bytes(part)?;
        places(&bytes, Table::Top).next()?;
        Some((part.address, bytes))
    })?;
    let pointers = elf.pointers();
    let key_at = |at: u64| {
        let found = pointers.binary_search_by_key(&at, |&(at, _)| at).ok()?;
        word(&strings, pointers[found].1.checked_sub(address)?)
    };
    let mut found = Tables::new();
    for table in [Table::Top, Table::Node, Table::Partition] {
        let anchors: Vec<_> = places(&strings, table)
            .map(|at| address.wrapping_add(at))
            .take(MOST_ANCHORS)
            .collect();
        let longest = pointers
            .iter()
            .filter(|(_, to)| anchors.contains(to))
            .take(MOST_ANCHORS)
            .flat_map(|&(anchor, _)| SIZES.map(move |words| (anchor, words * 8)))
            .map(|(anchor, size)| {
                let before = (1..MOST_KEYS).map_while(|n| key_at(anchor.checked_sub(n * size)?));
                let from = (0..MOST_KEYS).map_while(|n| key_at(anchor.checked_add(n * size)?));
                before
                    .chain(from)
                    .map(str::to_ascii_lowercase)
                    .collect::<BTreeSet<_>>()
            })
            .max_by_key(BTreeSet::len)
            .filter(|keys| keys.len() >= table.fewest());
        if let Some(keys) = longest {
            found.insert(table, keys);
        }
    }
    Some((found, strings))
}

/// Where a table's anchor stands among the strings, perhaps as the end of another one.
fn places(strings: &[u8], table: Table) -> impl Iterator<Item = u64> {
    let anchor = table.anchor().as_bytes();
    // Capitals are rarer than other letters, and those that begin a string are the most common.
    let capital = anchor.iter().rposition(u8::is_ascii_uppercase).unwrap_or(0);
    memchr_iter(anchor[capital], strings)
        .filter_map(move |at| {
            let at = at.checked_sub(capital)?;
            let rest = strings[at..].strip_prefix(anchor)?;
            (rest.first() == Some(&0)).then_some(at)
        })
        .map(|at| at as u64)
}

/// The word of letters and digits at a place among the strings, if one is there.
fn word(strings: &[u8], at: u64) -> Option<&str> {
    const LONGEST: usize = 64;
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let rest = &rest[..rest.len().min(LONGEST)];
    let word = &rest[..memchr(0, rest)?];
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_one = word.first().is_some_and(u8::is_ascii_alphabetic) && word.iter().all(letters);
    str::from_utf8(word).ok().filter(|_| is_one)
}

/// The release: a string like `24.11.5` or `25.05.0-0rc1` by itself.
fn version(bytes: &[u8]) -> Option<(u16, u16)> {
    let digits = |range: &[u8]| range.iter().all(u8::is_ascii_digit);
    // The dots are rare enough.
    for at in memchr_iter(b'.', bytes) {
        if at < 3 || bytes.len() < at + 5 {
            continue;
        }
        let text = &bytes[at - 3..at + 5];
        if text[0] == 0
            && digits(&text[1..3])
            && digits(&text[4..6])
            && text[6] == b'.'
            && digits(&text[7..8])
        {
            let number = |text: &[u8]| str::from_utf8(text).ok()?.parse().ok();
            return Some((number(&text[1..3])?, number(&text[4..6])?));
        }
    }
    None
}

#[cfg(test)]
impl Library {
    /// One with these tables.
    pub(in crate::config::adapt) fn fake(
        version: (u16, u16),
        tables: &[(Table, &[&str])],
        strings: &[&str],
    ) -> Self {
        let lower = |keys: &&[&str]| keys.iter().map(|key| key.to_ascii_lowercase()).collect();
        Self {
            strings: format!("\0{}\0", strings.join("\0")).into_bytes(),
            tables: tables
                .iter()
                .map(|(table, keys)| (*table, lower(keys)))
                .collect(),
            version: Some(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the file's parts are, in the file and in memory.
    const STRINGS: usize = 0x100;
    const TABLE: usize = 0x1000;
    const RELOCATIONS: usize = 0x4000;
    const DYNAMIC: usize = 0x8000;
    const END: usize = 0x8040;

    /// A library for x86-64 with tables of these keys, 56 bytes a record.
    fn library(tables: &[Vec<String>]) -> Vec<u8> {
        let mut file = vec![0; END];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01");
        put(0x12, &62_u16.to_le_bytes());
        put(0x20, &0x40_u64.to_le_bytes());
        put(0x36, &56_u16.to_le_bytes());
        put(0x38, &2_u16.to_le_bytes());
        for (n, (kind, at, length)) in [(1_u32, 0, END), (2, DYNAMIC, END - DYNAMIC)]
            .into_iter()
            .enumerate()
        {
            let header = 0x40 + 56 * n;
            put(header, &kind.to_le_bytes());
            put(header + 8, &(at as u64).to_le_bytes());
            put(header + 16, &(at as u64).to_le_bytes());
            put(header + 32, &(length as u64).to_le_bytes());
        }
        let mut string = STRINGS;
        put(string, b"\x0024.11.5\0other.12.3\0");
        string += 32;
        let (mut record, mut relocation) = (TABLE, RELOCATIONS);
        for keys in tables {
            for key in keys {
                put(string, key.as_bytes());
                put(relocation, &(record as u64).to_le_bytes());
                put(relocation + 8, &8_u32.to_le_bytes());
                put(relocation + 16, &(string as u64).to_le_bytes());
                string += key.len() + 1;
                record += 56;
                relocation += 24;
            }
            record += 56;
        }
        let size = relocation - RELOCATIONS;
        for (n, (tag, value)) in [(7_u64, RELOCATIONS), (8, size)].into_iter().enumerate() {
            put(DYNAMIC + 16 * n, &tag.to_le_bytes());
            put(DYNAMIC + 16 * n + 8, &(value as u64).to_le_bytes());
        }
        file
    }

    fn keys(anchor: &str, count: usize, prefix: &str) -> Vec<String> {
        let mut keys: Vec<_> = (0..count).map(|n| format!("{prefix}{n}x")).collect();
        keys.insert(count / 2, anchor.to_owned());
        keys
    }

    fn words(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn tables_are_told_apart() {
        let file = library(&[
            keys("NodeHostname", 20, "Node"),
            keys("SlurmctldHost", 110, "Top"),
        ]);
        let library = Library::new(file.as_slice());
        assert_eq!(library.version(), Some((24, 11)));
        assert!(library.before((25, 5)) && !library.before((24, 11)));
        let asked = words(&["Top0x", "tOP109X", "Node1x", "New"]);
        assert_eq!(
            library.unknown(Table::Top, &asked),
            words(&["Node1x", "New"])
        );
        assert_eq!(
            library.unknown(Table::Node, &asked),
            words(&["Top0x", "tOP109X", "New"])
        );
        // No table of partitions: then any string that ends so will do.
        let asked = words(&["Node1x", "ode1X", "0x", "Nod", "New"]);
        assert_eq!(
            library.unknown(Table::Partition, &asked),
            words(&["Nod", "New"])
        );
    }

    #[test]
    fn what_is_no_library() {
        let library = Library::new(b"\0SlurmUser\0Port".as_slice());
        assert_eq!(library.version(), None);
        let asked = words(&["User", "Port"]);
        assert_eq!(library.unknown(Table::Top, &asked), words(&["Port"]));
        assert!(!library.before((22, 5)) && library.since((26, 5)));
    }

    fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    // Each of these once took minutes, or all memory.

    #[test]
    fn a_dynamic_section_many_times_over() {
        let mut file = library(&[]);
        let length: u64 = 16 << 20;
        put(&mut file, 0x40, &2_u32.to_le_bytes());
        put(&mut file, 0x40 + 32, &length.to_le_bytes());
        // As many headers as can be, all of them the first.
        put(&mut file, 0x36, &0_u16.to_le_bytes());
        put(&mut file, 0x38, &u16::MAX.to_le_bytes());
        file.resize(length as usize, 1);
        Library::new(file.as_slice());
    }

    #[test]
    fn a_segment_many_times_over() {
        let mut file = library(&[]);
        let (whole, dynamic) = (
            file[0x40..0x40 + 56].to_vec(),
            file[0x78..0x78 + 56].to_vec(),
        );
        put(&mut file, 0x20, &(END as u64).to_le_bytes());
        put(&mut file, 0x38, &u16::MAX.to_le_bytes());
        put(&mut file, DYNAMIC, &36_u64.to_le_bytes());
        file.extend(dynamic);
        for _ in 1..u16::MAX {
            file.extend(&whole);
        }
        for header in file[END..].chunks_exact_mut(56) {
            if header[0] == 1 {
                header[32..40].copy_from_slice(&(16_u64 << 20).to_le_bytes());
            }
        }
        file.resize(16 << 20, 1);
        Library::new(file.as_slice());
    }

    #[test]
    fn a_key_many_times_over() {
        const COUNT: usize = 200_000;
        let mut file = library(&[keys("SlurmctldHost", 0, "")]);
        put(&mut file, DYNAMIC + 8, &(END as u64).to_le_bytes());
        put(&mut file, DYNAMIC + 24, &(24 * COUNT as u64).to_le_bytes());
        put(&mut file, 0x40 + 32, &u64::MAX.to_le_bytes());
        for n in 0..COUNT {
            let key = STRINGS as u64 + 32;
            for word in [0x10_0000 + 8 * n as u64, 8, key] {
                file.extend(word.to_le_bytes());
            }
        }
        Library::new(file.as_slice());
    }

    proptest! {
        #[test]
        fn damage_does_no_harm(
            damage in proptest::collection::vec((0..END, any::<u8>()), 0..20),
            early in proptest::collection::vec((0_usize..0x100, any::<u8>()), 0..5),
            length in 0..END,
        ) {
            let mut file = library(&[keys("SlurmctldHost", 110, "Top")]);
            for (at, byte) in damage.into_iter().chain(early) {
                file[at] = byte;
            }
            file.truncate(END - length / 4);
            let library = Library::new(file.as_slice());
            library.unknown(Table::Top, &words(&["New"]));
        }
    }
}
