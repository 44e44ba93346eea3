//! A TPM that fails, is busy, or is not there.

use std::sync::atomic::{AtomicUsize, Ordering};

use attester::Patience;
use tpm2_protocol::data::TpmCc;

use super::*;
use crate::{SealError, TpmUseError, UnsealError, running, seal, unseal};

/// All commands of an opening.
const COMMANDS: [TpmCc; 7] = [
    TpmCc::CreatePrimary,
    TpmCc::Load,
    TpmCc::StartAuthSession,
    TpmCc::CertifyCreation,
    TpmCc::PolicyPcr,
    TpmCc::PolicyOr,
    TpmCc::Unseal,
];

const NOTHING: [u32; 0] = [];

const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(20),
    tries: 4,
    pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_in_the_tpm_however_it_ends() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let tpm = machine.tpm().with_patience(PATIENCE);
    let (second, image) = (machine.boot(2), machine.boot(1));
    let key = Key32::random().unwrap();
    let sealed = seal(&tpm, &key, &[image, second]).await.unwrap();
    let other = machine.boot(3);
    for _ in 0..50 {
        let error = unseal(&tpm, &sealed, &[image]).await.unwrap_err();
        let is_right = matches!(error, UnsealError::OtherImage { actual, .. } if actual == other);
        assert!(is_right, "{error:?}");
    }
    assert_eq!(machine.loaded(), NOTHING);
    machine.boot(1);
    // At each command, and in what is said about it.
    for command in COMMANDS {
        for refused in [refusal(0x101), vec![0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0, 0]] {
            machine.between(move |sent, tpm| match code(sent) == command as u32 {
                true => refused.clone(),
                false => tpm(sent),
            });
            let is_policy = matches!(command, TpmCc::PolicyPcr | TpmCc::PolicyOr);
            let error = unseal(&tpm, &sealed, &[image]).await.unwrap_err();
            assert!(
                is_policy || matches!(error, UnsealError::Tpm(_)),
                "{error:?}"
            );
            let error = seal(&tpm, &key, &[image, second]).await.unwrap_err();
            let is_right = matches!(error, SealError::Tpm(_) | SealError::Useless(_));
            assert!(is_right, "{error:?}");
            machine.between(|sent, tpm| tpm(sent));
            assert_eq!(machine.loaded(), NOTHING, "{command}");
        }
    }
    assert_eq!(unseal(&tpm, &sealed, &[image]).await.unwrap(), key);
    assert_eq!(machine.loaded(), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_of_what_is_loaded_sees_what_stays() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let mut turn = machine.turn().await;
    let primary = turn.primary().await.unwrap();
    assert_eq!(machine.loaded(), [primary.handle.number]);
    turn.flush().await;
    assert_eq!(machine.loaded(), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shorter_answer_makes_it_panic() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (tpm, image) = (machine.tpm(), machine.boot(1));
    let key = Key32::random().unwrap();
    for command in [
        TpmCc::PcrRead,
        TpmCc::CreatePrimary,
        TpmCc::StartAuthSession,
        TpmCc::Create,
        TpmCc::CertifyCreation,
        TpmCc::Unseal,
    ] {
        for length in 10.. {
            machine.boot(1);
            let was_whole = Arc::new(Mutex::new(false));
            let is_whole = Arc::clone(&was_whole);
            machine.between(move |sent, tpm| {
                let mut answer = tpm(sent);
                if code(sent) == command as u32 {
                    *is_whole.lock().unwrap() = answer.len() <= length;
                    answer.truncate(length);
                    let size = u32::try_from(answer.len()).unwrap();
                    answer[2..6].copy_from_slice(&size.to_be_bytes());
                }
                answer
            });
            let result = seal(&tpm, &key, &[image]).await;
            if *was_whole.lock().unwrap() {
                assert!(result.is_ok());
                break;
            }
            // Of the others there may be enough.
            let is_authenticated = matches!(
                command,
                TpmCc::Create | TpmCc::CertifyCreation | TpmCc::Unseal
            );
            assert!(result.is_err() || !is_authenticated, "{command}, {length}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_says_retry_is_asked_again_but_not_for_ever() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let tpm = machine.tpm().with_patience(PATIENCE);
    let (second, image) = (machine.boot(2), machine.boot(1));
    let key = Key32::random().unwrap();
    let sealed = seal(&tpm, &key, &[image, second]).await.unwrap();
    for warning in [0x922, 0x90a, 0x908] {
        for command in COMMANDS {
            let count = AtomicUsize::new(0);
            machine.between(move |sent, tpm| {
                let is_it = code(sent) == command as u32;
                match is_it && count.fetch_add(1, Ordering::SeqCst) < 3 {
                    true => refusal(warning),
                    false => tpm(sent),
                }
            });
            assert_eq!(unseal(&tpm, &sealed, &[image]).await.unwrap(), key);
        }
    }
    machine.between(|sent, tpm| match code(sent) == TpmCc::Unseal as u32 {
        true => refusal(0x922),
        false => tpm(sent),
    });
    let text = chain(&unseal(&tpm, &sealed, &[image]).await.unwrap_err());
    let expected =
        "use the TPM: TPM2_Unseal of the sealed key: the TPM refused with 0x922, TPM_RC_RETRY: ";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_said_by_name() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    // An owner with a password.
    machine.between(
        |sent, tpm| match code(sent) == TpmCc::CreatePrimary as u32 {
            true => refusal(0x9a2),
            false => tpm(sent),
        },
    );
    let text = chain(&seal(&machine.tpm(), &key, &[image]).await.unwrap_err());
    let expected = "use the TPM: TPM2_CreatePrimary of the storage key: the TPM refused with 0x9a2, \
                    [TPM_RC_BAD_AUTH, session[1]]: a password is set, expected an empty one";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_tpm_that_is_not_there_is_told_from_one_that_fails() {
    let tpm = Tpm::new("/surely/not/a/tpm");
    let image = Registers {
        pcr4: [1; 32],
        pcr9: [1; 32],
        pcr11: [1; 32],
    };
    let key = Key32::random().unwrap();
    let error = running(&tpm).await.unwrap_err();
    assert!(matches!(error, TpmUseError::NoTpm(_)), "{error:?}");
    let error = seal(&tpm, &key, &[image]).await.unwrap_err();
    assert!(
        matches!(error, SealError::Tpm(TpmUseError::NoTpm(_))),
        "{error:?}"
    );
}
