//! RTMR2, what is inside the UKI: the events of PCR 8 to 15.
//!
//! First the stub's, then Linux's, each the same as with a TPM:
//! - systemd-stub since 256: systemd `src/boot/measure.c`, `cc_log_event`; NEWS, "CHANGES WITH 256".
//!   Before, it tells a TPM only.
//! - Linux since 6.9: `drivers/firmware/efi/libstub/efi-stub-helper.c`, `efi_measure_tagged_event`,
//!   which takes EFI_CC_MEASUREMENT_PROTOCOL if there is no EFI_TCG2_PROTOCOL. EDK II has one of the
//!   two: in a TDX guest that was given a vTPM too, the protocol that it offers decides.
//!
//! There is no separator: EDK II extends nothing of its own into RTMR2. And `systemd-pcrphase` and
//! its kin extend TPMs only.
//!
//! I/O: none.

use crate::{Event, Register};

/// What RTMR2 is made of.
///
/// Of all digests the SHA-384 ones count; an RTMR has no other bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtmr2Inputs<'a> {
    /// The stub's events of PCR 11 to 13 in the order in which it measures: a profile other than the
    /// first (PCR 12; only if [`measures_tagged_events`](super::measures_tagged_events)), the
    /// sections (PCR 11), load options that were given to it (PCR 12). Before them what systemd-boot
    /// gives it as such. None if not [`stub_measures`].
    pub stub: &'a [Event],
    /// The events of PCR 9: command line and initrd. None if not [`linux_measures`].
    pub linux: &'a [Event],
}

/// Says whether a systemd-stub of this major version measures anything in a TDX guest: since 256.
pub fn stub_measures(major: u32) -> bool {
    major >= 256
}

/// Says whether a Linux measures its command line and initrd in a TDX guest: since 6.9 (pull request
/// "EFI updates for v6.9").
///
/// `release` is what the kernel says in its header: `6.12.48+deb13-cloud-amd64 (…)`. `None` if it does
/// not begin with two numbers.
pub fn linux_measures(release: &str) -> Option<bool> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    Some((number()?, number()?) >= (6, 9))
}

/// Returns RTMR2 after the boot that `inputs` describe, when Linux runs.
///
/// Nothing needs to be trusted: the result only says what it would be.
pub fn rtmr2(inputs: &Rtmr2Inputs<'_>) -> Register {
    Register::from_events([inputs.stub, inputs.linux].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digests, Sha384Digest};

    #[test]
    fn stub_comes_before_linux() {
        let event = |name: &str| Event::new(Digests::of(name.as_bytes()), name);
        let stub = [event(".linux: name"), event(".linux: data")];
        let linux = [event("kernel command line"), event("initrd")];
        let (stub, linux) = (&stub[..], &linux[..]);
        let register = rtmr2(&Rtmr2Inputs { stub, linux });
        assert_eq!(register.events, [stub, linux].concat());
        let value = register.events.iter().fold(Sha384Digest::ZERO, |value, e| {
            value.extend(e.digests.sha384)
        });
        assert_eq!(register.value.sha384, value);
        assert_ne!(
            register,
            rtmr2(&Rtmr2Inputs {
                stub: linux,
                linux: stub
            })
        );
    }

    #[test]
    fn nothing_measured_is_zero() {
        let (stub, linux) = (&[][..], &[][..]);
        let register = rtmr2(&Rtmr2Inputs { stub, linux });
        assert_eq!(register.value, Digests::ZERO);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(!stub_measures(255) && stub_measures(256));
        for (release, expected) in [
            ("6.12.48+deb13-cloud-amd64", Some(true)),
            ("6.9.0", Some(true)),
            ("6.8.0-31-generic", Some(false)),
            ("5.19", Some(false)),
            ("7.0-rc1", Some(true)),
            ("10.1", Some(true)),
            ("6", None),
            ("6.", None),
            ("", None),
            ("linux", None),
        ] {
            assert_eq!(linux_measures(release), expected, "{release}");
        }
    }
}
