//! Files beside the kernel image, and SMBIOS strings, that systemd-stub obeys when Secure Boot is
//! off: each must show in a register that is verified.
//!
//! What was measured is told from the firmware's event log, taken from memory, whose replay
//! equals the registers.
//!
//! I/O: makes a tampered image, starts a machine.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use measurements::event_log::EventLog;
use testkit::console::phases::Phase;
use testkit::tamper::credential::{marker_credentials, marker_unit};
use testkit::tamper::disk::copy;
use testkit::tamper::esp::{ADDONS, CREDENTIALS, EXTRA, Esp, addon, extension};

use crate::boot_test::context::{Attempt, Context};
use crate::checks::Checks;
use crate::registers::Comparison;

/// An attack, and what it must do to a machine without Secure Boot: an attack that shows nowhere
/// was not made well, and proves nothing.
struct Attack {
    name: &'static str,
    /// What the data of its events contain: a marker, if they have the command line or the path
    /// of the file, else systemd-stub's description in `src/boot/`.
    event: &'static str,
    /// The registers that have such an event, and no others.
    registers: &'static [u32],
}

/// As systemd-stub 257 has it. The firmware measures add-ons too, because it loads them (4).
const ATTACKS: [Attack; 7] = [
    Attack {
        name: "addon-of-image",
        event: "MARKADDONA",
        registers: &[4, 12],
    },
    Attack {
        name: "addon-of-all",
        event: "MARKADDONB",
        registers: &[4, 12],
    },
    Attack {
        name: "smbios-stub-command-line",
        event: "MARKSTUB",
        registers: &[12],
    },
    Attack {
        name: "credential-of-image",
        event: "Credentials initrd",
        registers: &[12],
    },
    Attack {
        name: "credential-of-all",
        event: "Global credentials initrd",
        registers: &[12],
    },
    Attack {
        name: "system-extension",
        event: "System extension initrd",
        registers: &[13],
    },
    Attack {
        name: "configuration-extension",
        event: "Configuration extension initrd",
        registers: &[12],
    },
];

/// All registers that differ in the end: those above, and the one where Linux measures the
/// command line and the initrd that systemd-stub hands over.
const DIFFERENT: [u8; 4] = [4, 9, 12, 13];

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("esp-files")?;
    let image = attempt.file("tampered.vhd");
    copy(&context.image, &image)?;
    put_files(&attempt, &Esp::of(&image)?)?;
    attempt.machine.image = image;
    let line = "io.systemd.stub.kernel-cmdline-extra=systemd.hostname=MARKSTUB";
    attempt.machine.smbios_strings.push(line.to_owned());

    let session = attempt.start()?;
    checks.watch(&session);
    let stub_done = session.wait_for_phase(Phase::Kernel, context.timeout);
    ensure!(stub_done, "the kernel did not start");
    let booted = session.wait_for_phase(Phase::Finished, context.timeout);
    let booted = booted
        .then_some(())
        .context("the boot did not come through");
    checks.check("boots", booted);
    let comparison = session.compare(&context.prediction)?;
    let log = session.event_log()?.log;
    for attack in &ATTACKS {
        checks.note(attack.name, judge(attack, &log));
    }
    checks.note("noticed", ensure_noticed(&comparison));
    Ok(())
}

fn put_files(attempt: &Attempt, esp: &Esp) -> Result<()> {
    for (marker, directory) in [("MARKADDONA", EXTRA), ("MARKADDONB", ADDONS)] {
        let file = attempt.file(&format!("{marker}.addon.efi"));
        addon(&format!("systemd.hostname={marker}"), &file)?;
        esp.write(&file, &format!("{directory}/{marker}.addon.efi"))?;
    }
    for (marker, directory) in [("MARKCREDA", EXTRA), ("MARKCREDB", CREDENTIALS)] {
        for (name, value) in marker_credentials(marker) {
            let file = attempt.file("credential");
            fs::write(&file, value)?;
            esp.write(&file, &format!("{directory}/{name}.cred"))?;
        }
    }
    for (name, hierarchy, kind) in [
        ("MARKSYSEXT", "usr", "sysext"),
        ("MARKCONFEXT", "etc", "confext"),
    ] {
        let image = extension(hierarchy, name, &marker_unit(name), &attempt.directory)?;
        esp.write(&image, &format!("{EXTRA}/{name}.{kind}.raw"))?;
    }
    Ok(())
}

/// Passes if the attack shows in exactly the registers where it must.
fn judge(attack: &Attack, log: &EventLog) -> Result<Option<String>> {
    let Attack {
        event, registers, ..
    } = attack;
    let events = log.events.iter();
    let shown: BTreeSet<u32> = events
        .filter(|logged| describes(&logged.data, event))
        .map(|logged| logged.pcr)
        .collect();
    ensure!(
        shown.iter().eq(*registers),
        "must show in PCR {registers:?}, shows in {shown:?}"
    );
    Ok(Some(format!("shows in PCR {registers:?}")))
}

/// A verifier refuses the machine, for what was done to it and nothing else.
fn ensure_noticed(comparison: &Comparison) -> Result<Option<String>> {
    let different = comparison.different();
    ensure!(!comparison.is_equal(), "a verifier would not notice");
    ensure!(
        different == DIFFERENT,
        "must differ: {DIFFERENT:?}; differ: {different:?}"
    );
    Ok(Some(format!("registers that differ: {different:?}")))
}

/// Whether an event's data contains the text in UTF-16, as systemd-stub writes it.
fn describes(data: &[u8], text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    data.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use measurements::event_log::{Bank, BankDigests, LoggedEvent};

    use super::*;

    /// A log with an event that says "MARK" in each of these registers.
    fn log_of(registers: &[u32]) -> EventLog {
        let data: Vec<u8> = "MARK".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let event = |&pcr: &u32| LoggedEvent {
            pcr,
            event_type: 0,
            digests: BankDigests::zero(&[Bank::Sha256]),
            data: data.clone(),
        };
        EventLog {
            banks: vec![Bank::Sha256],
            events: registers.iter().map(event).collect(),
        }
    }

    #[test]
    fn attack_must_show_in_exactly_its_registers() {
        let attack = Attack {
            name: "attack",
            event: "MARK",
            registers: &[4, 12],
        };
        assert!(judge(&attack, &log_of(&[12, 4, 12])).is_ok());
        assert!(judge(&attack, &log_of(&[])).is_err(), "a malformed add-on");
        assert!(judge(&attack, &log_of(&[12])).is_err());
        assert!(judge(&attack, &log_of(&[4, 12, 13])).is_err());
    }

    #[test]
    fn descriptions_are_utf_16() {
        let data = [0, 0, b'a', 0, b'b', 0];
        assert!(describes(&data, "ab"));
        assert!(!describes(b"ab", "ab"));
    }
}
