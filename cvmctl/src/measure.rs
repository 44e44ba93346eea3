//! `cvmctl measure`: predicts from an image alone what a machine that boots it measures.
//!
//! I/O: opens the image and files to compare with, read-only.

mod compare;
mod events;
mod request;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};
use measurements::reference::ReferenceValues;
use measurements::{Image, Prediction};

pub(crate) use request::MeasureArguments;
use request::{Request, Task};

use crate::report::{Outcome, Report};
use events::EventList;

/// Measures the image and does with the result what was asked for.
pub(crate) fn run(request: &Request) -> anyhow::Result<Report> {
    let mut image = open(&request.image)?;
    let prediction = predict(&mut image, &request.image)?;
    let text = match &request.task {
        Task::PrintValues => {
            let id = &request.measurement_id;
            ReferenceValues::from_prediction(id, request.attestation_type, &prediction).to_json()
        }
        Task::PrintEvents => events::table(&prediction),
        Task::PrintEventsJson => {
            let stub_version = image.stub_version()?.to_string();
            EventList::new(&request.measurement_id, stub_version, prediction).to_json()?
        }
        Task::Compare(files) => return compare::run(files, request, &prediction),
    };
    Ok(Report {
        text,
        outcome: Outcome::Good,
    })
}

fn open(path: &Path) -> anyhow::Result<Image<File>> {
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
    Image::open(file).with_context(|| format!("find out what {} boots", path.display()))
}

fn predict(image: &mut Image<File>, path: &Path) -> anyhow::Result<Prediction> {
    measurements::predict(image)
        .with_context(|| format!("predict the measurements of {}", path.display()))
}
