//! The binary: built for release, and held against what was promised of it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::run::{capture, cargo, check, root};

/// The largest that it may become, in bytes.
const LARGEST: usize = 4 << 20;

/// Builds straw and returns its path.
pub fn straw() -> Result<PathBuf> {
    build("slurm-straw", "straw")
}

/// Builds a program of a package for release, and returns its path. Its bytes do not depend on
/// the directories in which it is built, nor on flags in the environment, with which cargo would
/// leave out those in .cargo/config.toml.
pub fn build(package: &str, name: &str) -> Result<PathBuf> {
    let host = host()?;
    let flags: Vec<String> = places()?
        .iter()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()))
        .collect();
    let flags = format!("target.{host}.rustflags={}", serde_json::to_string(&flags)?);
    check(
        cargo(&["build", "--release", "--package", package, "--bin", name])
            .args(["--config", &flags])
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    Ok(target().join(host).join("release").join(name))
}

/// The directories whose names would stand in a binary, and what stands there in their place.
fn places() -> Result<Vec<(PathBuf, String)>> {
    let packages = packages(&host()?)?;
    // Wherever cargo's home is, and whatever stands for the registry in it.
    let crates: BTreeSet<&Path> = packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| {
            Path::new(package["manifest_path"].as_str()?)
                .ancestors()
                .nth(2)
        })
        .collect();
    let library = Path::new(&sysroot()?).join("lib/rustlib/src/rust");
    let commit = of_rustc("commit-hash")?;
    let mut places = vec![
        (root(), "/straw".to_owned()),
        (target(), "/target".to_owned()),
        (library, format!("/rustc/{commit}")),
    ];
    places.extend(
        crates
            .into_iter()
            .map(|place| (place.to_owned(), "/crates".to_owned())),
    );
    Ok(places)
}

/// All packages that anything here needs on machines of this kind, as cargo describes them.
pub fn packages(triple: &str) -> Result<Vec<Value>> {
    let mut metadata: Value = serde_json::from_str(&capture(&mut cargo(&[
        "metadata",
        "--format-version=1",
        &format!("--filter-platform={triple}"),
    ]))?)?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => Err("cargo metadata names no packages".into()),
    }
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// The triple of this machine.
pub fn host() -> Result<String> {
    of_rustc("host")
}

/// Where the compiler is, with all that comes along with it.
pub fn sysroot() -> Result<String> {
    Ok(rustc(&["--print=sysroot"])?.trim().to_owned())
}

/// What the compiler says of itself.
pub fn of_rustc(what: &str) -> Result<String> {
    let text = rustc(&["-vV"])?;
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(name, _)| *name == what);
    let (_, value) = found.ok_or_else(|| format!("rustc -vV names no {what}"))?;
    Ok(value.to_owned())
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    capture(Command::new(rustc).args(arguments))
}

/// Builds straw, and holds it against what was promised: for this machine, static, small, without
/// the names of directories here, and without glibc's resolver, which loads modules of a foreign
/// glibc.
pub fn gates() -> Result<PathBuf> {
    let path = straw()?;
    let bytes = std::fs::read(&path)?;
    let host = host()?;
    if !machine(&bytes).is_some_and(|machine| host.starts_with(machine)) {
        return Err(format!("the binary is not for {host}").into());
    }
    if has_interpreter(&bytes).ok_or("the binary is no ELF file of 64 bits")? {
        return Err("the binary is not static: is crt-static in .cargo/config.toml?".into());
    }
    for (place, _) in places()? {
        // A short name can stand in it by chance: `/src`.
        if place.components().count() < 4 {
            continue;
        }
        if has(&bytes, place.as_os_str().as_bytes()) {
            let place = place.display();
            return Err(
                format!("the binary names {place}: another place makes another binary").into(),
            );
        }
    }
    if has(&bytes, b"nsswitch.conf") {
        return Err(
            "glibc's getaddrinfo is linked in: connect to a SocketAddr, not to a name".into(),
        );
    }
    if bytes.len() > LARGEST {
        return Err(format!(
            "the binary has {} bytes, {LARGEST} are the most",
            bytes.len()
        )
        .into());
    }
    Ok(path)
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// What an ELF file runs on, as triples call it.
fn machine(elf: &[u8]) -> Option<&'static str> {
    const EM_X86_64: u16 = 62;
    const EM_AARCH64: u16 = 183;
    match u16::from_le_bytes(elf.get(18..20)?.try_into().ok()?) {
        EM_X86_64 => Some("x86_64-"),
        EM_AARCH64 => Some("aarch64-"),
        _ => None,
    }
}

/// Whether an ELF file wants a dynamic linker (a program header of type PT_INTERP).
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if elf.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let offset = u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?) as usize;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    let kinds: Option<Vec<u32>> = (0..count)
        .map(|at| {
            let at = offset + at * size;
            Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?))
        })
        .collect();
    Some(kinds?.contains(&PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert_eq!(has_interpreter(&shell), Some(true));
        // This test is static, as everything here is.
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(has_interpreter(&this), Some(false));
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
        assert_eq!(has_interpreter(b"\x7fELF\x02"), None);
    }

    #[test]
    fn the_machine_of_a_program_is_known() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(host().unwrap().starts_with(machine(&this).unwrap()));
        let mut other = this[..64].to_vec();
        other[18] = 183;
        assert_eq!(machine(&other), Some("aarch64-"));
        other[18] = 40;
        assert_eq!(machine(&other), None);
    }
}
