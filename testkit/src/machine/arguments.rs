//! QEMU's command line for a [`Machine`].
//!
//! I/O: none.

use std::path::{Path, PathBuf};

use super::{ClosedNetwork, Device, FIRMWARE, Forward, Identity, Machine};

/// The sockets through which the machine is looked at.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// The TPM's control channel; it must be listening if the machine has one.
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
        if let Some(clock) = &machine.clock {
            self.add("-rtc", format!("base={}", escape(clock)));
        }
        if let Some(identity) = &machine.identity {
            self.identity(identity);
        }
        if machine.has_tpm {
            self.tpm(sockets);
        }
    }

    fn tpm(&mut self, sockets: &Sockets) {
        let tpm = value(&sockets.tpm);
        self.add("-chardev", format!("socket,id=tpm,path={tpm}"));
        self.add("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        self.add("-device", "tpm-crb,tpmdev=tpm0");
    }

    fn identity(&mut self, identity: &Identity) {
        let [manufacturer, product, version, asset_tag, uuid] = [
            &identity.manufacturer,
            &identity.product,
            &identity.version,
            &identity.asset_tag,
            &identity.uuid,
        ]
        .map(|text| escape(text));
        for table in [
            format!("type=0,vendor={manufacturer},version={version},uefi=on"),
            format!(
                "type=1,manufacturer={manufacturer},product={product},version={version},\
                 uuid={uuid},family={product}"
            ),
            format!("type=2,manufacturer={manufacturer},product={product},version={version}"),
            format!("type=3,manufacturer={manufacturer},version={version},asset={asset_tag}"),
        ] {
            self.add("-smbios", table);
        }
    }

    fn network(&mut self, machine: &Machine) {
        let mut network = "user,id=n0,restrict=on".to_owned();
        if let Some(closed) = &machine.network {
            network.push_str(&inside(closed));
        }
        for forward in &machine.forwards {
            let Forward {
                guest,
                address,
                host,
            } = forward;
            network.push_str(&format!(",hostfwd=tcp:{address}:{host}-:{guest}"));
        }
        self.add("-netdev", network);
        let of_guest = match &machine.network {
            Some(closed) => self.wire(closed),
            None => "n0",
        };
        // No option ROM: the firmware must not look for something to boot on the network.
        let card = format!("virtio-net-pci,netdev={of_guest},romfile=");
        self.add("-device", card);
    }

    /// A wire between the guest and QEMU's user network; returns the guest's end.
    fn wire(&mut self, closed: &ClosedNetwork) -> &'static str {
        let ends = [
            ("guest", &closed.guest_end),
            ("network", &closed.network_end),
        ];
        for (name, path) in ends {
            let path = value(path);
            let end = format!("stream,id={name},server=off,addr.type=unix,addr.path={path}");
            self.add("-netdev", end);
        }
        // QEMU joins two networks by a hub only.
        self.add("-netdev", "hubport,id=port0,hubid=0,netdev=n0");
        self.add("-netdev", "hubport,id=port1,hubid=0,netdev=network");
        "guest"
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
            Device::ScsiController(name) => {
                self.add("-device", format!("virtio-scsi-pci,id={}", escape(name)));
            }
            Device::Nvme {
                image,
                namespace,
                is_read_only,
            } => {
                let read_only = if *is_read_only { "on" } else { "off" };
                let drive = format!(
                    "if=none,id=disk{number},format=raw,readonly={read_only},file={}",
                    value(image)
                );
                self.add("-drive", drive);
                self.add(
                    "-device",
                    format!("nvme,id=nvme{number},serial=nvme{number}"),
                );
                let namespace = format!(
                    "nvme-ns,id=namespace{number},drive=disk{number},bus=nvme{number},nsid={namespace}"
                );
                self.add("-device", namespace);
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

/// The options of QEMU's user network for a closed one.
fn inside(closed: &ClosedNetwork) -> String {
    let (network, prefix) = closed.network;
    let mut options = format!(
        ",net={network}/{prefix},host={},dns={},dhcpstart={}",
        closed.gateway, closed.resolver, closed.guest
    );
    for reachable in &closed.reachable {
        let (ip, port) = (reachable.address.ip(), reachable.address.port());
        let command = escape(&reachable.command);
        options.push_str(&format!(",guestfwd=tcp:{ip}:{port}-cmd:{command}"));
    }
    options
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
    use crate::machine::{DirectKernel, Reachable};

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
            address: [127, 0, 0, 2].into(),
            host: 17936,
        }];
        let line = command_line(&machine);
        assert!(line.contains("-netdev user,id=n0,restrict=on,hostfwd=tcp:127.0.0.2:17936-:7936 "));
        assert_eq!(line.matches("-netdev").count(), 1);
    }

    #[test]
    fn closed_network_stays_closed_and_has_a_wire_to_the_guest() {
        let mut machine = machine("/i/node.vhd");
        machine.network = Some(ClosedNetwork {
            network: ([168, 0, 0, 0].into(), 7),
            gateway: [168, 0, 0, 2].into(),
            resolver: [168, 0, 0, 3].into(),
            guest: [168, 0, 0, 15].into(),
            reachable: vec![Reachable {
                address: "168.63.129.16:80".parse().unwrap(),
                command: "bash '/a,b/relay' 8080".to_owned(),
            }],
            guest_end: "/run/t/guest".into(),
            network_end: "/run/t/network".into(),
        });
        let line = command_line(&machine);
        assert!(line.contains("-netdev user,id=n0,restrict=on,net=168.0.0.0/7,host=168.0.0.2,"));
        assert!(line.contains(",dns=168.0.0.3,dhcpstart=168.0.0.15,guestfwd="));
        assert!(line.contains(",guestfwd=tcp:168.63.129.16:80-cmd:bash '/a,,b/relay' 8080 "));
        assert!(line.contains("virtio-net-pci,netdev=guest,"));
    }

    #[test]
    fn machine_without_tpm_has_none() {
        let mut machine = machine("/i/node.vhd");
        assert!(command_line(&machine).contains("tpm-crb"));
        machine.has_tpm = false;
        assert!(!command_line(&machine).contains("tpm"));
    }

    #[test]
    fn clock_is_the_hosts_unless_it_is_set() {
        let mut machine = machine("/i/node.vhd");
        assert!(!command_line(&machine).contains("-rtc"));
        machine.clock = Some("1999-12-31T23:59:00".to_owned());
        assert!(command_line(&machine).contains("-rtc base=1999-12-31T23:59:00 "));
    }

    #[test]
    fn identity_is_in_the_tables() {
        let mut machine = machine("/i/node.vhd");
        assert!(!command_line(&machine).contains("-smbios"));
        machine.identity = Some(Identity {
            manufacturer: "A, Inc.".to_owned(),
            product: "P".to_owned(),
            version: "V".to_owned(),
            asset_tag: "77".to_owned(),
            uuid: "d270e56b-f668-4990-a5bc-9b624576841d".to_owned(),
        });
        let line = command_line(&machine);
        assert!(line.contains("-smbios type=3,manufacturer=A,, Inc.,version=V,asset=77"));
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
            Device::ScsiController("data".to_owned()),
            Device::Nvme {
                image: "/n.raw".into(),
                namespace: 12,
                is_read_only: true,
            },
        ];
        let line = command_line(&machine);
        assert!(line.contains("scsi-hd,drive=disk0,bus=scsi.0,scsi-id=1"));
        assert!(line.contains("virtconsole,bus=serial1.0,chardev=char1"));
        assert!(line.contains("virtserialport,bus=serial2.0,chardev=char2,name=org.x"));
        assert!(line.contains("-serial chardev:char3"));
        assert!(line.contains("virtio-scsi-pci,id=data"));
        assert!(line.contains("nvme-ns,id=namespace5,drive=disk5,bus=nvme5,nsid=12"));
    }
}
