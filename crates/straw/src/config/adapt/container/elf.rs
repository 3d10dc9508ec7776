//! As much of the ELF format as it takes to follow pointers in a shared library, and to see where
//! a program looks for its own: 64 bits, least byte first. What is damaged gives `None`.
//!
//! Of a file no more is read than what is asked for: most of a library is code.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use memchr::memchr;

/// Where bytes come from: a file, or memory.
pub(in crate::config::adapt) trait Source {
    /// How many there are.
    fn length(&self) -> u64;

    /// Some of them; none where they are not all there.
    fn read(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>>;
}

impl Source for File {
    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        if range.end > self.length() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
        self.read_exact_at(&mut bytes, range.start).ok()?;
        Some(Cow::Owned(bytes))
    }
}

impl Source for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.get(start..end).map(Cow::Borrowed)
    }
}

/// A program or a library.
pub(super) struct Elf<'a, S: ?Sized> {
    source: &'a S,
    machine: u16,
    segments: Vec<Segment>,
    /// Where in memory the tables for exceptions begin, if there are any.
    frames: Option<u64>,
    dynamic: Vec<(u64, u64)>,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) address: u64,
    offset: u64,
    length: u64,
    pub(super) is_code: bool,
}

impl Segment {
    fn holds(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.length
    }

    /// Its first bytes, so many of those it has, and the rest.
    fn split(self, at: u64) -> (Self, Self) {
        let rest = Self {
            address: self.address + at,
            offset: self.offset.wrapping_add(at),
            length: self.length - at,
            ..self
        };
        (Self { length: at, ..self }, rest)
    }
}

/// A pointer: where it stands, and where it points.
pub(super) type Pointer = (u64, u64);

// Kinds of segments and of entries in the dynamic section.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const FRAMES: u32 = 0x6474_e550;
const EXECUTABLE: u32 = 1;
const STRTAB: u64 = 5;
const RELA: u64 = 7;
const RELASZ: u64 = 8;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
const RELR: u64 = 36;

/// The length of an entry in the table of segments.
const PROGRAM_HEADER: usize = 56;

// A library of Slurm's has about ten segments, 500 bytes of dynamic section and 4,000 pointers. In a
// file that somebody made to take all time and memory each can be there many times over.
const MOST_SEGMENTS: usize = 64;
const LARGEST_DYNAMIC: u64 = 16 * 1024;
const MOST_POINTERS: usize = 1 << 20;

/// The relocations that make a pointer into the library itself, by the processor.
const RELATIVE: [(u16, u32); 5] = [
    (62, 8),     // x86-64
    (183, 1027), // AArch64
    (243, 3),    // RISC-V
    (258, 3),    // LoongArch
    (21, 22),    // PowerPC 64
];

impl<'a, S: Source + ?Sized> Elf<'a, S> {
    pub(super) fn parse(source: &'a S) -> Option<Self> {
        let header = source.read(0..64)?;
        // 64 bits, little-endian.
        if !header.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let table = u64_at(&header, 0x20)?;
        let size = usize::from(u16_at(&header, 0x36)?).max(PROGRAM_HEADER);
        let count = usize::from(u16_at(&header, 0x38)?).min(MOST_SEGMENTS);
        let table = source.read(table..table.checked_add((size * count) as u64)?)?;
        let mut elf = Self {
            source,
            machine: u16_at(&header, 0x12)?,
            segments: Vec::new(),
            frames: None,
            dynamic: Vec::new(),
        };
        for header in table.chunks_exact(size) {
            let segment = Segment {
                address: u64_at(header, 16)?,
                offset: u64_at(header, 8)?,
                length: u64_at(header, 32)?,
                is_code: u32_at(header, 4)? & EXECUTABLE != 0,
            };
            match u32_at(header, 0)? {
                LOAD => elf.segments.push(segment),
                FRAMES => elf.frames = Some(segment.address),
                DYNAMIC => {
                    let length = segment.length.min(LARGEST_DYNAMIC);
                    let segment = Segment { length, ..segment };
                    for entry in elf.bytes(segment)?.chunks_exact(16) {
                        elf.dynamic.push((u64_at(entry, 0)?, u64_at(entry, 8)?));
                    }
                }
                _ => {}
            }
        }
        Some(elf)
    }

