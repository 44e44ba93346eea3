//! A vTPM that lacks something, says something else, or is busy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use attestation::tpm_quote::QuoteError;
use attestation::{Attester, Binding};
use attester::Patience;
use attester::azure::{AzureError, CertificateError};
use attester::tpm::{Tpm, TpmError};
use measurements::reference::RegisterValue;
use testkit::azure::vtpm::{AK_CERTIFICATE, HCL_REPORT, USER_DATA, code, code_of};
use testkit::tee::hcl::HclFault;
use testkit::tee::{AkPublic, Machine as Description, Tee};

use crate::machine::{IMPATIENCE, Machine, PATIENCE, atls, chain};

fn ratls() -> Binding {
    Binding::ratls_input_data([3; 64])
}

async fn failure(machine: &Machine) -> AzureError {
    machine
        .attester()
        .evidence(&atls(b"nonce"))
        .await
        .unwrap_err()
}

/// A response that is nothing but this code.
fn refusal(code: u32) -> Vec<u8> {
    [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ak_of_another_tpm_is_noticed() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let other = Description {
        ak: AkPublic::new(&[0xff; 256]),
        ..machine.vtpm.machine().clone()
    };
    machine
        .vtpm
        .put(HCL_REPORT, &machine.tee.hcl_report(&other, [0; 64]))
        .unwrap();
    let error = failure(&machine).await;
    assert!(matches!(error, AzureError::OtherAk), "{error:?}");
    assert_eq!(machine.imds.quotes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_missing_or_broken_is_named() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let report = machine.vtpm.report([0; 64]);
    for length in [1, 31, 1000, 1235, report.len() - 1] {
        machine.vtpm.put(HCL_REPORT, &report[..length]).unwrap();
        let error = failure(&machine).await;
        assert!(
            matches!(error, AzureError::HclReport(_)),
            "{length}: {error:?}"
        );
    }
    let altered = Tee::with_fault(
        1,
        std::time::SystemTime::now(),
        HclFault::RuntimeDataAltered,
    );
    let report = altered.hcl_report(machine.vtpm.machine(), [0; 64]);
    machine.vtpm.put(HCL_REPORT, &report).unwrap();
    let error = failure(&machine).await;
    assert!(matches!(error, AzureError::RuntimeDataHash), "{error:?}");
    machine.vtpm.remove(HCL_REPORT).unwrap();
    let expected = "use the vTPM: TPM2_NV_ReadPublic of 0x01400001: the TPM refused with 0x18b, \
                    [TPM_RC_HANDLE, handle[1]]: there is no key or NV index with this number";
    assert_eq!(chain(&failure(&machine).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_that_changes_before_the_quote_is_read_again() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (client, count) = (machine.tpm.client(), Arc::new(AtomicUsize::new(0)));
    let (counted, most) = (Arc::clone(&count), Arc::new(AtomicUsize::new(2)));
    let limit = Arc::clone(&most);
    machine.between(move |command| {
        if code_of(command) == code::QUOTE
            && counted.fetch_add(1, Ordering::SeqCst) < limit.load(Ordering::SeqCst)
        {
            client
                .extend_pcr(10, &measurements::Digest([7; 32]))
                .unwrap();
        }
        None
    });
    let evidence = machine.attester().attest(&atls(b"nonce")).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let verified = machine.verify(&evidence, &atls(b"nonce")).unwrap();
    let now = machine.tpm.client().read_pcrs().unwrap().value(10);
    assert_eq!(verified.registers()[&10], RegisterValue::Sha256(now));

    most.store(usize::MAX, Ordering::SeqCst);
    let error = failure(&machine).await;
    let is_right = matches!(error, AzureError::TpmQuote(QuoteError::PcrDigest { .. }));
    assert!(is_right, "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 3 + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_says_retry_is_asked_again_but_not_for_ever() {
    let Some(machine) = Machine::start() else {
        return;
    };
    for code in [0x922, 0x90a, 0x908] {
        let count = AtomicUsize::new(0);
        machine.between(move |command| {
            let is_refused =
                code_of(command) == code::QUOTE && count.fetch_add(1, Ordering::SeqCst) < 3;
            is_refused.then(|| refusal(code))
        });
        machine.attester().attest(&atls(b"nonce")).await.unwrap();
        machine.between(move |command| (code_of(command) == code::QUOTE).then(|| refusal(code)));
        let text = chain(&failure(&machine).await);
        let expected =
            format!("use the vTPM: TPM2_Quote with 0x81000003: the TPM refused with {code:#05x}, ");
        assert!(text.starts_with(&expected), "{text}");
    }
    // Any other code is final.
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    machine.between(move |command| {
        (code_of(command) == code::READ_PUBLIC).then(|| {
            counted.fetch_add(1, Ordering::SeqCst);
            refusal(0x101)
        })
    });
    let text = chain(&failure(&machine).await);
    assert!(
        text.ends_with("TPM_RC_FAILURE: the TPM has failed and needs a reset"),
        "{text}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_make_no_sense_are_named() {
    let Some(machine) = Machine::start() else {
        return;
    };
    for (command, name) in [
        (code::NV_READ, "TPM2_NV_Read of 0x01400001"),
        (code::READ_PUBLIC, "TPM2_ReadPublic of 0x81000003"),
        (code::PCR_READ, "TPM2_PCR_Read"),
        (code::QUOTE, "TPM2_Quote with 0x81000003"),
    ] {
        // Success, and nothing else.
        machine.between(move |sent| (code_of(sent) == command).then(|| refusal(0)));
        let text = chain(&failure(&machine).await);
        let expected = format!("use the vTPM: {name}: the TPM's response is malformed: ");
        assert!(text.starts_with(&expected), "{text}");
        // No message of a TPM.
        machine.between(move |sent| (code_of(sent) == command).then(|| vec![0xff; 20]));
        let text = chain(&failure(&machine).await);
        let expected = format!("use the vTPM: {name}: exchange messages with the TPM: ");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_hangs_is_given_up_and_kept_from_others() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    machine.between(move |command| {
        if code_of(command) == code::PCR_READ {
            // Nobody listens, and nobody releases, when it is not meant to hang any more.
            let _ = begin.send(());
            let _ = released.recv();
        }
        None
    });
    let patient = Tpm::new(machine.socket()).with_patience(PATIENCE);
    let hasty = patient.clone().with_patience(IMPATIENCE);
    let asking = patient.clone();
    let hung = tokio::spawn(async move { asking.session().await?.read_pcrs().await });
    let begun = tokio::task::spawn_blocking(move || begun.recv().map(|()| begun));
    drop(begun.await.unwrap().unwrap());
    // Who asked goes away; the command that hangs does not.
    hung.abort();
    assert!(hung.await.unwrap_err().is_cancelled());
    let error = hasty.session().await.unwrap_err();
    assert!(matches!(error, TpmError::Busy { .. }), "{error:?}");
    drop(release);
    assert_eq!(
        patient
            .session()
            .await
            .unwrap()
            .read_pcrs()
            .await
            .unwrap()
            .len(),
        24
    );
    assert!(hasty.session().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_does_not_answer_is_given_up() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (release, released) = mpsc::channel::<()>();
    machine.between(move |command| {
        if code_of(command) == code::PCR_READ {
            let _ = released.recv();
        }
        None
    });
    let tpm = Tpm::new(machine.socket()).with_patience(IMPATIENCE);
    let mut session = tpm.session().await.unwrap();
    let error = session.read_pcrs().await.unwrap_err();
    assert!(matches!(error, TpmError::Timeout { .. }), "{error:?}");
    // What comes next on this channel might be the response to that command.
    let error = session.read_pcrs().await.unwrap_err();
    assert!(matches!(error, TpmError::Busy { .. }), "{error:?}");
    drop((session, release));
    let patient = tpm.with_patience(PATIENCE);
    assert!(patient.session().await.unwrap().read_pcrs().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_at_a_time() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let tpm = Tpm::new(machine.socket()).with_patience(IMPATIENCE);
    let session = tpm.session().await.unwrap();
    let other = tpm.clone();
    let error = other.session().await.unwrap_err();
    assert!(matches!(error, TpmError::Busy { .. }), "{error:?}");
    drop(session);
    assert!(other.session().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ak_certificate_matters_to_ratls_alone() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let attester = machine.attester();
    let other = machine.tee.ak_certificates(&machine.tee.ak()).leaf;
    machine.vtpm.put(AK_CERTIFICATE, &other).unwrap();
    let error = attester.evidence(&ratls()).await.unwrap_err();
    let is_right = matches!(error, AzureError::AkCertificate(CertificateError::OtherKey));
    assert!(is_right, "{error:?}");
    machine.vtpm.remove(AK_CERTIFICATE).unwrap();
    let error = attester.evidence(&ratls()).await.unwrap_err();
    assert!(matches!(error, AzureError::NoAkCertificate), "{error:?}");
    assert!(attester.evidence(&atls(b"nonce")).await.is_ok());
}

/// Counts the commands with this code from now on, if they go to the TPM.
fn count(machine: &Machine, command: u32) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    machine.between(move |sent| {
        counted.fetch_add(usize::from(code_of(sent) == command), Ordering::SeqCst);
        None
    });
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_user_data_is_made_where_there_is_none_and_used_where_there_is() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let defined = count(&machine, code::NV_DEFINE_SPACE);
    // A new machine has none, and aTLS needs none.
    machine.attester().evidence(&atls(b"nonce")).await.unwrap();
    assert!(machine.vtpm.remove(USER_DATA).is_err());
    assert_eq!(defined.load(Ordering::SeqCst), 0);
    for session in [3, 4] {
        let binding = Binding::ratls_input_data([session; 64]);
        let evidence = machine.attester().evidence(&binding).await.unwrap();
        machine.verify(&evidence, &binding).unwrap();
        assert_eq!(defined.load(Ordering::SeqCst), 1);
    }
    // Somebody else made it.
    machine.vtpm.put(USER_DATA, &[0; 64]).unwrap();
    let evidence = machine.attester().evidence(&ratls()).await.unwrap();
    machine.verify(&evidence, &ratls()).unwrap();
    assert_eq!(defined.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_user_data_of_another_size_is_named() {
    let Some(machine) = Machine::start() else {
        return;
    };
    for size in [32, 65] {
        machine.vtpm.put(USER_DATA, &vec![0; size]).unwrap();
        let error = machine.attester().evidence(&ratls()).await.unwrap_err();
        let expected =
            format!("NV 0x01400002 in the vTPM has {size} bytes, expected 64 or no such index");
        assert_eq!(error.to_string(), expected);
    }
    // An owner with a password does not let us make one.
    machine.vtpm.remove(USER_DATA).unwrap();
    machine.between(|sent| (code_of(sent) == code::NV_DEFINE_SPACE).then(|| refusal(0x9a2)));
    let text = chain(&machine.attester().evidence(&ratls()).await.unwrap_err());
    let expected = "use the vTPM: TPM2_NV_DefineSpace of 0x01400002: the TPM refused with 0x9a2, ";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_that_are_not_taken_up_are_waited_for_so_long() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    machine.vtpm.refresh = Duration::from_secs(600);
    let socket = machine.socket();
    machine.vtpm.listen(&socket, |_| None).unwrap();
    let error = machine.attester().evidence(&ratls()).await.unwrap_err();
    assert!(matches!(error, AzureError::UserData { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tpm_that_is_not_there_is_named() {
    let patience = Patience {
        limit: Duration::from_secs(1),
        ..PATIENCE
    };
    let tpm = Tpm::new("/surely/not/a/tpm").with_patience(patience);
    let error = tpm.session().await.unwrap_err();
    assert_eq!(error.to_string(), "open the TPM at /surely/not/a/tpm");
}
