//! What the kernel shows of a machine, as files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use encrypted_disk::{Settings, Sysfs};

pub(crate) const SIZE: u64 = 160 << 20;

/// Azure's controllers: that of the boot disk, and that of data disks.
pub(crate) const BOOT: &str = "f8b3781a-1e82-4818-a1c3-63d806ec15bb";
pub(crate) const DATA: &str = "f8b3781b-1e82-4818-a1c3-63d806ec15bb";

pub(crate) struct Machine {
    pub(crate) root: tempfile::TempDir,
}

impl Machine {
    /// A machine without disks.
    pub(crate) fn new() -> Self {
        // Headers go below it too, which takes tmpfs.
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let machine = Self { root };
        for folder in ["sys/block", "dev/disk/by-id", "proc/self", "run"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        machine.write(
            "proc/self/mountinfo",
            "22 1 253:0 / / ro - erofs /dev/dm-0 ro\n",
        );
        for other in ["loop0", "zram0"] {
            machine.write(&format!("sys/block/{other}/size"), "8");
        }
        machine
    }

    /// One with the boot disk, held by dm-verity, and a blank data disk, as on Azure.
    pub(crate) fn azure() -> Self {
        let machine = Self::new();
        machine.scsi("sda", BOOT, "0:0:0:0");
        machine.write("sys/devices/sda-block/sda2/partition", "2");
        machine.write("sys/devices/sda-block/sda2/holders/dm-0/dm/name", "root");
        machine.write(
            "sys/devices/sda-block/sda2/holders/dm-0/dm/uuid",
            "CRYPT-VERITY-1",
        );
        machine.scsi("sdb", DATA, "1:0:0:10");
        machine.write("sys/devices/sdb-block/serial", "60022480aa");
        machine
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A disk with an image, and what every disk has.
    fn disk(&self, name: &str, device: &Path) {
        let entry = format!("sys/devices/{name}-block");
        self.write(&format!("{entry}/size"), &format!("{}\n", SIZE / 512));
        self.write(&format!("{entry}/ro"), "0\n");
        self.write(
            &format!("{entry}/dev"),
            &format!("8:{}\n", u32::from(name.as_bytes()[2])),
        );
        self.write(&format!("{entry}/diskseq"), "7\n");
        fs::create_dir_all(self.path(&format!("{entry}/holders"))).unwrap();
        symlink(device, self.path(&format!("{entry}/device"))).unwrap();
        let link = self.path("sys/block").join(name);
        symlink(self.path(&entry), link).unwrap();
        let image = fs::File::create(self.path("dev").join(name)).unwrap();
        image.set_len(SIZE).unwrap();
    }

    pub(crate) fn scsi(&self, name: &str, controller: &str, address: &str) {
        let vmbus = format!("sys/devices/VMBUS/{controller}");
        self.write(
            &format!("{vmbus}/device_id"),
            &format!("{{{controller}}}\n"),
        );
        let device = format!("{vmbus}/host/target/{address}");
        self.write(&format!("{device}/type"), "0\n");
        self.disk(name, &self.path(&device));
    }

    /// A disk on a controller of QEMU.
    pub(crate) fn virtio_scsi(&self, name: &str, address: &str) {
        let device = format!("sys/devices/pci/virtio3/host/target/{address}");
        self.write(&format!("{device}/type"), "0\n");
        self.disk(name, &self.path(&device));
    }

    pub(crate) fn nvme(&self, name: &str, model: &str, namespace: u32) {
        let device = format!("sys/devices/pci/{name}-controller");
        self.write(&format!("{device}/model"), &format!("{model}     \n"));
        self.disk(name, &self.path(&device));
        self.write(
            &format!("sys/devices/{name}-block/nsid"),
            &format!("{namespace}\n"),
        );
    }

    pub(crate) fn by_id(&self, link: &str, name: &str) {
        let link = self.path("dev/disk/by-id").join(link);
        symlink(format!("../../{name}"), link).unwrap();
    }

    /// Takes a disk out while it is in use: the kernel forgets it.
    pub(crate) fn unplug(&self, name: &str) {
        fs::remove_file(self.path("sys/block").join(name)).unwrap();
    }

    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs::below(self.root.path())
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            scratch: self.path("run"),
            ..Settings::default()
        }
    }

    pub(crate) fn image(&self) -> Vec<u8> {
        fs::read(self.path("dev/sdb")).unwrap()
    }

    pub(crate) fn set_image(&self, image: &[u8]) {
        fs::write(self.path("dev/sdb"), image).unwrap();
    }

    /// Writes somewhere into the data disk's image.
    pub(crate) fn poke(&self, offset: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let image = fs::File::options()
            .write(true)
            .open(self.path("dev/sdb"))
            .unwrap();
        image.write_all_at(bytes, offset).unwrap();
    }

    pub(crate) fn map(&self) {
        for entry in ["sys/block/dm-5", "sys/devices/sdb-block/holders/dm-5"] {
            self.write(&format!("{entry}/dm/name"), "data\n");
            self.write(&format!("{entry}/dm/uuid"), "CRYPT-LUKS2-0553-data\n");
            self.write(&format!("{entry}/dev"), "253:5\n");
        }
        let slaves = self.path("sys/block/dm-5/slaves");
        fs::create_dir_all(&slaves).unwrap();
        symlink(self.path("sys/devices/sdb-block"), slaves.join("sdb")).unwrap();
    }

    /// Another disk in the place of the data disk, with its name and what is on it: all that differs is the
    /// kernel's number. A mapping stays, and is on the one that has gone.
    pub(crate) fn swap(&self) {
        self.write("sys/devices/sdb-block/diskseq", "8\n");
        let holders = self.path("sys/devices/sdb-block/holders");
        fs::remove_dir_all(&holders).unwrap();
        fs::create_dir(holders).unwrap();
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.path("sys/block/dm-5").exists()
    }

    pub(crate) fn unmap(&self) {
        fs::remove_dir_all(self.path("sys/block/dm-5")).unwrap();
        // It is not there if the mapping was on a disk that has gone.
        let _ = fs::remove_dir_all(self.path("sys/devices/sdb-block/holders/dm-5"));
    }

    pub(crate) fn mount(&self) {
        let table = self.path("proc/self/mountinfo");
        let mut text = fs::read_to_string(&table).unwrap();
        text.push_str("90 22 253:5 / /persistent rw - ext4 /dev/mapper/data rw\n");
        fs::write(table, text).unwrap();
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let table = fs::read_to_string(self.path("proc/self/mountinfo")).unwrap();
        table.contains("/persistent")
    }

    pub(crate) fn unmount(&self) {
        let table = self.path("proc/self/mountinfo");
        let text = fs::read_to_string(&table).unwrap();
        let lines: String = text
            .lines()
            .take(1)
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(table, lines).unwrap();
    }

    /// What a power cut takes away.
    pub(crate) fn reset(&self) {
        if self.is_mounted() {
            self.unmount();
        }
        if self.is_mapped() {
            self.unmap();
        }
    }

    /// What is in the folder for headers.
    pub(crate) fn scratch(&self) -> usize {
        fs::read_dir(self.path("run")).unwrap().count()
    }
}
