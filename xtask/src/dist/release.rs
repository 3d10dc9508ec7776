//! What is released: the version, the machines it is for, the commit and the time of it.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::Result;
use crate::binary;
use crate::run::{capture, root};

/// Who is named as the maintainer. Nobody can be reached at a name that ends so (RFC 2606).
pub const MAINTAINER: &str = "The straw developers <straw@straw.invalid>";

/// What straw is, in a line.
pub const SUMMARY: &str = "makes a container a client of a Slurm cluster";

/// Its licence, as SPDX writes it.
pub const LICENCE: &str = "MIT OR Apache-2.0";

/// One version for one kind of machine.
#[derive(Clone, Debug)]
pub struct Release {
    pub version: String,
    /// The kind of machine, as the compiler names it.
    pub triple: String,
    pub machine: Machine,
    /// The time that everything in it bears, in seconds since 1970.
    pub time: u64,
    /// The commit, if there is one.
    pub revision: Option<String>,
}

/// What others call a kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub debian: &'static str,
    pub python: &'static str,
    pub oci: &'static str,
}

impl Release {
    /// That of this work tree, for this machine.
    pub fn here() -> Result<Self> {
        let triple = binary::host()?;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: machine(&triple)?,
            triple,
            time: time()?,
            revision: revision(),
        })
    }

    /// What the names of its artefacts begin with.
    pub fn stem(&self) -> String {
        format!("straw-{}-{}", self.version, self.triple)
    }

    /// The time as `2026-11-23T08:09:10Z`.
    pub fn rfc3339(&self) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(self.time);
        humantime::format_rfc3339_seconds(time).to_string()
    }

    /// Year, month, day, hour, minute and second.
    pub fn fields(&self) -> [u16; 6] {
        let text = self.rfc3339();
        let mut fields = text.split(['-', 'T', ':', 'Z']).map(str::parse);
        std::array::from_fn(|_| fields.next().and_then(std::result::Result::ok).unwrap_or(0))
    }

    /// The time as `Mon, 23 Nov 2026 08:09:10 +0000`.
    pub fn rfc2822(&self) -> String {
        // 1970 began on a Thursday.
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let [year, month, day, hour, minute, second] = self.fields();
        let weekday = DAYS[(self.time / 86_400 % 7) as usize];
        let month = MONTHS[usize::from(month) - 1];
        format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
    }

    /// The version as Python writes it: `0.2.0-rc.1` is `0.2.0rc1`.
    pub fn python_version(&self) -> Result<String> {
        let Some((version, before)) = self.version.split_once('-') else {
            return Ok(self.version.clone());
        };
        let (kind, number) = before.split_once('.').unwrap_or((before, "0"));
        let kind = match kind {
            "alpha" => "a",
            "beta" => "b",
            "rc" => "rc",
            _ => return Err(format!("Python has no such version as {}", self.version).into()),
        };
        Ok(format!("{version}{kind}{number}"))
    }

    /// The version of the Debian package: `0.2.0-rc.1` is `0.2.0~rc.1-1`, which comes before
    /// `0.2.0-1`.
    pub fn debian_version(&self) -> String {
        format!("{}-1", self.version.replace('-', "~"))
    }
}

/// The names of a kind of machine.
pub fn machine(triple: &str) -> Result<Machine> {
    match triple.split('-').next() {
        Some("x86_64") => Ok(Machine {
            debian: "amd64",
            python: "x86_64",
            oci: "amd64",
        }),
        Some("aarch64") => Ok(Machine {
            debian: "arm64",
            python: "aarch64",
            oci: "arm64",
        }),
        _ => Err(
            format!("nobody has said what packages call {triple}: xtask/src/dist/release.rs")
                .into(),
        ),
    }
}

/// That of the commit, unless the environment says otherwise, as builders of packages have it do.
fn time() -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    if let Ok(text) = std::env::var(VARIABLE) {
        let time = text.trim().parse();
        return Ok(time.map_err(|_| format!("{VARIABLE} is no number of seconds: `{text}`"))?);
    }
    let text = git(&["log", "-1", "--format=%ct"])
        .map_err(|error| format!("of which time is this? {error}; without git: set {VARIABLE}"))?;
    Ok(text.parse()?)
}

fn revision() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"]).ok()?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).ok()?;
    let mark = if changed.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{mark}"))
}

fn git(arguments: &[&str]) -> Result<String> {
    let text = capture(Command::new("git").current_dir(root()).args(arguments))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A release of a time that no clock shows.
    pub fn some(triple: &str) -> Release {
        Release {
            version: "0.2.0".to_owned(),
            triple: triple.to_owned(),
            machine: machine(triple).unwrap(),
            time: 951_782_400,
            revision: Some("c0ffee".to_owned()),
        }
    }

    #[test]
    fn times_as_each_format_has_them() {
        let mut release = some("x86_64-unknown-linux-gnu");
        assert_eq!(release.rfc3339(), "2000-02-29T00:00:00Z");
        assert_eq!(release.rfc2822(), "Tue, 29 Feb 2000 00:00:00 +0000");
        release.time = 1_795_421_350;
        assert_eq!(release.rfc2822(), "Mon, 23 Nov 2026 08:09:10 +0000");
        assert_eq!(release.fields(), [2026, 11, 23, 8, 9, 10]);
    }

    #[test]
    fn versions_as_each_format_has_them() {
        let mut release = some("aarch64-unknown-linux-gnu");
        let mut versions = |version: &str| {
            release.version = version.to_owned();
            (release.debian_version(), release.python_version().ok())
        };
        assert_eq!(versions("0.2.0"), ("0.2.0-1".into(), Some("0.2.0".into())));
        let candidate = versions("0.2.0-rc.1");
        assert_eq!(candidate, ("0.2.0~rc.1-1".into(), Some("0.2.0rc1".into())));
        assert_eq!(versions("0.2.0-my.1").1, None);
    }

    #[test]
    fn machines_that_packages_know() {
        let arm = machine("aarch64-unknown-linux-gnu").unwrap();
        assert_eq!(
            (arm.debian, arm.python, arm.oci),
            ("arm64", "aarch64", "arm64")
        );
        assert!(machine("sparc64-unknown-linux-gnu").is_err());
    }
}
