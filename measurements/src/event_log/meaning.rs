//! What the data of an event says.
//!
//! Everything here is the writer's claim; [`LoggedEvent::is_confirmed`] says where the digest bears
//! it out. Data that cannot be decoded is shown as the hex digits of its first bytes.
//!
//! I/O: none.

mod device_path;
mod image_load;
mod partition_table;
pub(super) mod text;
mod variable;

use std::fmt;

pub use image_load::ImageLoad;
pub use partition_table::PartitionTable;
pub use text::Escaped;
pub use variable::Variable;

use super::{LoggedEvent, STARTUP_LOCALITY, event_type};
use crate::bytes::{index, slice, u32_le, u64_le};

/// Linux's stub: what follows is the digest of the initrd. `drivers/firmware/efi/libstub`.
pub(super) const TAG_INITRD: u32 = 0x8f3b_22ec;
/// Linux's stub: what follows is the digest of the command line.
pub(super) const TAG_LOAD_OPTIONS: u32 = 0x8f3b_22ed;
/// systemd-boot: what follows is the name of its configuration. `src/fundamental/tpm2-pcr.h`.
pub(super) const TAG_LOADER_CONFIG: u32 = 0xf5bc_582a;
/// Bytes that are shown of data that is not understood.
const SHOWN_BYTES: usize = 32;
/// Characters that are shown of a text.
const SHOWN_CHARACTERS: usize = 4096;

/// What an event's data says. `Display` gives it in words, escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The end of what firmware measures; `false` if it is the one that reports an error.
    Separator {
        /// Whether it is the usual one.
        is_regular: bool,
    },
    /// A text: an action of the firmware, a version, a command line.
    Text(String),
    /// A section of the UKI: its name or its contents, as the digest says.
    Section(String),
    /// A number that says what was measured, with a text.
    Tag {
        /// taggedEventID.
        id: u32,
        /// taggedEventData, if that is a text.
        text: Option<String>,
    },
    /// A program or driver that was loaded.
    Image(ImageLoad),
    /// A variable of the firmware.
    Variable(Variable),
    /// The partition table of the disk that was booted.
    PartitionTable(PartitionTable),
    /// A part of the firmware.
    FirmwareBlob {
        /// Its address.
        base: u64,
        /// Its size in bytes.
        length: u64,
    },
    /// The locality that the TPM was started from: what PCR 0 begins with.
    StartupLocality(u8),
    /// Bytes that are not understood.
    Data(Vec<u8>),
}

impl LoggedEvent {
    /// Decodes the data.
    pub fn meaning(&self) -> Meaning {
        self.decode()
            .or_else(|| text::decode(&self.data).map(Meaning::Text))
            .unwrap_or_else(|| Meaning::Data(self.data.clone()))
    }

    /// Says what the event is, in the words that predictions have for the same, where they do.
    pub fn describe(&self) -> String {
        match self.meaning() {
            Meaning::Section(name) if self.is_confirmed() => format!("{}: name", Escaped(&name)),
            Meaning::Section(name) => format!("{}: data", Escaped(&name)),
            meaning => meaning.to_string(),
        }
    }

    fn decode(&self) -> Option<Meaning> {
        let data = self.data.as_slice();
        match self.event_type {
            event_type::EV_NO_ACTION => {
                let locality = data.strip_prefix(STARTUP_LOCALITY)?.first()?;
                Some(Meaning::StartupLocality(*locality))
            }
            event_type::EV_SEPARATOR => Some(Meaning::Separator {
                is_regular: matches!(data, [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff]),
            }),
            event_type::EV_EVENT_TAG => {
                let (id, size) = (u32_le(data, 0)?, u32_le(data, 4)?);
                let text = text::decode(slice(data, 8, index(size))?);
                Some(Meaning::Tag { id, text })
            }
            event_type::EV_IPL => text::decode(data)
                .filter(|text| is_section_name(text))
                .map(Meaning::Section),
            event_type::EV_EFI_BOOT_SERVICES_APPLICATION
            | event_type::EV_EFI_BOOT_SERVICES_DRIVER
            | event_type::EV_EFI_RUNTIME_SERVICES_DRIVER => {
                ImageLoad::parse(data).map(Meaning::Image)
            }
            event_type::EV_EFI_VARIABLE_DRIVER_CONFIG
            | event_type::EV_EFI_VARIABLE_BOOT
            | event_type::EV_EFI_VARIABLE_BOOT2
            | event_type::EV_EFI_VARIABLE_AUTHORITY => Variable::parse(data).map(Meaning::Variable),
            event_type::EV_EFI_GPT_EVENT => {
                PartitionTable::parse(data).map(Meaning::PartitionTable)
            }
            event_type::EV_EFI_PLATFORM_FIRMWARE_BLOB if data.len() == 16 => {
                Some(Meaning::FirmwareBlob {
                    base: u64_le(data, 0)?,
                    length: u64_le(data, 8)?,
                })
            }
            _ => None,
        }
    }
}

/// PE section names have eight characters at most; those of UKIs begin with a dot.
fn is_section_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = text.strip_prefix('.').unwrap_or_default();
    (1..=7).contains(&name.len()) && name.chars().all(is_plain)
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Separator { is_regular: true } => f.write_str("separator"),
            Self::Separator { is_regular: false } => f.write_str("separator that reports an error"),
            Self::Text(text) => write_text(f, text),
            Self::Section(name) => write!(f, "section {}", Escaped(name)),
            Self::Tag { id, text } => match (*id, text) {
                (TAG_INITRD, _) => f.write_str("initrd"),
                (TAG_LOAD_OPTIONS, _) => f.write_str("kernel command line"),
                (id, Some(text)) => {
                    write!(f, "{} ", tag_name(id).unwrap_or("tag"))?;
                    write_text(f, text)
                }
                (id, None) => match tag_name(id) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "tag {id:#010x}"),
                },
            },
            Self::Image(image) => image.fmt(f),
            Self::Variable(variable) => variable.fmt(f),
            Self::PartitionTable(table) => table.fmt(f),
            Self::FirmwareBlob { base, length } => {
                write!(f, "firmware of {length} bytes at {base:#x}")
            }
            Self::StartupLocality(locality) => write!(f, "startup locality {locality}"),
            Self::Data(data) => write_hex(f, data),
        }
    }
}

/// systemd `src/fundamental/tpm2-pcr.h`.
fn tag_name(id: u32) -> Option<&'static str> {
    match id {
        TAG_LOADER_CONFIG => Some("boot loader configuration"),
        0x6c46_f751 => Some("device tree add-on"),
        0x49df_fe0f => Some("initrd add-on"),
        0xdac0_8e1a => Some("microcode add-on"),
        0x13ae_d6db => Some("UKI profile"),
        0xd5cb_7cbc => Some("SMBIOS system information"),
        0xe0d4_7bc8 => Some("SMBIOS baseboard information"),
        0xc0b3_bd23 => Some("SMBIOS OEM strings"),
        _ => None,
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => write!(f, "\"{}\"", Escaped(text)),
        Some((end, _)) => {
            let shown = text.get(..end).unwrap_or_default();
            write!(f, "\"{}…\" ({} bytes)", Escaped(shown), text.len())
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    if data.is_empty() {
        return f.write_str("no data");
    }
    let shown = data.iter().take(SHOWN_BYTES);
    shown.clone().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    if data.len() > SHOWN_BYTES {
        write!(f, "… ({} bytes)", data.len())?;
    }
    Ok(())
}
