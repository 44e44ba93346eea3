//! Which systemd-stub a UKI contains. The rules of prediction depend on it.
//!
//! I/O: none.

use std::fmt;
use std::str::FromStr;

use crate::predict::StubRules;

/// The version of the systemd-stub that a UKI was made with, as its `.sdmagic` section has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StubVersion {
    text: String,
    major: u32,
}

/// Why the stub's version is not known, or not one whose rules are proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StubVersionError {
    /// There is no `.sdmagic` section: not systemd-stub.
    #[error(
        "the UKI has no .sdmagic section, so its stub is unknown and what it measures cannot be \
         predicted; if you know which systemd-stub it is, say so (--stub-version 257)"
    )]
    NoMarker,
    /// `.sdmagic` says something else than which systemd-stub this is.
    #[error(
        "expected .sdmagic to say \"#### LoaderInfo: {program}VERSION ####\", got {actual:?}; if you \
         know which systemd-stub it is, say so (--stub-version 257)"
    )]
    Marker {
        /// The program whose version was looked for.
        program: &'static str,
        /// The section's text, at most 80 characters of it.
        actual: String,
    },
    /// A version is something else than a number, and what a distribution appends.
    #[error("expected a version of systemd-stub such as 257 or 257.13-1, got {actual:?}")]
    Text {
        /// The text, at most 80 characters of it.
        actual: String,
    },
    /// The stub's rules are not known to this version of the program.
    #[error(
        "expected systemd-stub {} to {}, got {actual}: what it measures is not known here; take a \
         newer version of this program, or, if you know that it measures as one of these, say \
         which (--stub-version {})",
        StubRules::KNOWN.0, StubRules::KNOWN.1, StubRules::KNOWN.1
    )]
    Unknown {
        /// What the UKI contains.
        actual: StubVersion,
    },
}

impl StubVersion {
    /// The marker's frame: `DECLARE_NOALLOC_SECTION(".sdmagic", …)` in systemd's `src/boot/stub.c`.
    const PREFIX: &str = "#### LoaderInfo: ";
    const SUFFIX: &str = " ####";

    /// Parses the contents of a UKI's `.sdmagic` section, such as
    /// `#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####`, with or without NULs at its end.
    ///
    /// # Errors
    ///
    /// [`StubVersionError::Marker`] if the section says anything else.
    pub fn parse(section: &[u8]) -> Result<Self, StubVersionError> {
        Self::parse_marker(section, "systemd-stub ")
    }

    /// Parses the contents of systemd-boot's `.sdmagic` section in the same way.
    pub(crate) fn parse_loader(section: &[u8]) -> Result<Self, StubVersionError> {
        Self::parse_marker(section, "systemd-boot ")
    }

    fn parse_marker(section: &[u8], program: &'static str) -> Result<Self, StubVersionError> {
        let text = String::from_utf8_lossy(section);
        let text = text.trim_end_matches('\0');
        let version = text
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.strip_prefix(program))
            .and_then(|rest| rest.strip_suffix(Self::SUFFIX))
            .and_then(|version| version.parse().ok());
        version.ok_or_else(|| StubVersionError::Marker {
            program,
            actual: text.chars().take(80).collect(),
        })
    }

    /// The major version, which the rules depend on: `257`.
    pub fn major(&self) -> u32 {
        self.major
    }
}

/// Parses a version by itself: `257`, or `257.13-1~deb13u1`.
impl FromStr for StubVersion {
    type Err = StubVersionError;

    fn from_str(version: &str) -> Result<Self, Self::Err> {
        let unknown = || StubVersionError::Text {
            actual: version.chars().take(80).collect(),
        };
        let digits = version
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(version.len());
        let major = version.get(..digits).and_then(|digits| digits.parse().ok());
        let is_text = version.chars().all(|c| c.is_ascii_graphic());
        Ok(Self {
            text: version.to_owned(),
            major: major.filter(|_| is_text).ok_or_else(unknown)?,
        })
    }
}

impl fmt::Display for StubVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_marker_parses() {
        let version =
            StubVersion::parse(b"#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0").unwrap();
        assert_eq!(version.to_string(), "257.13-1~deb13u1");
        assert_eq!(version.major(), 257);
        assert!(StubRules::of(&version).is_ok());
    }

    #[test]
    fn unknown_version_is_refused_with_a_way_to_go_on() {
        for text in ["249.11", "263~rc1", "2570"] {
            let version: StubVersion = text.parse().unwrap();
            let error = StubRules::of(&version).unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("--stub-version"),
                "{error}"
            );
        }
    }

    #[test]
    fn anything_else_is_not_a_marker() {
        for marker in [
            &b""[..],
            b"#### LoaderInfo: systemd-boot 257.13 ####",
            b"#### LoaderInfo: systemd-stub v257 ####",
            b"#### LoaderInfo: systemd-stub 257 evil ####",
            b"#### LoaderInfo: systemd-stub  ####",
            b"#### LoaderInfo: systemd-stub 99999999999 ####",
        ] {
            assert!(
                matches!(
                    StubVersion::parse(marker),
                    Err(StubVersionError::Marker { .. })
                ),
                "{marker:?}"
            );
        }
    }
}
