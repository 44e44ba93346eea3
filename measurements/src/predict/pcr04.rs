//! PCR 4, boot manager code: the firmware's decision to boot, then every image it loads.
//!
//! Mirrors, in this order:
//! - EV_EFI_ACTION and EV_SEPARATOR: TCG PC Client Platform Firmware Profile 1.06, on PCR\[4\];
//!   EDK II `SecurityPkg/Tcg/Tcg2Dxe/Tcg2Dxe.c`, `OnReadyToBoot`.
//! - EV_EFI_BOOT_SERVICES_APPLICATION for the UKI: EDK II
//!   `SecurityPkg/Library/DxeTpm2MeasureBootLib`, `Tcg2MeasurePeImage`.
//! - the same for `.linux`, because systemd-stub 257 starts it through the firmware's LoadImage:
//!   systemd v257 `src/boot/linux.c`, `linux_exec`. (Since 258 the stub does without.)
//!
//! I/O: none.

use super::{Event, PredictError, Register, required};
use crate::pe::authenticode;
use crate::{Sha256Digest, Uki};

/// The register's index.
pub const INDEX: u8 = 4;

/// What firmware measures before it starts a boot option: `EFI_CALLING_EFI_APPLICATION`, TCG PC
/// Client Platform Firmware Profile, table of EV_EFI_ACTION strings. No terminating NUL.
const ACTION: &str = "Calling EFI Application from Boot Option";

/// What firmware measures at the border between its own doing and the boot option: four zero
/// bytes.
const SEPARATOR: [u8; 4] = [0; 4];

/// Returns PCR 4 after the UKI and the kernel in it were loaded, from their Authenticode digests.
pub fn register(uki: Sha256Digest, kernel: Sha256Digest) -> Register {
    Register::from_events(vec![
        Event::new(
            Sha256Digest::of(ACTION.as_bytes()),
            format!("firmware action \"{ACTION}\""),
        ),
        Event::new(Sha256Digest::of(&SEPARATOR), "separator"),
        Event::new(uki, "Authenticode digest of the UKI"),
        Event::new(kernel, "Authenticode digest of .linux"),
    ])
}

pub(super) fn predict(uki: &Uki) -> Result<Register, PredictError> {
    let image = authenticode::digest(uki.as_bytes()).map_err(PredictError::Authenticode)?;
    // LoadImage gets the section as it is in memory: VirtualSize bytes.
    let kernel = required(uki, ".linux")?.to_bytes();
    let kernel = authenticode::digest(&kernel).map_err(PredictError::KernelAuthenticode)?;
    Ok(register(image, kernel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_run_extends_to_its_published_value() {
        let uki = "320af1bf8257b6fd1a47b8fa865bdde7bdfdbf235894804b6b15b676296b1ba4";
        let kernel = "eb1a69b12b47b6b3d4716bad94323d27173cba5f4285b918a2bf59ea5cb3c9ea";
        assert_eq!(
            register(uki.parse().unwrap(), kernel.parse().unwrap())
                .value
                .to_string(),
            "176543f594059b26292565a3c07b5eaa34122cf2ce7f53b149b6fb85c3046d30"
        );
    }

    #[test]
    fn two_synthetic_stages_extend_to_the_reference_tools_value() {
        let register = register(crate::Digest([0; 32]), crate::Digest([1; 32]));
        assert_eq!(
            register.value.to_string(),
            "22116dee861aa6b44242ac469eab24cead344d52c77131f54ac1cac9d6a2408e"
        );
    }
}
