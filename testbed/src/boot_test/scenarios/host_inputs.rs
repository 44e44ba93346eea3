//! What a host can offer without touching what is measured: none of it may have an effect.
//!
//! All of it is offered in one boot; each attack has a marker of its own.
//!
//! I/O: makes disks and variables, starts a machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::child::run_tool;
use testkit::machine::Device;
use testkit::tamper::credential::{
    fw_cfg_name, marker_command_line, marker_credentials, short_marker_credentials, smbios_binary,
    smbios_text,
};
use testkit::tamper::disk::{NewPartition, blank, copy_with_room, partition};
use testkit::tamper::variable::{Variable, set};

use crate::boot_test::context::{Attempt, Context};
use crate::boot_test::marker::{ensure_absent, ensure_silent};
use crate::checks::Checks;
use crate::session::Session;

pub(super) const SMBIOS: &str = "MARKSMBIOS";
pub(super) const SMBIOS_PLAIN: &str = "MARKPLAIN";
pub(super) const FW_CFG: &str = "MARKFWCFG";
const LOADER: &str = "MARKLOADER";
pub(super) const OPTIONS: &str = "MARKOPTIONS";
/// The unit that systemd makes of `systemd.run=`.
pub(super) const RUN_UNIT: &str = "kernel-command-line.service";
const MIB: u64 = 1 << 20;
/// How long to wait for a device that was plugged in to say something.
const PATIENCE: Duration = Duration::from_secs(4);

/// Partitions that systemd-gpt-auto-generator would use: sgdisk's code, and a name.
const AUTOMATIC: [(&str, &str); 6] = [
    ("8302", "home"),
    ("8306", "srv"),
    ("8310", "var"),
    ("ea00", "xbootldr"),
    ("8314", "usr"),
    ("8200", "swap"),
];
/// The units that it would make of them: they are named after mount points.
pub(super) const AUTOMATIC_UNITS: &[&str] = &[
    "home.mount",
    "srv.mount",
    "boot.mount",
    "efi.mount",
    ".swap",
];

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("host-inputs")?;
    offer_strings(&mut attempt);
    offer_variables(&attempt)?;
    let before = offer_disks(context, &mut attempt)?;
    let consoles = offer_consoles(&mut attempt);

    let session = attempt.start()?;
    checks.watch(&session);
    checks.check("boots", session.wait_until_running(context.timeout));
    let certificate = session.wait_for_certificate(Duration::from_secs(30));
    checks.boot("host-inputs", &session, certificate.as_ref().ok().copied());
    checks.check("certificate", certificate.map(drop));
    let compared = session.compare(&context.prediction);
    checks.check("registers", compared.and_then(|c| c.ensure_equal()));
    for (name, markers) in [
        ("smbios-credentials-encoded", &[SMBIOS][..]),
        ("smbios-credentials-plain", &[SMBIOS_PLAIN][..]),
        ("fw-cfg-credentials", &[FW_CFG][..]),
        ("smbios-loader-command-line", &[LOADER, RUN_UNIT][..]),
        ("variable-systemd-options", &[OPTIONS, RUN_UNIT][..]),
        ("variable-hibernate-location", &["hibernate-resume"][..]),
        ("partitions-on-boot-disk", AUTOMATIC_UNITS),
    ] {
        checks.check(name, ensure_absent(&session, markers));
    }
    for (name, socket) in &consoles {
        checks.check(name, ensure_silent(socket, PATIENCE));
    }
    checks.check("ports-not-opened", ensure_ports_closed(&session));
    session.machine.power_down(Duration::from_secs(60));
    let after = fs::read(attempt.file("second.raw")).context("read the second disk")?;
    let unwritten = (before == after)
        .then_some(())
        .context("the guest wrote to the second disk");
    checks.check("partitions-on-second-disk", unwritten);
    Ok(())
}

