//! QEMU's command line for a [`Machine`].
//!
//! I/O: none.

use std::path::{Path, PathBuf};

use super::{Device, FIRMWARE, Machine};

/// The sockets through which the machine is looked at.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// The TPM's control channel; it must be listening.
    pub tpm: PathBuf,
    /// The machine protocol; QEMU listens.
    pub qmp: PathBuf,
}

impl Machine {
    /// The arguments of `qemu-system-x86_64`. The console is on standard input and output.
    pub fn arguments(&self, sockets: &Sockets) -> Vec<String> {
        let mut arguments = Arguments::default();
        arguments.board(self, sockets);
        arguments.network(self);
        arguments.storage(self);
        arguments.host_inputs(self);
        for (number, device) in self.devices.iter().enumerate() {
            arguments.device(number, device);
        }
        arguments.0
    }
}

#[derive(Debug, Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }

    fn board(&mut self, machine: &Machine, sockets: &Sockets) {
        self.add("-machine", "q35");
        let accelerator = machine.accelerator.arguments();
        self.0.extend(accelerator.map(str::to_owned));
        self.add("-smp", machine.cpus.to_string());
        self.add("-m", format!("{}M", machine.memory));
        self.0.push("-nodefaults".to_owned());
        self.0.push("-no-reboot".to_owned());
        self.add("-display", "none");
        self.add("-chardev", "stdio,id=console,signal=off");
        self.add("-serial", "chardev:console");
        let qmp = value(&sockets.qmp);
        self.add("-qmp", format!("unix:{qmp},server=on,wait=off"));
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}");
        self.add("-drive", code);
        let variables = value(&machine.variables);
        let variables = format!("if=pflash,unit=1,format=raw,file={variables}");
        self.add("-drive", variables);
        self.add("-device", "virtio-rng-pci");
        let tpm = value(&sockets.tpm);
        self.add("-chardev", format!("socket,id=tpm,path={tpm}"));
        self.add("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        self.add("-device", "tpm-crb,tpmdev=tpm0");
    }

    fn network(&mut self, machine: &Machine) {
        let mut network = "user,id=n0,restrict=on".to_owned();
        for forward in &machine.forwards {
            let (host, guest) = (forward.host, forward.guest);
            network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
        }
        self.add("-netdev", network);
        // No option ROM: the firmware must not look for something to boot on the network.
        self.add("-device", "virtio-net-pci,netdev=n0,romfile=");
    }

    fn storage(&mut self, machine: &Machine) {
        self.add("-device", "virtio-scsi-pci,id=scsi");
        let file = value(&machine.image);
        // The footer's size, as Azure reads it, not the rounded geometry.
        let format = match machine.image.extension() {
            Some(extension) if extension == "vhd" => "vpc,force_size_calc=current_size",
            _ => "raw",
        };
        let image = format!("if=none,id=os,snapshot=on,format={format},file={file}");
        self.add("-drive", image);
        let boot = match machine.direct_kernel {
            Some(_) => "",
            None => ",bootindex=1",
        };
        let disk = format!("scsi-hd,drive=os,bus=scsi.0,scsi-id=0,lun=0{boot}");
        self.add("-device", disk);
    }

    fn host_inputs(&mut self, machine: &Machine) {
        for string in &machine.smbios_strings {
            self.add("-smbios", format!("type=11,value={}", escape(string)));
        }
        for (name, string) in &machine.fw_cfg {
            let string = escape(string);
            self.add("-fw_cfg", format!("name={name},string={string}"));
        }
        if let Some(direct) = &machine.direct_kernel {
            self.add("-kernel", direct.kernel.to_string_lossy());
            self.add("-initrd", direct.initrd.to_string_lossy());
            self.add("-append", &direct.command_line);
        }
    }

    fn device(&mut self, number: usize, device: &Device) {
        match device {
            Device::Disk(image) => {
                let file = value(image);
                let drive = format!("if=none,id=disk{number},format=raw,file={file}");
                self.add("-drive", drive);
                let disk = format!(
                    "scsi-hd,drive=disk{number},bus=scsi.0,scsi-id={}",
                    number + 1
                );
                self.add("-device", disk);
            }
            Device::VirtioConsole(socket) => {
                self.socket(number, socket);
                self.add("-device", format!("virtio-serial-pci,id=serial{number}"));
                let console = format!("virtconsole,bus=serial{number}.0,chardev=char{number}");
                self.add("-device", console);
            }
            Device::VirtioPort(name, socket) => {
                self.socket(number, socket);
                self.add("-device", format!("virtio-serial-pci,id=serial{number}"));
                let port = format!(
                    "virtserialport,bus=serial{number}.0,chardev=char{number},name={}",
                    escape(name)
                );
                self.add("-device", port);
            }
            Device::Serial(socket) => {
                self.socket(number, socket);
                self.add("-serial", format!("chardev:char{number}"));
            }
        }
    }

    fn socket(&mut self, number: usize, path: &Path) {
        let path = value(path);
        self.add(
            "-chardev",
            format!("socket,id=char{number},path={path},server=on,wait=off"),
        );
    }
}

