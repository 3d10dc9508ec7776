//! What is given to others, made into `target/dist`: the same bytes from the same commit, in whatever
//! directory it is built, with the same compilers (rustc and `cc`) and the same glibc and libgcc,
//! which are linked in.
//!
//! ```text
//! release ─▶ content ─▶ tarball, deb, wheel, image, sbom ─▶ SHA256SUMS
//! what, for  binary, manual      one file each
//! whom, of   pages, completions,
//! when       texts, crates
//! ```

mod check;
mod content;
mod crates;
mod deb;
mod image;
mod man;
mod notices;
mod pack;
mod release;
mod sbom;
mod tarball;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::binary;
use crate::run::say;

pub use check::run as check;
use content::Content;
use release::Release;

/// A file that is given to others.
pub struct Artefact {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub fn run() -> Result {
    say("building straw");
    let program = binary::gates()?;
    let directory = make(&program)?;
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        sizes.push((entry.path(), entry.metadata()?.len()));
    }
    sizes.sort();
    for (path, size) in sizes {
        println!("{size:>9} bytes  {}", path.display());
    }
    let size = fs::metadata(&program)?.len();
    let mib = size as f64 / f64::from(1 << 20);
    println!("the binary: {size} bytes ({mib:.2} MiB), static");
    let (all, inside) = (crates::with_macros()?, crates::in_binary(&binary::host()?)?);
    println!(
        "crates in it, straw and slurm-protocol included: {}; with macros, which work at build time: {all}",
        inside.len()
    );
    Ok(())
}

/// Makes all artefacts with this binary, twice, and returns their directory. What was in it before
/// is gone.
pub fn make(binary: &Path) -> Result<PathBuf> {
    say("making the artefacts, twice");
    let artefacts = artefacts(binary)?;
    for (one, other) in artefacts.iter().zip(self::artefacts(binary)?) {
        if one.name != other.name || one.bytes != other.bytes {
            return Err(format!("{} is not the same when it is made again", one.name).into());
        }
    }
    let directory = binary::target().join("dist");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    for artefact in &artefacts {
        fs::write(directory.join(&artefact.name), &artefact.bytes)?;
    }
    fs::write(directory.join(SUMS), sums(&artefacts))?;
    Ok(directory)
}

/// The file with the digests of all others.
const SUMS: &str = "SHA256SUMS";

/// The image alone, with this binary.
pub fn image(binary: &Path) -> Result<Artefact> {
    image::make(&Content::of(binary, Release::here()?)?)
}

fn artefacts(binary: &Path) -> Result<Vec<Artefact>> {
    let content = Content::of(binary, Release::here()?)?;
    let makers = [
        tarball::make,
        deb::make,
        wheel::make,
        image::make,
        sbom::make,
    ];
    makers.iter().map(|make| make(&content)).collect()
}

