//! RTMR1, what the firmware starts: the events of PCR 2 to 6.
//!
//! Mirrors, in this order:
//! - EV_EFI_ACTION and one EV_SEPARATOR: EDK II `OvmfPkg/Tcg/TdTcg2Dxe/TdTcg2Dxe.c`,
//!   `OnReadyToBoot`. (With a TPM there are separators for each PCR.)
//! - EV_EFI_GPT_EVENT (PCR 5), before the first image from a disk, for the first disk only, and
//!   EV_EFI_BOOT_SERVICES_APPLICATION for each image (PCR 4): EDK II
//!   `SecurityPkg/Library/DxeTpm2MeasureBootLib`, `DxeTpm2MeasureBootHandler`.
//! - `loader.conf` (PCR 5), which systemd-boot measures before it loads the UKI: systemd
//!   `src/boot/boot.c`, `config_load_defaults`.
//! - two EV_EFI_ACTION when Linux leaves the firmware: `TdTcg2Dxe.c`, `OnExitBootServices`.
//!
//! Holds for a machine that boots from this disk at the first attempt and leaves the firmware at
//! the first attempt: after another boot option, or after ExitBootServices failed once (Linux then
//! tries again), there are more actions. Option ROMs are not loaded in a TDX guest (EDK II
//! `OvmfPkg/IncompatiblePciDeviceSupportDxe`), so that they are not measured.
//!
//! Left out: drivers beside systemd-boot (`EFI/systemd/drivers`), shim.
//!
//! I/O: none.

use crate::{Digests, Event, Register};

/// TCG PC Client Platform Firmware Profile, table of EV_EFI_ACTION strings. No terminating NUL.
const CALLING: &str = "Calling EFI Application from Boot Option";
const EXITING: &str = "Exit Boot Services Invocation";
const EXITED: &str = "Exit Boot Services Returned with Success";
/// What firmware measures at the border between its own doing and the boot option.
const SEPARATOR: [u8; 4] = [0; 4];

/// What RTMR1 is made of.
///
/// Of all digests the SHA-384 ones count; an RTMR has no other bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtmr1Inputs {
    /// Which register the firmware extends its separator into.
    pub separator: SeparatorRegister,
    /// The digests of [`gpt_event`](super::gpt_event()) of the disk.
    pub gpt: Digests,
    /// The boot loader that starts the UKI; `None` if firmware starts the UKI itself.
    pub boot_loader: Option<BootLoader>,
    /// The UKI's Authenticode digests.
    pub uki: Digests,
    /// The Authenticode digests of the UKI's `.linux`, if its stub starts it through the firmware's
    /// LoadImage: systemd-stub before 258.
    pub kernel: Option<Digests>,
}

/// systemd-boot, between firmware and UKI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLoader {
    /// Its Authenticode digests.
    pub image: Digests,
    /// The digests of `loader/loader.conf`, if it is there, is not empty, and
    /// [`measures_tagged_events`].
    pub config: Option<Digests>,
}

/// Which register gets the separator before the boot option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeparatorRegister {
    /// EDK II before edk2-stable202411: RTMR0 has two, RTMR1 none
    /// (`TdTcg2Dxe.c`, `OnReadyToBoot`, before "Fix the SeparatorEvent issue in RTMRs").
    Rtmr0,
    /// EDK II since edk2-stable202411: each of RTMR0 and RTMR1 has one.
    Rtmr1,
}

/// Says whether systemd-boot and systemd-stub of this major version measure in a TDX guest what they
/// measure as tagged events: `loader.conf`, the profile of a UKI, and add-ons with a device tree,
/// initrd or microcode. Since 261; before, they told a TPM only, so that no RTMR covers these
/// (systemd v257 `src/boot/measure.c`, `tpm_log_tagged_event`; NEWS, "CHANGES WITH 261").
pub fn measures_tagged_events(major: u32) -> bool {
    major >= 261
}

