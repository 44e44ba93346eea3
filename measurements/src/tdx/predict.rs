//! RTMR1 and RTMR2 of an image, from what it measures to with a TPM.
//!
//! The same programs measure the same things; here is which of them do without a TPM, and in which
//! order across PCRs.
//!
//! I/O: reads what is measured.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

use super::{
    BootLoader, GptEventError, Rtmr1Inputs, Rtmr2Inputs, SeparatorRegister, gpt_event,
    linux_measures, measures_tagged_events, rtmr1, rtmr2, stub_measures,
};
use crate::predict::{Boot, pcr04, pcr09, pcr11, pcr12};
use crate::{Digests, Event, Image, PredictError, Prediction, Register, Sha384Digest, StubVersion};

/// What an image measures to in a TDX guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TdxPrediction {
    /// By the RTMR's number: 1 and 2, as far as they are known.
    ///
    /// Of all digests and values the SHA-384 ones count; an RTMR has no other bank.
    pub registers: BTreeMap<u8, Register>,
    /// MRTD, if the firmware is known: [`mrtd`](super::mrtd()).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mrtd: Option<Sha384Digest>,
    /// What the reader should know: why a register is not predicted, what is not measured.
    pub notes: Vec<String>,
}

/// Why it is not known what an image measures to in a TDX guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TdxPredictError {
    /// It is not known with a TPM either.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Firmware would not measure the partition table as expected here.
    #[error("firmware would not measure the partition table")]
    Gpt(#[from] GptEventError),
}

/// Predicts what the boot of `image` measures into RTMR1 and RTMR2.
///
/// The image need not be trusted: the result only says what it would measure to. It says nothing on
/// a machine unless MRTD is that of a trusted firmware.
///
/// # Errors
///
/// [`TdxPredictError`] if the rules for this image are not known for certain. Nothing is guessed.
pub fn predict<R: Read + Seek>(
    image: &mut Image<R>,
    separator: SeparatorRegister,
) -> Result<TdxPrediction, TdxPredictError> {
    let with_tpm = crate::predict(image)?;
    let mut notes = with_tpm.notes.clone();
    let mut registers = BTreeMap::new();
    match rtmr1_inputs(image, &with_tpm, separator)? {
        Ok(inputs) => drop(registers.insert(1, rtmr1(&inputs))),
        Err(reason) => notes.push(format!("RTMR1 is not predicted: {reason}")),
    }
    let boot = Boot::of(image)?;
    let stub = stub_events(&boot.version, &with_tpm);
    let linux = with_tpm.registers.get(&pcr09::INDEX);
    // What the kernel itself says; `.uname` is anybody's word.
    let release = boot.linux.map(|linux| linux.text).unwrap_or_default();
    match (linux, linux_measures(&release)) {
        (_, Some(false)) => {
            notes.push(format!("Linux {release} measures nothing without a TPM"));
            let (stub, linux) = (&stub, &[][..]);
            registers.insert(2, rtmr2(&Rtmr2Inputs { stub, linux }));
        }
        (Some(register), Some(true)) => {
            let (stub, linux) = (&stub, &register.events);
            registers.insert(2, rtmr2(&Rtmr2Inputs { stub, linux }));
        }
        (_, None) => notes.push(
            "RTMR2 is not predicted: the kernel does not say its version, and Linux measures \
             without a TPM since 6.9 only"
                .to_owned(),
        ),
        (None, _) => notes.push("RTMR2 is not predicted, as PCR 9 is not".to_owned()),
    }
    let mrtd = None;
    Ok(TdxPrediction {
        registers,
        mrtd,
        notes,
    })
}

/// Returns what RTMR1 is made of, or why that is not known.
fn rtmr1_inputs<R>(
    image: &Image<R>,
    with_tpm: &Prediction,
    separator: SeparatorRegister,
) -> Result<Result<Rtmr1Inputs, String>, GptEventError> {
    let Some(table) = &image.gpt else {
        return Ok(Err("it holds the partition table of a disk".to_owned()));
    };
    let gpt = Digests::of(&gpt_event(&table.header, &table.entries)?);
    // After action and separator.
    let mut images = events(with_tpm, pcr04::INDEX)
        .iter()
        .skip(2)
        .map(|event| event.digests);
    let mut boot_loader = None;
    if let Some(loader) = &image.chain.loader {
        let version = StubVersion::parse_loader(loader.marker().unwrap_or_default());
        match version {
            Ok(version) if !measures_tagged_events(version.major()) => {}
            Ok(version) => {
                return Ok(Err(format!("systemd-boot {version} measures loader.conf")));
            }
            Err(error) => return Ok(Err(error.to_string())),
        }
        let config = None;
        boot_loader = images.next().map(|image| BootLoader { image, config });
    }
    let uki = images.next();
    let inputs = uki.map(|uki| Rtmr1Inputs {
        separator,
        gpt,
        boot_loader,
        uki,
        kernel: images.next(),
    });
    Ok(inputs.ok_or_else(|| "PCR 4 has no event for the UKI".to_owned()))
}

/// What a stub measures without a TPM, in its order: systemd v257 `src/boot/stub.c`, `run`.
fn stub_events(version: &StubVersion, with_tpm: &Prediction) -> Vec<Event> {
    if !stub_measures(version.major()) {
        return Vec::new();
    }
    let config = events(with_tpm, pcr12::INDEX);
    // A systemd-boot that hands on the command line is older than measuring without a TPM; one that
    // hands on a profile's number is not.
    let named = |subject: &'static str| config.iter().filter(move |e| e.subject == subject);
    let profile = named("profile").filter(|_| measures_tagged_events(version.major()));
    named(pcr12::BY_LOADER)
        .chain(profile)
        .chain(events(with_tpm, pcr11::INDEX))
        .cloned()
        .collect()
}

fn events(prediction: &Prediction, pcr: u8) -> &[Event] {
    let register = prediction.registers.get(&pcr);
    register.map_or(&[], |register| &register.events)
}
