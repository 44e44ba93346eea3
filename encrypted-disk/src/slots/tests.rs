use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::inspect::{Inspection, look};
use crate::key::Key;
use crate::layout::DATA_OFFSET;
use crate::plan::{Plan, plan};
use crate::steps::{Sealed, Step, begin_format, change, end_format, replace, wipe};

const SIZE: usize = 20 << 20;
const DISK: Identity = Identity {
    bytes: 1 << 30,
    digest: [9; 32],
};

fn key() -> Key {
    Key::parse("00112233445566778899aabbccddeeff").unwrap()
}

fn other_key() -> Key {
    Key::parse("ffeeddccbbaa99887766554433221100").unwrap()
}

/// Something that has the length of a header, and its magics.
fn header(fill: u8) -> Vec<u8> {
    let mut header = vec![fill; HEADER_BYTES];
    header[..6].copy_from_slice(b"LUKS\xba\xbe");
    header
}

fn record(state: State, sequence: u64, header: &[u8], key: &Key) -> Record {
    Record {
        state,
        sequence,
        disk_bytes: DISK.bytes,
        key: key.id(),
        identity: DISK.digest,
        header: sha256(header),
    }
}

fn findings(disk: &[u8], key: &Key) -> [Finding; 2] {
    let contents = read(&mut Cursor::new(disk));
    contents
        .each_ref()
        .map(|content| judge(content.as_ref(), key.into()))
}

fn decide_for(disk: &[u8], key: &Key) -> Result<Decision, OpenRefusal> {
    decide(&findings(disk, key), key.into(), DISK)
}

fn plan_for(disk: &[u8]) -> Plan {
    let seen = look(&mut Cursor::new(disk), disk.len() as u64);
    plan(&Inspection {
        bytes: DISK.bytes,
        ..seen
    })
}

