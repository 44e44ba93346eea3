//! Makes UKIs of recipes with `ukify`, and says what their sections must hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use object::LittleEndian as LE;
use object::read::pe::PeFile64;

use crate::recipe::{self, Kernel, Profile, Recipe, Signed};
use crate::tools::Folder;

const BOOT_FOLDER: &str = "/usr/lib/systemd/boot/efi";
const UKIFY: &str = "/usr/bin/ukify";
const CERTIFICATE: &str = "certificate.pem";

/// Runs ukify for each list of arguments in its input: to start it takes longer than what it does.
const UKIFY_EACH: &str = "
import json, runpy, sys
for arguments in json.load(sys.stdin):
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name='__main__')
";

/// A UKI that was made.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) recipe: Recipe,
    pub(crate) bytes: Vec<u8>,
}

/// What is made once for all tests.
#[derive(Debug)]
pub(crate) struct Ukis {
    pub(crate) all: Vec<Built>,
    /// Who signed.
    pub(crate) certificate: Vec<u8>,
}

static UKIS: LazyLock<Option<Ukis>> = LazyLock::new(|| {
    let programs = [UKIFY, "openssl", "python3", "sbsign", "sbverify"];
    testkit::needed::programs(&programs).then(build_all)
});

/// The UKIs of this run; `None`, after saying so, if there is no ukify.
pub(crate) fn all() -> Option<&'static Ukis> {
    UKIS.as_ref()
}

/// The kernel before it is signed.
fn kernel(kernel: Kernel) -> Vec<u8> {
    let read = |name: &str| std::fs::read(Path::new(BOOT_FOLDER).join(name)).unwrap();
    match kernel {
        Kernel::Large(behind) => [read("systemd-bootx64.efi"), behind.bytes()].concat(),
        Kernel::Small => {
            let mut kernel = read("addonx64.efi.stub");
            // MajorImageVersion: the stub starts what says 0 in another way.
            let pe = u32::from_le_bytes(kernel[0x3c..0x40].try_into().unwrap()) as usize;
            kernel[pe + 24 + 44] = 1;
            kernel
        }
    }
}

impl Recipe {
    /// What is put into the sections before the first profile. Of `.sbat` and `.hwids` only ukify
    /// knows what it makes of its input.
    pub(crate) fn contents(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        let initrds = self.initrds.iter().map(|blob| blob.bytes());
        let initrd = match self.initrds.len() {
            0 => None,
            1 => Some(initrds.flatten().collect()),
            _ => Some(initrds.flat_map(padded).collect()),
        };
        let sections = [
            (
                ".linux",
                (self.signed != Signed::UkiAndKernel).then(|| kernel(self.kernel)),
            ),
            (".cmdline", self.command_line.clone()),
            (".osrel", text(&self.os_release)),
            (".initrd", initrd),
            (".ucode", self.microcode.map(|blob| blob.bytes())),
            (".splash", self.splash.map(|blob| blob.bytes())),
            (".dtb", self.device_tree.map(|blob| blob.bytes())),
            (".pcrpkey", self.key.map(|blob| blob.bytes())),
            (".uname", text(&self.uname)),
        ];
        let sections = sections.into_iter();
        sections
            .filter_map(|(name, contents)| Some((name, contents?)))
            .collect()
    }

    /// ukify's arguments that name this file for each section, which it writes.
    fn arguments(&self, folder: &Folder, number: usize) -> Vec<String> {
        let mut arguments = vec![UKIFY.to_owned(), "build".to_owned()];
        let mut add = |option: &str, value: String| arguments.push(format!("--{option}={value}"));
        let write = |name: &str, contents: Vec<u8>| {
            let path = folder.write(&format!("{number}.{name}"), contents);
            path.to_str().unwrap().to_owned()
        };
        add("output", format!("{number}.efi"));
        add("linux", write("linux", kernel(self.kernel)));
        for (name, option) in [
            (".cmdline", "cmdline=@"),
            (".osrel", "os-release=@"),
            (".ucode", "microcode="),
            (".splash", "splash="),
            (".dtb", "devicetree="),
            (".pcrpkey", "pcrpkey="),
        ] {
            if let Some(contents) = self.contents().remove(name) {
                let (option, at) = option.split_once('=').unwrap();
                add(option, format!("{at}{}", write(option, contents)));
            }
        }
        if self.os_release.is_none() {
            // Else it takes that of the system.
            add("os-release", String::new());
        }
        // Given too where there is none: else it looks for one in the kernel.
        add("uname", self.uname.clone().unwrap_or_default());
        for (at, initrd) in self.initrds.iter().enumerate() {
            add("initrd", write(&format!("initrd{at}"), initrd.bytes()));
        }
        if let Some(sbat) = &self.sbat {
            add("sbat", sbat.clone());
        }
        if self.has_hardware_ids {
            add("hwids", write_hardware_ids(folder));
        }
        for (at, profile) in self.profiles.iter().enumerate() {
            match at {
                0 => add("profile", profile.text.clone()),
                _ => add("join-profile", format!("{number}.profile{at}.efi")),
            }
        }
        if self.signed != Signed::No {
            add("signtool", "sbsign".to_owned());
            add("secureboot-private-key", "key.pem".to_owned());
            add("secureboot-certificate", CERTIFICATE.to_owned());
            arguments.push(match self.signed {
                Signed::UkiAndKernel => "--sign-kernel".to_owned(),
                Signed::Uki | Signed::No => "--no-sign-kernel".to_owned(),
            });
        }
        arguments
    }
}

