//! Names of event types.
//!
//! TCG PC Client Platform Firmware Profile 1.06, table "Events".
//!
//! I/O: none.

/// An event that is in the log for information and not extended.
pub const EV_NO_ACTION: u32 = 3;
/// Ends what firmware measures before it hands over.
pub const EV_SEPARATOR: u32 = 4;
/// Data with a number that says what it is.
pub const EV_EVENT_TAG: u32 = 6;
/// The firmware's version.
pub const EV_S_CRTM_VERSION: u32 = 8;
/// Boot loader's and stub's measurements.
pub const EV_IPL: u32 = 13;
/// A variable that configures the machine: Secure Boot's.
pub const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
/// A variable of the boot order.
pub const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
/// A program that firmware loaded: boot loader, UKI, kernel.
pub const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
/// A driver that firmware loaded.
pub const EV_EFI_BOOT_SERVICES_DRIVER: u32 = 0x8000_0004;
/// A driver that stays after the operating system has started.
pub const EV_EFI_RUNTIME_SERVICES_DRIVER: u32 = 0x8000_0005;
/// The partition table of the disk that is booted.
pub const EV_EFI_GPT_EVENT: u32 = 0x8000_0006;
/// Something that firmware did: a text.
pub const EV_EFI_ACTION: u32 = 0x8000_0007;
/// A part of the firmware, by address.
pub const EV_EFI_PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;
/// A variable of the boot order; the digest is of its value alone.
pub const EV_EFI_VARIABLE_BOOT2: u32 = 0x8000_000c;
/// What a hardware root of trust measured before the TPM was started.
pub const EV_EFI_HCRTM_EVENT: u32 = 0x8000_0010;
/// The key that Secure Boot accepted an image for.
pub const EV_EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00e0;

const NAMES: [(u32, &str); 36] = [
    (0, "EV_PREBOOT_CERT"),
    (1, "EV_POST_CODE"),
    (2, "EV_UNUSED"),
    (EV_NO_ACTION, "EV_NO_ACTION"),
    (EV_SEPARATOR, "EV_SEPARATOR"),
    (5, "EV_ACTION"),
    (EV_EVENT_TAG, "EV_EVENT_TAG"),
    (7, "EV_S_CRTM_CONTENTS"),
    (EV_S_CRTM_VERSION, "EV_S_CRTM_VERSION"),
    (9, "EV_CPU_MICROCODE"),
    (10, "EV_PLATFORM_CONFIG_FLAGS"),
    (11, "EV_TABLE_OF_DEVICES"),
    (12, "EV_COMPACT_HASH"),
    (EV_IPL, "EV_IPL"),
    (14, "EV_IPL_PARTITION_DATA"),
    (15, "EV_NONHOST_CODE"),
    (16, "EV_NONHOST_CONFIG"),
    (17, "EV_NONHOST_INFO"),
    (18, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (19, "EV_POST_CODE2"),
    (
        EV_EFI_VARIABLE_DRIVER_CONFIG,
        "EV_EFI_VARIABLE_DRIVER_CONFIG",
    ),
    (EV_EFI_VARIABLE_BOOT, "EV_EFI_VARIABLE_BOOT"),
    (
        EV_EFI_BOOT_SERVICES_APPLICATION,
        "EV_EFI_BOOT_SERVICES_APPLICATION",
    ),
    (EV_EFI_BOOT_SERVICES_DRIVER, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (
        EV_EFI_RUNTIME_SERVICES_DRIVER,
        "EV_EFI_RUNTIME_SERVICES_DRIVER",
    ),
    (EV_EFI_GPT_EVENT, "EV_EFI_GPT_EVENT"),
    (EV_EFI_ACTION, "EV_EFI_ACTION"),
    (
        EV_EFI_PLATFORM_FIRMWARE_BLOB,
        "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    ),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000b, "EV_EFI_HANDOFF_TABLES2"),
    (EV_EFI_VARIABLE_BOOT2, "EV_EFI_VARIABLE_BOOT2"),
    (0x8000_000d, "EV_EFI_GPT_EVENT2"),
    (EV_EFI_HCRTM_EVENT, "EV_EFI_HCRTM_EVENT"),
    (EV_EFI_VARIABLE_AUTHORITY, "EV_EFI_VARIABLE_AUTHORITY"),
    (0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB"),
];

/// Returns the name of an event type; `None` if it is not known.
pub fn name(event_type: u32) -> Option<&'static str> {
    let mut names = NAMES.iter();
    names
        .find(|(known, _)| *known == event_type)
        .map(|(_, name)| *name)
}
