//! PCR 12, kernel configuration from outside the UKI: nothing, with two exceptions.
//!
//! A profile other than 0 is measured as its number: systemd v257 `src/boot/stub.c`,
//! `measure_profile`; and before that as the load options `@N`, if systemd-boot starts it
//! (`src/boot/boot.c`, `image_start`).
//!
//! And systemd-boot up to 254 hands `.cmdline` to the UKI as load options, and measures them; the
//! stub finds load options, and measures them again: systemd v254 `src/boot/efi/boot.c`,
//! `image_start`, and `src/boot/efi/stub.c`, `run`. Since 255 it hands on nothing
//! (`options_implied`). Left out: a systemd-boot up to 254 with a stub that is not from 252 to 254,
//! for which a command line that was handed on is another one than its own.
//!
//! I/O: reads `.cmdline`.

use std::io::{Read, Seek};
use std::ops::RangeInclusive;

use super::command_line::CommandLine;
use super::{Boot, Event, PredictError, Register};
use crate::pe::SectionHeader;
use crate::{Digests, Image, StubVersion};

/// The register's index.
pub const INDEX: u8 = 12;

pub(crate) const BY_LOADER: &str = "load options from systemd-boot";
const BY_STUB: &str = "load options taken by systemd-stub";

/// The last systemd-boot that hands on the command line.
const LAST_THAT_HANDS_ON: u32 = 254;

/// Versions of systemd-boot and systemd-stub of which it is known what becomes of the command line,
/// together: they treat white space the same, which others do not.
const KNOWN_TOGETHER: RangeInclusive<u32> = 252..=LAST_THAT_HANDS_ON;

pub(super) fn predict<R: Read + Seek>(
    image: &mut Image<R>,
    boot: &Boot,
) -> Result<Option<Register>, PredictError> {
    let mut events = handed_on(image, boot)?;
    if image.assumptions.profile > 0 {
        let number = image.assumptions.profile.to_string();
        if image.chain.loader.is_some() {
            let options = format!("@{number}");
            let digests = Digests::of(&CommandLine::from_text(&options).load_options());
            events.push(Event::with_detail(digests, BY_LOADER, options));
        }
        let digests = Digests::of(&CommandLine::from_text(&number).load_options());
        events.push(Event::with_detail(digests, "profile", number));
    }
    Ok((!events.is_empty()).then(|| Register::from_events(events)))
}

/// The command line twice, if the boot loader hands it on.
fn handed_on<R: Read + Seek>(
    image: &mut Image<R>,
    boot: &Boot,
) -> Result<Vec<Event>, PredictError> {
    let Some(loader) = &image.chain.loader else {
        return Ok(Vec::new());
    };
    let marker = loader.marker().unwrap_or_default();
    let version = StubVersion::parse_loader(marker)?;
    if version.major() > LAST_THAT_HANDS_ON {
        return Ok(Vec::new());
    }
    let unknown = |reason: String| PredictError::HandedOn {
        loader: version.to_string(),
        reason,
    };
    let stub = &boot.version;
    if [&version, stub]
        .iter()
        .any(|version| !KNOWN_TOGETHER.contains(&version.major()))
    {
        let reason = format!(
            "the stub is {stub}; expected both to be from 252 to 254, or systemd-boot 255 or newer"
        );
        return Err(unknown(reason));
    }
    // Up to 254 it reads as many bytes of the file as there are in memory.
    let is_cut = |s: &SectionHeader| s.starts_with(b".cmdline") && s.virtual_size > s.raw_size;
    if image.chain.uki.file().sections().iter().any(is_cut) {
        let reason = "section .cmdline is larger in memory than in the file".to_owned();
        return Err(unknown(reason));
    }
    let command_line = CommandLine::read(&mut image.source, boot)?;
    let Some(text) = command_line.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let event =
        |subject: &str| Event::with_detail(Digests::of(&text.load_options()), subject, &text);
    // With Secure Boot on, the stub takes no load options.
    let by_stub = (!image.assumptions.secure_boot).then_some(BY_STUB);
    Ok([BY_LOADER].into_iter().chain(by_stub).map(event).collect())
}