impl Profile {
    fn arguments(&self, folder: &Folder, output: &str) -> Vec<String> {
        let mut arguments = vec![UKIFY.to_owned(), "build".to_owned()];
        arguments.push(format!("--output={output}.efi"));
        arguments.push(format!("--profile={}", self.text));
        if let Some(text) = &self.command_line {
            arguments.push(format!("--cmdline={text}"));
        }
        if let Some(initrd) = &self.initrd {
            let path = folder.write(&format!("{output}.initrd"), initrd.bytes());
            arguments.push(format!("--initrd={}", path.display()));
        }
        arguments
    }
}

/// Padded to four bytes, so that an initrd can follow.
fn padded(mut initrd: Vec<u8>) -> Vec<u8> {
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd
}

fn write_hardware_ids(folder: &Folder) -> String {
    let path = folder.path("hwids");
    std::fs::create_dir_all(&path).unwrap();
    let device = r#"{"name": "Board", "compatible": "maker,board",
        "hwids": ["5dc05bf4-01f6-5089-b464-a08c47ea9295"]}"#;
    folder.write("hwids/board.json", device);
    path.to_str().unwrap().to_owned()
}

fn build_all() -> Ukis {
    let folder = Folder::new();
    let name = [
        "-subj",
        "/CN=test",
        "-keyout",
        "key.pem",
        "-out",
        CERTIFICATE,
    ];
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-batch"];
    folder.run("openssl", request.iter().chain(&name));
    let recipes = recipe::all();
    let mut runs = Vec::new();
    for (number, recipe) in recipes.iter().enumerate() {
        for (at, profile) in recipe.profiles.iter().enumerate().skip(1) {
            runs.push(profile.arguments(&folder, &format!("{number}.profile{at}")));
        }
        runs.push(recipe.arguments(&folder, number));
    }
    let runs = serde_json::to_string(&runs).unwrap();
    folder.run_with_input("python3", ["-c", UKIFY_EACH], &runs);
    let certificate = folder.read(CERTIFICATE);
    let built = recipes.into_iter().enumerate().map(|(number, recipe)| {
        let mut bytes = folder.read(&format!("{number}.efi"));
        if let Some((name, part)) = recipe.stretched {
            stretch(&mut bytes, name, part);
        }
        Built { recipe, bytes }
    });
    Ukis {
        all: built.collect(),
        certificate,
    }
}

/// Makes a section larger in memory than in the file: up to where the next one begins there.
fn stretch(uki: &mut [u8], name: &str, part: u8) {
    let pe = u32::from_le_bytes(uki[0x3c..0x40].try_into().unwrap()) as usize;
    let optional_size = u16::from_le_bytes([uki[pe + 20], uki[pe + 21]]);
    let table = pe + 24 + usize::from(optional_size);
    let mut label = [0; 8];
    label[..name.len()].copy_from_slice(name.as_bytes());
    let mut headers = uki[table..].chunks_exact_mut(40);
    let field = &mut headers.find(|h| h[..8] == label).unwrap()[8..12];
    let size = u32::from_le_bytes((&*field).try_into().unwrap());
    let room = size.next_multiple_of(4096) - size;
    // A kernel is to stay aligned, as in `recipe::kernel`.
    let larger = (size + room * u32::from(part) / 255) / 8 * 8;
    field.copy_from_slice(&larger.max(size).to_le_bytes());
}

/// A section as another parser sees it, with the zeros that a loader puts behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn sections(uki: &[u8]) -> Vec<Loaded> {
    let parsed = PeFile64::parse(uki).unwrap();
    let table = parsed.section_table();
    let loaded = table.iter().map(|section| {
        let name = section.name.split(|byte| *byte == 0).next().unwrap();
        let size = section.virtual_size.get(LE) as usize;
        let start = section.pointer_to_raw_data.get(LE) as usize;
        let stored = size.min(section.size_of_raw_data.get(LE) as usize);
        let mut bytes = uki[start..start + stored].to_vec();
        bytes.resize(size, 0);
        Loaded {
            name: String::from_utf8_lossy(name).into_owned(),
            bytes,
        }
    });
    loaded.collect()
}
