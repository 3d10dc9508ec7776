//! A container image with one file in it, to be copied from: `COPY --from=straw /straw …`.
//!
//! The archive is an OCI layout (`index.json`), and has the `manifest.json` of `docker save` beside
//! it, which is what `docker load` read before release 25. Both name the same blobs.

use serde_json::{Value, json};

use super::Artefact;
use super::content::Content;
use super::pack::{Directories, File, gzip, sha256, tar};
use super::release::{LICENCE, SUMMARY};
use crate::Result;

/// Where straw is in the image.
const PATH: &str = "straw";

pub fn make(content: &Content) -> Result<Artefact> {
    let release = &content.release;
    let root = [File::executable(PATH, &*content.binary)];
    let root = tar(&root, release.time, Directories::Unnamed)?;
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&root)?);
    let config = Blob::json(
        "application/vnd.oci.image.config.v1+json",
        &json!({
            "created": release.rfc3339(),
            "architecture": release.machine.oci,
            "os": "linux",
            "config": {"Entrypoint": [format!("/{PATH}")], "Labels": labels(content)},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&root))]},
            "history": [{"created": release.rfc3339(), "created_by": "straw's cargo xtask dist"}],
        }),
    );
    let manifest = Blob::json(
        "application/vnd.oci.image.manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    );
    let tags = [&*release.version, "latest"];
    let named = tags.map(|tag| {
        let mut descriptor = manifest.descriptor();
        descriptor["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/straw:{tag}"),
            "org.opencontainers.image.ref.name": tag,
        });
        descriptor
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": named,
    });
    let of_docker = json!([{
        "Config": config.path(),
        "RepoTags": tags.map(|tag| format!("straw:{tag}")),
        "Layers": [layer.path()],
    }]);
    let mut files = vec![
        File::new(
            "oci-layout",
            json!({"imageLayoutVersion": "1.0.0"}).to_string(),
        ),
        File::new("index.json", index.to_string()),
        File::new("manifest.json", of_docker.to_string()),
    ];
    files.extend([layer, config, manifest].map(|blob| File::new(blob.path(), blob.bytes)));
    Ok(Artefact {
        name: format!("{}.oci.tar", release.stem()),
        bytes: tar(&files, release.time, Directories::Named)?,
    })
}

fn labels(content: &Content) -> Value {
    let mut labels = json!({
        "org.opencontainers.image.title": "straw",
        "org.opencontainers.image.description": SUMMARY,
        "org.opencontainers.image.version": content.release.version,
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.created": content.release.rfc3339(),
    });
    if let Some(revision) = &content.release.revision {
        labels["org.opencontainers.image.revision"] = json!(revision);
    }
    labels
}

/// Bytes that are named by their digest.
struct Blob {
    kind: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            kind,
            digest: sha256(&bytes),
            bytes,
        }
    }

    fn json(kind: &'static str, value: &Value) -> Self {
        Self::new(kind, value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.kind,
            "digest": format!("sha256:{}", self.digest),
            "size": self.bytes.len(),
        })
    }
}
