//! `cvmctl measure`: predicts from an image alone what a machine that boots it measures.
//!
//! I/O: opens the image and files to compare with, read-only.

mod compare;
mod events;
mod predicted;
mod request;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use measurements::predict::pcr11;
use measurements::tdx::{self, TdxPrediction};
use measurements::{Assumptions, Image, Prediction};

pub(crate) use predicted::Name;
use predicted::Predicted;
pub(crate) use request::{AssumptionArguments, Bank, MachineKind, MeasureArguments};
use request::{Machine, Request, Task, TdxHost};

use crate::files::open_image;
use crate::report::{Outcome, Report, one_line};
use events::EventList;

/// Measures the image and does with the result what was asked for.
pub(crate) fn run(request: &Request) -> anyhow::Result<Report> {
    let mut image = open(&request.image, &request.assumptions)?;
    let predicted = match &request.machine {
        Machine::Vtpm { phases } => {
            Predicted::Vtpm(with_phases(predict(&mut image, &request.image)?, phases))
        }
        Machine::Tdx(host) => Predicted::Tdx(predict_tdx(&mut image, &request.image, host)?),
    };
    for note in predicted.notes() {
        eprintln!("cvmctl: note: {}", one_line(note));
    }
    let (id, kind) = (&request.measurement_id, request.attestation_type);
    let text = match &request.task {
        Task::PrintValues => {
            let values = predicted.to_reference(id, kind);
            ensure!(
                !values.registers.is_empty(),
                "nothing is known of {}",
                request.image.display()
            );
            values.to_json()
        }
        Task::PrintEvents => events::table(&predicted, request.bank),
        Task::PrintEventsJson => EventList::new(id, &image, &predicted).to_json()?,
        Task::Compare(files) => return compare::run(files, request, &predicted),
    };
    Ok(Report {
        text,
        outcome: Outcome::Good,
    })
}

pub(crate) fn open(path: &Path, assumptions: &Assumptions) -> anyhow::Result<Image<File>> {
    let file = open_image(path)?;
    Image::open_assuming(file, assumptions.clone())
        .with_context(|| format!("find out what {} boots", path.display()))
}

pub(crate) fn predict(image: &mut Image<File>, path: &Path) -> anyhow::Result<Prediction> {
    measurements::predict(image)
        .with_context(|| format!("predict the measurements of {}", path.display()))
}

fn with_phases(mut prediction: Prediction, phases: &[String]) -> Prediction {
    if !phases.is_empty()
        && let Some(register) = prediction.registers.remove(&pcr11::INDEX)
    {
        let phases = phases.iter().map(String::as_str);
        let register = pcr11::after_phases(register, phases);
        prediction.registers.insert(pcr11::INDEX, register);
    }
    prediction
}

fn predict_tdx(
    image: &mut Image<File>,
    path: &Path,
    host: &TdxHost,
) -> anyhow::Result<TdxPrediction> {
    let mut prediction = tdx::predict(image, host.separator)
        .with_context(|| format!("predict the measurements of {}", path.display()))?;
    if let Some(path) = &host.firmware {
        let firmware = read_firmware(path)?;
        let mrtd = tdx::mrtd(&firmware, host.order)
            .with_context(|| format!("compute MRTD of {}", path.display()))?;
        prediction.mrtd = Some(mrtd);
    } else {
        let note = "MRTD is not predicted: it is the firmware's (--firmware FILE)";
        prediction.notes.push(note.to_owned());
    }
    let note = "RTMR0 is not predicted: the host decides on it (memory, ACPI tables, variables)";
    prediction.notes.push(note.to_owned());
    Ok(prediction)
}

fn read_firmware(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut firmware = Vec::new();
    // One byte more than there may be, so that a larger file is noticed.
    let limit = u64::try_from(tdx::MAX_FIRMWARE_SIZE)?.saturating_add(1);
    file.take(limit)
        .read_to_end(&mut firmware)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(firmware)
}