/// Credentials by SMBIOS, encoded and plain, and by fw_cfg; command line for a boot loader.
pub(super) fn offer_strings(attempt: &mut Attempt) {
    let machine = &mut attempt.machine;
    for (name, value) in marker_credentials(SMBIOS) {
        machine.smbios_strings.push(smbios_binary(&name, &value));
    }
    for (name, value) in short_marker_credentials(SMBIOS_PLAIN) {
        machine
            .smbios_strings
            .push(smbios_text(&name, value.trim()));
    }
    let line = marker_command_line(LOADER);
    let line = format!("io.systemd.boot.kernel-cmdline-extra={line}");
    machine.smbios_strings.push(line);
    for (name, value) in short_marker_credentials(FW_CFG) {
        machine.fw_cfg.push((fw_cfg_name(&name), value));
    }
}

/// systemd's own variables: a command line, and where to resume from.
fn offer_variables(attempt: &Attempt) -> Result<()> {
    let location = r#"{"uuid":"4d41524b-0000-4000-8000-000000000001","offset":0}"#;
    let variables = [
        Variable::systemd("SystemdOptions", &marker_command_line(OPTIONS)),
        Variable::systemd("HibernateLocation", location),
    ];
    set(&attempt.state.variables(), &variables).context("set firmware variables")
}

/// Partitions of discoverable types, on the boot disk and on a second one; returns what the
/// second disk holds.
pub(super) fn offer_disks(context: &Context, attempt: &mut Attempt) -> Result<Vec<u8>> {
    let ext4 = attempt.file("ext4.raw");
    blank(&ext4, 8 * MIB)?;
    let path = ext4.to_string_lossy();
    run_tool("mkfs.ext4", &["-q", "-L", "root", &path]).context("make a file system")?;
    let swap = attempt.file("swap.raw");
    blank(&swap, MIB)?;
    run_tool("mkswap", &[&*swap.to_string_lossy()]).context("make swap space")?;
    let partitions = AUTOMATIC.map(|(type_code, name)| NewPartition {
        type_code,
        name,
        content: if name == "swap" { &swap } else { &ext4 },
    });

    let boot = attempt.file("boot.raw");
    copy_with_room(&context.image, &boot, 64 * MIB)?;
    partition(&boot, &partitions).context("add partitions to the boot disk")?;
    attempt.machine.image = boot;

    let second = attempt.file("second.raw");
    blank(&second, 64 * MIB)?;
    partition(&second, &partitions).context("make the second disk")?;
    attempt.machine.devices.push(Device::Disk(second.clone()));
    fs::read(second).context("read the second disk")
}

/// Consoles that a getty might serve, as sockets.
fn offer_consoles(attempt: &mut Attempt) -> [(&'static str, std::path::PathBuf); 2] {
    let virtio = attempt.file("hvc0");
    let serial = attempt.file("ttyS1");
    let agent = attempt.file("agent");
    let name = "org.qemu.guest_agent.0".to_owned();
    let devices = &mut attempt.machine.devices;
    devices.push(Device::VirtioConsole(virtio.clone()));
    devices.push(Device::Serial(serial.clone()));
    devices.push(Device::VirtioPort(name, agent));
    [("virtio-console", virtio), ("second-serial-port", serial)]
}

/// No program of the guest has opened the virtio port: QEMU knows.
fn ensure_ports_closed(session: &Session) -> Result<()> {
    let answer = session
        .machine
        .execute("query-chardev", serde_json::json!({}))?;
    let devices = answer.as_array().context("a list of devices")?;
    let port = devices
        .iter()
        .find(|device| device["filename"].as_str().is_some_and(is_agent_port));
    let port = port.context("QEMU does not list the virtio port")?;
    ensure!(
        port["frontend-open"] == false,
        "the guest has opened the virtio port: {port}"
    );
    Ok(())
}

fn is_agent_port(filename: &str) -> bool {
    Path::new(filename)
        .components()
        .next_back()
        .is_some_and(|last| last.as_os_str().to_string_lossy().starts_with("agent"))
}
