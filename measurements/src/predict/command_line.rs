//! The kernel command line as the stub makes it of `.cmdline`.
//!
//! I/O: none.

use super::PredictError;

/// What Linux gets as LoadOptions, without its terminating NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine(String);

impl CommandLine {
    /// Does what the stub does: reads up to the first NUL (`xstrn8_to_16`), drops leading and
    /// trailing white space and control characters, and turns those inside into spaces
    /// (`mangle_stub_cmdline`). systemd v257 `src/boot/efi-string.c`, `src/boot/util.c`.
    ///
    /// # Errors
    ///
    /// [`PredictError::CommandLine`] if it is not ASCII.
    pub(crate) fn from_section(section: &[u8]) -> Result<Self, PredictError> {
        let text = section.split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some((offset, byte)) = text.iter().enumerate().find(|(_, byte)| !byte.is_ascii()) {
            return Err(PredictError::CommandLine {
                offset,
                byte: *byte,
            });
        }
        let spaced: String = text
            .iter()
            .map(|byte| {
                if is_blank(*byte) {
                    ' '
                } else {
                    char::from(*byte)
                }
            })
            .collect();
        Ok(Self(spaced.trim_matches(' ').to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `shall_be_whitespace`, systemd v257 `src/boot/util.c`.
fn is_blank(byte: u8) -> bool {
    byte <= 0x20 || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_at_the_first_nul_and_is_trimmed() {
        for (section, expected) in [
            (&b"quiet\0"[..], "quiet"),
            (b"quiet\n\0\0\0", "quiet"),
            (b"  quiet\troot=x \x7f\n", "quiet root=x"),
            (b"a  b", "a  b"),
            (b"a\0b", "a"),
            (b"\0", ""),
        ] {
            assert_eq!(
                CommandLine::from_section(section).unwrap().as_str(),
                expected
            );
        }
    }

    #[test]
    fn not_ascii_is_refused() {
        assert_eq!(
            CommandLine::from_section(b"a\xc3\xa4"),
            Err(PredictError::CommandLine {
                offset: 1,
                byte: 0xc3
            })
        );
    }
}
