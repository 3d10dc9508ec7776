//! The images that hosts and clients run: Debian's Slurm packages of a release, and nothing baked in
//! that is a secret or belongs to one cluster.
//!
//! The tag of an image holds a digest of the recipe, so a changed recipe is a new image, and an image
//! that is there is right. A label holds the version of the packages in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{LabError, Unavailable};
use crate::process::{Process, docker, tail};
use crate::provision::{install, is_debian, is_root};
use crate::release::Release;
use crate::tar::{Entry, archive};

const RECIPE: &str = include_str!("../images/Dockerfile");

const PACKAGES: &str = include_str!("../images/packages.Dockerfile");

/// The label with the version of the packages.
const VERSION_LABEL: &str = "straw-lab-slurm";

/// A registry that cannot be reached must not hold us up: what is made here takes less time.
const PULL: Duration = Duration::from_secs(40);

/// How long a base image, or an image, may take to be made.
pub(crate) const BUILD: Duration = Duration::from_secs(900);

/// The images of one release, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The image with Slurm's commands alone.
    pub client: String,
    /// The image with the daemons as well.
    pub controller: String,
    /// The image both are made from: Debian without anything of Slurm or munge.
    pub debian: String,
    /// The version of Debian's package: `24.11.5-4+deb13u1`.
    pub package: String,
    /// The Slurm release in it: `24.11.5`.
    pub version: String,
    /// The series of that release: `24.11`.
    pub series: String,
    /// Set when the suite has moved on to another series. Nothing has failed then: the cluster is
    /// simply of that other series.
    pub moved: Option<Moved>,
}

/// A suite carries another series than we knew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Debian {suite} has Slurm {found} now, not {expected}")]
pub struct Moved {
    /// The suite.
    pub suite: String,
    /// The series that was asked for.
    pub expected: String,
    /// The series that the suite has.
    pub found: String,
}

impl Images {
    fn of(release: Release, package: &str) -> Self {
        let (version, series) = upstream(package);
        let moved = (series != release.series()).then(|| Moved {
            suite: release.suite().to_owned(),
            expected: release.series().to_owned(),
            found: series.clone(),
        });
        Self {
            client: name(release, "client"),
            controller: name(release, "controller"),
            debian: debian(release),
            package: package.to_owned(),
            version,
            series,
            moved,
        }
    }
}

/// Makes sure that the images of a release are there. Where they are, this takes a moment;
/// otherwise the base image is pulled or made, and Debian's packages are installed in it. Each step
/// is told to `log` in a line, and so is a suite that has moved.
///
/// # Errors
///
/// [`LabError::Unavailable`] when there is no way to a base image, another error when the images
/// cannot be built.
pub fn prepare(release: Release, log: &mut dyn FnMut(&str)) -> Result<Images, LabError> {
    let images = match find(release)? {
        Some(images) => images,
        None => {
            let _one_at_a_time = lock(release, "slurm")?;
            match find(release)? {
                Some(images) => images,
                None => build(release, log)?,
            }
        }
    };
    if let Some(moved) = &images.moved {
        log(&moved.to_string());
    }
    Ok(images)
}

