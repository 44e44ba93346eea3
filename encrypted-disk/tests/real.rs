//! The same with the real programs, on images: all but what takes the kernel's device mapper.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use encrypted_disk::luks::{Header, KeyDerivation};
use encrypted_disk::{
    Call, Disk, DiskError, Keys, OpenRefusal, Output, Plan, Refusal, Run, RunError, Selector,
    System, Tools, inspect, plan,
};
use support::{Machine, key, other_key};
use testkit::needed;

const PROGRAMS: [&str; 5] = ["cryptsetup", "mkfs.ext4", "e2fsck", "blkid", "wipefs"];

/// Runs real programs. What would map the data tries the header and the key, and the file system
/// has an image of its own.
struct Real<'a> {
    machine: &'a Machine,
    calls: Vec<String>,
}

impl Run for Real<'_> {
    fn run(&mut self, call: &Call<'_>) -> Result<Output, RunError> {
        self.calls.push(call.to_string());
        let mut call = call.clone();
        for argument in &mut call.arguments {
            if argument == "/dev/mapper/data" {
                *argument = self.file_system().into();
            }
        }
        let done = |code: i32| Output {
            code,
            stdout: String::new(),
            stderr: String::new(),
        };
        let is_action = |action: &str| call.arguments.iter().any(|argument| argument == action);
        match call.program {
            "mount" => self.machine.mount(),
            "dmsetup" => self.machine.unmap(),
            "resize2fs" => {}
            "cryptsetup" if is_action("open") && !is_action("--test-passphrase") => {
                call.arguments.pop();
                let output = System::default().run(&call.and("--test-passphrase"))?;
                if output.code == 0 {
                    self.machine.map();
                }
                return Ok(output);
            }
            _ => return System::default().run(&call),
        }
        Ok(done(0))
    }
}

impl Real<'_> {
    fn file_system(&self) -> PathBuf {
        let path = self.machine.path("file-system");
        if !path.exists() {
            std::fs::File::create(&path)
                .unwrap()
                .set_len(64 << 20)
                .unwrap();
        }
        path
    }
}

fn find(machine: &Machine) -> Disk {
    Disk::find(&Selector::AzureLun(10), "data", &machine.sysfs()).unwrap()
}

