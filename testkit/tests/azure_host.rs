//! The vTPM of a simulated host, as a machine sees it: swtpm without QEMU.

#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use testkit::azure::host::{AzureHost, VtpmFault};
use testkit::azure::vtpm::{HCL_REPORT, USER_DATA, code};
use testkit::needed;
use testkit::tee::Tee;
use testkit::tpm::Tpm;
use testkit::tpm::control::Channel;
use testkit::tpm::wire::{Fields, sized};

const OWNER: u32 = 0x4000_0001;
const TIMEOUT: Duration = Duration::from_secs(30);

fn host(vtpm: VtpmFault) -> AzureHost {
    let tee = Tee::new(7, SystemTime::now());
    AzureHost {
        vtpm,
        ..AzureHost::new("none.vhd".into(), tee)
    }
}

/// What a machine can do with the TPM.
struct Machine {
    channel: Channel,
    _tpm: Tpm,
}

impl Machine {
    fn power_on(host: &AzureHost, directory: &Path) -> Self {
        let tpm = host.start_tpm(directory, &directory.join("state")).unwrap();
        tpm.power_on().unwrap();
        let channel = Channel::connect(tpm.socket(), TIMEOUT).unwrap();
        Self { channel, _tpm: tpm }
    }

    fn send(&self, code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
        let mut body: Vec<u8> = handles
            .iter()
            .flat_map(|handle| handle.to_be_bytes())
            .collect();
        body.extend(9u32.to_be_bytes());
        body.extend(0x4000_0009u32.to_be_bytes()); // an empty password
        body.extend([0; 5]);
        body.extend(parameters);
        let mut command = 0x8002u16.to_be_bytes().to_vec();
        command.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend(body);
        self.channel.transact(&command).unwrap()
    }

    /// The HCL report's JSON, which is all of its text.
    fn report(&self) -> String {
        let mut bytes = Vec::new();
        // The report has more than a thousand bytes and less than two.
        for (offset, length) in [(0u16, 1024u16), (1024, 400)] {
            let parameters = [length.to_be_bytes(), offset.to_be_bytes()].concat();
            let response = self.send(code::NV_READ, &[OWNER, HCL_REPORT], &parameters);
            let mut fields = Fields::of_response(code::NV_READ, &response).unwrap();
            fields.u32().unwrap();
            bytes.extend(fields.sized().unwrap());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The AK that the report names, as far as it has been read.
    fn reported_ak(&self) -> String {
        let report = self.report();
        let (_, rest) = report.split_once("\"n\":\"").unwrap();
        rest.chars().take(60).collect()
    }

    /// Makes the index, which a new machine does not have, and writes to it.
    fn write_user_data(&self, data: &[u8]) {
        let mut public = USER_DATA.to_be_bytes().to_vec();
        public.extend([0, 0x0b, 2, 6, 0, 6, 0, 0, 0, 64]); // SHA-256, for owner and password
        let parameters = [&sized(&[])[..], &sized(&public)].concat();
        let response = self.send(code::NV_DEFINE_SPACE, &[OWNER], &parameters);
        Fields::of_response(code::NV_DEFINE_SPACE, &response).unwrap();
        let parameters = [&sized(data)[..], &[0, 0]].concat();
        let response = self.send(code::NV_WRITE, &[USER_DATA, USER_DATA], &parameters);
        Fields::of_response(code::NV_WRITE, &response).unwrap();
    }
}

#[test]
fn key_stays_with_the_state_directory() {
    if !needed::programs(&["swtpm"]) {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = host(VtpmFault::None);
    let ak = Machine::power_on(&good, one.path()).reported_ak();
    assert_eq!(Machine::power_on(&good, one.path()).reported_ak(), ak);
    assert_ne!(Machine::power_on(&good, two.path()).reported_ak(), ak);
    // The same TPM, and a report about another's key.
    let wrong = host(VtpmFault::WrongAk);
    assert_ne!(Machine::power_on(&wrong, one.path()).reported_ak(), ak);
}

#[test]
fn user_data_of_the_guest_come_into_the_report() {
    if !needed::programs(&["swtpm"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::power_on(&host(VtpmFault::None), directory.path());
    let before = machine.report();
    machine.write_user_data(&[0xab; 64]);
    let end = Instant::now() + TIMEOUT;
    // The user data are at the JSON's end, which is in the last piece; the hash of it is before.
    while machine.report() == before {
        assert!(Instant::now() < end, "the report stays as it was");
        thread::sleep(Duration::from_millis(50));
    }
}
