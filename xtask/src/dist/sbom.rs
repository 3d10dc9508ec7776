//! What is in the binary, as a bill of materials in CycloneDX's JSON.

use std::process::Command;

use serde_json::{Value, json};

use super::Artefact;
use super::content::Content;
use super::crates::Crate;
use super::pack::sha256;
use super::release::{LICENCE, SUMMARY};
use crate::Result;
use crate::binary;
use crate::run::capture;

pub fn make(content: &Content) -> Result<Artefact> {
    let release = &content.release;
    let (straw, others): (Vec<&Crate>, Vec<&Crate>) = content
        .crates
        .iter()
        .partition(|one| one.name == "slurm-straw");
    let straw = straw.first().ok_or("straw is not among its own crates")?;
    let system = system(&release.triple)?;
    let mut components: Vec<Value> = others.into_iter().map(component).collect();
    components.extend(system.iter().map(|(_, component)| component.clone()));
    let mut dependencies: Vec<Value> = content
        .crates
        .iter()
        .map(|one| json!({"ref": one.key(), "dependsOn": one.needs}))
        .collect();
    for dependency in &mut dependencies {
        if dependency["ref"] == straw.key() {
            let needs = dependency["dependsOn"].as_array_mut();
            needs
                .into_iter()
                .for_each(|needs| needs.extend(system.iter().map(|(key, _)| json!(key))));
        }
    }
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": release.rfc3339(),
            "component": {
                "type": "application",
                "bom-ref": straw.key(),
                "name": "straw",
                "version": straw.version,
                "description": SUMMARY,
                "purl": purl("cargo", &straw.name, &straw.version),
                "licenses": [{"expression": LICENCE}],
                "hashes": [{"alg": "SHA-256", "content": sha256(&content.binary)}],
                "properties": [{"name": "straw:target", "value": release.triple}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(Artefact {
        name: format!("{}.cdx.json", release.stem()),
        bytes: format!("{bom:#}\n").into_bytes(),
    })
}

fn component(one: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": one.key(),
        "name": one.name,
        "version": one.version,
        "purl": purl("cargo", &one.name, &one.version),
        "licenses": [{"expression": one.licence}],
    });
    if let Some(checksum) = &one.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// What is linked in and is no crate of Cargo.lock's, with what it is known by.
fn system(triple: &str) -> Result<Vec<(String, Value)>> {
    let mut parts = vec![(
        "rust-std",
        binary::of_rustc("release")?,
        "MIT OR Apache-2.0",
    )];
    if triple.ends_with("-gnu") {
        let glibc = capture(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        let glibc = glibc.trim().trim_start_matches("glibc ").to_owned();
        parts.push(("glibc", glibc, "LGPL-2.1-or-later"));
        let gcc = capture(Command::new("cc").arg("-dumpfullversion"))?;
        let licence = "GPL-3.0-or-later WITH GCC-exception-3.1";
        parts.push(("libgcc", gcc.trim().to_owned(), licence));
    }
    let known = parts.into_iter().map(|(name, version, licence)| {
        let key = format!("{name}@{version}");
        let component = json!({
            "type": "library",
            "bom-ref": key,
            "name": name,
            "version": version,
            "purl": purl("generic", name, &version),
            "licenses": [{"expression": licence}],
        });
        (key, component)
    });
    Ok(known.collect())
}

/// A package, as everybody can look it up. A plus sign in a version is a character to be escaped.
fn purl(kind: &str, name: &str, version: &str) -> String {
    format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"))
}
