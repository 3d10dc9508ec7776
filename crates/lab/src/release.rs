//! The Slurm releases that Debian packages, and so the ones a cluster can be of.

use std::fmt;
use std::str::FromStr;

/// A Slurm release that a Debian suite carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 22.05, in bookworm.
    V22_05,
    /// 24.11, in trixie.
    V24_11,
    /// 26.05, in forky. That suite still moves: see [`Images::moved`](crate::Images::moved).
    V26_05,
}

impl Release {
    /// Every release, the oldest first.
    pub const ALL: [Self; 3] = [Self::V22_05, Self::V24_11, Self::V26_05];

    /// The Debian suite that carries it.
    pub fn suite(self) -> &'static str {
        match self {
            Self::V22_05 => "bookworm",
            Self::V24_11 => "trixie",
            Self::V26_05 => "forky",
        }
    }

    /// The series, as Slurm writes it: `24.11`.
    pub fn series(self) -> &'static str {
        match self {
            Self::V22_05 => "22.05",
            Self::V24_11 => "24.11",
            Self::V26_05 => "26.05",
        }
    }

    /// What `apt-get` has to be told for this suite.
    pub(crate) fn apt_options(self) -> &'static str {
        match self {
            // A suite in development is signed anew every few hours and for a few days only, and a
            // mirror may be behind.
            Self::V26_05 => "-o Acquire::Check-Valid-Until=false",
            Self::V22_05 | Self::V24_11 => "",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.series())
    }
}

/// A text that names no [`Release`].
#[derive(Debug, thiserror::Error)]
#[error("no Slurm release '{0}' here: choose 22.05, 24.11 or 26.05")]
pub struct UnknownRelease(String);

impl FromStr for Release {
    type Err = UnknownRelease;

    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        Self::ALL
            .into_iter()
            .find(|release| release.series() == text)
            .ok_or_else(|| UnknownRelease(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_reads_back_what_it_prints() {
        for release in Release::ALL {
            assert_eq!(release.to_string().parse::<Release>().unwrap(), release);
        }
        assert!("23.02".parse::<Release>().is_err());
    }
}
