//! Builds small images to test with: PEs, UKIs, FAT file systems, GPT disks, VHDs, event logs.
//!
//! Written from the specifications, not with the code under test; FAT by the `fatfs` crate.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test uses a part of it, and a panic in a test is a failing test"
)]

use std::io::{Cursor, Read, Write};

use measurements::image::ImageError;
use measurements::{Image, PredictError, Prediction};

pub(crate) use fatfs::FatType;

/// The command line of [`uki`], without its NUL.
pub(crate) const COMMAND_LINE: &str = "console=ttyS0 root=/dev/dm-0 ro";
pub(crate) const STUB: &str = "#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0";

/// An image in memory.
pub(crate) type MemoryImage = Image<Cursor<Vec<u8>>>;

pub(crate) fn open(image: Vec<u8>) -> Result<MemoryImage, ImageError> {
    Image::open(Cursor::new(image))
}

/// What an image that can be opened is predicted to measure to.
pub(crate) fn predict(image: Vec<u8>) -> Result<Prediction, PredictError> {
    measurements::predict(&mut open(image).unwrap())
}

/// The bytes of the UKI that is found in an image.
pub(crate) fn uki_in(image: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let mut uki = Vec::new();
    open(image)?.uki_reader().read_to_end(&mut uki).unwrap();
    Ok(uki)
}

/// A section of a PE to be made.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    /// VirtualSize; the data's length if not given.
    pub(crate) virtual_size: Option<u32>,
}

pub(crate) fn section(name: &str, data: impl AsRef<[u8]>) -> Section {
    Section {
        name: name.to_owned(),
        data: data.as_ref().to_vec(),
        virtual_size: None,
    }
}

