//! The binary: built for release, and held against what was promised of it.

use std::path::PathBuf;

use crate::Result;
use crate::run::{capture, cargo, check, root};

/// The largest that it may become, in bytes.
const LARGEST: usize = 4 << 20;

/// Builds straw and returns its path.
pub fn straw() -> Result<PathBuf> {
    build("straw", "straw")
}

/// Builds a program of a package for release, and returns its path.
pub fn build(package: &str, name: &str) -> Result<PathBuf> {
    let host = host()?;
    check(&mut cargo(&[
        "build",
        "--release",
        "--package",
        package,
        "--bin",
        name,
    ]))?;
    Ok(target().join(host).join("release").join(name))
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// The triple of this machine.
pub fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = capture(std::process::Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV names no host")?.to_owned())
}

/// Builds straw, and holds it against what was promised: static, small, and without glibc's
/// resolver, which loads modules of a foreign glibc.
pub fn gates() -> Result<PathBuf> {
    let path = straw()?;
    let bytes = std::fs::read(&path)?;
    if has_interpreter(&bytes).ok_or("the binary is no ELF file of 64 bits")? {
        return Err("the binary is not static: is crt-static in .cargo/config.toml?".into());
    }
    let resolver = b"nsswitch.conf";
    if bytes
        .windows(resolver.len())
        .any(|window| window == resolver)
    {
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
}
