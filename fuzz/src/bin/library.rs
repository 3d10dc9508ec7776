//! The files of a container that straw looks into: Slurm's library, and a command that says where that
//! is. Both are whatever the container has there.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use straw::config::ConfigSet;
use straw::config::adapt::{ByHand, Container, adapt};
use straw_fuzz::{File, reply, scratch};

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Made {
        machine: u8,
        segments: Vec<(u8, Number, Number, Number)>,
        dynamic: Vec<(u8, Number)>,
        relocations: Vec<(bool, Number, Number)>,
        words: Vec<u8>,
        /// Records of one size, in a row, each pointing at a word.
        tables: Vec<(u8, Vec<u8>)>,
        damage: Vec<(u16, u8)>,
        as_command: bool,
    },
}

/// A number in the file that is likely to mean something there.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Part(u8),
    Small(u16),
    Any(u64),
}

const HEADERS: usize = 0x40;
const DYNAMIC: usize = 0x800;
const STRINGS: usize = 0xa00;
const RELOCATIONS: usize = 0x1000;
const TABLES: usize = 0x4000;
const END: usize = 0x8000;

const WORDS: [&str; 8] = [
    "SlurmctldHost",
    "NodeHostname",
    "AllowAccounts",
    "24.11.5",
    "ClusterName",
    "Contain",
    "x",
    "Port",
];

impl Number {
    fn value(self) -> u64 {
        match self {
            Self::Part(choice) => [0, HEADERS, DYNAMIC, STRINGS, RELOCATIONS, TABLES, END]
                [usize::from(choice) % 7] as u64,
            Self::Small(number) => number.into(),
            Self::Any(number) => number,
        }
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn made(input: &Input) -> Vec<u8> {
    let Input::Made {
        machine,
        segments,
        dynamic,
        relocations,
        words,
        tables,
        damage,
        ..
    } = input
    else {
        return Vec::new();
    };
    let mut file = vec![0; END];
    let f = &mut file;
    put(f, 0, b"\x7fELF\x02\x01");
    let machine: u16 = [62, 183, 243, 258, 21][usize::from(*machine) % 5];
    put(f, 0x12, &machine.to_le_bytes());
    put(f, 0x20, &(HEADERS as u64).to_le_bytes());
    put(f, 0x36, &56_u16.to_le_bytes());
    put(f, 0x38, &(segments.len() as u16 + 2).to_le_bytes());
    let whole = (1, 0, 0, END as u64);
    let entries = (2, DYNAMIC as u64, DYNAMIC as u64, 0x200);
    let others = segments.iter().map(|(kind, at, address, length)| {
        (
            u32::from(*kind),
            at.value(),
            address.value(),
            length.value(),
        )
    });
    for (n, (kind, at, address, length)) in [whole, entries].into_iter().chain(others).enumerate() {
        let header = HEADERS + 56 * n;
        put(f, header, &kind.to_le_bytes());
        for (field, value) in [(8, at), (16, address), (32, length)] {
            put(f, header + field, &value.to_le_bytes());
        }
    }
    let mut string = STRINGS + 1;
    let mut strings = Vec::new();
    let mut entries = vec![(5, STRINGS as u64), (7, RELOCATIONS as u64)];
    for choice in words {
        let word = WORDS[usize::from(*choice) % WORDS.len()];
        put(f, string, word.as_bytes());
        strings.push(string as u64);
        string += word.len() + 1;
    }
    let kind: u32 = [8, 1027, 3, 3, 22][usize::from(machine as u8) % 5];
    let mut pointers: Vec<(u32, u64, u64)> = Vec::new();
    let mut record = TABLES;
    for (size, keys) in tables {
        for key in keys {
            let to = strings
                .get(usize::from(*key) % strings.len().max(1))
                .copied();
            pointers.push((8, record as u64, to.unwrap_or(0)));
            put(f, record, &to.unwrap_or(0).to_le_bytes());
            record += 8 * usize::from(size % 14);
        }
    }
    for (relative, at, to) in relocations {
        pointers.push((if *relative { 8 } else { kind }, at.value(), to.value()));
    }
    for (n, (kind, at, to)) in pointers.iter().enumerate() {
        put(f, RELOCATIONS + 24 * n, &at.to_le_bytes());
        put(f, RELOCATIONS + 24 * n + 8, &kind.to_le_bytes());
        put(f, RELOCATIONS + 24 * n + 16, &to.to_le_bytes());
    }
    entries.push((8, 24 * pointers.len() as u64));
    entries.extend(
        dynamic
            .iter()
            .map(|(tag, value)| (u64::from(*tag), value.value())),
    );
    for (n, (tag, value)) in entries.into_iter().enumerate().take(31) {
        put(f, DYNAMIC + 16 * n, &tag.to_le_bytes());
        put(f, DYNAMIC + 16 * n + 8, &value.to_le_bytes());
    }
    for (at, byte) in damage {
        let at = usize::from(*at) % END;
        f[at] = *byte;
    }
    file
}

fn root() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = scratch().join("root");
        for directory in ["usr/lib/slurm", "usr/bin", "opt"] {
            fs::create_dir_all(root.join(directory)).expect("it can be made");
        }
        root
    })
}

fn set() -> &'static ConfigSet {
    static SET: OnceLock<ConfigSet> = OnceLock::new();
    SET.get_or_init(|| {
        let content =
            b"ClusterName=a\nSlurmctldHost=b\nNodeName=n CPUs=1\nPartitionName=p Nodes=n\n\
            PrologFlags=Contain,X11\nUnknown=x\n";
        let file = File {
            exists: true,
            execute: false,
            name: b"slurm.conf".to_vec(),
            content: content.to_vec(),
        };
        ConfigSet::new(reply(&[file])).expect("a set")
    })
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let (bytes, as_command) = match &input {
        Input::Raw(bytes) => (bytes.clone(), false),
        Input::Made { as_command, .. } => (made(&input), *as_command),
    };
    let (library, command) = (
        root().join("usr/lib/slurm/libslurmfull.so"),
        root().join("usr/bin/sinfo"),
    );
    let (there, other) = if as_command {
        (&command, &library)
    } else {
        (&library, &command)
    };
    fs::write(there, bytes).expect("it can be written");
    let _ = fs::remove_file(other);
    let container = Container::at(root()).search_path(["/usr/bin".into()]);
    let _ = container.release();
    let _ = adapt(set(), &container, &ByHand::default());
});
