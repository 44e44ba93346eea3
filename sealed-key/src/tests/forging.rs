//! Who writes the storage, and who sits on the way to the TPM.

use tpm2_protocol::data::{TpmCc, TpmSe};

use super::*;
use crate::protected::{Protected, Secret};
use crate::seal::{confirmed, opened};
use crate::structure::{LABEL, policy, ticket_head};
use crate::wire::Fields;
use crate::{TpmUseError, UnsealError, seal, turn, unseal};

#[tokio::test(flavor = "multi_thread")]
async fn what_another_image_made_is_refused() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (image, known) = (machine.boot(1), Key32::new([0x66; 32]));
    let evil = machine.boot(6);
    let planted = machine.plant(&known, &[image]).await;
    assert_eq!(planted.maker, evil);
    machine.boot(1);
    let error = unseal(&machine.tpm(), &planted, &[image])
        .await
        .unwrap_err();
    let is_right = matches!(&error, UnsealError::OtherMaker { maker, .. } if *maker == evil);
    assert!(is_right, "{error:?}");
    // If it says that ours made it, the ticket does not fit.
    let lying = Sealed {
        maker: image,
        ..planted.clone()
    };
    let error = unseal(&machine.tpm(), &lying, &[image]).await.unwrap_err();
    assert!(
        matches!(error, UnsealError::Forged { maker } if maker == image),
        "{error:?}"
    );
    // Neither does the ticket of what ours did make.
    let ours = seal(&machine.tpm(), &Key32::random().unwrap(), &[image])
        .await
        .unwrap();
    let mixed = Sealed {
        maker: image,
        ticket: ours.ticket,
        ..planted.clone()
    };
    let error = unseal(&machine.tpm(), &mixed, &[image]).await.unwrap_err();
    assert!(matches!(error, UnsealError::Forged { .. }), "{error:?}");

    // All else about it is as it should be: the TPM would have opened it.
    let mut turn = machine.turn().await;
    let primary = turn.primary().await.unwrap();
    let object = confirmed(&mut turn, &primary, &planted).await.unwrap();
    let key = opened(&mut turn, &primary, &object, &planted.images)
        .await
        .unwrap();
    turn.flush().await;
    assert_eq!(key, known);
    assert!(machine.loaded().is_empty());
}

