//! The kernel command line as the stub makes it of `.cmdline`.
//!
//! Mirrors systemd v257 `src/boot/efi-string.c`, `xstrn8_to_16`, and `src/boot/util.c`,
//! `mangle_stub_cmdline`; which differs between versions: [`Mangling`].
//!
//! I/O: reads `.cmdline`.

use std::fmt;
use std::io::{Read, Seek};

use super::stub_rules::Mangling;
use super::{Boot, PredictError};
use crate::source::Source;

/// What Linux gets as LoadOptions, without its terminating NUL: UCS-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine(Vec<u16>);

impl CommandLine {
    /// Reads the command line of the profile that is booted; `None` if the UKI has none.
    pub(crate) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        boot: &Boot,
    ) -> Result<Option<Self>, PredictError> {
        let Some(content) = boot.sections.find(".cmdline") else {
            return Ok(None);
        };
        let section = source.read(content)?;
        let command_line = Self::from_section(&section, boot.rules.mangling);
        let undefined = PredictError::MachineDependent {
            section: ".cmdline",
        };
        command_line.ok_or(undefined).map(Some)
    }

    /// Does what the stub does: decodes up to the first NUL, then tidies white space. `None` if
    /// the result depends on what else is in memory.
    pub(crate) fn from_section(section: &[u8], mangling: Mangling) -> Option<Self> {
        mangle(decode(section), mangling).map(Self)
    }

    /// A command line from its text.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether a parameter `console=` is there, as `cmdline_append_console` looks for it.
    pub(crate) fn has_console(&self) -> bool {
        let text = self.to_string();
        text.split(' ')
            .any(|parameter| parameter.starts_with("console="))
    }

    /// The bytes that are handed over, and measured: little-endian, with a NUL.
    pub(crate) fn load_options(&self) -> Vec<u8> {
        let with_nul = self.0.iter().copied().chain([0]);
        with_nul.flat_map(u16::to_le_bytes).collect()
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf16_lossy(&self.0))
    }
}

/// UTF-8 to UCS-2, as forgiving as the stub is: sequences of up to six bytes, not necessarily the
/// shortest, of which UCS-2 takes what it has; what is no sequence is dropped, with as many bytes as
/// its first one promised (`utf8_to_unichar`, `xstrn8_to_16`).
fn decode(mut text: &[u8]) -> Vec<u16> {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(first) = text.first().filter(|first| **first != 0) {
        let (length, bits) = match first {
            0x00..=0x7f => (1, *first),
            0xc0..=0xdf => (2, first & 0x1f),
            0xe0..=0xef => (3, first & 0x0f),
            0xf0..=0xf7 => (4, first & 0x07),
            0xf8..=0xfb => (5, first & 0x03),
            0xfc..=0xfd => (6, first & 0x01),
            0x80..=0xbf | 0xfe..=0xff => (1, 0),
        };
        let is_start = !matches!(first, 0x80..=0xbf | 0xfe..=0xff);
        let rest = text.get(1..length).filter(|_| is_start);
        let is_sequence = |rest: &&[u8]| rest.iter().all(|byte| byte & 0xc0 == 0x80);
        let character = rest.filter(is_sequence).map(|rest| {
            rest.iter().fold(u32::from(bits), |character, byte| {
                (character << 6) | u32::from(byte & 0x3f)
            })
        });
        let unit = character.and_then(|character| u16::try_from(character).ok());
        // Surrogates are no characters.
        decoded.extend(unit.filter(|unit| !(0xd800..=0xdfff).contains(unit)));
        text = text.get(length..).unwrap_or_default();
    }
    // A NUL that was written in more than one byte ends the text, too.
    let end = decoded.iter().position(|unit| *unit == 0);
    decoded.truncate(end.unwrap_or(decoded.len()));
    decoded
}

/// `None` if a stub that does not look for the text's end reads on behind it.
fn mangle(mut text: Vec<u16>, mangling: Mangling) -> Option<Vec<u16>> {
    const SPACE: u16 = 0x20;
    let is_blank = |unit: u16| match mangling {
        Mangling::End => unit <= 0x1f,
        // `shall_be_whitespace`.
        Mangling::BothEndsOfText | Mangling::BothEnds => unit <= SPACE || unit == 0x7f,
    };
    if mangling == Mangling::BothEndsOfText && text.iter().all(|unit| is_blank(*unit)) {
        return None;
    }
    for unit in &mut text {
        if is_blank(*unit) {
            *unit = SPACE;
        }
    }
    let is_text = |unit: &u16| *unit != SPACE;
    let end = text.iter().rposition(is_text);
    text.truncate(end.map_or(0, |last| last.saturating_add(1)));
    if mangling != Mangling::End {
        let start = text.iter().position(is_text).unwrap_or(0);
        text.drain(..start);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mangled(section: &[u8], mangling: Mangling) -> String {
        CommandLine::from_section(section, mangling)
            .unwrap()
            .to_string()
    }

    #[test]
    fn ends_at_the_first_nul_and_is_trimmed() {
        for (section, expected) in [
            (&b"quiet\0"[..], "quiet"),
            (b"quiet\n\0\0\0", "quiet"),
            (b"  quiet\troot=x \x7f\n", "quiet root=x"),
            (b"a  b", "a  b"),
            (b"a\0b", "a"),
            (b" \n", ""),
            (b"\0", ""),
        ] {
            assert_eq!(mangled(section, Mangling::BothEnds), expected);
        }
    }

    #[test]
    fn older_stubs_leave_more() {
        assert_eq!(mangled(b"  a\tb\x7f\n \n", Mangling::End), "  a b\x7f");
        assert_eq!(mangled(b" \n", Mangling::End), "");
        assert_eq!(mangled(b" a \n", Mangling::BothEndsOfText), "a");
        for blank in [&b" \n"[..], b"\0"] {
            let undefined = CommandLine::from_section(blank, Mangling::BothEndsOfText);
            assert_eq!(undefined, None, "{blank:?}");
        }
    }

    #[test]
    fn what_ucs2_does_not_have_is_dropped() {
        let section = "a\u{e4}\u{20ac}\u{1f600}b".as_bytes();
        assert_eq!(mangled(section, Mangling::BothEnds), "a\u{e4}\u{20ac}b");
        // Two bytes are dropped for 0xc3, three for 0xe3, and a NUL among them ends nothing.
        assert_eq!(mangled(b"a\x80\xc3bc\xff", Mangling::BothEnds), "ac");
        assert_eq!(mangled(b"a\xe3\0bc\0d", Mangling::BothEnds), "ac");
        // A surrogate, and a NUL in two bytes.
        assert_eq!(
            mangled(b"a\xed\xa0\x80b\xc0\x80c", Mangling::BothEnds),
            "ab"
        );
    }

    #[test]
    fn console_is_a_parameter_of_its_own() {
        let has = |text| CommandLine::from_text(text).has_console();
        assert!(has("console=hvc0") && has("quiet console=tty0"));
        assert!(!has("quiet") && !has("netconsole=x"));
    }
}
