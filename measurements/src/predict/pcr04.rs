//! PCR 4, boot manager code: the firmware's decision to boot, then every image it loads.
//!
//! Mirrors, in this order:
//! - EV_EFI_ACTION and EV_SEPARATOR: TCG PC Client Platform Firmware Profile 1.06, on PCR\[4\];
//!   EDK II `SecurityPkg/Tcg/Tcg2Dxe/Tcg2Dxe.c`, `OnReadyToBoot`.
//! - EV_EFI_BOOT_SERVICES_APPLICATION for the boot loader, if there is one, and the UKI: EDK II
//!   `SecurityPkg/Library/DxeTpm2MeasureBootLib`, `Tcg2MeasurePeImage`.
//! - the same for `.linux`, if systemd-stub starts it through the firmware's LoadImage: systemd
//!   v257 `src/boot/linux.c`, `linux_exec`. Since 258 the stub does without; and with Secure Boot
//!   on, what keeps the firmware from refusing the kernel keeps it from measuring it, too
//!   (`src/boot/secure-boot.c`, `install_security_override`).
//!
//! I/O: reads the boot loader, the UKI and the kernel in it.

use std::io::{Read, Seek};

use super::stub_rules::KernelStart;
use super::{Boot, Event, PredictError, Register};
use crate::pe_file::PeFile;
use crate::source::Source;
use crate::{Digests, Image};

/// The register's index.
pub const INDEX: u8 = 4;

/// What firmware measures before it starts a boot option: `EFI_CALLING_EFI_APPLICATION`, TCG PC
/// Client Platform Firmware Profile, table of EV_EFI_ACTION strings. No terminating NUL.
const ACTION: &str = "Calling EFI Application from Boot Option";

/// What firmware measures at the border between its own doing and the boot option: four zero
/// bytes.
const SEPARATOR: [u8; 4] = [0; 4];

/// Returns PCR 4 after these images were loaded, in this order: each what it is, and its
/// Authenticode digests.
pub fn register<'a>(images: impl IntoIterator<Item = (&'a str, Digests)>) -> Register {
    let begin = [
        Event::new(
            Digests::of(ACTION.as_bytes()),
            format!("firmware action \"{ACTION}\""),
        ),
        Event::new(Digests::of(&SEPARATOR), "separator"),
    ];
    let images = images
        .into_iter()
        .map(|(what, digests)| Event::new(digests, format!("Authenticode digest of {what}")));
    Register::from_events(begin.into_iter().chain(images).collect())
}

pub(super) fn predict<R: Read + Seek>(
    image: &mut Image<R>,
    boot: &Boot,
) -> Result<Register, PredictError> {
    let source = &mut image.source;
    let mut images = Vec::new();
    if let Some(loader) = &image.chain.loader {
        images.push((
            "the boot loader",
            digests(source, loader.file(), "the boot loader")?,
        ));
    }
    let uki = image.chain.uki.file();
    images.push(("the UKI", digests(source, uki, "the UKI")?));
    if boot.rules.kernel == KernelStart::Firmware && !image.assumptions.secure_boot {
        // LoadImage gets the section as it is in memory: VirtualSize bytes.
        let what = "the kernel in section .linux";
        let kernel = PeFile::read(source, boot.sections.required(".linux")?.clone());
        let kernel = kernel.map_err(|source| PredictError::Authenticode { what, source })?;
        images.push((".linux", digests(source, &kernel, what)?));
    }
    Ok(register(images))
}

fn digests<R: Read + Seek>(
    source: &mut Source<R>,
    file: &PeFile,
    what: &'static str,
) -> Result<Digests, PredictError> {
    let digests = file.authenticode(source);
    digests.map_err(|source| PredictError::Authenticode { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Sha256Digest};

    fn value(uki: Sha256Digest, kernel: Sha256Digest) -> String {
        let digests = |sha256| Digests {
            sha256,
            sha384: Digest::ZERO,
        };
        let register = register([("the UKI", digests(uki)), (".linux", digests(kernel))]);
        register.value.sha256.to_string()
    }

    #[test]
    fn published_run_extends_to_its_published_value() {
        let uki = "320af1bf8257b6fd1a47b8fa865bdde7bdfdbf235894804b6b15b676296b1ba4";
        let kernel = "eb1a69b12b47b6b3d4716bad94323d27173cba5f4285b918a2bf59ea5cb3c9ea";
        assert_eq!(
            value(uki.parse().unwrap(), kernel.parse().unwrap()),
            "176543f594059b26292565a3c07b5eaa34122cf2ce7f53b149b6fb85c3046d30"
        );
    }

    #[test]
    fn two_synthetic_stages_extend_to_the_reference_tools_value() {
        assert_eq!(
            value(Digest([0; 32]), Digest([1; 32])),
            "22116dee861aa6b44242ac469eab24cead344d52c77131f54ac1cac9d6a2408e"
        );
    }
}
