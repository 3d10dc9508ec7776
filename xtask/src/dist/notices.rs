//! The licences of the crates in the binary, most of which ask to be given along with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::crates::Crate;
use crate::Result;

/// What the names of such files begin with, in capital letters.
const NAMES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

const BEGINNING: &str = "\
The program straw has these crates in it, each under its own licence. Their texts follow.

";

const SYSTEM: &str = "
It is linked with Rust's standard library (MIT OR Apache-2.0) and, of the system that it was built on, with
glibc (LGPL-2.1-or-later) and libgcc (GPL-3.0-or-later WITH GCC-exception-3.1). Who wants another glibc in
it builds it anew from its source.
";

/// All of them in one text, each licence once.
pub fn of(crates: &[Crate]) -> Result<String> {
    let mut text = BEGINNING.to_owned();
    let mut licences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates.iter().filter(|one| one.checksum.is_some()) {
        text.push_str(&format!(
            "  {} {}: {}\n",
            one.name, one.version, one.licence
        ));
        let texts = texts(&one.place)?;
        if texts.is_empty() {
            return Err(
                format!("{} {} has no file with its licence", one.name, one.version).into(),
            );
        }
        for licence in texts {
            licences.entry(licence).or_default().push(one.name.clone());
        }
    }
    text.push_str(SYSTEM);
    let mut licences: Vec<_> = licences.into_iter().collect();
    licences.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (licence, mut of) in licences {
        of.dedup();
        let line = "-".repeat(80);
        text.push_str(&format!(
            "\n{line}\n{}\n{line}\n\n{licence}\n",
            of.join(", ")
        ));
    }
    Ok(text)
}

/// The licences that stand beside a crate's manifest.
fn texts(place: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace('\r', "");
            texts.push(text.trim_matches('\n').trim_end().to_owned());
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::crates;

    #[test]
    fn every_crate_has_its_licence_in_it_and_none_stands_twice() {
        let crates = crates::in_binary("x86_64-unknown-linux-gnu").unwrap();
        let text = of(&crates).unwrap();
        for part in ["ring", "Brian Smith", "Apache License", "rustls 0.23"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let apache = text
            .matches("TERMS AND CONDITIONS FOR USE, REPRODUCTION")
            .count();
        assert!(apache < crates.len() / 3, "{apache} times");
    }
}