fn with_tools<T>(
    machine: &Machine,
    act: impl FnOnce(&mut Tools<'_>, &Disk) -> Result<T, DiskError>,
) -> Result<T, DiskError> {
    let mut tools = Tools {
        settings: &machine.settings(),
        sysfs: &machine.sysfs(),
        run: &mut Real {
            machine,
            calls: Vec::new(),
        },
        progress: &mut |_| {},
    };
    act(&mut tools, &find(machine))
}

/// Runs a program with a file in the machine; what it says.
fn program(machine: &Machine, program: &'static str, arguments: &[&str], input: &[u8]) -> Output {
    let arguments = arguments
        .iter()
        .map(|argument| match argument.strip_prefix('@') {
            Some(file) => machine.path(file).to_str().unwrap().to_owned(),
            None => (*argument).to_owned(),
        });
    let call = Call::new(program, arguments).with_input(input);
    let call = call.within(Duration::from_secs(300));
    let output = System::default().run(&call).unwrap();
    assert_eq!(output.code, 0, "{call}: {}", output.stderr);
    output
}

/// The header of a disk that we have formatted, as a file.
fn header(machine: &Machine) -> Vec<u8> {
    with_tools(machine, |tools, disk| tools.prepare(disk, &key(), None)).unwrap();
    let header = machine.image()[..4 << 20].to_vec();
    std::fs::write(machine.path("header"), &header).unwrap();
    header
}

fn parse(path: &Path) -> Result<Header, String> {
    let mut header = std::fs::read(path).unwrap();
    header.truncate(4 << 20);
    Header::parse(&header, KeyDerivation::Pbkdf2).map_err(|error| error.to_string())
}

#[test]
fn disk_is_formatted_opened_and_given_another_key() {
    if !needed::programs(&PROGRAMS) {
        return;
    }
    let machine = Machine::azure();
    assert_eq!(
        plan(&inspect(&find(&machine), &mut System::default()).unwrap()),
        Plan::Format
    );
    let prepare = |key: encrypted_disk::Key| {
        machine.reset();
        with_tools(&machine, |tools, disk| tools.prepare(disk, &key, None))
    };
    assert!(prepare(key()).unwrap().is_new);
    let seen = program(&machine, "blkid", &["--probe", "@file-system"], b"").stdout;
    assert!(
        seen.contains("TYPE=\"ext4\"") && seen.contains("LABEL=\"data\""),
        "{seen}"
    );
    machine.reset();
    let seen = inspect(&find(&machine), &mut System::default()).unwrap();
    assert!(
        seen.signatures.iter().any(|s| s.kind == "crypto_LUKS"),
        "{seen:?}"
    );
    assert_eq!(plan(&seen), Plan::Open);
    assert!(!prepare(key()).unwrap().is_new);
    // By hand, from the disk itself: both slots hold what cryptsetup understands.
    let image = machine.image();
    assert!(image[..4 << 20] == image[8 << 20..12 << 20]);
    let by_hand = [
        "open",
        "--test-passphrase",
        "--disable-locks",
        "--key-file=-",
        "@dev/sdb",
    ];
    program(
        &machine,
        "cryptsetup",
        &by_hand,
        b"00112233445566778899aabbccddeeff",
    );
    machine.reset();
    with_tools(&machine, |tools, disk| {
        tools.change_key(disk, &key(), &other_key())
    })
    .unwrap();
    let error = prepare(key()).unwrap_err();
    assert!(
        matches!(error, DiskError::NotOpened(OpenRefusal::WrongKey { .. })),
        "{error:?}"
    );
    assert!(!prepare(other_key()).unwrap().is_new);
    program(
        &machine,
        "cryptsetup",
        &by_hand,
        b"ffeeddccbbaa99887766554433221100",
    );
    // The old key is nowhere: cryptsetup does not take it from either slot.
    let changed = machine.image();
    assert!(changed[..4 << 20] == changed[8 << 20..12 << 20]);
    std::fs::write(machine.path("header"), &changed[8 << 20..12 << 20]).unwrap();
    let call = Call::new(
        "cryptsetup",
        [
            "open",
            "--test-passphrase",
            "--disable-locks",
            "--key-file=-",
        ],
    );
    let call = call
        .and(machine.path("header"))
        .with_input(b"00112233445566778899aabbccddeeff");
    assert_eq!(System::default().run(&call).unwrap().code, 2);
    // And back, by a start that has both.
    machine.reset();
    with_tools(&machine, |tools, disk| {
        let (present, previous) = (&support::key(), Some(&other_key()));
        tools.prepare(disk, Keys { present, previous }, None)
    })
    .unwrap();
    assert!(!prepare(support::key()).unwrap().is_new);
    let error = prepare(other_key()).unwrap_err();
    assert!(
        matches!(error, DiskError::NotOpened(OpenRefusal::WrongKey { .. })),
        "{error:?}"
    );
}

#[test]
fn damaged_keyslot_area_is_mended_from_the_other_slot() {
    if !needed::programs(&PROGRAMS) {
        return;
    }
    let machine = Machine::azure();
    let good = header(&machine);
    machine.reset();
    machine.poke(100_000, &[0; 4096]);
    with_tools(&machine, |tools, disk| tools.prepare(disk, &key(), None)).unwrap();
    assert!(machine.image()[..4 << 20] == good);
}

/// cryptsetup makes and accepts each of these headers under the right key; we accept none.
#[test]
fn what_cryptsetup_can_do_to_a_header_is_refused() {
    if !needed::programs(&PROGRAMS) {
        return;
    }
    let key = b"00112233445566778899aabbccddeeff";
    let token = br#"{"type":"mine","keyslots":["0"]}"#;
    let add = "00112233445566778899aabbccddeeff\nffeeddccbbaa99887766554433221100\n";
    let fast = "--pbkdf-force-iterations=1000";
    type Change<'a> = (&'a [&'a str], &'a [u8], &'a str);
    let changes: [Change<'_>; 6] = [
        (
            &["token", "import", "@header"],
            token,
            "1 tokens, expected 0",
        ),
        (
            &["config", "--label=x", "@header"],
            b"",
            "first copy: label is \"x\"",
        ),
        (
            &["config", "--subsystem=x", "@header"],
            b"",
            "first copy: subsystem",
        ),
        (
            &["config", "--priority=prefer", "--key-slot=0", "@header"],
            b"",
            "the metadata: unknown field `priority`",
        ),
        (
            &[
                "luksAddKey",
                "--batch-mode",
                "--pbkdf=pbkdf2",
                fast,
                "@header",
            ],
            add.as_bytes(),
            "2 keyslots",
        ),
        (
            &[
                "luksConvertKey",
                "--batch-mode",
                "--pbkdf=argon2id",
                "--pbkdf-memory=65536",
                "--pbkdf-force-iterations=4",
                "--key-file=-",
                "@header",
            ],
            key,
            "keyslots.kdf.type is argon2id",
        ),
    ];
    let machine = Machine::azure();
    let good = header(&machine);
    assert!(parse(&machine.path("header")).is_ok());
    for (arguments, input, expected) in changes {
        std::fs::write(machine.path("header"), &good).unwrap();
        let arguments = [arguments, &["--disable-locks"]].concat();
        program(&machine, "cryptsetup", &arguments, input);
        let error = parse(&machine.path("header")).unwrap_err();
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn other_formats_of_cryptsetup_are_refused() {
    if !needed::programs(&PROGRAMS) {
        return;
    }
    let machine = Machine::azure();
    let blank = std::fs::File::create(machine.path("disk")).unwrap();
    blank.set_len(160 << 20).unwrap();
    // As ours, but for one option; the last of the two counts.
    let usual = [
        "luksFormat",
        "--batch-mode",
        "--disable-locks",
        "--type=luks2",
        "--key-file=-",
        "--pbkdf=pbkdf2",
        "--pbkdf-force-iterations=1000",
        "--luks2-metadata-size=16k",
        "--offset=32768",
    ];
    // A null cipher is not among them: to make one, cryptsetup wants the device mapper.
    let cases: [(&[&str], &str); 5] = [
        (
            &[
                "--cipher=aes-cbc-essiv:sha256",
                "--key-size=256",
                "--sector-size=4096",
            ],
            "segments.encryption is aes-cbc-essiv:sha256",
        ),
        (
            &["--key-size=512", "--sector-size=512"],
            "segments.sector_size is 512",
        ),
        (
            &["--key-size=256", "--sector-size=4096"],
            "keyslots.key_size is 32",
        ),
        (
            &[
                "--key-size=512",
                "--sector-size=4096",
                "--luks2-metadata-size=64k",
            ],
            "first copy: hdr_size is 65536",
        ),
        (
            &["--key-size=512", "--sector-size=4096", "--offset=65536"],
            "segments.offset is 33554432",
        ),
    ];
    for (options, expected) in cases {
        // The size of the keyslots' areas follows from the header's.
        let header = std::fs::File::create(machine.path("header")).unwrap();
        header.set_len(16 << 20).unwrap();
        let sizes: &[&str] = match options.contains(&"--luks2-metadata-size=64k") {
            true => &[],
            false => &["--luks2-keyslots-size=4161536"],
        };
        let file = format!("--header={}", machine.path("header").display());
        let arguments = [&usual, sizes, options, &[&file, "@disk"]].concat();
        program(
            &machine,
            "cryptsetup",
            &arguments,
            b"00112233445566778899aabbccddeeff",
        );
        let error = parse(&machine.path("header")).unwrap_err();
        assert!(error.starts_with(expected), "{options:?}: {error}");
    }
}

#[test]
fn foreign_disks_are_refused() {
    if !needed::programs(&PROGRAMS) {
        return;
    }
    let luks = [
        "luksFormat",
        "--batch-mode",
        "--disable-locks",
        "--type=luks2",
        "--pbkdf=pbkdf2",
        "--pbkdf-force-iterations=1000",
        "--key-file=-",
        "@dev/sdb",
    ];
    let refuse = |name: &'static str, arguments: &[&str], input: &[u8]| {
        let machine = Machine::azure();
        program(&machine, name, arguments, input);
        let before = machine.image();
        let error = with_tools(&machine, |tools, disk| tools.prepare(disk, &key(), None));
        let Err(DiskError::Refused(refusal)) = error else {
            panic!("{name}: {error:?}")
        };
        assert!(machine.image() == before);
        (machine, refusal)
    };
    let (_, refusal) = refuse("mkfs.ext4", &["-q", "@dev/sdb"], b"");
    assert!(
        matches!(refusal, Refusal::Foreign { ref kind, .. } if kind == "ext4"),
        "{refusal}"
    );
    // Under our very key: it is still not ours.
    let (machine, refusal) = refuse("cryptsetup", &luks, b"00112233445566778899aabbccddeeff");
    assert_eq!(refusal, Refusal::ForeignLuks { offset: 0 });
    // With its first header gone, the second one is still there.
    machine.poke(0, &[0; 16384]);
    let seen = inspect(&find(&machine), &mut System::default()).unwrap();
    assert_eq!(
        plan(&seen),
        Plan::Refuse(Refusal::ForeignLuks { offset: 0x4000 })
    );
}
