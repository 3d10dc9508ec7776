//! As much of the ELF format as it takes to follow pointers in a shared library, and to see where
//! a program looks for its own: 64 bits, least byte first. What is damaged gives `None`.

use std::collections::HashMap;
use std::ops::Range;

/// A program or a library.
pub(super) struct Elf<'a> {
    bytes: &'a [u8],
    /// Address, offset in the file, length.
    segments: Vec<(u64, u64, u64)>,
    dynamic: Vec<(u64, u64)>,
}

// Kinds of segments and of entries in the dynamic section.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRTAB: u64 = 5;
const RELA: u64 = 7;
const RELASZ: u64 = 8;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
const RELR: u64 = 36;

/// The relocations that make a pointer into the library itself, by the processor.
const RELATIVE: [(u16, u32); 5] = [
    (62, 8),     // x86-64
    (183, 1027), // AArch64
    (243, 3),    // RISC-V
    (258, 3),    // LoongArch
    (21, 22),    // PowerPC 64
];

impl<'a> Elf<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        // 64 bits, little-endian.
        if bytes.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let table = u64_at(bytes, 0x20)?;
        let (size, count) = (u16_at(bytes, 0x36)?, u16_at(bytes, 0x38)?);
        let mut elf = Self {
            bytes,
            segments: Vec::new(),
            dynamic: Vec::new(),
        };
        for index in 0..u64::from(count) {
            let at = table.checked_add(index * u64::from(size))?;
            let (offset, address) = (u64_at(bytes, at + 8)?, u64_at(bytes, at + 16)?);
            let length = u64_at(bytes, at + 32)?;
            match u32_at(bytes, at)? {
                LOAD => elf.segments.push((address, offset, length)),
                DYNAMIC => {
                    for at in (offset..offset.checked_add(length)?).step_by(16) {
                        let entry = (u64_at(bytes, at)?, u64_at(bytes, at + 8)?);
                        elf.dynamic.push(entry);
                    }
                }
                _ => {}
            }
        }
        Some(elf)
    }

    /// The directories in which a program looks for its libraries before all others.
    pub(super) fn run_path(&self) -> Option<&'a str> {
        let offset = self.entry(RUNPATH).or_else(|| self.entry(RPATH))?;
        self.string(self.entry(STRTAB)?.checked_add(offset)?, 4096)
    }

    /// All pointers into the library itself: where they stand, and where they point.
    pub(super) fn pointers(&self) -> HashMap<u64, u64> {
        let mut pointers = HashMap::new();
        if self.entry(RELR).is_some() {
            // They stand in the data. What is no pointer does no harm: it points to no key.
            for &(address, offset, length) in &self.segments {
                let end = offset.saturating_add(length).min(self.bytes.len() as u64);
                for at in (offset..end).step_by(8) {
                    if let Some(to) = u64_at(self.bytes, at).filter(|&to| to != 0) {
                        pointers.insert(address.wrapping_add(at - offset), to);
                    }
                }
            }
        }
        self.add_relocations(&mut pointers);
        pointers
    }

    fn add_relocations(&self, pointers: &mut HashMap<u64, u64>) -> Option<()> {
        let machine = u16_at(self.bytes, 0x12)?;
        let (_, relative) = RELATIVE.into_iter().find(|&(of, _)| of == machine)?;
        let start = self.offset(self.entry(RELA)?)?;
        for at in (start..start.checked_add(self.entry(RELASZ)?)?).step_by(24) {
            if u32_at(self.bytes, at + 8)? == relative {
                pointers.insert(u64_at(self.bytes, at)?, u64_at(self.bytes, at + 16)?);
            }
        }
        Some(())
    }

    /// The word of letters and digits at an address, if one is there.
    pub(super) fn word(&self, address: u64) -> Option<&'a str> {
        let word = self.string(address, 64)?;
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(letters))
            .then_some(word)
    }

    /// Where in the file the segment is that an address is in.
    pub(super) fn segment(&self, address: u64) -> Option<Range<usize>> {
        let &(_, offset, length) = self.around(address)?;
        let start = usize::try_from(offset).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    }

    fn string(&self, address: u64, longest: usize) -> Option<&'a str> {
        let start = usize::try_from(self.offset(address)?).ok()?;
        let rest = self.bytes.get(start..)?;
        let rest = &rest[..rest.len().min(longest)];
        let end = rest.iter().position(|&byte| byte == 0)?;
        str::from_utf8(&rest[..end]).ok()
    }

    fn entry(&self, wanted: u64) -> Option<u64> {
        let found = self.dynamic.iter().find(|&&(tag, _)| tag == wanted);
        found.map(|&(_, value)| value)
    }

    /// Where in the file an address is.
    fn offset(&self, address: u64) -> Option<u64> {
        let &(start, offset, _) = self.around(address)?;
        Some(offset.wrapping_add(address - start))
    }

    fn around(&self, address: u64) -> Option<&(u64, u64, u64)> {
        let holds =
            |&&(start, _, length): &&(u64, u64, u64)| address >= start && address - start < length;
        self.segments.iter().find(holds)
    }
}

fn part<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    part(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    part(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    part(bytes, at).map(u64::from_le_bytes)
}