    /// The directories in which a program looks for its libraries before all others.
    pub(super) fn run_path(&self) -> Option<String> {
        const LONGEST: u64 = 4096;
        let offset = self.entry(RUNPATH).or_else(|| self.entry(RPATH))?;
        let start = self.offset(self.entry(STRTAB)?.checked_add(offset)?)?;
        let end = start.checked_add(LONGEST)?.min(self.source.length());
        let text = self.source.read(start..end)?;
        let text = &text[..memchr(0, &text)?];
        str::from_utf8(text).ok().map(str::to_owned)
    }

    /// The parts that are loaded, the likelier first to hold what a program says: not those with the
    /// names of functions, nor those with code. What is before the tables for exceptions, which are as
    /// large, is a part by itself.
    pub(super) fn parts(&self) -> Vec<Segment> {
        let names = self.entry(STRTAB);
        let mut parts = Vec::new();
        for &segment in &self.segments {
            match self.frames.filter(|&frames| segment.holds(frames)) {
                None => parts.push(segment),
                Some(frames) => {
                    let (before, rest) = segment.split(frames - segment.address);
                    parts.extend([before, rest]);
                }
            }
        }
        parts.sort_by_key(|part| (part.is_code, names.is_some_and(|names| part.holds(names))));
        parts
    }

    /// What is in a part of the file.
    pub(super) fn bytes(&self, segment: Segment) -> Option<Cow<'a, [u8]>> {
        let Segment { offset, length, .. } = segment;
        self.source.read(offset..offset.checked_add(length)?)
    }

    /// All pointers into the library itself, by where they stand.
    pub(super) fn pointers(&self) -> Vec<Pointer> {
        let mut pointers = Vec::new();
        if self.entry(RELR).is_some() {
            // They stand in the data. What is no pointer does no harm: it points to no key.
            for segment in self.segments.iter().filter(|segment| !segment.is_code) {
                for (at, word) in
                    (0..).zip(self.bytes(*segment).unwrap_or_default().chunks_exact(8))
                {
                    if pointers.len() == MOST_POINTERS {
                        break;
                    }
                    if let Some(to) = u64_at(word, 0).filter(|&to| to != 0) {
                        pointers.push((segment.address.wrapping_add(at * 8), to));
                    }
                }
            }
        }
        // The last of several for one place is the one that counts.
        self.add_relocations(&mut pointers);
        pointers.reverse();
        pointers.sort_by_key(|&(at, _)| at);
        pointers.dedup_by_key(|&mut (at, _)| at);
        pointers
    }

    fn add_relocations(&self, pointers: &mut Vec<Pointer>) -> Option<()> {
        let (_, relative) = RELATIVE.into_iter().find(|&(of, _)| of == self.machine)?;
        let start = self.offset(self.entry(RELA)?)?;
        let table = self
            .source
            .read(start..start.checked_add(self.entry(RELASZ)?)?)?;
        for entry in table.chunks_exact(24).take(MOST_POINTERS) {
            if u32_at(entry, 8)? == relative {
                pointers.push((u64_at(entry, 0)?, u64_at(entry, 16)?));
            }
        }
        Some(())
    }

    fn entry(&self, wanted: u64) -> Option<u64> {
        let found = self.dynamic.iter().find(|&&(tag, _)| tag == wanted);
        found.map(|&(_, value)| value)
    }

    /// Where in the file an address is.
    fn offset(&self, address: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.holds(address))?;
        Some(segment.offset.wrapping_add(address - segment.address))
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    part(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    part(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    part(bytes, at).map(u64::from_le_bytes)
}