/// All of it, without a power cut.
fn apply(disk: &mut [u8], steps: &[Step<'_>]) {
    crate::steps::apply(&mut Cursor::new(disk), steps).unwrap();
}

/// A disk after `steps`, cut at `cut` of all sectors. Of those that were not flushed, each is there or not
/// as the bits of `there` say, over and over.
fn cut(disk: &[u8], steps: &[Step<'_>], cut: usize, there: u64) -> Vec<u8> {
    let mut disk = disk.to_vec();
    let mut unflushed: Vec<(usize, &[u8])> = Vec::new();
    let mut left = cut;
    for (number, step) in steps.iter().enumerate() {
        match step {
            // All of it, and flushed: nothing to choose.
            Step::Write { offset, bytes }
                if left > bytes.len() / SECTOR && steps.get(number + 1) == Some(&Step::Flush) =>
            {
                left -= bytes.len() / SECTOR;
                disk[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            Step::Flush => {
                let durable = unflushed.drain(..);
                durable.for_each(|(at, sector)| disk[at..][..SECTOR].copy_from_slice(sector));
            }
            Step::Write { offset, bytes } => {
                for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    unflushed.push((*offset as usize + index * SECTOR, sector));
                }
            }
        }
        if left == 0 {
            break;
        }
    }
    for (index, (at, sector)) in unflushed.into_iter().enumerate() {
        if there >> (index % 64) & 1 == 1 {
            disk[at..][..SECTOR].copy_from_slice(sector);
        }
    }
    disk
}

fn sectors(steps: &[Step<'_>]) -> usize {
    let count = |step: &Step<'_>| match step {
        Step::Write { bytes, .. } => bytes.len() / SECTOR,
        Step::Flush => 0,
    };
    steps.iter().map(count).sum()
}

/// Every place where a step ends, one before, one after, and some between.
fn cuts(steps: &[Step<'_>]) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut at = 0;
    for step in steps {
        let length = sectors(std::slice::from_ref(step));
        cuts.extend([
            at + 1,
            at + length / 3,
            (at + length).saturating_sub(1),
            at + length,
        ]);
        at += length;
    }
    cuts.retain(|cut| *cut <= at);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// None of the unflushed sectors, all of them, every other one.
const THERE: [u64; 4] = [0, u64::MAX, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa];

/// The steps of a first format.
struct Format {
    header: Vec<u8>,
    formatting: [u8; SECTOR],
    ready: [u8; SECTOR],
}

impl Format {
    fn new(fill: u8, sequence: u64) -> Self {
        let header = header(fill);
        let record = |state, sequence| record(state, sequence, &header, &key()).to_bytes(&key());
        Self {
            formatting: record(State::Formatting, sequence),
            ready: record(State::Ready, sequence + 1),
            header,
        }
    }

    fn begin(&self) -> Vec<Step<'_>> {
        begin_format(Sealed {
            header: &self.header,
            record: &self.formatting,
        })
    }

    fn end(&self) -> Vec<Step<'_>> {
        end_format(&self.ready)
    }
}

fn formatted() -> (Vec<u8>, Format) {
    let mut disk = vec![0; SIZE];
    let format = Format::new(1, 1);
    apply(&mut disk, &format.begin());
    apply(&mut disk, &format.end());
    (disk, format)
}

/// A first boot that was cut before the file system was made goes on at the next one, whatever was
/// written: the disk is blank, or being formatted.
fn assert_goes_on(disk: &[u8], what: &str) {
    match plan_for(disk) {
        Plan::Format => assert!(disk.iter().all(|byte| *byte == 0), "{what}"),
        Plan::Open => {
            let decision = decide_for(disk, &key());
            assert!(
                matches!(decision, Ok(Decision::FormatAgain { .. })),
                "{what}: {decision:?}"
            );
        }
        Plan::Refuse(refusal) => panic!("{what}: {refusal}"),
    }
}

#[test]
fn first_format_that_is_cut_anywhere_goes_on() {
    let format = Format::new(1, 1);
    let blank = vec![0; SIZE];
    for at in cuts(&format.begin()) {
        for there in THERE {
            let disk = cut(&blank, &format.begin(), at, there);
            assert_goes_on(&disk, &format!("{at} {there:x}"));
        }
    }
}

#[test]
fn second_try_that_is_cut_anywhere_goes_on() {
    let first = Format::new(1, 1);
    let second = Format::new(2, 2);
    let blank = vec![0; SIZE];
    for at in cuts(&first.begin()) {
        let begun = cut(&blank, &first.begin(), at, THERE[2]);
        if plan_for(&begun) == Plan::Format {
            continue;
        }
        for again in cuts(&second.begin()) {
            let disk = cut(&begun, &second.begin(), again, THERE[3]);
            assert_goes_on(&disk, &format!("{at} {again}"));
        }
    }
}

#[test]
fn disk_is_ready_as_soon_as_a_record_says_so_and_never_formatted_again() {
    let format = Format::new(1, 1);
    let mut begun = vec![0; SIZE];
    apply(&mut begun, &format.begin());
    let mut ready = begun.clone();
    apply(&mut ready, &format.end());
    for at in 0..=sectors(&format.end()) {
        for there in THERE {
            let disk = cut(&begun, &format.end(), at, there);
            assert_eq!(plan_for(&disk), Plan::Open);
            match decide_for(&disk, &key()).unwrap() {
                Decision::FormatAgain { .. } => assert_eq!(disk, begun),
                Decision::Open { repair, .. } => assert_eq!(repair, disk != ready),
            }
        }
    }
}

#[test]
fn key_change_that_is_cut_anywhere_leaves_a_disk_that_opens() {
    let (disk, _) = formatted();
    let new = header(2);
    let sealed = record(State::Ready, 3, &new, &other_key()).to_bytes(&other_key());
    let sealed = Sealed {
        header: &new,
        record: &sealed,
    };
    for used in Slot::ALL {
        let steps = change(used, sealed);
        for at in cuts(&steps) {
            for there in THERE {
                let cut = cut(&disk, &steps, at, there);
                assert_eq!(plan_for(&cut), Plan::Open);
                let opens = |key: &Key, sequence: u64| match decide_for(&cut, key) {
                    Ok(Decision::Open { record, .. }) => {
                        assert_eq!(record.sequence, sequence);
                        true
                    }
                    Ok(again) => panic!("{again:?}"),
                    Err(_) => false,
                };
                let (with_old, with_new) = (opens(&key(), 2), opens(&other_key(), 3));
                assert!(with_old || with_new, "{used} {at} {there:x}");
            }
        }
        let mut changed = disk.clone();
        apply(&mut changed, &steps);
        assert!(matches!(
            decide_for(&changed, &key()),
            Err(OpenRefusal::WrongKey { .. })
        ));
        let decision = decide_for(&changed, &other_key()).unwrap();
        assert!(matches!(decision, Decision::Open { repair: false, .. }));
    }
}

#[test]
fn damaged_slot_is_repaired_from_the_other_one_and_cuts_do_not_matter() {
    let (disk, format) = formatted();
    let sealed = Sealed {
        header: &format.header,
        record: &format.ready,
    };
    for bad in Slot::ALL {
        for at in [
            bad.header(),
            bad.header() + (4 << 20) - 1,
            bad.record(),
            bad.record() + 500,
        ] {
            let mut damaged = disk.clone();
            damaged[at as usize] ^= 0x40;
            let decision = decide_for(&damaged, &key()).unwrap();
            let Decision::Open { slot, repair, .. } = decision else {
                panic!("{decision:?}")
            };
            assert_eq!((slot, repair), (bad.other(), true), "{bad} {at}");
            let steps = replace(bad, sealed);
            for at in cuts(&steps) {
                let cut = cut(&damaged, &steps, at, THERE[2]);
                assert!(matches!(
                    decide_for(&cut, &key()),
                    Ok(Decision::Open { .. })
                ));
            }
            apply(&mut damaged, &steps);
            assert!(damaged == disk);
        }
    }
}

/// A disk with a sector that cannot be read.
struct Faulty<'a> {
    disk: Cursor<&'a [u8]>,
    bad: u64,
}

impl Read for Faulty<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (from, to) = (
            self.disk.position(),
            self.disk.position() + buffer.len() as u64,
        );
        if from < self.bad + SECTOR as u64 && self.bad < to {
            return Err(io::ErrorKind::Other.into());
        }
        self.disk.read(buffer)
    }
}

