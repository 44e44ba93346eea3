//! What events say, in words.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

#[path = "event_log_support/mod.rs"]
mod support;

use measurements::event_log::{EventLog, event_type};
use support::*;
use testkit::needed::vectors;

#[test]
fn events_of_the_boot_are_in_words() {
    let Some(boot) = vectors("boot") else { return };
    let log = EventLog::parse(&std::fs::read(boot.join("eventlog.bin")).unwrap()).unwrap();
    let lines: Vec<String> = log
        .events
        .iter()
        .map(|event| {
            let name = event_type::name(event.event_type).unwrap();
            let mark = if event.is_confirmed() { '=' } else { '?' };
            format!("{} {name} {mark} {}", event.pcr, event.describe())
        })
        .collect();
    assert_eq!(lines.len(), 44);
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    for line in [
        "0 EV_S_CRTM_VERSION = \"2025.02-8+deb13u1\"",
        "0 EV_EFI_PLATFORM_FIRMWARE_BLOB ? firmware of 917504 bytes at 0x820000",
        &format!("7 EV_EFI_VARIABLE_DRIVER_CONFIG = variable SecureBoot ({global}): not set"),
        &format!("1 EV_EFI_VARIABLE_BOOT ? variable BootOrder ({global}): 0001, 0000, 0002"),
        &format!(
            "1 EV_EFI_VARIABLE_BOOT ? variable Boot0001 ({global}): \"UEFI Misc Device\" \
             PciRoot(0x0)/Pci(0x4,0x0)"
        ),
        "4 EV_EFI_ACTION = \"Calling EFI Application from Boot Option\"",
        "4 EV_SEPARATOR = separator",
        "5 EV_EFI_GPT_EVENT = partition table of disk a96c0230-d582-4e25-adc8-508e336d18b9: esp, \
         root-x86-64, root-x86-64-verity",
        r"4 EV_EFI_BOOT_SERVICES_APPLICATION ? \EFI\BOOT\BOOTX64.EFI (29970944 bytes)",
        "11 EV_IPL = .linux: name",
        "11 EV_IPL ? .linux: data",
        "4 EV_EFI_BOOT_SERVICES_APPLICATION ? the kernel inside of the UKI (11737024 bytes)",
        "9 EV_EVENT_TAG ? kernel command line",
        "9 EV_EVENT_TAG ? initrd",
        "5 EV_EFI_ACTION = \"Exit Boot Services Returned with Success\"",
    ] {
        assert!(
            lines.iter().any(|actual| actual == line),
            "{line}\n{lines:#?}"
        );
    }
}

#[test]
fn words_cannot_speak_to_the_terminal_and_are_bounded() {
    let clear = "\u{1b}[2J\r\u{202e}";
    let variable = [
        &[0; 16][..],
        &u64::try_from(clear.encode_utf16().count())
            .unwrap()
            .to_le_bytes(),
        &[0; 8],
        &utf16(clear)[..clear.encode_utf16().count() * 2],
    ]
    .concat();
    let long = utf16(&"a".repeat(100_000));
    for (kind, data) in [
        (IPL, utf16(clear)),
        (IPL, clear.as_bytes().to_vec()),
        (ACTION, clear.as_bytes().to_vec()),
        (TAG, tagged(0x1234, &utf16(clear))),
        (APPLICATION, loaded(clear)),
        (0x8000_0001, variable),
        (IPL, long.clone()),
        (APPLICATION, loaded(&"\\a".repeat(15_000))),
        (0x7777, vec![0xff; 100_000]),
    ] {
        let words = measured(4, kind, b"", &data).meaning().to_string();
        assert!(
            words.chars().all(|c| c == '…' || (' '..='~').contains(&c)),
            "{words}"
        );
        assert!(words.len() < 5000, "{}", words.len());
    }
}

#[test]
fn forms_in_which_writers_digest_their_texts_are_confirmed() {
    let text = "console=ttyS0";
    let utf16_text = utf16(text);
    let without_nul = &utf16_text[..utf16_text.len() - 2];
    for (pcr, kind, of, data) in [
        (4, SEPARATOR, &[0; 4][..], &[0; 4][..]),
        (12, IPL, without_nul, &utf16_text),
        (12, IPL, &utf16_text, &utf16_text),
        (11, IPL, b".linux\0", &utf16(".linux")),
        (8, IPL, b"linux /vmlinuz", b"grub_cmd: linux /vmlinuz\0"),
        (
            8,
            IPL,
            b"/vmlinuz quiet\0",
            b"kernel_cmdline: /vmlinuz quiet\0",
        ),
    ] {
        assert!(measured(pcr, kind, of, data).is_confirmed());
        let other = [of, b"x"].concat();
        assert!(!measured(pcr, kind, &other, data).is_confirmed());
    }
    assert!(!measured(4, NO_ACTION, b"x", b"x").is_confirmed());
}

/// The digest is of a part of the data, or of nothing, and the rest is the writer's claim.
#[test]
fn digests_of_a_part_confirm_nothing() {
    let value = [1, 0, 0, 0];
    let name = utf16("SecureBoot");
    let variable = [
        &[0; 16][..],
        &10_u64.to_le_bytes(),
        &4_u64.to_le_bytes(),
        &name[..20],
        &value,
    ]
    .concat();
    for (kind, of, data) in [
        (IPL, &b""[..], utf16("approved by the vendor")),
        (
            IPL,
            b"x",
            b"nothing is wrong, PCR 12 is harmless: x\0".to_vec(),
        ),
        (IPL, b"x", b"harmless x\0".to_vec()),
        (IPL, b"", b"grub_cmd: \0".to_vec()),
        (IPL, b"", utf16(".linux")),
        (IPL, b".linux", utf16(".linux")),
        (IPL, &utf16(".linux"), utf16(".linux")),
        (event_type::EV_EFI_VARIABLE_BOOT, &value, variable.clone()),
        (event_type::EV_EFI_VARIABLE_BOOT2, &value, variable.clone()),
    ] {
        let words = measured(12, kind, of, &data).describe();
        assert!(!measured(12, kind, of, &data).is_confirmed(), "{words}");
    }
    let whole = measured(7, event_type::EV_EFI_VARIABLE_BOOT, &variable, &variable);
    assert!(whole.is_confirmed());
}