/// A path as the value of a QEMU option.
fn value(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// QEMU separates options by commas; a doubled comma stands for itself.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{DirectKernel, Forward};

    fn sockets() -> Sockets {
        Sockets {
            tpm: "/run/t/tpm.sock".into(),
            qmp: "/run/t/qmp.sock".into(),
        }
    }

    fn machine(image: &str) -> Machine {
        Machine::new(image.into(), "/run/t/vars.fd".into())
    }

    fn command_line(machine: &Machine) -> String {
        machine.arguments(&sockets()).join(" ")
    }

    #[test]
    fn vhd_is_attached_as_vhd_and_never_written() {
        let line = command_line(&machine("/i/node.vhd"));
        assert!(line.contains(
            "-drive if=none,id=os,snapshot=on,format=vpc,force_size_calc=current_size,file=/i/node.vhd"
        ));
        assert!(command_line(&machine("/i/node.raw")).contains("format=raw,file=/i/node.raw"));
    }

    #[test]
    fn network_is_closed_and_forwards_are_on_loopback() {
        let mut machine = machine("/i/node.vhd");
        machine.forwards = vec![Forward {
            guest: 7936,
            host: 17936,
        }];
        let line = command_line(&machine);
        assert!(line.contains("-netdev user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:17936-:7936 "));
        assert_eq!(line.matches("-netdev").count(), 1);
    }

    #[test]
    fn commas_are_doubled() {
        let mut machine = machine("/i/a,b.raw");
        machine.smbios_strings = vec!["io.systemd.credential:a=b,c".to_owned()];
        machine.fw_cfg = vec![("opt/x".to_owned(), "1,2".to_owned())];
        let line = command_line(&machine);
        assert!(line.contains("file=/i/a,,b.raw"));
        assert!(line.contains("-smbios type=11,value=io.systemd.credential:a=b,,c"));
        assert!(line.contains("-fw_cfg name=opt/x,string=1,,2"));
    }

    #[test]
    fn direct_kernel_takes_the_disk_out_of_the_boot_order() {
        let mut machine = machine("/i/node.raw");
        assert!(command_line(&machine).contains("bootindex"));
        machine.direct_kernel = Some(DirectKernel {
            kernel: "/k.efi".into(),
            initrd: "/i.cpio".into(),
            command_line: "quiet".to_owned(),
        });
        let line = command_line(&machine);
        assert!(!line.contains("bootindex"));
        assert!(line.contains("-kernel /k.efi -initrd /i.cpio -append quiet"));
    }

    #[test]
    fn devices_have_names_of_their_own() {
        let mut machine = machine("/i/node.raw");
        machine.devices = vec![
            Device::Disk("/d.raw".into()),
            Device::VirtioConsole("/hvc".into()),
            Device::VirtioPort("org.x".to_owned(), "/port".into()),
            Device::Serial("/tty".into()),
        ];
        let line = command_line(&machine);
        assert!(line.contains("scsi-hd,drive=disk0,bus=scsi.0,scsi-id=1"));
        assert!(line.contains("virtconsole,bus=serial1.0,chardev=char1"));
        assert!(line.contains("virtserialport,bus=serial2.0,chardev=char2,name=org.x"));
        assert!(line.contains("-serial chardev:char3"));
    }
}
