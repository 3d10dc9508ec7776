//! A Python wheel that holds the binary and no Python: `pip install` puts it on the PATH.
//!
//! A static binary runs with every C library, so the wheel has the tags of both.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Artefact;
use super::content::Content;
use super::pack::File;
use super::release::{LICENCE, Release, SUMMARY};
use crate::Result;

pub fn make(content: &Content) -> Result<Artefact> {
    let release = &content.release;
    let version = release.python_version()?;
    let info = format!("straw-{version}.dist-info");
    let platforms = platforms(release);
    let mut files = vec![
        File::executable(
            format!("straw-{version}.data/scripts/straw"),
            &*content.binary,
        ),
        File::new(format!("{info}/METADATA"), metadata(content, &version)),
        File::new(format!("{info}/WHEEL"), wheel(release, &platforms)),
        File::new(format!("{info}/licenses/LICENSE-APACHE"), &*content.apache),
        File::new(format!("{info}/licenses/LICENSE-MIT"), &*content.mit),
        File::new(
            format!("{info}/licenses/THIRD-PARTY.txt"),
            &*content.notices,
        ),
    ];
    // By the standard it comes last, and has no digest of itself.
    let path = format!("{info}/RECORD");
    let mut record: String = files.iter().map(record).collect();
    record.push_str(&format!("{path},,\n"));
    files.push(File::new(path, record));
    Ok(Artefact {
        name: format!("straw-{version}-py3-none-{}.whl", platforms.join(".")),
        bytes: zip(&files, release)?,
    })
}

fn platforms(release: &Release) -> [String; 2] {
    let machine = release.machine.python;
    [
        format!("manylinux_2_17_{machine}"),
        format!("musllinux_1_1_{machine}"),
    ]
}

fn metadata(content: &Content, version: &str) -> String {
    let readme = String::from_utf8_lossy(&content.readme);
    format!(
        "\
Metadata-Version: 2.4
Name: straw
Version: {version}
Summary: {SUMMARY}
Keywords: slurm,hpc,container,configless
License-Expression: {LICENCE}
License-File: LICENSE-APACHE
License-File: LICENSE-MIT
License-File: THIRD-PARTY.txt
Classifier: Environment :: Console
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Rust
Classifier: Topic :: System :: Clustering
Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM

{readme}"
    )
}

fn wheel(release: &Release, platforms: &[String]) -> String {
    let tags: String = platforms
        .iter()
        .map(|platform| format!("Tag: py3-none-{platform}\n"))
        .collect();
    let version = &release.version;
    format!(
        "Wheel-Version: 1.0\nGenerator: straw-xtask ({version})\nRoot-Is-Purelib: false\n{tags}"
    )
}

fn record(file: &File) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&file.bytes));
    format!("{},sha256={digest},{}\n", file.path, file.bytes.len())
}

fn zip(files: &[File], release: &Release) -> Result<Vec<u8>> {
    let [year, month, day, hour, minute, second] = release.fields();
    let [month, day, hour, minute, second] =
        [month, day, hour, minute, second].map(|field| u8::try_from(field).unwrap_or(0));
    // A zip archive knows no time before 1980.
    let time = DateTime::from_date_and_time(year, month, day, hour, minute, second);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(time.unwrap_or(DateTime::DEFAULT));
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        archive.start_file(&*file.path, options.unix_permissions(file.mode))?;
        archive.write_all(&file.bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}
