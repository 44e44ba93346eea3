//! A boot entry in the firmware's variables can carry a command line, which systemd-stub takes in
//! place of the image's own when Secure Boot is off: it must show in a register.
//!
//! This attack succeeds otherwise, so it is also the control of `host-inputs`: with the image's
//! defences taken off the command line, what is offered there must leave its markers. If it does
//! not, that scenario proves nothing. Where the image also lacks a driver, the check says so.
//!
//! I/O: reads the kernel image, makes disks and variables, starts a machine.

use std::fs::File;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use measurements::Image;
use testkit::console::Line;
use testkit::console::phases::Phase;
use testkit::tamper::credential::marker_command_line;
use testkit::tamper::esp::UKI;
use testkit::tamper::variable::{Variable, boot_entry, set};

use super::host_inputs::{
    AUTOMATIC_UNITS, FW_CFG, OPTIONS, RUN_UNIT, SMBIOS, SMBIOS_PLAIN, offer_disks, offer_strings,
};
use crate::boot_test::context::Context;
use crate::boot_test::marker::find;
use crate::checks::Checks;

const MARKER: &str = "MARKLOADOPTIONS";
/// The words of the image's command line that keep the host out.
const DEFENCES: [&str; 5] = [
    "systemd.image_policy=",
    "systemd.import_credentials=",
    "systemd.gpt_auto=",
    "systemd.getty_auto=",
    "efi=",
];

/// Something that is also offered in `host-inputs`, and what shows that it was obeyed.
struct Control {
    name: &'static str,
    markers: &'static [&'static str],
    /// A kernel module that it needs and the image leaves out (`KernelModulesInclude=`): a
    /// defence that cannot be taken off, so no effect is required.
    missing: Option<&'static str>,
}

const CONTROLS: [Control; 5] = [
    Control {
        name: "control-credentials-encoded",
        markers: &[SMBIOS],
        missing: None,
    },
    Control {
        name: "control-credentials-plain",
        markers: &[SMBIOS_PLAIN],
        missing: None,
    },
    Control {
        name: "control-partitions-on-boot-disk",
        markers: AUTOMATIC_UNITS,
        missing: None,
    },
    Control {
        name: "control-fw-cfg-credentials",
        markers: &[FW_CFG],
        missing: Some("qemu_fw_cfg"),
    },
    Control {
        name: "control-variable-systemd-options",
        markers: &[OPTIONS, RUN_UNIT],
        missing: Some("efivarfs"),
    },
];

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("load-options")?;
    let options = undefended(&command_line(context)?);
    let options = format!("{options} {MARKER}");
    let mut variables = boot_entry(UKI, &options);
    let line = marker_command_line(OPTIONS);
    variables.push(Variable::systemd("SystemdOptions", &line));
    set(&attempt.state.variables(), &variables).context("set firmware variables")?;
    offer_strings(&mut attempt);
    offer_disks(context, &mut attempt)?;
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Kernel, context.timeout);
    ensure!(started, "the kernel did not start");
    session.wait_for_phase(Phase::Finished, context.timeout);

    let lines = session.machine.console().lines();
    let obeyed = find(&lines, &[MARKER]).is_some();
    let different = session.compare(&context.prediction)?.different();
    let shown = different.contains(&9) || different.contains(&12);
    let result = match (obeyed, shown) {
        (true, false) => Err(anyhow!("obeyed, and no register shows it")),
        (true, true) => Ok(Some(format!(
            "obeyed; registers that differ: {different:?}"
        ))),
        (false, true) => Ok(Some(format!("registers that differ: {different:?}"))),
        (false, false) => Ok(Some("no effect".to_owned())),
    };
    checks.note("shows-or-no-effect", result);
    for control in &CONTROLS {
        checks.note(control.name, judge(control, &lines));
    }
    Ok(())
}

/// Passes if what was offered has had an effect, or the image lacks what it needs.
fn judge(control: &Control, lines: &[Line]) -> Result<Option<String>> {
    match (find(lines, control.markers), control.missing) {
        (Some(line), _) => Ok(Some(line.text.clone())),
        (None, Some(module)) => Ok(Some(format!("no effect: the image has no {module}"))),
        (None, None) => bail!("no effect although nothing defends against it"),
    }
}

/// The image's own command line.
fn command_line(context: &Context) -> Result<String> {
    let file = File::open(&context.image).context("open the image")?;
    let mut image = Image::open(file).context("find the kernel image")?;
    let section = image
        .read_section(".cmdline", 1 << 20)
        .context("no command line")?;
    let line = String::from_utf8_lossy(&section).into_owned();
    Ok(line.trim_matches(['\0', '\n', ' ']).to_owned())
}

/// `line` without the words that keep the host out.
fn undefended(line: &str) -> String {
    let words = line.split_whitespace();
    let kept: Vec<_> = words
        .filter(|word| !DEFENCES.iter().any(|defence| word.starts_with(defence)))
        .collect();
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defences_are_taken_off() {
        let line = "roothash=ab systemd.import_credentials=no ro efi=noruntime";
        assert_eq!(undefended(line), "roothash=ab ro");
    }

    #[test]
    fn control_without_effect_fails_unless_a_module_is_missing() {
        let control = |missing| Control {
            name: "control",
            markers: &["MARK"],
            missing,
        };
        assert!(judge(&control(None), &[]).is_err());
        assert!(judge(&control(Some("efivarfs")), &[]).is_ok());
    }
}
