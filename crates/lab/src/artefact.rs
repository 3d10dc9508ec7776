//! What tests of straw's artefacts need: a machine to install them on, and images that are loaded
//! from an archive.

use std::path::Path;

use crate::error::LabError;
use crate::image::{self, BUILD};
use crate::process::docker;
use crate::release::Release;

const RECIPE: &str = include_str!("../images/User.Dockerfile");

/// The image of a user's machine, of the Debian that has this release of Slurm, made if it is not
/// there: with manual pages, completion and a Python in `/opt/venv`, and nothing of Slurm.
///
/// # Errors
///
/// When there is no way to a base image, or the image cannot be built.
pub fn machine(release: Release, log: &mut dyn FnMut(&str)) -> Result<String, LabError> {
    let name = image::named(release, "user", RECIPE);
    let _one_at_a_time = image::lock(release, "user")?;
    if docker(["image", "inspect", &name]).run()?.success() {
        return Ok(name);
    }
    image::base(release, log)?;
    log(&format!("making {name}"));
    docker(["build", "--quiet", "--tag", &name])
        .args(image::arguments(release))
        .args(["-"])
        .stdin(RECIPE.as_bytes().to_vec())
        .limit(BUILD)
        .check()?;
    Ok(name)
}

/// Images that were loaded from an archive. When it is dropped, their names are what they were
/// before.
#[derive(Debug)]
pub struct Loaded {
    /// Each name, and the image that it was of.
    names: Vec<(String, Option<String>)>,
}

impl Loaded {
    /// Loads an archive with images of these names.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read, or Docker does not take it.
    pub fn from(archive: &Path, names: &[String]) -> Result<Self, LabError> {
        let bytes = std::fs::read(archive);
        let bytes = bytes.map_err(LabError::io(format!("read {}", archive.display())))?;
        let names = names.iter().map(|name| Ok((name.clone(), id(name)?)));
        let names = names.collect::<Result<_, LabError>>()?;
        docker(["load", "--quiet"]).stdin(bytes).check()?;
        Ok(Self { names })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        for (name, before) in &self.names {
            drop(match before {
                Some(id) => docker(["tag", id, name]).run(),
                None => docker(["rmi", name]).run(),
            });
        }
    }
}

/// The image of this name, if there is one.
fn id(name: &str) -> Result<Option<String>, LabError> {
    let out = docker(["image", "inspect", "--format={{.Id}}", name]).run()?;
    Ok(out.success().then(|| out.text()))
}
