//! Files beside the kernel image, and SMBIOS strings, that systemd-stub obeys when Secure Boot is
//! off: each must have no effect, or show in a register that is verified to be zero.
//!
//! What was measured is told from the firmware's event log, taken from memory, whose replay
//! equals the registers.
//!
//! I/O: makes a tampered image, starts a machine.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use measurements::event_log::EventLog;
use testkit::console::phases::Phase;
use testkit::memory::find_event_log;
use testkit::tamper::credential::{marker_credentials, marker_unit};
use testkit::tamper::disk::copy;
use testkit::tamper::esp::{ADDONS, CREDENTIALS, EXTRA, Esp, addon, extension};

use crate::boot_test::checks::Checks;
use crate::boot_test::context::{Attempt, Context};
use crate::boot_test::marker::find;
use crate::session::Session;

/// An attack: its name, its marker, and the registers and texts of events that show it.
struct Attack {
    name: &'static str,
    marker: &'static str,
    register: u32,
    /// Of the event's data; systemd-stub's `src/boot/` has these descriptions, and for a command
    /// line the text itself.
    event: &'static str,
}

const ATTACKS: [Attack; 7] = [
    Attack {
        name: "addon-of-image",
        marker: "MARKADDONA",
        register: 12,
        event: "MARKADDONA",
    },
    Attack {
        name: "addon-of-all",
        marker: "MARKADDONB",
        register: 12,
        event: "MARKADDONB",
    },
    Attack {
        name: "smbios-stub-command-line",
        marker: "MARKSTUB",
        register: 12,
        event: "MARKSTUB",
    },
    Attack {
        name: "credential-of-image",
        marker: "MARKCREDA",
        register: 12,
        event: "Credentials initrd",
    },
    Attack {
        name: "credential-of-all",
        marker: "MARKCREDB",
        register: 12,
        event: "Global credentials initrd",
    },
    Attack {
        name: "system-extension",
        marker: "MARKSYSEXT",
        register: 13,
        event: "System extension initrd",
    },
    Attack {
        name: "configuration-extension",
        marker: "MARKCONFEXT",
        register: 12,
        event: "Configuration extension initrd",
    },
];

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
    // Obeyed or not, it goes on for a while: what is obeyed shows.
    session.wait_for_phase(Phase::Finished, context.timeout / 2);
    let comparison = session.compare(&context.prediction)?;
    let log = log(&session)?;
    for attack in &ATTACKS {
        checks.note(attack.name, judge(attack, &session, &log));
    }
    let noticed = (!comparison.is_equal() || log_is_clean(&log))
        .then(|| {
            Some(format!(
                "registers that differ: {:?}",
                comparison.different()
            ))
        })
        .context("a verifier would not notice");
    checks.note("noticed", noticed);
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

/// The log that replays to what the TPM holds, in all registers that are verified.
fn log(session: &Session) -> Result<EventLog> {
    let pcrs = session.tpm.client().read_pcrs()?;
    Ok(find_event_log(
        &session.machine,
        &pcrs,
        &[4, 9, 11, 12, 13],
    )?)
}

fn log_is_clean(log: &EventLog) -> bool {
    [12, 13]
        .iter()
        .all(|&register| log.digests(register).is_empty())
}

/// Passes if the attack shows in its register, or had no effect.
fn judge(attack: &Attack, session: &Session, log: &EventLog) -> Result<Option<String>> {
    let Attack {
        marker,
        register,
        event,
        ..
    } = attack;
    let shown = log
        .events
        .iter()
        .any(|logged| logged.pcr == *register && describes(&logged.data, event));
    let lines = session.machine.console().lines();
    match (shown, find(&lines, &[marker])) {
        (true, _) => Ok(Some(format!("shows in PCR {register}"))),
        (false, None) => Ok(Some("no effect".to_owned())),
        (false, Some(line)) => bail!("not in PCR {register}, but on the console: {}", line.text),
    }
}

/// Whether an event's data contains the text in UTF-16, as systemd-stub writes it.
fn describes(data: &[u8], text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    data.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_utf_16() {
        let data = [0, 0, b'a', 0, b'b', 0];
        assert!(describes(&data, "ab"));
        assert!(!describes(b"ab", "ab"));
    }
}
