//! `cvmctl measure`: predicts from an image alone what a machine that boots it measures.
//!
//! I/O: opens the image and files to compare with, read-only.

mod compare;
mod events;
mod request;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};
use measurements::predict::pcr11;
use measurements::reference::ReferenceValues;
use measurements::{Assumptions, Image, Prediction};

pub(crate) use request::{AssumptionArguments, Bank, MeasureArguments};
use request::{Request, Task};

use crate::report::{Outcome, Report, printable};
use events::EventList;

/// Measures the image and does with the result what was asked for.
pub(crate) fn run(request: &Request) -> anyhow::Result<Report> {
    let mut image = open(&request.image, &request.assumptions)?;
    let mut prediction = predict(&mut image, &request.image)?;
    for note in &prediction.notes {
        eprintln!("cvmctl: note: {}", printable(note));
    }
    if !request.phases.is_empty()
        && let Some(register) = prediction.registers.remove(&pcr11::INDEX)
    {
        let phases = request.phases.iter().map(String::as_str);
        let register = pcr11::after_phases(register, phases);
        prediction.registers.insert(pcr11::INDEX, register);
    }
    let text = match &request.task {
        Task::PrintValues => {
            let id = &request.measurement_id;
            ReferenceValues::from_prediction(id, request.attestation_type, &prediction).to_json()
        }
        Task::PrintEvents => events::table(&prediction, request.bank),
        Task::PrintEventsJson => {
            EventList::new(&request.measurement_id, &image, prediction).to_json()?
        }
        Task::Compare(files) => return compare::run(files, request, &prediction),
    };
    Ok(Report {
        text,
        outcome: Outcome::Good,
    })
}

pub(crate) fn open(path: &Path, assumptions: &Assumptions) -> anyhow::Result<Image<File>> {
    let file = File::open(path).with_context(|| {
        format!(
            "open {}: give the path of a .raw, .vhd or .efi image",
            path.display()
        )
    })?;
    let metadata = file
        .metadata()
        .with_context(|| format!("look at {}", path.display()))?;
    ensure!(
        !metadata.is_dir(),
        "{} is a directory, expected an image (.raw, .vhd or .efi)",
        path.display()
    );
    Image::open_assuming(file, assumptions.clone())
        .with_context(|| format!("find out what {} boots", path.display()))
}

pub(crate) fn predict(image: &mut Image<File>, path: &Path) -> anyhow::Result<Prediction> {
    measurements::predict(image)
        .with_context(|| format!("predict the measurements of {}", path.display()))
}
