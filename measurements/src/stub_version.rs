//! Which systemd-stub a UKI contains. The rules of prediction depend on it.
//!
//! I/O: none.

use std::fmt;

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
         predicted; build the UKI with systemd-stub 257"
    )]
    NoMarker,
    /// `.sdmagic` says something else than which systemd-stub this is.
    #[error(
        "expected .sdmagic to say \"#### LoaderInfo: systemd-stub VERSION ####\", got {actual:?}"
    )]
    Marker {
        /// The section's text, at most 80 characters of it.
        actual: String,
    },
    /// The stub's rules are not known to this version of the program.
    #[error(
        "expected systemd-stub {}, got {actual}: its measurements were not proven against a boot; \
         build the UKI with a proven version, or prove and add the rules for this one",
        StubVersion::PROVEN_MAJOR
    )]
    Unproven {
        /// What the UKI contains.
        actual: StubVersion,
    },
}

impl StubVersion {
    /// The major version whose rules are implemented here, and were found equal to real boots.
    pub const PROVEN_MAJOR: u32 = 257;

    /// The marker's frame: `DECLARE_NOALLOC_SECTION(".sdmagic", …)` in systemd's `src/boot/stub.c`.
    const PREFIX: &str = "#### LoaderInfo: systemd-stub ";
    const SUFFIX: &str = " ####";

    /// Parses the contents of a `.sdmagic` section, such as
    /// `#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####` and a NUL.
    ///
    /// # Errors
    ///
    /// [`StubVersionError::Marker`] if the section says anything else.
    pub fn parse(section: &[u8]) -> Result<Self, StubVersionError> {
        let text = String::from_utf8_lossy(section);
        let text = text.trim_end_matches('\0');
        let unknown = || StubVersionError::Marker {
            actual: text.chars().take(80).collect(),
        };
        let version = text
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.strip_suffix(Self::SUFFIX))
            .filter(|version| version.chars().all(|c| c.is_ascii_graphic()))
            .ok_or_else(unknown)?;
        let digits = version
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(version.len());
        let major = version.get(..digits).and_then(|digits| digits.parse().ok());
        Ok(Self {
            text: version.to_owned(),
            major: major.ok_or_else(unknown)?,
        })
    }

    /// The major version, which the rules depend on: `257`.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Refuses versions whose rules were not proven.
    ///
    /// # Errors
    ///
    /// [`StubVersionError::Unproven`] for every major version but [`Self::PROVEN_MAJOR`].
    pub fn require_proven(&self) -> Result<(), StubVersionError> {
        if self.major == Self::PROVEN_MAJOR {
            Ok(())
        } else {
            Err(StubVersionError::Unproven {
                actual: self.clone(),
            })
        }
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
        assert_eq!(version.require_proven(), Ok(()));
    }

    #[test]
    fn other_major_version_is_refused_by_name() {
        let version = StubVersion::parse(b"#### LoaderInfo: systemd-stub 258.1-1 ####").unwrap();
        let error = version.require_proven().unwrap_err().to_string();
        assert!(
            error.contains("258.1-1") && error.contains("257"),
            "{error}"
        );
        assert!(
            StubVersion::parse(b"#### LoaderInfo: systemd-stub 2570 ####")
                .unwrap()
                .require_proven()
                .is_err()
        );
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
