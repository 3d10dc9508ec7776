//! Images that are built as users build theirs: a directory with a Dockerfile, on Debian as a
//! registry has it, with straw copied from an image that holds nothing else.
//!
//! The layers stay in Docker's cache, so that what takes long (packages) is done once a machine. The
//! names go with the values.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::error::LabError;
use crate::image;
use crate::owner::labels;
use crate::process::{Process, docker};
use crate::random;
use crate::release::Release;
use crate::tar::{Entry, archive};

/// How long an image may take to be built, packages and all.
const BUILD: Duration = Duration::from_secs(900);

/// Held while a recipe is built on the Debian of a release.
static BUILDING: [Mutex<()>; Release::ALL.len()] = [const { Mutex::new(()) }; _];

/// An image of ours, which goes with this value; the cached layers of its build stay.
#[derive(Debug)]
pub struct BuiltImage {
    name: String,
}

impl BuiltImage {
    /// The image whose only content is straw, as `/straw`.
    ///
    /// # Errors
    ///
    /// When the binary cannot be read, or Docker fails.
    pub fn straw(binary: &Path) -> Result<Self, LabError> {
        let doing = format!("read {}", binary.display());
        let bytes = fs::read(binary).map_err(LabError::io(doing))?;
        let recipe = "FROM scratch\nCOPY straw /straw\nENTRYPOINT [\"/straw\"]\n";
        let context = archive(&[
            Entry::new("straw", 0o755, bytes),
            Entry::new("Dockerfile", 0o644, recipe),
        ]);
        Self::build("straw", |build| build.args(["-"]).stdin(context))
    }

    /// What the Dockerfile in a directory makes, on the Debian of a release: its `DEBIAN` is the base
    /// image, its `STRAW` the image with straw.
    ///
    /// # Errors
    ///
    /// When it cannot be built; what was said is in the error.
    pub fn recipe(directory: &Path, release: Release, straw: &Self) -> Result<Self, LabError> {
        // Two that install the same packages at the same time only slow each other down: the second
        // finds a cached layer.
        let _one_at_a_time = BUILDING[release as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Self::on(&Self::debian(release)?, directory, straw.name())
    }

    /// The name of the Debian of a release as users find it in a registry.
    ///
    /// # Errors
    ///
    /// When Docker fails.
    pub fn debian(release: Release) -> Result<String, LabError> {
        image::settled(release)
    }

    /// As [`recipe`](Self::recipe), with any two images for `DEBIAN` and `STRAW`.
    ///
    /// # Errors
    ///
    /// When it cannot be built; what was said is in the error.
    pub fn on(base: &str, directory: &Path, straw: &str) -> Result<Self, LabError> {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        Self::build(&name, |build| {
            build.args([
                format!("--build-arg=DEBIAN={base}"),
                format!("--build-arg=STRAW={straw}"),
                directory.to_string_lossy().into_owned(),
            ])
        })
    }

    fn build(what: &str, how: impl FnOnce(Process) -> Process) -> Result<Self, LabError> {
        let id = format!("{what}-{}", random::name()?);
        let name = format!("straw-lab/recipe:{id}");
        let build = docker(["build", "--quiet", "--tag", &name]).args(labels(&id)?);
        how(build).limit(BUILD).check()?;
        Ok(Self { name })
    }

    /// What Docker knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of every file in any of its layers, without a slash in front: also of those that a
    /// later layer hides.
    ///
    /// # Errors
    ///
    /// When Docker or tar fails.
    pub fn files(&self) -> Result<BTreeSet<String>, LabError> {
        let directory = std::env::temp_dir().join(format!("straw-lab-{}", random::name()?));
        let doing = format!("make {}", directory.display());
        fs::create_dir(&directory).map_err(LabError::io(doing))?;
        let files = self.files_by_way_of(&directory);
        // Whether it worked or not.
        drop(fs::remove_dir_all(&directory));
        files
    }

    fn files_by_way_of(&self, directory: &Path) -> Result<BTreeSet<String>, LabError> {
        let saved = directory.join("image").to_string_lossy().into_owned();
        docker(["save", "--output", &saved, &self.name])
            .limit(BUILD)
            .check()?;
        let tar = |arguments: &[&str]| {
            Process::new("tar")
                .args([&format!("--directory={}", directory.display())])
                .args(arguments.iter().copied())
                .limit(BUILD)
                .check()
        };
        tar(&["--extract", "--file", &saved])?;
        let path = directory.join("manifest.json");
        let doing = format!("read {}", path.display());
        let manifest = fs::read_to_string(&path).map_err(LabError::io(&doing))?;
        let manifest: Value =
            serde_json::from_str(&manifest).map_err(|error| LabError::io(&doing)(error.into()))?;
        let layers = manifest[0]["Layers"].as_array().into_iter().flatten();
        let mut files = BTreeSet::new();
        for layer in layers.filter_map(Value::as_str) {
            let layer = directory.join(layer).to_string_lossy().into_owned();
            let listed = tar(&["--list", "--file", &layer])?.text();
            files.extend(listed.lines().map(|line| {
                let path = line.trim_start_matches("./").trim_start_matches('/');
                path.to_owned()
            }));
        }
        Ok(files)
    }
}

impl Drop for BuiltImage {
    fn drop(&mut self) {
        // The layers below stay, for the next build. What is still in use goes with a sweep.
        drop(docker(["rmi", "--no-prune", &self.name]).run());
    }
}
