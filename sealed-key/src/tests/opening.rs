//! Who may open what.

use tpm2_protocol::data::TpmRcBase;

use super::*;
use crate::seal::{confirmed, opened};
use crate::turn::refusal as refused;
use crate::{SealError, TpmUseError, UnsealError, running, seal, unseal};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_seals_it_opens_after_every_start() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    assert_eq!(running(&machine.tpm()).await.unwrap(), image);
    let sealed = seal(&machine.tpm(), &key, &[image]).await.unwrap();
    assert_eq!((sealed.images(), sealed.maker()), (&[image][..], image));
    for _ in 0..2 {
        machine.boot(1);
        let stored = Sealed::parse(&sealed.to_bytes()).unwrap();
        let opened = unseal(&machine.tpm(), &stored, &[image]).await.unwrap();
        assert_eq!(opened, key);
    }
    assert!(machine.loaded().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_image_opens_it() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    let sealed = seal(&machine.tpm(), &key, &[image]).await.unwrap();
    for register in [4, 9, 11] {
        machine.boot(1);
        machine.extend(register, 1);
        let error = unseal(&machine.tpm(), &sealed, &[image]).await.unwrap_err();
        let other = running(&machine.tpm()).await.unwrap();
        let UnsealError::OtherImage { expected, actual } = &error else {
            panic!("{register}: {error:?}");
        };
        assert_eq!((&expected[..], *actual), (&[image][..], other));
        let text =
            format!("this image is not one that the key was sealed for: {other}; expected {image}");
        assert_eq!(error.to_string(), text);
        let error = seal(&machine.tpm(), &key, &[image]).await.unwrap_err();
        assert!(
            matches!(error, SealError::NotAmong { actual } if actual == other),
            "{error:?}"
        );
    }
    for register in [12, 13, 15] {
        machine.boot(1);
        machine.extend(register, 1);
        let error = unseal(&machine.tpm(), &sealed, &[image]).await.unwrap_err();
        let is_right =
            matches!(error, UnsealError::Tpm(TpmUseError::Beside { register: r }) if r == register);
        assert!(is_right, "{error:?}");
        let error = seal(&machine.tpm(), &key, &[image]).await.unwrap_err();
        let is_right = matches!(error, SealError::Tpm(TpmUseError::Beside { .. }));
        assert!(is_right, "{error:?}");
    }
    // What the policy does not name changes nothing.
    machine.boot(1);
    machine.extend(5, 1);
    assert_eq!(
        unseal(&machine.tpm(), &sealed, &[image]).await.unwrap(),
        key
    );
    assert!(machine.loaded().is_empty());
}

/// Without what is looked at before: the policy, which is all that stops another program.
#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_itself_refuses_other_registers() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (second, first) = (machine.boot(2), machine.boot(1));
    let key = Key32::random().unwrap();
    for (images, expected) in [
        (vec![first], TpmRcBase::PolicyFail),
        (vec![first, second], TpmRcBase::Value),
    ] {
        machine.boot(1);
        let sealed = seal(&machine.tpm(), &key, &images).await.unwrap();
        for register in [
            None,
            Some(4),
            Some(9),
            Some(11),
            Some(12),
            Some(13),
            Some(15),
        ] {
            machine.boot(1);
            if let Some(register) = register {
                machine.extend(register, 7);
            }
            let mut turn = machine.turn().await;
            let primary = turn.primary().await.unwrap();
            let object = confirmed(&mut turn, &primary, &sealed).await.unwrap();
            let result = opened(&mut turn, &primary, &object, &sealed.images).await;
            turn.flush().await;
            match register {
                None => assert_eq!(result.unwrap(), key),
                Some(_) => assert_eq!(refused(&result.unwrap_err()), Some(expected)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_hands_the_key_over() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let (tpm, key) = (machine.tpm(), Key32::random().unwrap());
    let (second, first) = (machine.boot(2), machine.boot(1));
    let alone = seal(&tpm, &key, &[first]).await.unwrap();
    // The image that runs opens and seals for both; what is stored until then still opens.
    let key = unseal(&tpm, &alone, &[first]).await.unwrap();
    let both = seal(&tpm, &key, &[second, first, second]).await.unwrap();
    let mut images = [first, second];
    images.sort();
    assert_eq!(both.images(), images);
    for sealed in [&alone, &both] {
        assert_eq!(unseal(&tpm, sealed, &[first]).await.unwrap(), key);
    }
    // The next one may have it from the former, if it is told so.
    machine.boot(2);
    let error = unseal(&tpm, &both, &[second]).await.unwrap_err();
    let is_right = matches!(error, UnsealError::OtherMaker { maker, .. } if maker == first);
    assert!(is_right, "{error:?}");
    let handed_over = unseal(&tpm, &both, &[second, first]).await.unwrap();
    assert_eq!(handed_over, key);
    let own = seal(&tpm, &handed_over, &[second]).await.unwrap();
    assert_eq!(unseal(&tpm, &own, &[second]).await.unwrap(), key);
    // The former keeps what it could open, and cannot open what the next one has for itself.
    machine.boot(1);
    assert_eq!(unseal(&tpm, &both, &[first]).await.unwrap(), key);
    let error = unseal(&tpm, &own, &[first, second]).await.unwrap_err();
    assert!(matches!(error, UnsealError::OtherImage { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_to_eight_images() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let key = Key32::random().unwrap();
    let images: Vec<Registers> = (1..=9).map(|image| machine.boot(image)).collect();
    for count in [0, 9] {
        let error = seal(&machine.tpm(), &key, &images[9 - count..])
            .await
            .unwrap_err();
        assert!(
            matches!(error, SealError::Count { actual } if actual == count),
            "{error:?}"
        );
    }
    let sealed = seal(&machine.tpm(), &key, &images[1..]).await.unwrap();
    let stored = sealed.to_bytes();
    assert!(stored.len() <= crate::MAX_BYTES);
    for image in 2..=9 {
        machine.boot(image);
        let sealed = Sealed::parse(&stored).unwrap();
        assert_eq!(unseal(&machine.tpm(), &sealed, &images).await.unwrap(), key);
    }
    machine.boot(1);
    let error = unseal(&machine.tpm(), &sealed, &images).await.unwrap_err();
    assert!(matches!(error, UnsealError::OtherImage { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tpm_does_not_open_it() {
    let (Some(machine), Some(other)) = (Machine::start(), Machine::start()) else {
        return;
    };
    let (image, key) = (machine.boot(1), Key32::random().unwrap());
    assert_eq!(other.boot(1), image);
    let sealed = seal(&machine.tpm(), &key, &[image]).await.unwrap();
    let error = unseal(&other.tpm(), &sealed, &[image]).await.unwrap_err();
    assert!(matches!(error, UnsealError::OtherTpm { .. }), "{error:?}");
    // Neither if the blob says that it is the other's.
    let own = seal(&other.tpm(), &key, &[image]).await.unwrap();
    let claimed = Sealed {
        primary: own.primary,
        ..sealed
    };
    let error = unseal(&other.tpm(), &claimed, &[image]).await.unwrap_err();
    assert!(matches!(error, UnsealError::Damaged), "{error:?}");
    assert!(other.loaded().is_empty());
}