/// Returns RTMR1 after the boot that `inputs` describe, when Linux runs.
///
/// Nothing needs to be trusted: the result only says what it would be.
pub fn rtmr1(inputs: &Rtmr1Inputs) -> Register {
    let separator = match inputs.separator {
        SeparatorRegister::Rtmr0 => None,
        SeparatorRegister::Rtmr1 => Some(Event::new(Digests::of(&SEPARATOR), "separator")),
    };
    let loader = inputs.boot_loader.as_ref();
    let config = loader.and_then(|loader| loader.config);
    let loader = loader.map(|loader| loader.image);
    let image = |digests, name| Event::new(digests, format!("Authenticode digest of {name}"));

    let events = [
        Some(action(CALLING)),
        separator,
        Some(Event::new(inputs.gpt, "partition table")),
        loader.map(|digests| image(digests, "the boot loader")),
        config.map(|digests| Event::new(digests, "loader.conf")),
        Some(image(inputs.uki, "the UKI")),
        inputs.kernel.map(|digests| image(digests, ".linux")),
        Some(action(EXITING)),
        Some(action(EXITED)),
    ];
    Register::from_events(events.into_iter().flatten().collect())
}

fn action(text: &str) -> Event {
    Event::new(
        Digests::of(text.as_bytes()),
        format!("firmware action \"{text}\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha384(hex: &str) -> Digests {
        let sha384 = hex.parse().unwrap();
        Digests {
            sha384,
            ..Digests::ZERO
        }
    }

    fn inputs() -> Rtmr1Inputs {
        Rtmr1Inputs {
            separator: SeparatorRegister::Rtmr1,
            gpt: Digests::of(b"gpt"),
            boot_loader: None,
            uki: Digests::of(b"uki"),
            kernel: None,
        }
    }

    fn subjects(inputs: &Rtmr1Inputs) -> Vec<String> {
        let events = rtmr1(inputs).events.into_iter();
        events.map(|event| event.subject).collect()
    }

    /// The log of a TDX guest in Google's cloud and the register that it is tested against, both in
    /// github.com/google/go-eventlog (`ccel/replay_test.go`, cos-113-intel-tdx). Two images are
    /// measured there, shim and GRUB, where we have UKI and kernel.
    #[test]
    fn real_guest_extends_to_its_published_register() {
        let inputs = Rtmr1Inputs {
            gpt: sha384(
                "e1d51dadc14440d4800e54731a818bd38e43c38a672ef490e2504be2dced5ba0\
                 80a6931b414146f22f7d850c09a9cb3f",
            ),
            uki: sha384(
                "5a10026c9ad41d1f90dc9cfe88bcabe1842ccfd85495c81b1a1ab926a9ef23b5\
                 d2e60eefeba0415bbe5c8c328a899a0a",
            ),
            kernel: Some(sha384(
                "b1fb7f4c0689f5a920b800b2607075f4906f8c8282d44e56fc991ec01f1adac1\
                 76d2040a26f1453df112d7c4f4293fc9",
            )),
            ..inputs()
        };
        assert_eq!(
            rtmr1(&inputs).value.sha384.to_string(),
            "f62dbc072bd5d3f3438b7b35c39a727f5aea2ffc2473f43723953f530daf6250\
             4f0a7944aa62c41a86e8a878c2b122c1"
        );
    }

    #[test]
    fn everything_is_measured_in_its_place() {
        let mut inputs = inputs();
        inputs.kernel = Some(Digests::of(b"kernel"));
        inputs.boot_loader = Some(BootLoader {
            image: Digests::of(b"loader"),
            config: Some(Digests::of(b"timeout 0\n")),
        });
        let all = [
            "firmware action \"Calling EFI Application from Boot Option\"",
            "separator",
            "partition table",
            "Authenticode digest of the boot loader",
            "loader.conf",
            "Authenticode digest of the UKI",
            "Authenticode digest of .linux",
            "firmware action \"Exit Boot Services Invocation\"",
            "firmware action \"Exit Boot Services Returned with Success\"",
        ];
        assert_eq!(subjects(&inputs), all);

        inputs.separator = SeparatorRegister::Rtmr0;
        inputs.kernel = None;
        inputs.boot_loader = None;
        assert_eq!(subjects(&inputs), [all[0], all[2], all[5], all[7], all[8]]);
    }

    #[test]
    fn old_versions_tell_a_tpm_only_of_tagged_events() {
        assert!(!measures_tagged_events(257) && !measures_tagged_events(260));
        assert!(measures_tagged_events(261));
    }
}