/// A machine whose image is allowed, but which was given something beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_with_something_beside_the_image_is_refused() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let image = machine.boot(1);
    for register in [12, 13, 15] {
        machine.boot(1);
        // Whoever writes his own program does not look at them.
        machine.extend(register, 1);
        let planted = without_looking(&machine, image, LABEL).await;
        machine.boot(1);
        let error = unseal(&machine.tpm(), &planted, &[image])
            .await
            .unwrap_err();
        assert!(
            matches!(error, UnsealError::Forged { .. }),
            "{register}: {error:?}"
        );
    }
    machine.boot(1);
    let planted = without_looking(&machine, image, LABEL).await;
    let key = unseal(&machine.tpm(), &planted, &[image]).await.unwrap();
    assert_eq!(key, Key32::new([0x66; 32]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_of_the_image_made_is_refused() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let image = machine.boot(1);
    let planted = without_looking(&machine, image, b"sealed-key/2").await;
    let error = unseal(&machine.tpm(), &planted, &[image])
        .await
        .unwrap_err();
    assert!(matches!(error, UnsealError::Forged { .. }), "{error:?}");
}

/// An object for an image, which is said to have made it, with any label.
async fn without_looking(machine: &Machine, image: Registers, label: &[u8]) -> Sealed {
    let mut turn = machine.turn().await;
    let primary = turn.primary().await.unwrap();
    let mut call = turn::create(&primary, &[0x66; 32], &policy(&[image]));
    let parameters = &mut call.parameters;
    let at = parameters
        .windows(LABEL.len())
        .position(|bytes| bytes == LABEL)
        .unwrap();
    parameters[at..][..LABEL.len()].copy_from_slice(label);
    let mut session = Protected::start(&mut turn, &primary, TpmSe::Hmac)
        .await
        .unwrap();
    let answer = session
        .send(&mut turn, &call, Secret::FirstParameter)
        .await
        .unwrap();
    turn.flush().await;
    let mut fields = Fields(&answer);
    let [private, public, _, _] = [(); 4].map(|()| fields.sized().unwrap());
    let ticket = fields.0.strip_prefix(&ticket_head()[..]).unwrap();
    Sealed {
        images: vec![image],
        maker: image,
        primary: primary.name,
        unique: *public.last_chunk().unwrap(),
        ticket: Fields(ticket).sized().unwrap().to_vec(),
        private: private.to_vec(),
    }
}

/// A bit of each byte, with a checksum that fits: the TPM, and what is asked of it, finds all.
#[tokio::test(flavor = "multi_thread")]
async fn no_changed_bit_opens() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (second, image) = (machine.boot(2), machine.boot(1));
    let key = Key32::random().unwrap();
    let bytes = seal(&machine.tpm(), &key, &[image, second])
        .await
        .unwrap()
        .to_bytes();
    let content = bytes.len() - 32;
    let mut refused_by_tpm = 0;
    for at in 0..content {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Sealed::parse(&changed).is_err(), "{at}");
        let checksum = crate::wire::sha256(&[&changed[..content]]);
        changed[content..].copy_from_slice(&checksum);
        let Ok(sealed) = Sealed::parse(&changed) else {
            continue;
        };
        refused_by_tpm += 1;
        let allowed = [image, second, sealed.maker];
        let error = unseal(&machine.tpm(), &sealed, &allowed).await.unwrap_err();
        let is_right = matches!(
            error,
            UnsealError::Damaged | UnsealError::Forged { .. } | UnsealError::OtherTpm { .. }
        );
        assert!(is_right, "{at}: {error:?}");
    }
    // All but magic, number, algorithm and lengths, and what would put the images out of order.
    assert!(refused_by_tpm > content - 64, "{refused_by_tpm}");
    assert!(machine.loaded().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_does_not_hear_the_key() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    machine.between(move |command, tpm| {
        let answer = tpm(command);
        hearing.lock().unwrap().push([command, &answer].concat());
        answer
    });
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    let sealed = seal(&machine.tpm(), &key, &[image]).await.unwrap();
    assert_eq!(
        unseal(&machine.tpm(), &sealed, &[image]).await.unwrap(),
        key
    );
    let heard = heard.lock().unwrap();
    let of = |command: TpmCc| heard.iter().filter(move |m| code(m) == command as u32);
    assert_eq!(
        (of(TpmCc::Create).count(), of(TpmCc::Unseal).count()),
        (1, 2)
    );
    for message in heard.iter() {
        // Four bytes of it would be too much.
        let windows = key.as_bytes().windows(4);
        for part in windows {
            assert!(
                !message.windows(4).any(|bytes| bytes == part),
                "{message:02x?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_answers_are_noticed() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    let evil = machine.boot(6);
    let planted = machine.plant(&key, &[image]).await;
    machine.boot(1);
    let sealed = seal(&machine.tpm(), &key, &[image]).await.unwrap();
    for command in [TpmCc::CertifyCreation, TpmCc::Unseal] {
        // A bit of each answer's each byte behind the header.
        let size = Arc::new(Mutex::new(0));
        let sizing = Arc::clone(&size);
        machine.between(move |sent, tpm| {
            let answer = tpm(sent);
            if code(sent) == command as u32 {
                *sizing.lock().unwrap() = answer.len();
            }
            answer
        });
        unseal(&machine.tpm(), &sealed, &[image]).await.unwrap();
        let size = *size.lock().unwrap();
        for at in 10..size {
            machine.between(move |sent, tpm| {
                let mut answer = tpm(sent);
                if code(sent) == command as u32 {
                    answer[at] ^= 1 << (at % 8);
                }
                answer
            });
            let error = unseal(&machine.tpm(), &sealed, &[image]).await.unwrap_err();
            let is_right = matches!(
                error,
                UnsealError::Tpm(TpmUseError::Altered { .. } | TpmUseError::Answer { .. })
            );
            assert!(is_right, "{command}, {at}: {error:?}");
        }
    }
    // Success where the TPM refused.
    machine.between(
        |sent, tpm| match code(sent) == TpmCc::CertifyCreation as u32 {
            true => refusal(0),
            false => tpm(sent),
        },
    );
    for maker in [image, evil] {
        let lying = Sealed {
            maker,
            ..planted.clone()
        };
        let error = unseal(&machine.tpm(), &lying, &[image]).await.unwrap_err();
        let is_right = matches!(error, UnsealError::Tpm(TpmUseError::Answer { .. }));
        assert!(is_right, "{error:?}");
    }
    machine.between(|command, tpm| tpm(command));
    assert!(machine.loaded().is_empty());
}
