//! Images of a node: UKI, disk, initrd, from parts that tests change.

use std::io::Write;

use flate2::write::GzEncoder;

use crate::support::{self, ESP_TYPE, crc32, pe, section};

/// What images are made of; each test changes one thing.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) command_line: String,
    pub(crate) initrd: Vec<u8>,
    pub(crate) kernel: Vec<u8>,
    pub(crate) stub: &'static str,
    pub(crate) root: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    /// 64 hex digits.
    pub(crate) root_hash: String,
    pub(crate) root_label: &'static str,
}

impl Node {
    pub(crate) fn new() -> Self {
        let node = Self {
            command_line: String::new(),
            initrd: cpio(&initrd_files()),
            kernel: kernel("6.12.57-cloud"),
            stub: support::STUB,
            root: vec![0xaa; 10 * 4096],
            tree: vec![0xbb; 4096],
            root_hash: String::new(),
            root_label: "root-x86-64",
        };
        node.with_hash('1')
    }

    pub(crate) fn with_hash(mut self, digit: char) -> Self {
        self.root_hash = format!("{}{}", digit.to_string().repeat(32), "ef".repeat(16));
        self.command_line = format!("console=ttyS0 roothash={} ro", self.root_hash);
        self
    }

    pub(crate) fn efi(&self) -> Vec<u8> {
        let sections = [
            section(".text", [0xcc; 1000]),
            section(".sdmagic", self.stub),
            section(".osrel", "ID=debian\nVERSION_ID=13\n"),
            section(".cmdline", format!("{}\0", self.command_line)),
            section(".uname", "6.12.57-cloud"),
            section(".initrd", &self.initrd),
            section(".linux", &self.kernel),
        ];
        pe(&sections, &[], &[])
    }

    pub(crate) fn disk(&self) -> Vec<u8> {
        const ROOT: &str = "4f68bce3e8cd4db196e7fbcaf984b709";
        const ROOT_VERITY: &str = "2c7357edebd246d9aec123d437ec2bf5";
        let (data, tree) = self.root_hash.split_at(32);
        disk(&[
            (
                ESP_TYPE,
                guid(&"12".repeat(16)),
                "esp",
                &support::esp(&self.efi()),
            ),
            (guid(ROOT), guid(data), self.root_label, &self.root),
            (
                guid(ROOT_VERITY),
                guid(tree),
                "root-x86-64-verity",
                &self.tree,
            ),
        ])
    }
}

/// A kernel that says which Linux it is.
pub(crate) fn kernel(version: &str) -> Vec<u8> {
    let mut kernel = support::kernel();
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x80u16.to_le_bytes());
    let text = format!("{version} (builder)\0");
    kernel[0x280..0x280 + text.len()].copy_from_slice(text.as_bytes());
    kernel
}

/// A GUID as it is on disk, from its digits: the first three groups are little-endian.
pub(crate) fn guid(digits: &str) -> [u8; 16] {
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(byte)
}

/// Type, GUID, label, contents.
pub(crate) type Partition<'p> = ([u8; 16], [u8; 16], &'p str, &'p [u8]);

/// A disk with these partitions.
pub(crate) fn disk(partitions: &[Partition<'_>]) -> Vec<u8> {
    let plain: Vec<_> = partitions
        .iter()
        .map(|(kind, _, _, data)| (*kind, *data))
        .collect();
    let mut disk = support::gpt(512, &plain);
    for (index, (_, unique, label, _)) in partitions.iter().enumerate() {
        let entry = &mut disk[1024 + index * 128..][..128];
        entry[16..32].copy_from_slice(unique);
        let label: Vec<u8> = label.encode_utf16().flat_map(u16::to_le_bytes).collect();
        entry[56..56 + label.len()].copy_from_slice(&label);
    }
    let entries = crc32(&disk[1024..1024 + 128 * 128]);
    disk[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    disk[512 + 16..512 + 20].fill(0);
    let header = crc32(&disk[512..512 + 92]);
    disk[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
    disk
}

/// An entry of an archive: path, mode, owner, contents.
pub(crate) type File = (&'static str, u32, u32, Vec<u8>);

pub(crate) fn initrd_files() -> Vec<File> {
    vec![
        ("usr", 0o040_755, 0, vec![]),
        ("usr/lib/foo", 0o100_644, 0, vec![b'f'; 1234]),
        ("usr/lib/bar", 0o100_644, 0, b"bar".to_vec()),
        ("bin", 0o120_777, 0, b"usr/bin".to_vec()),
    ]
}

/// Changes one file.
pub(crate) fn with_file(path: &str, change: impl Fn(&mut File)) -> Vec<File> {
    let mut files = initrd_files();
    change(files.iter_mut().find(|file| file.0 == path).unwrap());
    files
}

/// An archive in the format "newc".
pub(crate) fn cpio(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    let end: File = ("TRAILER!!!", 0, 0, vec![]);
    for (inode, (path, mode, owner, contents)) in files.iter().chain([&end]).enumerate() {
        let (size, path_size) = (contents.len(), path.len() + 1);
        write!(
            archive,
            "070701{inode:08x}{mode:08x}{owner:08x}{0:08x}{1:08x}{0:08x}{size:08x}\
             {0:08x}{0:08x}{0:08x}{0:08x}{path_size:08x}{0:08x}{path}\0",
            0, 1
        )
        .unwrap();
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(contents);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