/// Makes a PE32+ with these sections, aligned to 512 bytes in the file, `trailer` behind them, and
/// `certificates` as its certificate table.
pub(crate) fn pe(sections: &[Section], trailer: &[u8], certificates: &[u8]) -> Vec<u8> {
    const ALIGNMENT: usize = 512;
    const OPTIONAL_SIZE: usize = 112 + 16 * 8;
    let headers_end = 0x40 + 24 + OPTIONAL_SIZE + sections.len() * 40;
    let headers_size = headers_end.next_multiple_of(ALIGNMENT);

    let mut pe = vec![0; headers_size];
    let put = |pe: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        pe[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(&mut pe, 0, b"MZ");
    put(&mut pe, 0x3c, &0x40u32.to_le_bytes());
    put(&mut pe, 0x40, b"PE\0\0");
    put(&mut pe, 0x44, &0x8664u16.to_le_bytes());
    put(
        &mut pe,
        0x46,
        &u16::try_from(sections.len()).unwrap().to_le_bytes(),
    );
    put(
        &mut pe,
        0x54,
        &u16::try_from(OPTIONAL_SIZE).unwrap().to_le_bytes(),
    );
    let optional = 0x58;
    put(&mut pe, optional, &0x20bu16.to_le_bytes());
    put(&mut pe, optional + 32, &4096u32.to_le_bytes());
    put(
        &mut pe,
        optional + 36,
        &u32::try_from(ALIGNMENT).unwrap().to_le_bytes(),
    );
    put(
        &mut pe,
        optional + 60,
        &u32::try_from(headers_size).unwrap().to_le_bytes(),
    );
    put(&mut pe, optional + 64, &0xdead_beef_u32.to_le_bytes());
    put(&mut pe, optional + 108, &16u32.to_le_bytes());

    let mut address = 0x1000u32;
    for (index, section) in sections.iter().enumerate() {
        let header = optional + OPTIONAL_SIZE + index * 40;
        let size = section.data.len();
        let virtual_size = section.virtual_size.unwrap_or(u32::try_from(size).unwrap());
        let raw_size = size.next_multiple_of(ALIGNMENT);
        put(&mut pe, header, section.name.as_bytes());
        put(&mut pe, header + 8, &virtual_size.to_le_bytes());
        put(&mut pe, header + 12, &address.to_le_bytes());
        put(
            &mut pe,
            header + 16,
            &u32::try_from(raw_size).unwrap().to_le_bytes(),
        );
        let offset = u32::try_from(pe.len()).unwrap();
        put(&mut pe, header + 20, &offset.to_le_bytes());
        pe.extend_from_slice(&section.data);
        pe.resize(pe.len() + raw_size - size, 0);
        address += virtual_size.max(1).next_multiple_of(4096);
    }
    put(&mut pe, optional + 56, &address.to_le_bytes());
    pe.extend_from_slice(trailer);
    if !certificates.is_empty() {
        pe.resize(pe.len().next_multiple_of(8), 0);
        let directory = optional + 112 + 4 * 8;
        let offset = u32::try_from(pe.len()).unwrap();
        put(&mut pe, directory, &offset.to_le_bytes());
        put(
            &mut pe,
            directory + 4,
            &u32::try_from(certificates.len()).unwrap().to_le_bytes(),
        );
        pe.extend_from_slice(certificates);
    }
    pe
}

/// A kernel: a PE of its own, whose MajorImageVersion says that it loads its initrd itself, and
/// whose bzImage header that it is Linux 6.12.
pub(crate) fn kernel() -> Vec<u8> {
    let mut kernel = pe(
        &[
            section(".text", [0x90; 700]),
            section(".data", *b"kernel data"),
        ],
        &[],
        &[],
    );
    kernel[0x58 + 44] = 1;
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    // Where the version is, less 0x200.
    kernel[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    let version = b"6.12.0-test (builder)\0";
    kernel[0x300..][..version.len()].copy_from_slice(version);
    kernel
}

/// The sections of a UKI as mkosi makes them.
pub(crate) fn uki_sections() -> Vec<Section> {
    vec![
        section(".text", [0xcc; 1000]),
        section(".sdmagic", STUB),
        section(".sbat", "sbat,1,SBAT Version\n"),
        section(".osrel", "ID=debian\nVERSION_ID=13\n"),
        section(".cmdline", format!("{COMMAND_LINE}\0")),
        section(".uname", "6.12.0-test"),
        section(".initrd", [0x1f; 1234 + 1]),
        section(".linux", kernel()),
    ]
}

/// A small UKI.
pub(crate) fn uki() -> Vec<u8> {
    pe(&uki_sections(), &[], &[])
}

/// Makes a FAT file system of `size` bytes with these files.
pub(crate) fn fat(
    kind: FatType,
    sector_size: u16,
    size: usize,
    files: &[(&str, &[u8])],
) -> Vec<u8> {
    let mut volume = Cursor::new(vec![0; size]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_sector(sector_size);
    // One sector for each cluster makes the longest chains.
    let options = options.bytes_per_cluster(sector_size.into());
    fatfs::format_volume(&mut volume, options).unwrap();
    {
        let fat = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).unwrap();
        assert_eq!(fat.fat_type(), kind);
        for (path, contents) in files {
            let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
            for parent in parents {
                // Opens it if it is there.
                fat.root_dir().create_dir(parent).unwrap();
            }
            let mut file = fat.root_dir().create_file(path).unwrap();
            file.write_all(contents).unwrap();
        }
    }
    volume.into_inner()
}

/// An EFI system partition with a UKI: FAT12, 1 MiB.
pub(crate) fn esp(uki: &[u8]) -> Vec<u8> {
    fat(
        FatType::Fat12,
        512,
        1 << 20,
        &[("EFI/BOOT/BOOTX64.EFI", uki)],
    )
}

pub(crate) const ESP_TYPE: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];
pub(crate) const OTHER_TYPE: [u8; 16] = [0x77; 16];

/// Makes a disk with a primary GPT and these partitions, one after the other.
pub(crate) fn gpt(block: usize, partitions: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let mut entries = vec![0; 128 * 128];
    let first = 2 + entries.len().div_ceil(block);
    let mut disk = vec![0; first * block];
    // The protective MBR: one entry of type 0xee, from block 1 on.
    disk[446 + 4] = 0xee;
    disk[446 + 8] = 1;
    disk[446 + 12..446 + 16].fill(0xff);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (index, (kind, contents)) in partitions.iter().enumerate() {
        let start = disk.len() / block;
        let blocks = contents.len().div_ceil(block);
        disk.extend_from_slice(contents);
        disk.resize((start + blocks) * block, 0);
        let entry = &mut entries[index * 128..][..128];
        entry[..16].copy_from_slice(kind);
        entry[16] = u8::try_from(index).unwrap() + 1;
        entry[32..40].copy_from_slice(&(start as u64).to_le_bytes());
        entry[40..48].copy_from_slice(&((start + blocks - 1) as u64).to_le_bytes());
    }
    disk.resize(disk.len() + 33 * block, 0);
    disk[2 * block..][..entries.len()].copy_from_slice(&entries);

    let mut header = vec![0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x0001_0000u32.to_le_bytes());
    header[12..16].copy_from_slice(&92u32.to_le_bytes());
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    let blocks = (disk.len() / block) as u64;
    header[32..40].copy_from_slice(&(blocks - 1).to_le_bytes());
    header[40..48].copy_from_slice(&(first as u64).to_le_bytes());
    header[48..56].copy_from_slice(&(blocks - 34).to_le_bytes());
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[80..84].copy_from_slice(&128u32.to_le_bytes());
    header[84..88].copy_from_slice(&128u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
    let checksum = crc32(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk[block..][..92].copy_from_slice(&header);
    disk
}

/// A whole disk: a root partition and an EFI system partition with this UKI.
pub(crate) fn disk(uki: &[u8]) -> Vec<u8> {
    gpt(512, &[(OTHER_TYPE, &[0xaa; 5000]), (ESP_TYPE, &esp(uki))])
}

/// Appends a fixed VHD's footer.
pub(crate) fn vhd(mut disk: Vec<u8>) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[40..48].copy_from_slice(&(disk.len() as u64).to_be_bytes());
    footer[48..56].copy_from_slice(&(disk.len() as u64).to_be_bytes());
    footer[60..64].copy_from_slice(&2u32.to_be_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    disk.extend_from_slice(&footer);
    disk
}

/// CRC-32, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}
