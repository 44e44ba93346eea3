//! PCR 9, what Linux is given: its command line and its initrd.
//!
//! Mirrors Linux 6.12 `drivers/firmware/efi/libstub/efi-stub-helper.c`: `efi_convert_cmdline`
//! measures the image's LoadOptions (EFISTUB_EVT_LOAD_OPTIONS), `efi_load_initrd` what it gets
//! through `LINUX_EFI_INITRD_MEDIA_GUID` (EFISTUB_EVT_INITRD). What the stub makes of the sections
//! `.cmdline` and `.initrd` before it hands them on is in `command_line.rs` and `initrd.rs`.
//!
//! I/O: reads sections.

use std::io::{Read, Seek};

use super::command_line::CommandLine;
use super::initrd::Initrd;
use super::{Boot, Event, PredictError, Register};
use crate::{Digests, Image};

/// The register's index.
pub const INDEX: u8 = 9;

/// Returns PCR 9 after Linux was given this command line, without its NUL, and this initrd.
///
/// `initrd` is the digest of all that the kernel receives, not of `.initrd` alone; `None` if the
/// kernel receives none, which it then does not measure. Of a command line without LoadOptions
/// (`None`), nothing is measured either; of an empty one its NUL is.
pub fn register(command_line: Option<&str>, initrd: Option<Digests>) -> Register {
    let command_line = command_line.map(|text| command_line_event(&CommandLine::from_text(text)));
    let initrd = initrd.map(|digests| Event::new(digests, INITRD));
    Register::from_events(command_line.into_iter().chain(initrd).collect())
}

const INITRD: &str = "initrd";

fn command_line_event(command_line: &CommandLine) -> Event {
    let digests = Digests::of(&command_line.load_options());
    Event::with_detail(digests, "kernel command line", command_line)
}

/// Predicts the register; `None` if it depends on the machine.
pub(super) fn predict<R: Read + Seek>(
    image: &mut Image<R>,
    boot: &Boot,
) -> Result<Option<Register>, PredictError> {
    let source = &mut image.source;
    let command_line = CommandLine::read(source, boot)?;
    if command_line.is_none() && boot.rules.keeps_load_options {
        let section = ".cmdline";
        return Err(PredictError::MissingSection { section });
    }
    let has_console = command_line.as_ref().is_some_and(CommandLine::has_console);
    let has_boot_secret = boot.rules.initrd.has_boot_secret && !image.chain.forbids_boot_secret;
    if has_boot_secret || (boot.rules.adds_console && !has_console) {
        return Ok(None);
    }
    let initrd = Initrd::assemble(source, boot)?;
    let measured = initrd.digests(source)?;
    let measured = measured.map(|digests| Event::with_detail(digests, INITRD, &initrd));
    let command_line = command_line.as_ref().map(command_line_event);
    let events = command_line.into_iter().chain(measured);
    Ok(Some(Register::from_events(events.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_run_extends_to_its_published_value() {
        let initrd = Digests {
            sha256: "0cc531c70b473425e513310dfb4cbcfd5161444a07d318b4d5b816f557d589a6"
                .parse()
                .unwrap(),
            sha384: crate::Digest::ZERO,
        };
        let command_line = "console=tty0 console=ttyS0,115200n8 mitigations=auto,nosmt \
                            spec_store_bypass_disable=on nospectre_v2";
        assert_eq!(
            register(Some(command_line), Some(initrd))
                .value
                .sha256
                .to_string(),
            "817c80c72f0a42bd72d4c7130f0d48c39a6d3ac6def92da085dec16feb822518"
        );
    }

    #[test]
    fn short_command_line_extends_to_the_reference_tools_value() {
        assert_eq!(
            register(Some("console=tty0"), Some(Digests::ZERO))
                .value
                .sha256
                .to_string(),
            "eb4f7bca865807d3163b95174d6e66cfc74acf8b930a553e95ec94662cb6facd"
        );
    }
}