/// As [`prepare`], for several releases at the same time: most of the time goes into downloads.
///
/// # Errors
///
/// That of the first release that could not be prepared.
pub fn prepare_all(
    releases: &[Release],
    log: &mut dyn FnMut(&str),
) -> Result<BTreeMap<Release, Images>, LabError> {
    thread::scope(|scope| {
        let (lines, received) = mpsc::channel();
        let workers: Vec<_> = releases
            .iter()
            .map(|&release| {
                let lines = lines.clone();
                scope.spawn(move || {
                    // Nobody listens any more only when this call is over.
                    let mut log = |line: &str| drop(lines.send(format!("{release}: {line}")));
                    prepare(release, &mut log).map(|images| (release, images))
                })
            })
            .collect();
        drop(lines);
        received.iter().for_each(|line| log(&line));
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// Held while images are built: two processes that build the same ones only slow each other down.
pub(crate) fn lock(release: Release, what: &str) -> Result<File, LabError> {
    let name = format!("straw-lab-{what}-{}.lock", release.suite());
    let path = std::env::temp_dir().join(name);
    let what = format!("lock {}", path.display());
    let lock = File::create(&path).map_err(LabError::io(&what))?;
    lock.lock().map_err(LabError::io(&what))?;
    Ok(lock)
}

/// An image of a user's that is made of nothing but a suite's packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packaged {
    /// Its name.
    pub name: String,
    /// How many bytes the packages added to the base image.
    pub added: u64,
}

/// Makes sure of an image that has these packages of a release's suite, those that they depend on, and
/// alice. It stays, like the others.
///
/// # Errors
///
/// As [`prepare`].
pub fn with_packages(
    release: Release,
    packages: &[&str],
    log: &mut dyn FnMut(&str),
) -> Result<Packaged, LabError> {
    let packages = packages.join(" ");
    let digest = digest(&[PACKAGES, release.apt_options(), &packages]);
    let name = format!("straw-lab/packages:{}-{digest}", release.suite());
    if !docker(["image", "inspect", &name]).run()?.success() {
        base(release, log)?;
        log(&format!("installing {packages} in an image"));
        docker(["build", "--quiet", "--tag", &name])
            .args([
                format!("--build-arg=SUITE={}", release.suite()),
                format!("--build-arg=APT_OPTIONS={}", release.apt_options()),
                format!("--build-arg=PACKAGES={packages}"),
                "-".to_owned(),
            ])
            .stdin(PACKAGES.as_bytes().to_vec())
            .limit(BUILD)
            .check()?;
    }
    let added = size(&name)?.saturating_sub(size(&debian(release))?);
    Ok(Packaged { name, added })
}

/// The bytes of an image.
fn size(image: &str) -> Result<u64, LabError> {
    let size = docker(["image", "inspect", "--format={{.Size}}", image])
        .check()?
        .text();
    size.parse()
        .map_err(std::io::Error::other)
        .map_err(LabError::io(format!("read the size of {image}")))
}

/// The images, if both are there.
fn find(release: Release) -> Result<Option<Images>, LabError> {
    let format = format!("--format={{{{index .Config.Labels \"{VERSION_LABEL}\"}}}}");
    let out = docker(["image", "inspect", &format])
        .args([name(release, "client"), name(release, "controller")])
        .run()?;
    let text = out.text();
    Ok(match text.lines().next() {
        Some(package) if out.success() && !package.is_empty() => Some(Images::of(release, package)),
        _ => None,
    })
}

fn build(release: Release, log: &mut dyn FnMut(&str)) -> Result<Images, LabError> {
    base(release, log)?;

    log(&format!(
        "installing Slurm from Debian {} in an image",
        release.suite()
    ));
    let draft = format!("{}-draft", name(release, "client"));
    target(release, "client", &draft, None)?;
    let query = [
        "dpkg-query",
        "--showformat=${Version}",
        "--show",
        "slurm-client",
    ];
    let package = docker(["run", "--rm", "--init", &draft])
        .args(query)
        .check()?
        .text();

    // The version can be known only now. The same layers again, with a label, take no time.
    for part in ["client", "controller"] {
        target(release, part, &name(release, part), Some(&package))?;
    }
    docker(["rmi", &draft]).check()?;
    log(&format!("the image holds slurm-client {package}"));
    Ok(Images::of(release, &package))
}

/// Builds one target of the recipe.
fn target(release: Release, part: &str, tag: &str, package: Option<&str>) -> Result<(), LabError> {
    let label = package.map(|package| format!("--label={VERSION_LABEL}={package}"));
    docker(["build", "--quiet", "--target", part, "--tag", tag])
        .args(label)
        .args(arguments(release))
        .args(["-"])
        .stdin(RECIPE.as_bytes().to_vec())
        .limit(BUILD)
        .check()
        .map(drop)
}

/// What every recipe is told of the suite.
pub(crate) fn arguments(release: Release) -> [String; 2] {
    [
        format!("--build-arg=SUITE={}", release.suite()),
        format!("--build-arg=APT_OPTIONS={}", release.apt_options()),
    ]
}

/// Makes sure of `debian:SUITE`.
pub(crate) fn base(release: Release, log: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let image = debian(release);
    let _one_at_a_time = lock(release, "base")?;
    if docker(["image", "inspect", &image]).run()?.success() {
        return Ok(());
    }

    log(&format!("pulling {image}"));
    let pulled = docker(["pull", "--quiet", &image]).limit(PULL).run();
    let said = match pulled {
        Ok(out) if out.success() => return Ok(()),
        Ok(out) => tail(&out.error_text(), 1),
        Err(error) => error.to_string(),
    };
    if !is_root() || !is_debian() {
        return Err(Unavailable::new(
            format!("there is no image {image}, and it cannot be pulled: {said}"),
            format!("`docker pull {image}` where a registry is in reach, or run as root on Debian"),
        )
        .into());
    }
    make_base(release, &image, log)
}

/// Makes a base image from Debian's packages alone, where no registry is in reach.
fn make_base(release: Release, image: &str, log: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    install(log, &["mmdebstrap"], "mmdebstrap")?;
    log(&format!(
        "no registry in reach: making {image} with mmdebstrap"
    ));
    let file = std::env::temp_dir().join(format!("straw-lab-{}.tar", crate::random::name()?));
    let path = file.display().to_string();
    let apt = release.apt_options().strip_prefix("-o ");
    let made = Process::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase"])
        .args(apt.map(|option| format!("--aptopt={}", option.replacen('=', " ", 1))))
        .args([release.suite(), &path])
        .limit(BUILD)
        .check()
        .and_then(|_| docker(["import", &path, image]).limit(BUILD).check());
    // Whether it was made or not, and whether it is there or not.
    drop(std::fs::remove_file(&file));
    made.map(drop).map_err(|error| {
        Unavailable::new(
            error.to_string(),
            format!("see to it that `docker pull {image}` or mmdebstrap works"),
        )
        .into()
    })
}

/// What the images of a registry have, and mmdebstrap's have not: no service starts while packages
/// are installed, which nobody needs to survive a power cut. And a mirror may be behind.
const SETTLED: &str = "\
ARG SUITE
FROM debian:${SUITE}
RUN printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d \\
 && chmod 755 /usr/sbin/policy-rc.d \\
 && echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/docker-apt-speedup \\
 && echo 'Acquire::Check-Valid-Until \"false\";' > /etc/apt/apt.conf.d/docker-lab
";

/// The Debian of a release, as a registry has it and ready for `apt-get` and `pip`, for images that
/// users build. Returns its name.
pub(crate) fn settled(release: Release) -> Result<String, LabError> {
    let name = format!("straw-lab/debian:{}", release.suite());
    let mut recipe = SETTLED.to_owned();
    let mut context = Vec::new();
    // Whom this machine trusts between it and the registry, the images have to trust as well.
    if let Ok(bytes) = std::fs::read(certificates()) {
        recipe.push_str("COPY pip.pem /etc/pip.pem\nENV PIP_CERT=/etc/pip.pem\n");
        context.push(Entry::new("pip.pem", 0o644, bytes));
    }
    context.push(Entry::new("Dockerfile", 0o644, recipe));
    docker(["build", "--quiet", "--tag", &name])
        .args([&format!("--build-arg=SUITE={}", release.suite()), "-"])
        .stdin(archive(&context))
        .limit(BUILD)
        .check()?;
    Ok(name)
}

/// The certificates that this machine trusts.
fn certificates() -> PathBuf {
    ["PIP_CERT", "SSL_CERT_FILE"]
        .into_iter()
        .find_map(std::env::var_os)
        .unwrap_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into())
        .into()
}

/// The name of the base image.
fn debian(release: Release) -> String {
    format!("debian:{}", release.suite())
}

/// The name of an image of a cluster.
fn name(release: Release, part: &str) -> String {
    named(release, part, RECIPE)
}

/// The name of an image: it changes whenever the recipe does.
pub(crate) fn named(release: Release, part: &str, recipe: &str) -> String {
    let digest = digest(&[recipe, release.apt_options()]);
    format!("straw-lab/{part}:{}-{digest}", release.suite())
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The release and the series of a Debian version: `24.11.5-4+deb13u1` is of 24.11.5 and 24.11.
fn upstream(package: &str) -> (String, String) {
    let version = package
        .split_once(':')
        .map_or(package, |(_epoch, rest)| rest);
    let version = version
        .rsplit_once('-')
        .map_or(version, |(upstream, _debian)| upstream);
    let version = version.split(['+', '~']).next().unwrap_or(version);
    let series: Vec<&str> = version.split('.').take(2).collect();
    (version.to_owned(), series.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_a_package() {
        let of = |package| {
            let (version, series) = upstream(package);
            format!("{version} of {series}")
        };
        assert_eq!(of("22.05.8-4+deb12u3"), "22.05.8 of 22.05");
        assert_eq!(of("26.05.5-1"), "26.05.5 of 26.05");
        assert_eq!(of("1:26.11.0~rc1+ds-2"), "26.11.0 of 26.11");
    }

    #[test]
    fn a_suite_that_moved_is_told() {
        assert_eq!(Images::of(Release::V26_05, "26.05.5-1").moved, None);
        let moved = Images::of(Release::V26_05, "26.11.0-1").moved.unwrap();
        assert_eq!(
            moved.to_string(),
            "Debian forky has Slurm 26.11 now, not 26.05"
        );
    }
}
