//! Units and credentials with a marker: if one has an effect, the marker is on the console.
//!
//! systemd takes credentials from SMBIOS strings, QEMU's firmware configuration and the EFI
//! System Partition, and some of them make units (systemd.system-credentials(7)).
//!
//! I/O: none.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A service that writes `marker` to the console, and is also called so.
pub fn marker_unit(marker: &str) -> String {
    format!(
        "[Unit]\n\
         Description={marker}\n\
         DefaultDependencies=no\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         StandardOutput=tty\n\
         TTYPath=/dev/console\n\
         ExecStart=/bin/echo {marker}\n"
    )
}

/// The credentials, name and value, that make systemd start [`marker_unit`].
pub fn marker_credentials(marker: &str) -> Vec<(String, String)> {
    let service = format!("{}.service", marker.to_lowercase());
    let wants = format!("[Unit]\nWants={service}\n");
    vec![
        (format!("systemd.extra-unit.{service}"), marker_unit(marker)),
        (
            "systemd.unit-dropin.sysinit.target".to_owned(),
            wants.clone(),
        ),
        ("systemd.unit-dropin.initrd.target".to_owned(), wants),
    ]
}

/// Credentials with short names, name and value, each of which shows the marker on the console.
///
/// QEMU's firmware configuration takes names of 55 characters, too few for those that make units.
pub fn short_marker_credentials(marker: &str) -> Vec<(String, String)> {
    let lower = marker.to_lowercase();
    vec![
        ("system.hostname".to_owned(), lower.clone()),
        (
            "tmpfiles.extra".to_owned(),
            format!("w /dev/kmsg - - - - {marker}\n"),
        ),
        (
            "fstab.extra".to_owned(),
            format!("tmpfs /run/{lower} tmpfs defaults 0 0\n"),
        ),
    ]
}

/// A kernel command line that makes systemd run a command instead of its default target, and
/// says the marker even if nobody obeys.
pub fn marker_command_line(marker: &str) -> String {
    format!("systemd.run=\"/bin/echo {marker}\" systemd.hostname={marker}")
}

/// `value` as an SMBIOS string: encoded, so that it may have several lines.
pub fn smbios_binary(name: &str, value: &str) -> String {
    let value = BASE64_STANDARD.encode(value);
    format!("io.systemd.credential.binary:{name}={value}")
}

/// `value` as a plain SMBIOS string, for values of one line.
pub fn smbios_text(name: &str, value: &str) -> String {
    format!("io.systemd.credential:{name}={value}")
}

/// The name of a firmware configuration item that holds the credential `name`.
pub fn fw_cfg_name(name: &str) -> String {
    format!("opt/io.systemd.credentials/{name}")
}

/// An initrd, a cpio archive of "newc" form, with one file.
///
/// # Errors
///
/// None that happen: it is written to memory.
pub fn initrd(path: &str, content: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    append(&mut archive, path, content, 0o100_755)?;
    append(&mut archive, "TRAILER!!!", "", 0)?;
    Ok(archive)
}

/// Linux, Documentation/driver-api/early-userspace/buffer-format.rst: thirteen numbers of eight
/// hex digits, the name, the content, each padded to four bytes.
fn append(archive: &mut Vec<u8>, path: &str, content: &str, mode: u32) -> std::io::Result<()> {
    let (name, size) = (path.len() + 1, content.len());
    write!(
        archive,
        "070701{ino:08x}{mode:08x}{z:08x}{z:08x}{links:08x}{z:08x}{size:08x}\
         {z:08x}{z:08x}{z:08x}{z:08x}{name:08x}{z:08x}{path}\0",
        ino = 1,
        links = 1,
        z = 0
    )?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_name_the_unit_that_they_start() {
        let credentials = marker_credentials("MARK-1");
        assert_eq!(credentials[0].0, "systemd.extra-unit.mark-1.service");
        assert!(credentials[1].1.contains("Wants=mark-1.service"));
    }

    #[test]
    fn short_names_fit_into_the_firmware_configuration() {
        for (name, value) in short_marker_credentials("MARK") {
            assert!(fw_cfg_name(&name).len() <= 55, "{name}");
            assert!(value.to_uppercase().contains("MARK"), "{value}");
        }
    }

    #[test]
    fn smbios_strings_have_the_form_that_systemd_reads() {
        assert_eq!(
            smbios_binary("a", "[Unit]\n"),
            "io.systemd.credential.binary:a=W1VuaXRdCg=="
        );
        assert_eq!(smbios_text("a", "b"), "io.systemd.credential:a=b");
    }

    #[test]
    fn initrd_is_a_cpio_archive() {
        let archive = initrd("x", "hello").unwrap();
        assert!(archive.starts_with(b"070701"));
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[54..62], b"00000005", "size of the content");
        assert_eq!(&archive[112..120], b"hello\0\0\0");
    }
}
