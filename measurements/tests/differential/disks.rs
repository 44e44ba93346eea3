//! Disks as people make them, and the UKI that is found there.

use std::fs::{File, OpenOptions};
use std::io::Read;

use measurements::Image;
use measurements::image::{FatError, Format, ImageError, VhdError};

use crate::tools::Folder;
use crate::uki;

/// A partition table, and the FAT file system of its EFI system partition.
#[derive(Debug, Clone, Copy)]
struct Disk {
    /// Bytes of a block of the disk, which are those of a sector of the file system.
    block: u64,
    /// 12, 16 or 32.
    width: u32,
    sectors_per_cluster: u64,
    /// Bytes of the disk, in MiB.
    size: u64,
    has_fragments: bool,
}

const fn disk(block: u64, width: u32, sectors_per_cluster: u64, size: u64) -> Disk {
    Disk {
        block,
        width,
        sectors_per_cluster,
        size,
        has_fragments: false,
    }
}

const fn fragmented(disk: Disk) -> Disk {
    Disk {
        has_fragments: true,
        ..disk
    }
}

const DISKS: [Disk; 12] = [
    disk(512, 12, 4, 8),
    disk(512, 12, 8, 16),
    disk(512, 16, 1, 16),
    disk(512, 16, 4, 64),
    disk(512, 32, 1, 48),
    disk(512, 32, 8, 300),
    disk(4096, 12, 1, 12),
    disk(4096, 16, 1, 64),
    disk(4096, 32, 1, 300),
    fragmented(disk(512, 12, 4, 8)),
    fragmented(disk(512, 16, 1, 16)),
    fragmented(disk(4096, 32, 1, 300)),
];

const PROGRAMS: [&str; 7] = [
    "sfdisk",
    "mkfs.vfat",
    "mmd",
    "mcopy",
    "mdel",
    "mshowfat",
    "qemu-img",
];

impl Disk {
    /// Writes the disk as `disk.raw`, with a partition of data before and behind the ESP.
    fn make(self, folder: &Folder, uki: &[u8]) {
        let path = folder.path("disk.raw");
        File::create(&path)
            .unwrap()
            .set_len(self.size << 20)
            .unwrap();
        let start = (1 << 20) / self.block + 64;
        let length = (self.size << 20) / self.block - start - 256;
        let table = format!(
            "label: gpt\nfirst-lba: 64\n\
             start={}, size=64, type=linux\n\
             start={start}, size={length}, type=uefi\n\
             start={}, size=64, type=linux\n",
            start - 64,
            start + length
        );
        let block = format!("--sector-size={}", self.block);
        folder.run_with_input("sfdisk", [&*block, "--quiet", "disk.raw"], &table);
        self.format(folder, start, length);
        if self.has_fragments {
            self.fill_in_fragments(folder, start);
        }
        folder.write("uki.efi", uki);
        self.mtools(
            folder,
            "mcopy",
            start,
            &["uki.efi", "::EFI/BOOT/BOOTX64.EFI"],
        );
        let clusters = self.mtools(folder, "mshowfat", start, &["::EFI/BOOT/BOOTX64.EFI"]);
        let runs = clusters.matches('<').count();
        assert!(runs > 0);
        assert_eq!(runs > 1, self.has_fragments, "{clusters}");
    }

    fn format(self, folder: &Folder, start: u64, length: u64) {
        let arguments = [
            "--invariant".to_owned(),
            format!("-F{}", self.width),
            format!("-S{}", self.block),
            format!("-s{}", self.sectors_per_cluster),
            // Of the sectors that it makes.
            format!("--offset={start}"),
            "disk.raw".to_owned(),
            // Of 1 KiB, always.
            format!("{}", length * self.block / 1024),
        ];
        folder.run("mkfs.vfat", arguments);
        let directories = ["::EFI", "::EFI/BOOT", "::EFI/Linux", "::loader"];
        self.mtools(folder, "mmd", start, &directories);
    }

    /// Leaves holes of one cluster each between other files, at the beginning of the partition.
    fn fill_in_fragments(self, folder: &Folder, start: u64) {
        let cluster = usize::try_from(self.block * self.sectors_per_cluster).unwrap();
        let names: Vec<_> = (0..40).map(|i| format!("file{i}.txt")).collect();
        for name in &names {
            folder.write(name, vec![0xee; cluster]);
        }
        let mut arguments: Vec<_> = names.iter().map(String::as_str).collect();
        arguments.push("::");
        self.mtools(folder, "mcopy", start, &arguments);
        let removed = names.iter().step_by(2).map(|name| format!("::{name}"));
        let removed: Vec<_> = removed.collect();
        let removed: Vec<_> = removed.iter().map(String::as_str).collect();
        self.mtools(folder, "mdel", start, &removed);
        if self.width == 32 {
            // mtools begins its search where the file system says the next free cluster is.
            self.forget_free_cluster(folder, start);
        }
    }

