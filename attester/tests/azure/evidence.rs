//! What is made verifies, for its own connection only.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attestation::{Attester, Binding, Evidence, EvidenceKind};
use attester::{Choice, Settings};
use measurements::reference::RegisterValue;
use testkit::azure::imds::Fault;
use testkit::azure::vtpm::{code, code_of};
use testkit::needed;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::machine::{Machine, atls};

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_atls_verifies_for_its_own_nonce() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let digest = measurements::Digest([0xa5; 32]);
    machine.tpm.client().extend_pcr(9, &digest).unwrap();
    let evidence = machine.attester().attest(&atls(b"nonce")).await.unwrap();
    let document = evidence.to_document();
    assert!(document.len() < 16_000, "{}", document.len());
    let evidence = Evidence::parse_atls(EvidenceKind::AzureTdx, &document).unwrap();
    let verified = machine.verify(&evidence, &atls(b"nonce")).unwrap();
    let pcrs = machine.tpm.client().read_pcrs().unwrap();
    for (register, value) in verified.registers() {
        let expected = RegisterValue::Sha256(pcrs.value(*register));
        assert_eq!(*value, expected, "{register}");
    }
    assert!(!pcrs.is_zero(9));
    assert!(machine.verify(&evidence, &atls(b"other")).is_err());
    let other_key = Binding::atls_user_data([2; 32], b"nonce");
    assert!(machine.verify(&evidence, &other_key).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_ratls_verifies_for_its_own_session() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    for session in [3, 4] {
        let binding = Binding::ratls_input_data([session; 64]);
        let evidence = attester.attest(&binding).await.unwrap();
        let document = evidence.to_document();
        let evidence = Evidence::parse_ratls(EvidenceKind::AzureTdx, &document).unwrap();
        machine.verify(&evidence, &binding).unwrap();
        let other = Binding::ratls_input_data([9; 64]);
        assert!(machine.verify(&evidence, &other).is_err());
    }
    // Another report each time, and so another TD quote.
    assert_eq!(machine.imds.quotes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_do_not_mix_up_their_user_data() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    let attest = async |session| {
        let binding = Binding::ratls_input_data([session; 64]);
        let evidence = attester.attest(&binding).await.unwrap();
        machine.verify(&evidence, &binding).unwrap();
    };
    tokio::join!(attest(1), attest(2), attest(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_td_quote_is_enough_for_many_connections() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let attester = attester.clone();
            tokio::spawn(async move { attester.attest(&atls(&[number])).await.unwrap() })
        })
        .collect();
    for (number, task) in (0..).zip(tasks) {
        let evidence = task.await.unwrap();
        machine.verify(&evidence, &atls(&[number])).unwrap();
    }
    assert_eq!(machine.imds.quotes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_speak_ratls_are_in_nobody_elses_way() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    machine.vtpm.refresh = Duration::from_secs(3);
    let (begun, mut begins) = mpsc::unbounded_channel();
    let reads = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&reads);
    machine.listen(move |command| {
        match code_of(command) {
            code::NV_WRITE => drop(begun.send(())),
            code::NV_READ => drop(read.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        None
    });
    let attester = machine.attester();
    attester.prepare().await.unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let strangers: Vec<_> = [1, 2, 3]
        .map(|number| {
            let (attester, ended) = (attester.clone(), Arc::clone(&ended));
            tokio::spawn(async move {
                let binding = Binding::ratls_input_data([number; 64]);
                let evidence = attester.attest(&binding).await.unwrap();
                ended.fetch_add(1, Ordering::SeqCst);
                (binding, evidence)
            })
        })
        .into();
    // The paravisor is at the first one's for 3 s. Six times as many can be served meanwhile.
    begins.recv().await.unwrap();
    for number in 0..6 {
        let binding = atls(&[number]);
        let evidence = attester.attest(&binding).await.unwrap();
        machine.verify(&evidence, &binding).unwrap();
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    for stranger in strangers {
        let (binding, evidence) = stranger.await.unwrap();
        machine.verify(&evidence, &binding).unwrap();
    }
    // One for each of them, and one for all others: also after them nothing is fetched or read.
    assert_eq!(machine.imds.quotes(), 3 + 1);
    let before = reads.load(Ordering::SeqCst);
    let evidence = attester.attest(&atls(b"after")).await.unwrap();
    machine.verify(&evidence, &atls(b"after")).unwrap();
    assert_eq!(machine.imds.quotes(), 3 + 1);
    assert_eq!(reads.load(Ordering::SeqCst), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_strangers_do_not_make_the_kept_quote_be_forgotten() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    machine.vtpm.refresh = Duration::ZERO;
    machine.listen(|_| None);
    let attester = machine.attester();
    attester.prepare().await.unwrap();
    for number in 0..10 {
        let binding = Binding::ratls_input_data([number; 64]);
        attester.attest(&binding).await.unwrap();
    }
    machine.imds.fail_always(Some(Fault::Status(404)));
    let evidence = attester.attest(&atls(b"nonce")).await.unwrap();
    machine.verify(&evidence, &atls(b"nonce")).unwrap();
    assert_eq!(machine.imds.quotes(), 10 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_comes_too_late_for_one_is_there_for_the_next() {
    let Some(machine) = Machine::start() else {
        return;
    };
    // Some seven thousand bytes, one by one.
    let slow = Fault::Drip(Duration::from_micros(100));
    machine.imds.fail_next([slow]);
    let attester = machine.attester();
    let binding = atls(b"nonce");
    let mut asking = attester.attest(&binding);
    while machine.imds.quotes() == 0 {
        let asked = timeout(Duration::from_millis(10), &mut asking).await;
        assert!(asked.is_err(), "{asked:?}");
    }
    drop(asking);
    let evidence = attester.attest(&binding).await.unwrap();
    machine.verify(&evidence, &binding).unwrap();
    assert_eq!(machine.imds.quotes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_needs_no_service_any_more() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    machine.imds.fail_next([Fault::Status(404)]);
    assert!(attester.prepare().await.is_err());
    for _ in 0..2 {
        attester.prepare().await.unwrap();
    }
    assert_eq!(machine.imds.quotes(), 2);
    machine.imds.fail_always(Some(Fault::Close));
    let evidence = attester.attest(&atls(b"nonce")).await.unwrap();
    machine.verify(&evidence, &atls(b"nonce")).unwrap();
    assert_eq!(machine.imds.quotes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_is_opened_by_its_settings() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let settings = Settings {
        imds: machine.imds.url(),
        tpm: Some(machine.socket()),
        ..Settings::default()
    };
    let attester = attester::open(Choice::Kind(EvidenceKind::AzureTdx), &settings).unwrap();
    attester.prepare().await.unwrap();
    assert_eq!(machine.imds.quotes(), 1);
    let evidence = attester.attest(&atls(b"nonce")).await.unwrap();
    machine.verify(&evidence, &atls(b"nonce")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tpm2_checkquote_accepts_the_quote() {
    if !needed::programs(&["swtpm", "tpm2_checkquote"]) {
        return;
    }
    let Some(machine) = Machine::start() else {
        return;
    };
    let binding = Binding::ratls_input_data([5; 64]);
    let evidence = machine.attester().attest(&binding).await.unwrap();
    let Evidence::AzureTdx(evidence) = evidence else {
        panic!("evidence of another kind")
    };
    let quote = evidence.tpm_quote();
    let directory = tempfile::tempdir().unwrap();
    let values: Vec<[u8; 32]> = quote.pcrs.values().copied().collect();
    let accepts = |nonce: &str, values: &[[u8; 32]]| {
        let write = |name: &str, content: &[u8]| {
            std::fs::write(directory.path().join(name), content).unwrap();
        };
        write("message", &quote.attest);
        write("signature", &quote.signature);
        write("values", &serialized(values));
        write("ak.pem", machine.vtpm.machine().ak.to_pem().as_bytes());
        checkquote(directory.path(), nonce)
    };
    assert!(accepts(&"05".repeat(32), &values));
    assert!(!accepts(&"06".repeat(32), &values));
    let mut other = values.clone();
    other[9][0] ^= 1;
    assert!(!accepts(&"05".repeat(32), &other));
}

fn checkquote(directory: &Path, nonce: &str) -> bool {
    let files = "-u ak.pem -m message -s signature -f values";
    Command::new("tpm2_checkquote")
        .args(files.split(' '))
        .args(["-g", "sha256", "-q", nonce])
        .current_dir(directory)
        .output()
        .unwrap()
        .status
        .success()
}

/// Values of all registers as tpm2-tools save them: the C structures of tss2, little endian, a
/// `TPML_PCR_SELECTION` with room for 16 banks, a count, and `TPML_DIGEST`s with room for 8. (Their
/// plainer format loses every eighth value in version 5.4.)
fn serialized(values: &[[u8; 32]]) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 0x0b, 0, 3, 0xff, 0xff, 0xff];
    bytes.resize(4 + 16 * 8, 0);
    bytes.extend([3, 0, 0, 0]);
    for list in values.chunks(8) {
        bytes.extend([8, 0, 0, 0]);
        for value in list {
            bytes.extend([32, 0]);
            bytes.extend(value);
            bytes.resize(bytes.len() + 32, 0);
        }
    }
    bytes
}
