//! A Debian package, made without any tool of Debian's.
//!
//! ```text
//! debian-binary      the version of the format
//! control.tar.gz     ./control, ./md5sums
//! data.tar.gz        the files
//! ```

use md5::{Digest as _, Md5};

use super::Artefact;
use super::content::Content;
use super::pack::{Directories, File, gzip, hex, tar};
use super::release::{LICENCE, MAINTAINER, SUMMARY};
use crate::Result;

/// What lintian says and why it is as it is meant to be.
const OVERRIDES: &str = "\
# Taken for a library, since it has no interpreter: it is static, to run in containers of every C
# library, and in those of none.
straw: shared-library-lacks-prerequisites [usr/bin/straw]
# It comes from its makers, not from Debian's archive.
straw: initial-upload-closes-no-bugs [usr/share/doc/straw/changelog.Debian.gz:1]
";

pub fn make(content: &Content) -> Result<Artefact> {
    let release = &content.release;
    let data = data(content)?;
    let sums: String = data
        .iter()
        .map(|file| {
            let sum = hex(&Md5::digest(&file.bytes));
            format!("{sum}  {}\n", file.path.trim_start_matches("./"))
        })
        .collect();
    let control = [
        File::new("./control", control(content, &data)),
        File::new("./md5sums", sums),
    ];
    let time = release.time;
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        (
            "control.tar.gz",
            gzip(&tar(&control, time, Directories::Named)?)?,
        ),
        ("data.tar.gz", gzip(&tar(&data, time, Directories::Named)?)?),
    ];
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = ar::Header::new(name.into(), bytes.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(time);
        archive.append(&header, &*bytes)?;
    }
    Ok(Artefact {
        name: format!(
            "straw_{}_{}.deb",
            release.debian_version(),
            release.machine.debian
        ),
        bytes: archive.into_inner()?,
    })
}

/// The files, in the order of their names.
fn data(content: &Content) -> Result<Vec<File>> {
    let doc = "./usr/share/doc/straw";
    let mut files = vec![
        File::executable("./usr/bin/straw", &*content.binary),
        File::new(format!("{doc}/README.md.gz"), gzip(&content.readme)?),
        File::new(
            format!("{doc}/THIRD-PARTY.txt.gz"),
            gzip(content.notices.as_bytes())?,
        ),
        File::new(format!("{doc}/changelog.gz"), gzip(&content.changelog)?),
        File::new(
            format!("{doc}/changelog.Debian.gz"),
            gzip(changelog(content).as_bytes())?,
        ),
        File::new(format!("{doc}/copyright"), copyright(content)),
        File::new("./usr/share/lintian/overrides/straw", OVERRIDES),
    ];
    files.extend(content.completions("./usr", "vendor-completions"));
    for (name, page) in &content.man {
        let path = format!("./usr/share/man/man1/{name}.gz");
        files.push(File::new(path, gzip(page)?));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn control(content: &Content, data: &[File]) -> String {
    // In KiB, each file rounded up.
    let size: usize = data
        .iter()
        .map(|file| file.bytes.len().div_ceil(1024))
        .sum();
    let (version, machine) = (content.release.debian_version(), content.release.machine);
    let architecture = machine.debian;
    format!(
        "\
Package: straw
Version: {version}
Architecture: {architecture}
Maintainer: {MAINTAINER}
Installed-Size: {size}
Suggests: slurm-client
Section: admin
Priority: optional
Multi-Arch: foreign
Description: {SUMMARY}
 straw fetches the configuration of a Slurm cluster from slurmctld,
 authenticated by a token (JWT), a munge socket or a SACK socket, so that
 a container needs no copied slurm.conf, no key of the cluster and no
 daemon.
 .
 It keeps the configuration fresh, adapts it to the container, and stands
 in front of Slurm's commands, so that they just work. It talks to every
 release from 20.11 on, over TCP or TLS.
"
    )
}

fn changelog(content: &Content) -> String {
    let (release, version) = (&content.release, content.release.debian_version());
    format!(
        "straw ({version}) unstable; urgency=medium\n\n  * Release {}; see changelog.gz.\n\n -- \
         {MAINTAINER}  {}\n",
        release.version,
        release.rfc2822(),
    )
}

/// In the format of DEP 5. straw's own licences, and those of what is linked into the binary.
fn copyright(content: &Content) -> String {
    let mit = String::from_utf8_lossy(&content.mit);
    let copyright = mit.lines().find(|line| line.starts_with("Copyright"));
    let copyright = copyright
        .unwrap_or_default()
        .trim_start_matches("Copyright (c) ");
    let (_, terms) = mit.split_once(copyright).unwrap_or(("", &mit));
    let terms: String = terms
        .trim()
        .lines()
        .map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }))
        .collect();
    let crates: String = content
        .crates
        .iter()
        .map(|one| format!("  {} {}: {}\n", one.name, one.version, one.licence))
        .collect();
    let licence = LICENCE.replace("MIT OR", "Expat or");
    format!(
        "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: straw
Upstream-Contact: {MAINTAINER}
Comment: These crates are linked into the binary, each under its own licence, whose
 texts are in THIRD-PARTY.txt.gz:
{crates}\
 So are Rust's standard library (MIT OR Apache-2.0) and, of the system that it
 was built on, glibc (LGPL-2.1-or-later) and libgcc (GPL-3.0-or-later WITH
 GCC-exception-3.1).

Files: *
Copyright: {copyright}
License: {licence}

License: Expat
{terms}
License: Apache-2.0
 On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.
"
    )
}
