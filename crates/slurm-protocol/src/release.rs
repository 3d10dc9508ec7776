//! Protocol versions and the releases of Slurm that speak them (docs/protocol.md, section 1).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The number that opens every message: the index of a release series in the high byte.
///
/// Any value survives; [`release`](Self::release) tells whether it is one we know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(pub u16);

impl ProtocolVersion {
    /// Slurm 20.11.
    pub const V20_11: Self = Self::from_index(36);
    /// Slurm 21.08.
    pub const V21_08: Self = Self::from_index(37);
    /// Slurm 22.05.
    pub const V22_05: Self = Self::from_index(38);
    /// Slurm 23.02.
    pub const V23_02: Self = Self::from_index(39);
    /// Slurm 23.11.
    pub const V23_11: Self = Self::from_index(40);
    /// Slurm 24.05.
    pub const V24_05: Self = Self::from_index(41);
    /// Slurm 24.11.
    pub const V24_11: Self = Self::from_index(42);
    /// Slurm 25.05.
    pub const V25_05: Self = Self::from_index(43);
    /// Slurm 25.11.
    pub const V25_11: Self = Self::from_index(44);
    /// Slurm 26.05.
    pub const V26_05: Self = Self::from_index(45);
    /// Slurm 26.11.
    pub const V26_11: Self = Self::from_index(46);

    /// The oldest version that this crate speaks.
    pub const OLDEST: Self = Release::ALL[0].version;
    /// The newest version that this crate speaks.
    pub const NEWEST: Self = Release::ALL[Release::ALL.len() - 1].version;

    /// The version with this index: 42 is `2a00`, Slurm 24.11.
    pub const fn from_index(index: u8) -> Self {
        Self((index as u16) << 8)
    }

    /// The index of the release series, the high byte.
    pub const fn index(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The release whose own version this is, if we know it.
    pub fn release(self) -> Option<Release> {
        Release::ALL
            .iter()
            .find(|release| release.version == self)
            .copied()
    }

    /// Whether this crate can encode and decode messages of this version.
    pub fn is_supported(self) -> bool {
        self.release().is_some()
    }

    /// The versions that a controller accepts whose own version this is: its own and the three
    /// before it, or the two before it up to 24.05. Never a newer one.
    ///
    /// For a version newer than we know, this is what all since 24.11 did.
    pub fn accepted_by_controller(self) -> RangeInclusive<Self> {
        let before = if self < Self::V24_11 { 2 } else { 3 };
        Self::from_index(self.index().saturating_sub(before))..=self
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.release() {
            Some(release) => write!(f, "{} (Slurm {release})", self.index()),
            None => write!(f, "{}", self.index()),
        }
    }
}

impl fmt::Debug for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolVersion({:#06x})", self.0)
    }
}

/// A release series of Slurm, such as 24.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    version: ProtocolVersion,
    name: &'static str,
}

impl Release {
    /// Every release that this crate knows, oldest first.
    ///
    /// To add the next one: a constant in [`ProtocolVersion`], a line here, the range in
    /// [`ParseReleaseError`], and, if its messages differ, a line in `layout.rs`. Then record it (CONTRIBUTING.md, "Adding a release").
    pub const ALL: &'static [Self] = &[
        Self::new(ProtocolVersion::V20_11, "20.11"),
        Self::new(ProtocolVersion::V21_08, "21.08"),
        Self::new(ProtocolVersion::V22_05, "22.05"),
        Self::new(ProtocolVersion::V23_02, "23.02"),
        Self::new(ProtocolVersion::V23_11, "23.11"),
        Self::new(ProtocolVersion::V24_05, "24.05"),
        Self::new(ProtocolVersion::V24_11, "24.11"),
        Self::new(ProtocolVersion::V25_05, "25.05"),
        Self::new(ProtocolVersion::V25_11, "25.11"),
        Self::new(ProtocolVersion::V26_05, "26.05"),
        Self::new(ProtocolVersion::V26_11, "26.11"),
    ];

    const fn new(version: ProtocolVersion, name: &'static str) -> Self {
        Self { version, name }
    }

    /// The protocol version that this release introduced.
    pub fn version(self) -> ProtocolVersion {
        self.version
    }

    /// The series' name, year and month: `24.11`.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Release {
    type Err = ParseReleaseError;

    /// Takes a series (`24.11`) or a full version of it (`24.11.5`, `21.08.8-2`).
    fn from_str(text: &str) -> Result<Self, ParseReleaseError> {
        let known = Self::ALL.iter().find(|release| {
            text.strip_prefix(release.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        match known {
            Some(release) => Ok(*release),
            None if looks_like_release(text) => Err(ParseReleaseError::Unknown),
            None => Err(ParseReleaseError::NotARelease),
        }
    }
}

/// Two digits, a dot, two digits, and nothing after them but a minor version.
fn looks_like_release(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 5
        && bytes[2] == b'.'
        && [0, 1, 3, 4].iter().all(|&at| bytes[at].is_ascii_digit())
        && (bytes.len() == 5 || bytes[5] == b'.')
}

/// Why a text names no release that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReleaseError {
    /// It has the form of a release, but is none of [`Release::ALL`].
    #[error("this release is not known: 20.11 to 26.11 are")]
    Unknown,
    /// It has not the form of a release.
    #[error("a release has the form 24.11")]
    NotARelease,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_consecutive_from_36() {
        for (release, index) in Release::ALL.iter().zip(36..) {
            assert_eq!(release.version(), ProtocolVersion::from_index(index));
        }
        assert_eq!(ProtocolVersion::NEWEST.index(), 46);
    }

    #[test]
    fn the_error_names_the_range_we_know() {
        let text = ParseReleaseError::Unknown.to_string();
        assert!(text.contains(Release::ALL[0].name()));
        assert!(text.contains(Release::ALL[Release::ALL.len() - 1].name()));
    }

    #[test]
    fn a_controller_accepts_two_or_three_older_versions() {
        let accepted = |version: ProtocolVersion| {
            let range = version.accepted_by_controller();
            (range.start().index(), range.end().index())
        };
        assert_eq!(accepted(ProtocolVersion::V22_05), (36, 38));
        assert_eq!(accepted(ProtocolVersion::V24_05), (39, 41));
        assert_eq!(accepted(ProtocolVersion::V24_11), (39, 42));
        assert_eq!(accepted(ProtocolVersion::V26_11), (43, 46));
        assert_eq!(accepted(ProtocolVersion::from_index(50)), (47, 50));
        assert_eq!(accepted(ProtocolVersion(0)), (0, 0));
    }

    #[test]
    fn releases_are_read_with_and_without_a_minor_version() {
        let read = |text: &str| text.parse::<Release>().map(Release::name);
        assert_eq!(read("24.11"), Ok("24.11"));
        assert_eq!(read("24.11.5"), Ok("24.11"));
        assert_eq!(read("21.08.8-2"), Ok("21.08"));
        assert_eq!(read("20.02"), Err(ParseReleaseError::Unknown));
        assert_eq!(read("27.05.1"), Err(ParseReleaseError::Unknown));
        for text in [
            "", "24", "24.1", "24.111", "ctl1", "10.0.0.1", "2411", "24.11x",
        ] {
            assert_eq!(read(text), Err(ParseReleaseError::NotARelease), "{text}");
        }
    }
}
