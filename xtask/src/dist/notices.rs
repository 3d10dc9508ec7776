//! The licences of all that is linked into the binary, most of which ask to be given along with it:
//! of the crates, of Rust's standard library, and of the system's glibc and libgcc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::crates::Crate;
use crate::Result;
use crate::binary;

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
It is linked with Rust's standard library (MIT OR Apache-2.0, by the Rust Project Developers; its tables of
Unicode: Unicode-3.0) and, of the system that it was built on, with glibc (LGPL-2.1-or-later) and libgcc
(GPL-3.0-or-later WITH GCC-exception-3.1), both unchanged. Of the standard library's own crates addr2line,
adler2, memchr, miniz_oxide and object may be had under MIT as well; the compiler comes without their texts.

Who wants another glibc in it, as section 6 of the LGPL has it, builds it anew: the whole source of straw, with
what builds it, may be had under MIT OR Apache-2.0, and Cargo.lock names the crates. The source of glibc is
where that system's packages come from.
";

/// The licence of glibc, which systems keep at different places, or not at all.
const LGPL: &str = include_str!("licenses/LGPL-2.1.txt");

/// What Debian and Ubuntu say of the glibc that is linked in: there are parts under licences of their own.
const GLIBC: &str = "/usr/share/doc/libc6-dev/copyright";

/// All of them in one text, each licence once.
pub fn of(crates: &[Crate]) -> Result<String> {
    let mut text = BEGINNING.to_owned();
    let mut licences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates.iter().filter(|one| one.checksum.is_some()) {
        text.push_str(&format!(
            "  {} {}: {}\n",
            one.name, one.version, one.licence
        ));
        let mut texts = BTreeSet::new();
        gather(&one.place, &mut texts)?;
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
    for (name, licence) in standard_library()?.into_iter().chain(system()?) {
        licences.entry(licence).or_default().push(name);
    }
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

/// The licences in a crate's source: beside its manifest, and further below those of code that it
/// has taken in. What is there for tests alone is not in the binary.
fn gather(directory: &Path, texts: &mut BTreeSet<String>) -> Result {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let kind = entry.file_type()?;
        if kind.is_dir() && !["TESTS", "BENCHES", "EXAMPLES"].contains(&&*name) {
            gather(&entry.path(), texts)?;
        }
        // A module `license.rs` is code.
        let is_text = !name.ends_with(".RS");
        if kind.is_file() && is_text && NAMES.iter().any(|begin| name.starts_with(begin)) {
            texts.insert(read(&entry.path())?);
        }
    }
    Ok(())
}

/// A file's text, as it is the same text in others.
fn read(path: &Path) -> Result<String> {
    let bytes =
        fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(trimmed(&String::from_utf8_lossy(&bytes)))
}

fn trimmed(text: &str) -> String {
    let text = text.replace('\r', "");
    text.trim_matches('\n').trim_end().to_owned()
}

/// The licences of what is linked of Rust's standard library, and the crates that have them. The
/// compiler comes with a page about all systems; what is there for this one alone counts.
fn standard_library() -> Result<Vec<(String, String)>> {
    let sysroot = PathBuf::from(binary::sysroot()?);
    let documents = sysroot.join("share/doc/rust");
    let mut linked = BTreeSet::new();
    let libraries = sysroot
        .join("lib/rustlib")
        .join(binary::host()?)
        .join("lib");
    for entry in fs::read_dir(libraries)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((name, _)) = name
            .strip_prefix("lib")
            .and_then(|name| name.rsplit_once('-'))
        {
            linked.insert(name.to_owned());
        }
    }
    let unicode = read(&documents.join("licenses/Unicode-3.0.txt"))?;
    let mut licences = vec![("Rust's standard library".to_owned(), unicode)];
    for (name, texts) in of_page(&read(&documents.join("COPYRIGHT-library.html"))?) {
        if linked.contains(&name.replace('-', "_")) {
            let name = format!("{name} (in Rust's standard library)");
            licences.extend(texts.into_iter().map(|text| (name.clone(), text)));
        }
    }
    if licences.len() < 3 {
        return Err("the page with the licences of Rust's standard library names none".into());
    }
    Ok(licences)
}

/// The crates of that page, `<h3>📦 NAME-VERSION</h3>`, each with the texts below it (`<pre>`).
fn of_page(page: &str) -> Vec<(&str, Vec<String>)> {
    let crates = page.split("<h3>").skip(1).filter_map(|part| {
        let (title, rest) = part.split_once("</h3>")?;
        // A version has dashes of its own behind its first number.
        let title = title.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let (at, _) = title
            .match_indices('-')
            .find(|(at, _)| title[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
        let texts = rest.split("<pre>").skip(1).filter_map(|part| {
            let (text, _) = part.split_once("</pre>")?;
            Some(trimmed(&unescaped(text)))
        });
        Some((&title[..at], texts.collect()))
    });
    crates.collect()
}

/// A text without HTML's escapes, as far as that page has them.
fn unescaped(text: &str) -> String {
    [
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (escape, c)| text.replace(escape, c))
}

/// The licences of what is linked of the system.
fn system() -> Result<Vec<(String, String)>> {
    let mut licences = vec![("glibc".to_owned(), trimmed(LGPL))];
    if Path::new(GLIBC).exists() {
        licences.push((
            "glibc, as the system has it".to_owned(),
            read(GLIBC.as_ref())?,
        ));
    }
    let exception = "share/doc/rust/licenses/GCC-exception-3.1.txt";
    let exception = read(&Path::new(&binary::sysroot()?).join(exception))?;
    licences.push(("libgcc".to_owned(), exception));
    Ok(licences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::crates;

    #[test]
    fn every_crate_has_its_licence_in_it_and_none_stands_twice() {
        let crates = crates::in_binary("x86_64-unknown-linux-gnu").unwrap();
        let text = of(&crates).unwrap();
        for part in [
            "ring",
            "Brian Smith",
            "Apache License",
            "rustls 0.23",
            // Below the directory of ring.
            "the fiat-crypto authors",
            "hashbrown (in Rust's standard library)",
            "UNICODE LICENSE V3",
            "GNU LESSER GENERAL PUBLIC LICENSE",
            "GCC RUNTIME LIBRARY EXCEPTION",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("windows-sys"), "{text}");
        let apache = text
            .matches("TERMS AND CONDITIONS FOR USE, REPRODUCTION")
            .count();
        assert!(apache < crates.len() / 3, "{apache} times");
    }

    #[test]
    fn the_page_of_the_standard_library_is_read() {
        let page = "<h3>📦 a-b-1.0+c-2.0</h3><pre>\nAn &#34;A&#34; &#38; B\n  </pre><p><pre>C</pre>\
                    <h3>📦 d-0.1</h3>";
        let texts = vec!["An \"A\" & B".to_owned(), "C".to_owned()];
        assert_eq!(of_page(page), [("a-b", texts), ("d", Vec::new())]);
    }
}
