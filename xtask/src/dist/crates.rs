//! The crates that are in the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use toml::Table;

use crate::Result;
use crate::binary;
use crate::run::{capture, cargo, root};

/// A crate in the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// As SPDX writes it.
    pub licence: String,
    /// The SHA-256 of what the registry has; none for the crates of this repository.
    pub checksum: Option<String>,
    /// The directory of its source.
    pub place: PathBuf,
    /// The [keys](Self::key) of the crates that it needs.
    pub needs: BTreeSet<String>,
}

impl Crate {
    /// What tells it from the others.
    pub fn key(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// Those in the binary for this machine, straw itself among them. What works at build time alone
/// (macros, build scripts, and what these need) is not.
pub fn in_binary(triple: &str) -> Result<Vec<Crate>> {
    let tree = capture(&mut cargo(&[
        "tree",
        "--package=slurm-straw",
        "--edges=normal,no-proc-macro",
        "--prefix=depth",
        "--no-dedupe",
        "--format= {p}|{l}",
        "--target",
        triple,
    ]))?;
    let mut crates = read_tree(&tree)?;
    let lock: Table = fs::read_to_string(root().join("Cargo.lock"))?.parse()?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    for package in packages.into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(|value| value.as_str());
        let (name, version) = (text("name"), text("version"));
        let key = format!(
            "{}@{}",
            name.unwrap_or_default(),
            version.unwrap_or_default()
        );
        if let Some(one) = crates.get_mut(&key) {
            one.checksum = text("checksum").map(str::to_owned);
        }
    }
    for package in binary::packages(triple)? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let manifest = PathBuf::from(text("manifest_path"));
        if let Some(one) = crates.get_mut(&format!("{}@{}", text("name"), text("version"))) {
            one.place = manifest.parent().map(PathBuf::from).unwrap_or_default();
        }
    }
    Ok(crates.into_values().collect())
}

/// How many there are with those that work at build time: macros and what they need.
pub fn with_macros() -> Result<usize> {
    let tree = capture(&mut cargo(&[
        "tree",
        "--package=slurm-straw",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ]))?;
    let crates: BTreeSet<_> = tree
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    Ok(crates.len())
}

/// Reads `DEPTH NAME vVERSION …|LICENCE`, a line for each crate below the one that needs it.
fn read_tree(tree: &str) -> Result<BTreeMap<String, Crate>> {
    let mut crates = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let unknown = || format!("cargo tree says what nobody understands: {line}");
        let (depth, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let depth: usize = depth.parse()?;
        let (package, licence) = rest.split_once('|').ok_or_else(unknown)?;
        let mut words = package.split(' ');
        let (name, version) = (words.next(), words.next());
        let (Some(name), Some(version)) = (name, version.and_then(|text| text.strip_prefix('v')))
        else {
            return Err(unknown().into());
        };
        let one = Crate {
            name: name.to_owned(),
            version: version.to_owned(),
            // As crates wrote it before there was SPDX.
            licence: licence.replace('/', " OR "),
            checksum: None,
            place: PathBuf::new(),
            needs: BTreeSet::new(),
        };
        let key = one.key();
        crates.entry(key.clone()).or_insert(one);
        above.truncate(depth);
        if let Some(parent) = above.last().and_then(|parent| crates.get_mut(parent)) {
            parent.needs.insert(key.clone());
        }
        above.push(key);
    }
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_says_who_needs_whom() {
        let tree = "\
0 straw v0.1.0 (/a/b)|MIT OR Apache-2.0
1 nix v0.30.1|MIT
2 libc v0.2.1|MIT/Apache-2.0
1 libc v0.2.1|MIT/Apache-2.0
";
        let crates = read_tree(tree).unwrap();
        let needs = |key: &str| {
            crates[key]
                .needs
                .iter()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(needs("straw@0.1.0"), "libc@0.2.1 nix@0.30.1");
        assert_eq!(needs("nix@0.30.1"), "libc@0.2.1");
        assert_eq!(needs("libc@0.2.1"), "");
        assert_eq!(crates["libc@0.2.1"].licence, "MIT OR Apache-2.0");
    }
}
