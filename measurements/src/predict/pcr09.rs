//! PCR 9, what Linux is given: its command line and its initrd.
//!
//! Mirrors Linux 6.12 `drivers/firmware/efi/libstub/efi-stub-helper.c`: `efi_convert_cmdline`
//! measures the image's LoadOptions (EFISTUB_EVT_LOAD_OPTIONS), `efi_load_initrd` what it gets
//! through `LINUX_EFI_INITRD_MEDIA_GUID` (EFISTUB_EVT_INITRD). What the stub makes of the sections
//! `.cmdline` and `.initrd` before it hands them on is in `command_line.rs` and `initrd.rs`.
//!
//! I/O: none.

use super::command_line::CommandLine;
use super::initrd::Initrd;
use super::{Event, PredictError, Register, required};
use crate::{Sha256Digest, Uki};

/// The register's index.
pub const INDEX: u8 = 9;

/// Returns PCR 9 after Linux was given this command line, without its NUL, and this initrd.
///
/// `initrd` is the digest of all that the kernel receives, not of `.initrd` alone; `None` if the
/// kernel receives none, which it then does not measure.
pub fn register(command_line: &str, initrd: Option<Sha256Digest>) -> Register {
    let with_nul = command_line.encode_utf16().chain([0]);
    let load_options: Vec<u8> = with_nul.flat_map(u16::to_le_bytes).collect();
    let command_line = Event::with_detail(
        Sha256Digest::of(&load_options),
        "kernel command line",
        command_line,
    );
    let initrd = initrd.map(|digest| Event::new(digest, "initrd"));
    Register::from_events([command_line].into_iter().chain(initrd).collect())
}

pub(super) fn predict(uki: &Uki) -> Result<Register, PredictError> {
    let command_line = CommandLine::from_section(&required(uki, ".cmdline")?.to_bytes())?;
    let initrd = Initrd::assemble(uki);
    let mut register = register(command_line.as_str(), initrd.sha256());
    if let Some(event) = register.events.get_mut(1) {
        event.what = format!("{}: {initrd}", event.subject);
    }
    Ok(register)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_run_extends_to_its_published_value() {
        let initrd = "0cc531c70b473425e513310dfb4cbcfd5161444a07d318b4d5b816f557d589a6";
        let command_line = "console=tty0 console=ttyS0,115200n8 mitigations=auto,nosmt \
                            spec_store_bypass_disable=on nospectre_v2";
        assert_eq!(
            register(command_line, Some(initrd.parse().unwrap()))
                .value
                .to_string(),
            "817c80c72f0a42bd72d4c7130f0d48c39a6d3ac6def92da085dec16feb822518"
        );
    }

    #[test]
    fn short_command_line_extends_to_the_reference_tools_value() {
        assert_eq!(
            register("console=tty0", Some(Sha256Digest::ZERO))
                .value
                .to_string(),
            "eb4f7bca865807d3163b95174d6e66cfc74acf8b930a553e95ec94662cb6facd"
        );
    }
}
