//! Device paths as text, for the nodes that boots have; others by number and first bytes.
//!
//! Follows UEFI 2.10, 10.3 "Device Path Nodes" and 10.6.1.6 "Text Device Node Reference".
//!
//! I/O: none.

use super::Escaped;
use super::text::{guid, utf16_until_nul};
use crate::bytes::{array, slice, u8_at, u16_le, u32_le, u64_le};

/// Most nodes that are described. Real paths have about six.
const MAX_NODES: usize = 32;
/// Bytes that are shown of a node that is not known.
const SHOWN_BYTES: usize = 16;
/// Longest file path that is shown, in bytes of UTF-16.
const MAX_FILE_PATH: usize = 2048;
/// systemd v257 `src/boot/linux.c`, `STUB_PAYLOAD_GUID`, in the order of its bytes.
const STUB_PAYLOAD: [u8; 16] = [
    0xf8, 0xd1, 0xc5, 0x55, 0xcd, 0x04, 0xb5, 0x46, 0x8a, 0x20, 0xe5, 0x6c, 0xbb, 0x30, 0x52, 0xd0,
];
const MEDIA: u8 = 4;
const VENDOR: u8 = 3;
const FILE_PATH: u8 = 4;
const END: u8 = 0x7f;

/// One node: its type, its subtype, and what follows its header.
struct Node<'a> {
    kind: u8,
    subtype: u8,
    data: &'a [u8],
}

/// The path as text, nodes separated by `/`, escaped.
pub(super) fn describe(path: &[u8]) -> String {
    let names: Vec<String> = nodes(path).map(|node| node.describe()).collect();
    names.join("/")
}

/// The path of the file, if the path leads to one, escaped.
pub(super) fn file(path: &[u8]) -> Option<String> {
    nodes(path)
        .filter(|node| (node.kind, node.subtype) == (MEDIA, FILE_PATH))
        .last()
        .map(|node| node.describe())
}

/// Whether the path is the one that systemd-stub makes up for the kernel that it holds.
pub(super) fn is_stub_payload(path: &[u8]) -> bool {
    let mut nodes = nodes(path);
    let is_payload = nodes.next().is_some_and(|node| {
        (node.kind, node.subtype) == (MEDIA, VENDOR) && node.data == STUB_PAYLOAD
    });
    is_payload && nodes.next().is_none()
}

/// The nodes up to the end node, or to the first that is not one.
fn nodes(path: &[u8]) -> impl Iterator<Item = Node<'_>> {
    let mut offset = 0_usize;
    let next = move || {
        let (kind, subtype) = (u8_at(path, offset)?, u8_at(path, offset.checked_add(1)?)?);
        let length = usize::from(u16_le(path, offset.checked_add(2)?)?);
        let data = slice(path, offset.checked_add(4)?, length.checked_sub(4)?)?;
        offset = offset.checked_add(length)?;
        let node = Node {
            kind,
            subtype,
            data,
        };
        (kind != END).then_some(node)
    };
    std::iter::from_fn(next).take(MAX_NODES)
}

