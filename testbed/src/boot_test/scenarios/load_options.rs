//! A boot entry in the firmware's variables can carry a command line, which systemd-stub takes in
//! place of the image's own when Secure Boot is off: it must show in a register.
//!
//! This attack succeeds otherwise, so it is also the control of `host-inputs`: with the image's
//! defences taken off the command line, what is offered there must leave its markers. If it does
//! not, that scenario proves nothing.
//!
//! I/O: reads the kernel image, sets firmware variables, starts a machine.

use std::fs::File;

use anyhow::{Context as _, Result, anyhow, ensure};
use testkit::console::phases::Phase;
use testkit::tamper::esp::UKI;
use testkit::tamper::variable::{Variable, boot_entry, set};

use super::host_inputs::{
    AUTOMATIC_UNITS, FW_CFG, OPTIONS, SMBIOS, SMBIOS_PLAIN, offer_disks, offer_strings,
};
use crate::boot_test::checks::Checks;
use crate::boot_test::context::Context;
use crate::boot_test::marker::find;

const MARKER: &str = "MARKLOADOPTIONS";
/// The words of the image's command line that keep the host out.
const DEFENCES: [&str; 5] = [
    "systemd.image_policy=",
    "systemd.import_credentials=",
    "systemd.gpt_auto=",
    "systemd.getty_auto=",
    "efi=",
];

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("load-options")?;
    let options = undefended(&command_line(context)?);
    let options = format!("{options} {MARKER}");
    let mut variables = boot_entry(UKI, &options);
    // Not systemd.run, which would shut the machine down.
    let variable = format!("systemd.hostname={OPTIONS}");
    variables.push(Variable::systemd("SystemdOptions", &variable));
    set(&attempt.state.variables(), &variables).context("set firmware variables")?;
    offer_strings(&mut attempt);
    offer_disks(context, &mut attempt)?;
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Kernel, context.timeout);
    ensure!(started, "the kernel did not start");
    session.wait_for_phase(Phase::Finished, context.timeout / 2);

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
    for (name, markers) in [
        ("control-credentials-encoded", &[SMBIOS][..]),
        ("control-credentials-plain", &[SMBIOS_PLAIN][..]),
        ("control-variable-systemd-options", &[OPTIONS][..]),
        ("control-partitions-on-boot-disk", AUTOMATIC_UNITS),
    ] {
        let line = find(&lines, markers).map(|line| Some(line.text.clone()));
        checks.note(
            name,
            line.context("no effect although nothing defends against it"),
        );
    }
    // Not required: the image has no module qemu_fw_cfg, which is a defence of its own.
    let effect = match find(&lines, &[FW_CFG]) {
        Some(line) => line.text.clone(),
        None => "no effect: the kernel has no qemu_fw_cfg".to_owned(),
    };
    checks.note("control-fw-cfg-credentials", Ok(Some(effect)));
    Ok(())
}

/// The image's own command line.
fn command_line(context: &Context) -> Result<String> {
    let file = File::open(&context.image).context("open the image")?;
    let uki = measurements::image::read_uki(file).context("find the kernel image")?;
    let section = uki.section(".cmdline").context("no command line")?;
    let line = String::from_utf8_lossy(&section.to_bytes()).into_owned();
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
}