impl Seek for Faulty<'_> {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.disk.seek(position)
    }
}

#[test]
fn one_unreadable_sector_is_one_damaged_slot() {
    let (disk, format) = formatted();
    let mut half = vec![0; SIZE];
    apply(&mut half, &format.begin());
    for bad in Slot::ALL {
        for at in [
            bad.header(),
            bad.header() + 0x4000,
            bad.header() + (2 << 20),
            bad.record(),
        ] {
            let faulty = |disk| Faulty {
                disk: Cursor::new(disk),
                bad: at,
            };
            let seen = look(&mut faulty(&disk), DISK.bytes);
            let seen = Inspection {
                bytes: DISK.bytes,
                ..seen
            };
            assert_eq!(plan(&seen), Plan::Open, "{at}");
            let decide = |disk, key: &Key| {
                let contents = read(&mut faulty(disk));
                let findings = contents.each_ref().map(|it| judge(it.as_ref(), key.into()));
                decide(&findings, key.into(), DISK)
            };
            let decision = decide(&disk, &key()).unwrap();
            let Decision::Open { slot, repair, .. } = decision else {
                panic!("{decision:?}")
            };
            assert_eq!((slot, repair), (bad.other(), true), "{at}");
            let error = decide(&disk, &other_key()).unwrap_err();
            assert!(matches!(error, OpenRefusal::WrongKey { .. }), "{error}");
            // What cannot be read may be a record that says that there are data.
            let error = decide(&half, &key()).unwrap_err();
            assert_eq!(error, OpenRefusal::Unreadable { slot: bad });
            assert!(!error.is_about_content());
        }
    }
    // A blank disk with such a sector is nobody's.
    let blank = vec![0; SIZE];
    let mut faulty = Faulty {
        disk: Cursor::new(&blank),
        bad: Slot::B.record(),
    };
    let seen = look(&mut faulty, DISK.bytes);
    assert_eq!(seen.unreadable, Some(Slot::B.record()));
    assert!(matches!(
        plan(&Inspection {
            bytes: DISK.bytes,
            ..seen
        }),
        Plan::Refuse(crate::Refusal::Unreadable { .. })
    ));
}

#[test]
fn emptied_or_swapped_header_is_refused() {
    let (disk, _) = formatted();
    let mut swapped = disk.clone();
    for slot in Slot::ALL {
        swapped[slot.header() as usize..][..HEADER_BYTES].copy_from_slice(&header(3));
    }
    assert_eq!(
        decide_for(&swapped, &key()),
        Err(OpenRefusal::HeaderChanged)
    );
    let mut emptied = disk.clone();
    for slot in Slot::ALL {
        emptied[slot.header() as usize..][..HEADER_BYTES].fill(0);
    }
    assert_eq!(plan_for(&emptied), Plan::Open);
    assert_eq!(
        decide_for(&emptied, &key()),
        Err(OpenRefusal::HeaderChanged)
    );
    // All that is ours but the data: neither blank nor opened.
    emptied[Slot::A.record() as usize..][..SECTOR].fill(0);
    emptied[Slot::B.record() as usize..][..SECTOR].fill(0);
    emptied[DATA_OFFSET as usize + 5] = 1;
    assert!(matches!(plan_for(&emptied), Plan::Refuse(_)));
}

