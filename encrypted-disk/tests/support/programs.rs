//! Programs that do to a [`Machine`] what the real ones do to a real one, and can be stopped.
//!
//! cryptsetup's part is real where it matters: a header takes the keys that were put into it, and no others.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use encrypted_disk::{Call, Output, Run, RunError};
use ring::digest::{SHA256, digest};

use super::Machine;
use super::header::{JSON, header, seal};

/// Where a keyslot's area begins.
const AREA: usize = 32768;
/// Where a file system tells which one it is.
const FILE_SYSTEM: u64 = 17 << 20;

/// When programs stop, as if the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Instead of doing what they are asked to.
    Before(usize),
    /// When they have done it.
    After(usize),
}

pub(crate) struct Programs<'a> {
    pub(crate) machine: &'a Machine,
    /// As they were called.
    pub(crate) calls: Vec<String>,
    pub(crate) stop: Option<Stop>,
    /// What blkid and wipefs say.
    pub(crate) signature: Option<&'static str>,
    pub(crate) fsck: i32,
    pub(crate) fsck_says: String,
    /// Whether something has the mapping open.
    pub(crate) is_busy: bool,
    /// Whether a header's key cannot be changed.
    pub(crate) keeps_key: bool,
    /// What happens when a call begins.
    pub(crate) meanwhile: Box<dyn Fn(&str) + 'a>,
    /// Counts headers and file systems, so that no two are the same.
    made: u8,
}

impl<'a> Programs<'a> {
    pub(crate) fn of(machine: &'a Machine) -> Self {
        Self {
            machine,
            calls: Vec::new(),
            stop: None,
            signature: None,
            fsck: 0,
            fsck_says: String::new(),
            is_busy: false,
            keeps_key: false,
            meanwhile: Box::new(|_| {}),
            made: 0,
        }
    }

    fn act(&mut self, call: &Call<'_>) -> (i32, String) {
        let arguments: Vec<_> = call.arguments.iter().map(|a| a.to_str().unwrap()).collect();
        let header = arguments.iter().find_map(|a| a.strip_prefix("--header="));
        match (call.program, arguments[0]) {
            ("blkid", _) => match self.signature {
                None => (2, String::new()),
                Some(kind) => (0, format!("DEVNAME=d\nTYPE={kind}\n")),
            },
            ("wipefs", _) => {
                let line = self.signature.map(|kind| format!("0x0,,,{kind}\n"));
                (0, line.unwrap_or_default())
            }
            ("cryptsetup", "luksFormat") => {
                self.made += 1;
                let mut made = self::header(JSON.as_bytes());
                put_key(&mut made, call.input, self.made);
                fs::write(header.unwrap(), made).unwrap();
                (0, String::new())
            }
            ("cryptsetup", "luksChangeKey") if self.keeps_key => (1, String::new()),
            ("cryptsetup", "luksChangeKey") => {
                let path = PathBuf::from(arguments.last().unwrap());
                let lines: Vec<_> = call.input.split(|byte| *byte == b'\n').collect();
                if !takes(&path, lines[0]) {
                    return (2, String::new());
                }
                let mut changed = fs::read(&path).unwrap();
                put_key(&mut changed, lines[1], 77);
                for copy in [0, 16384] {
                    changed[copy + 23] += 1;
                }
                seal(&mut changed);
                fs::write(path, changed).unwrap();
                (0, String::new())
            }
            ("cryptsetup", "open") => {
                if !takes(Path::new(header.unwrap()), call.input) {
                    return (2, "No key available with this passphrase.".to_owned());
                }
                if !arguments.contains(&"--test-passphrase") {
                    assert!(!self.machine.is_mapped());
                    self.machine.map();
                }
                (0, String::new())
            }
            ("cryptsetup", "resize") => {
                let code = if takes(Path::new(header.unwrap()), call.input) {
                    0
                } else {
                    2
                };
                (code, String::new())
            }
            ("dmsetup", "remove") if self.is_busy => (1, "Device or resource busy".to_owned()),
            ("dmsetup", "remove") => {
                assert!(!self.machine.is_mounted());
                self.machine.unmap();
                (0, String::new())
            }
            ("mkfs.ext4", _) => {
                assert!(self.machine.is_mapped() && !self.machine.is_mounted());
                self.made += 1;
                self.machine.poke(FILE_SYSTEM, &[self.made]);
                self.fsck = 0;
                (0, String::new())
            }
            ("e2fsck", _) => {
                assert!(self.machine.is_mapped() && !self.machine.is_mounted());
                (self.fsck, self.fsck_says.clone())
            }
            ("umount", _) => {
                self.machine.unmount();
                (0, String::new())
            }
            ("systemd-mount", _) if arguments.contains(&"--umount") => {
                self.machine.unmount();
                (0, String::new())
            }
            ("mount", _) | ("systemd-mount", _) => {
                assert_ne!(self.file_system(), 0, "nothing to mount");
                self.machine.mount();
                (0, String::new())
            }
            ("resize2fs", _) => (0, String::new()),
            other => panic!("{other:?}"),
        }
    }

    /// Which file system is on the disk; 0 if none is.
    pub(crate) fn file_system(&self) -> u8 {
        let mut byte = [0];
        let image = fs::File::open(self.machine.path("dev/sdb")).unwrap();
        image.read_exact_at(&mut byte, FILE_SYSTEM).unwrap();
        byte[0]
    }
}

impl Run for Programs<'_> {
    fn run(&mut self, call: &Call<'_>) -> Result<Output, RunError> {
        let number = self.calls.len();
        let root = self.machine.root.path().to_str().unwrap();
        let text = call.to_string().replace(root, "");
        self.calls.push(text.clone());
        let stopped = RunError::Killed {
            program: call.program,
            signal: 9,
        };
        if self.stop == Some(Stop::Before(number)) {
            return Err(stopped);
        }
        (self.meanwhile)(&text);
        let (code, stdout) = self.act(call);
        if self.stop == Some(Stop::After(number)) {
            return Err(stopped);
        }
        Ok(Output {
            code,
            stdout,
            stderr: String::new(),
        })
    }
}

fn put_key(header: &mut [u8], key: &[u8], salt: u8) {
    header[AREA..AREA + 32].copy_from_slice(digest(&SHA256, key).as_ref());
    header[AREA + 32..AREA + 258_048].fill(salt);
}

fn takes(header: &Path, key: &[u8]) -> bool {
    let header = fs::read(header).unwrap();
    header[AREA..AREA + 32] == *digest(&SHA256, key).as_ref()
}