impl Node<'_> {
    fn describe(&self) -> String {
        self.describe_known().unwrap_or_else(|| {
            let shown = self.data.iter().take(SHOWN_BYTES);
            let hex: String = shown.map(|byte| format!("{byte:02x}")).collect();
            format!("Path({},{},{hex})", self.kind, self.subtype)
        })
    }

    fn describe_known(&self) -> Option<String> {
        let data = self.data;
        let vendor = || array(data, 0).map(guid);
        Some(match (self.kind, self.subtype) {
            (1, 1) => format!("Pci({:#x},{:#x})", u8_at(data, 1)?, u8_at(data, 0)?),
            (1, 4) => format!("VenHw({})", vendor()?),
            (2, 1) => describe_acpi(u32_le(data, 0)?, u32_le(data, 4)?),
            (3, 2) => format!("Scsi({:#x},{:#x})", u16_le(data, 0)?, u16_le(data, 2)?),
            (3, 5) => format!("USB({:#x},{:#x})", u8_at(data, 0)?, u8_at(data, 1)?),
            (3, 10) => format!("VenMsg({})", vendor()?),
            (3, 18) => {
                let (port, multiplier) = (u16_le(data, 0)?, u16_le(data, 2)?);
                format!("Sata({port:#x},{multiplier:#x},{:#x})", u16_le(data, 4)?)
            }
            (3, 23) => format!("NVMe({:#x},{:016x})", u32_le(data, 0)?, u64_le(data, 4)?),
            (MEDIA, 1) => describe_partition(data)?,
            (MEDIA, VENDOR) => format!("VenMedia({})", vendor()?),
            (MEDIA, FILE_PATH) => {
                let shown = data.get(..MAX_FILE_PATH).unwrap_or(data);
                Escaped(&utf16_until_nul(shown)).to_string()
            }
            (MEDIA, 6) => format!("FvFile({})", vendor()?),
            (MEDIA, 7) => format!("Fv({})", vendor()?),
            _ => return None,
        })
    }
}

/// A PCI root bridge has the compressed EISA identifier PNP0A03.
fn describe_acpi(hid: u32, uid: u32) -> String {
    match hid {
        0x0a03_41d0 => format!("PciRoot({uid:#x})"),
        _ => format!("Acpi({hid:#x},{uid:#x})"),
    }
}

/// Hard drive: partition 4, start 8, size 8, signature 16, format 1, signature's type 1.
fn describe_partition(data: &[u8]) -> Option<String> {
    let (number, start, size) = (u32_le(data, 0)?, u64_le(data, 4)?, u64_le(data, 12)?);
    let signature = match u8_at(data, 37)? {
        2 => format!("GPT,{}", guid(array(data, 20)?)),
        _ => format!("MBR,{:#x}", u32_le(data, 20)?),
    };
    Some(format!("HD({number},{signature},{start:#x},{size:#x})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks_exact(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The path of a boot from a virtio disk.
    const DISK: &str = "02010c00d041030a0000000001010600000404012a00010000000008000000000000\
        0000030000000000d7a8273dda079040a92520db873434d00202040430005c004500460049005c0042004f004f00\
        54005c0042004f004f0054005800360034002e0045004600490000007fff0400";

    #[test]
    fn disk_is_described_down_to_the_file() {
        let path = bytes(DISK);
        assert_eq!(
            describe(&path),
            r"PciRoot(0x0)/Pci(0x4,0x0)/HD(1,GPT,3d27a8d7-07da-4090-a925-20db873434d0,0x800,0x30000)/\EFI\BOOT\BOOTX64.EFI"
        );
        assert_eq!(file(&path).as_deref(), Some(r"\EFI\BOOT\BOOTX64.EFI"));
        assert!(!is_stub_payload(&path));
    }

    #[test]
    fn stub_payload_is_recognised() {
        let path = bytes("04031400f8d1c555cd04b5468a20e56cbb3052d07fff0400");
        assert_eq!(
            describe(&path),
            "VenMedia(55c5d1f8-04cd-46b5-8a20-e56cbb3052d0)"
        );
        assert!(is_stub_payload(&path));
        let more = [
            &bytes("04031400f8d1c555cd04b5468a20e56cbb3052d0")[..],
            &bytes(DISK),
        ]
        .concat();
        assert!(!is_stub_payload(&more));
    }

    #[test]
    fn broken_paths_end_where_they_break() {
        for cut in 0..bytes(DISK).len() {
            describe(&bytes(DISK)[..cut]);
        }
        assert_eq!(describe(&[1, 1, 3, 0]), "");
        assert_eq!(describe(&[9, 9, 5, 0, 0xab]), "Path(9,9,ab)");
        assert_eq!(nodes(&[9, 9, 4, 0].repeat(100)).count(), MAX_NODES);
    }
}