#[test]
fn each_reason_is_said() {
    let (disk, format) = formatted();
    let error = decide_for(&disk, &other_key()).unwrap_err();
    let (disk_key, ours) = (key().id(), other_key().id());
    assert_eq!(
        error,
        OpenRefusal::WrongKey {
            disk: disk_key,
            ours
        }
    );
    // Also where the first record that is met is damaged: the key is what can be mended.
    let mut bad = disk.clone();
    bad[(Slot::A.record() + 8) as usize] = 2;
    let error = decide_for(&bad, &other_key()).unwrap_err();
    assert!(matches!(error, OpenRefusal::WrongKey { .. }), "{error}");
    let both = |at: u64, value: u8| {
        let mut bad = disk.clone();
        for slot in Slot::ALL {
            bad[(slot.record() + at) as usize] = value;
        }
        decide_for(&bad, &key()).unwrap_err()
    };
    assert_eq!(
        both(490, format.ready[490] ^ 1),
        OpenRefusal::Forged { slot: Slot::A }
    );
    let error = both(8, 2);
    assert!(
        matches!(error, OpenRefusal::Record { slot: Slot::A, .. }),
        "{error}"
    );
}

#[test]
fn half_formatted_disk_is_formatted_again_only_where_that_began() {
    let format = Format::new(1, 1);
    let mut disk = vec![0; SIZE];
    apply(&mut disk, &format.begin());
    let decide = |disk: &[u8], is: Identity| decide(&findings(disk, &key()), (&key()).into(), is);
    let again = Ok(Decision::FormatAgain { sequence: 1 });
    assert_eq!(decide(&disk, DISK), again);
    let digest = [1; 32];
    assert_eq!(
        decide(&disk, Identity { digest, ..DISK }),
        Err(OpenRefusal::OtherDisk)
    );
    let bytes = DISK.bytes + 1;
    assert_eq!(
        decide(&disk, Identity { bytes, ..DISK }),
        Err(OpenRefusal::OtherDisk)
    );
    // Nor beside the record of a disk under another key.
    let foreign = record(State::Ready, 1, &format.header, &other_key()).to_bytes(&other_key());
    disk[Slot::B.record() as usize..][..SECTOR].copy_from_slice(&foreign);
    assert!(matches!(
        decide(&disk, DISK),
        Err(OpenRefusal::WrongKey { .. })
    ));
    // Nor if it has been ready, by any record that the key proves.
    let (mut ready, _) = formatted();
    let newer = Format::new(1, 7);
    ready[Slot::A.record() as usize..][..SECTOR].copy_from_slice(&newer.formatting);
    assert!(matches!(
        decide(&ready, DISK),
        Ok(Decision::Open { slot: Slot::B, .. })
    ));
    ready[Slot::B.header() as usize] ^= 1;
    assert_eq!(decide(&ready, DISK), Err(OpenRefusal::HeaderChanged));
}

#[test]
fn wiping_that_is_cut_is_refused_or_blank_at_the_ends() {
    let zeros = vec![0; 1 << 20];
    let foreign = vec![7; 40 << 20];
    let steps = wipe(40 << 20, &zeros);
    // One step after another, nothing flushed: some of them will do.
    for at in cuts(&steps).into_iter().step_by(13) {
        for there in THERE {
            let disk = cut(&foreign, &steps, at, there);
            assert_ne!(plan_for(&disk), Plan::Format);
        }
    }
    let mut disk = foreign;
    apply(&mut disk, &steps);
    assert!(
        disk[..16 << 20]
            .iter()
            .chain(&disk[24 << 20..])
            .all(|byte| *byte == 0)
    );
    assert!(disk[16 << 20..24 << 20].iter().all(|byte| *byte == 7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn first_format_cut_at_random_goes_on(at in 0..16386_usize, there in any::<u64>()) {
        let format = Format::new(1, 1);
        let disk = cut(&vec![0; SIZE], &format.begin(), at, there);
        assert_goes_on(&disk, "random");
    }

    #[test]
    fn no_record_but_one_under_the_key_formats_again(
        state in 0..3_u8,
        bytes in proptest::collection::vec(any::<u8>(), SECTOR),
        under_other_key in any::<bool>(),
    ) {
        let mut disk = vec![0; SIZE];
        let at = Slot::A.record() as usize;
        let sector: [u8; SECTOR] = if under_other_key {
            record(State::Formatting, 1, &[], &other_key()).to_bytes(&other_key())
        } else {
            let mut sector: [u8; SECTOR] = bytes.try_into().unwrap();
            let good = record(State::Formatting, 1, &[], &key()).to_bytes(&key());
            let keep = usize::from(state) * 200;
            sector[..keep].copy_from_slice(&good[..keep]);
            sector
        };
        disk[at..][..SECTOR].copy_from_slice(&sector);
        prop_assert!(decide_for(&disk, &key()).is_err());
    }
}
