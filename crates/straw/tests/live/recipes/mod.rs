//! The recipes in examples/, each built as its README says and used in a real cluster.

mod apptainer;
mod ci;
mod compose;
mod docker;
mod jupyterhub;
mod kubernetes;
mod libslurm;
mod prometheus;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{BuiltImage, ClientOptions, Cluster, Container, Release};
use libtest_mimic::Failed;

use crate::Test;
use crate::clusters::program;

/// Those for the newest release: what differs between releases is not in them.
pub const TESTS: &[(&str, Test)] = &[
    ("recipes::apptainer", apptainer::definition),
    ("recipes::prometheus", prometheus::exporter),
    ("recipes::compose", compose::sidecar),
    ("recipes::ci", ci::jobs),
    ("recipes::docker_entrypoint", docker::entrypoint),
    ("recipes::jupyterhub", jupyterhub::server),
    ("recipes::kubernetes_job", kubernetes::job),
    ("recipes::kubernetes_dashboard", kubernetes::dashboard),
    ("recipes::systemd", systemd::units),
];

/// Those that are linked with Slurm's library, or stand in front of its commands.
pub const LATER_TESTS: &[(&str, Test)] = &[
    ("recipes::libslurm", libslurm::program),
    ("recipes::docker_shims", docker::shims),
];

/// What no image of a recipe may hold, in any layer, wherever it is.
const SECRETS: [&str; 5] = [
    "munge.key",
    "slurm.key",
    "slurm.jwks",
    "jwt_hs256.key",
    "slurm.conf",
];

/// The folder of a recipe.
fn folder(recipe: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(recipe)
}

/// The image that the Dockerfile of a recipe makes with straw and the Slurm of a release. It holds
/// none of [`SECRETS`].
fn image(recipe: &str, release: Release) -> Result<BuiltImage, Failed> {
    built(&folder(recipe), release)
}

/// As [`image`], of any directory.
fn built(directory: &Path, release: Release) -> Result<BuiltImage, Failed> {
    let straw = BuiltImage::straw(&program())?;
    let image = BuiltImage::recipe(directory, release, &straw)?;
    let files = image.files()?;
    let secret = files.iter().find(|file| {
        let name = file.rsplit('/').next().unwrap_or_default();
        SECRETS.contains(&name)
    });
    match secret {
        None => Ok(image),
        Some(secret) => {
            let directory = directory.display();
            Err(format!("the image of {directory} holds /{secret}").into())
        }
    }
}

/// Fails if a secret that the README puts beside the Dockerfile could get into an image.
fn keeps_out(recipe: &str, secrets: &[&str]) -> Result<(), Failed> {
    let copy = tempfile::tempdir()?;
    let directory = copy.path().join(recipe);
    fs::create_dir(&directory)?;
    for entry in fs::read_dir(folder(recipe))? {
        let entry = entry?;
        fs::copy(entry.path(), directory.join(entry.file_name()))?;
    }
    for secret in secrets {
        let path = directory.join(secret);
        fs::create_dir_all(path.parent().expect("it is in the directory"))?;
        fs::write(path, "secret")?;
    }
    let all = "FROM scratch\nCOPY . /all/\n";
    fs::write(directory.join("Dockerfile"), all)?;
    let files = BuiltImage::on("scratch", &directory, "scratch")?.files()?;
    let there = |name: &str| files.contains(&format!("all/{name}"));
    if !there("README.md") {
        return Err(format!("the image of all of {recipe} holds no README.md").into());
    }
    match secrets.iter().find(|secret| there(secret)) {
        None => Ok(()),
        Some(secret) => Err(format!("an image of {recipe} could hold {secret}").into()),
    }
}

/// The user that the images of recipes are for.
const USER: &str = "1000";

/// A directory with a token, as a recipe mounts it.
struct TokenDirectory {
    writer: Container,
    volume: String,
}

impl TokenDirectory {
    /// One of this name, with nothing in it.
    fn new(cluster: &Cluster, volume: &str) -> Result<Self, Failed> {
        let options = ClientOptions::default().volume(volume, "/run/jwt", false);
        Ok(Self {
            writer: cluster.client(&options)?,
            volume: volume.to_owned(),
        })
    }

    /// Puts another token there, readable by the user of the image alone.
    fn put(&self, token: &str) -> Result<(), Failed> {
        Ok(self.writer.put("/run/jwt/token", token, 0o600, USER)?)
    }

    /// A container of an image, with this directory.
    fn mounted(&self, image: &BuiltImage) -> ClientOptions {
        ClientOptions::default()
            .image(image.name())
            .volume(&self.volume, "/run/jwt", true)
    }
}