/// As `sha256sum --check` reads it.
fn sums(artefacts: &[Artefact]) -> String {
    let mut artefacts: Vec<&Artefact> = artefacts.iter().collect();
    artefacts.sort_by(|one, other| one.name.cmp(&other.name));
    let line = |one: &&Artefact| format!("{}  {}\n", pack::sha256(&one.bytes), one.name);
    artefacts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{Cursor, Read as _};

    use flate2::read::GzDecoder;

    use super::*;

    /// Content with another program than straw, for a machine and of a time that are not these.
    fn content() -> Content {
        let release = release::tests::some("aarch64-unknown-linux-gnu");
        Content::of("/bin/sh".as_ref(), release).unwrap()
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        assert_eq!(bytes[4..8], [0; 4], "a time");
        let mut plain = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
        plain
    }

    /// The names in an archive, each of which has to be root's, and of the release's time.
    fn names(archive: &[u8], release: &Release) -> BTreeSet<String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let (header, name) = (
                entry.header(),
                String::from_utf8(entry.path_bytes().into_owned()),
            );
            let name = name.unwrap();
            assert_eq!(header.mtime().unwrap(), release.time, "{name}");
            assert_eq!(
                (header.uid().unwrap(), header.gid().unwrap()),
                (0, 0),
                "{name}"
            );
            let executable = header.mode().unwrap() & 0o111 != 0;
            let program = name.ends_with('/') || name.ends_with("bin/straw") || name == "straw";
            assert_eq!(executable, program, "{name}");
            name
        });
        entries.collect()
    }

    #[test]
    fn names_say_what_for() {
        let content = content();
        let names: Vec<String> = [
            tarball::make,
            deb::make,
            wheel::make,
            image::make,
            sbom::make,
        ]
        .iter()
        .map(|make| make(&content).unwrap().name)
        .collect();
        assert_eq!(
            names,
            [
                "straw-0.2.0-aarch64-unknown-linux-gnu.tar.gz",
                "straw_0.2.0-1_arm64.deb",
                "straw-0.2.0-py3-none-manylinux_2_17_aarch64.musllinux_1_1_aarch64.whl",
                "straw-0.2.0-aarch64-unknown-linux-gnu.oci.tar",
                "straw-0.2.0-aarch64-unknown-linux-gnu.cdx.json",
            ]
        );
    }

    #[test]
    fn archives_have_the_time_of_the_release() {
        let content = content();
        let release = &content.release;
        let tarball = names(&gunzip(&tarball::make(&content).unwrap().bytes), release);
        let top = release.stem();
        assert!(tarball.contains(&format!("{top}/bin/straw")), "{tarball:?}");

        let deb = deb::make(&content).unwrap().bytes;
        let mut archive = ar::Archive::new(&*deb);
        let mut members = Vec::new();
        while let Some(member) = archive.next_entry() {
            let mut member = member.unwrap();
            assert_eq!(member.header().mtime(), release.time);
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            members.push(bytes);
        }
        let control = names(&gunzip(&members[1]), release);
        assert_eq!(
            control.iter().collect::<Vec<_>>(),
            ["./", "./control", "./md5sums"]
        );
        let data = names(&gunzip(&members[2]), release);
        assert!(
            data.contains("./usr/share/man/man1/straw-exec.1.gz"),
            "{data:?}"
        );

        let wheel = wheel::make(&content).unwrap().bytes;
        let mut archive = zip::ZipArchive::new(Cursor::new(wheel)).unwrap();
        for at in 0..archive.len() {
            let time = archive.by_index(at).unwrap().last_modified().unwrap();
            assert_eq!((time.year(), time.month(), time.day()), (2000, 2, 29));
        }

        let image = names(&image::make(&content).unwrap().bytes, release);
        assert!(
            image.contains("index.json") && image.contains("manifest.json"),
            "{image:?}"
        );
    }

    /// What a reader of the image goes by: each blob is what its name says.
    #[test]
    fn the_image_refers_to_what_is_in_it() {
        let image = image::make(&content()).unwrap().bytes;
        let mut archive = tar::Archive::new(&*image);
        let mut files = std::collections::BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(name, bytes);
        }
        let json =
            |name: &str| -> serde_json::Value { serde_json::from_slice(&files[name]).unwrap() };
        let blob = |descriptor: &serde_json::Value| {
            let digest = descriptor["digest"]
                .as_str()
                .unwrap()
                .trim_start_matches("sha256:");
            let path = format!("blobs/sha256/{digest}");
            assert_eq!(pack::sha256(&files[&path]), digest);
            assert_eq!(descriptor["size"], files[&path].len());
            path
        };
        let manifest = json(&blob(&json("index.json")["manifests"][0]));
        let (config, layer) = (blob(&manifest["config"]), blob(&manifest["layers"][0]));
        let of_docker = &json("manifest.json")[0];
        assert_eq!(of_docker["Config"], *config);
        assert_eq!(of_docker["Layers"][0], *layer);
        let config = json(&config);
        assert_eq!(config["architecture"], "arm64");
        assert_eq!(
            config["config"]["Labels"]["org.opencontainers.image.revision"],
            "c0ffee"
        );
        let digest = pack::sha256(&gunzip(&files[&layer]));
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{digest}"));
    }
}