    /// FSI_Nxt_Free of the FSInfo sector, the second: 2 is where clusters begin.
    fn forget_free_cluster(self, folder: &Folder, start: u64) {
        use std::os::unix::fs::FileExt;
        let path = folder.path("disk.raw");
        let image = OpenOptions::new().write(true).open(path).unwrap();
        let field = (start + 1) * self.block + 492;
        image.write_all_at(&2u32.to_le_bytes(), field).unwrap();
    }

    fn mtools(self, folder: &Folder, program: &str, start: u64, arguments: &[&str]) -> String {
        let image = format!("disk.raw@@{}", start * self.block);
        folder.run(program, ["-i", &image].iter().chain(arguments))
    }
}

/// The format of an image, and the UKI that is found in it.
fn found(folder: &Folder, name: &str) -> (Format, Vec<u8>) {
    let file = File::open(folder.path(name)).unwrap();
    let mut image = Image::open(file).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let mut uki = Vec::new();
    image.uki_reader().read_to_end(&mut uki).unwrap();
    (image.format(), uki)
}

#[test]
fn uki_is_found_on_disks_of_sfdisk_mkfs_and_mtools() {
    let (Some(ukis), true) = (uki::all(), testkit::needed::programs(&PROGRAMS)) else {
        return;
    };
    let ukis = ukis.all.iter().cycle();
    for (disk, built) in DISKS.into_iter().zip(ukis) {
        let folder = Folder::new();
        disk.make(&folder, &built.bytes);
        let (format, uki) = found(&folder, "disk.raw");
        assert_eq!(format, Format::RawDisk, "{disk:?}");
        assert!(uki == built.bytes, "{disk:?}");
    }
}

/// mkfs makes FAT32 with fewer clusters than the specification allows; firmware does not read it.
#[test]
fn fat32_with_too_few_clusters_is_refused() {
    let (Some(ukis), true) = (uki::all(), testkit::needed::programs(&PROGRAMS)) else {
        return;
    };
    let folder = Folder::new();
    disk(4096, 32, 1, 96).make(&folder, &ukis.all[0].bytes);
    let error = Image::open(File::open(folder.path("disk.raw")).unwrap()).unwrap_err();
    let is_meant = matches!(error, ImageError::Fat(FatError::Field { .. }));
    assert!(is_meant, "{error:?}");
}

#[test]
fn uki_is_found_in_vhds_of_qemu() {
    let (Some(ukis), true) = (uki::all(), testkit::needed::programs(&PROGRAMS)) else {
        return;
    };
    let folder = Folder::new();
    let uki = &ukis.all[0].bytes;
    disk(512, 16, 1, 19).make(&folder, uki);
    let convert = |options: &str, output: &str| {
        let options = format!("subformat={options}");
        let arguments = [
            "convert", "-fraw", "-Ovpc", "-o", &options, "disk.raw", output,
        ];
        folder.run("qemu-img", arguments);
    };
    // Without force_size the disk is made larger, so that it has whole cylinders.
    for (options, output) in [("fixed", "larger.vhd"), ("fixed,force_size=on", "same.vhd")] {
        convert(options, output);
        let (format, found) = found(&folder, output);
        assert_eq!(format, Format::FixedVhd, "{options}");
        assert!(found == *uki, "{options}");
    }
    let size = |name: &str| folder.path(name).metadata().unwrap().len();
    assert_eq!(size("same.vhd"), size("disk.raw") + 512);
    assert!(size("larger.vhd") > size("same.vhd"));

    convert("dynamic", "dynamic.vhd");
    let error = Image::open(File::open(folder.path("dynamic.vhd")).unwrap()).unwrap_err();
    let is_meant = matches!(error, ImageError::Vhd(VhdError::NotFixed { .. }));
    assert!(is_meant, "{error:?}");
}

#[test]
fn uki_is_found_on_disks_of_sgdisk() {
    let programs = [&PROGRAMS[..], &["sgdisk"]].concat();
    let (Some(ukis), true) = (uki::all(), testkit::needed::programs(&programs)) else {
        return;
    };
    let folder = Folder::new();
    let uki = &ukis.all[1].bytes;
    let disk = disk(512, 12, 4, 8);
    // Made anew where the other table has it, with a table whose entries are in another order.
    disk.make(&folder, uki);
    let length = (8 << 20) / 512 - 2112 - 256;
    let partitions = [
        "--zap-all".to_owned(),
        "--set-alignment=1".to_owned(),
        format!("--new=7:{}:+64", 2112 + length),
        format!("--new=3:2112:{}", 2112 + length - 1),
        "--typecode=3:ef00".to_owned(),
        "--new=1:64:+64".to_owned(),
        "--change-name=3:System".to_owned(),
        "disk.raw".to_owned(),
    ];
    folder.run("sgdisk", partitions);
    assert!(found(&folder, "disk.raw").1 == *uki);
}
