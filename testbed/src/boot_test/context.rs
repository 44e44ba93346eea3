//! What all scenarios share: the image, what it should measure to, and how machines are made.
//!
//! I/O: copies the image, makes directories, starts machines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use measurements::Prediction;
use testkit::machine::{Accelerator, Machine};

use super::Options;
use crate::Common;
use crate::registers::predict_image;
use crate::session::{Session, State};
use crate::signals::Signals;
use crate::work::{copy_of, fresh_directory};

/// What all scenarios share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) image: PathBuf,
    pub(super) prediction: Prediction,
    pub(super) published: Vec<u16>,
    pub(super) opened: Vec<u16>,
    pub(super) accelerator: Accelerator,
    pub(super) memory: u32,
    pub(super) cpus: u32,
    pub(super) timeout: Duration,
    pub(super) signals: Signals,
    directory: PathBuf,
}

/// What one boot needs, before it is started: scenarios change it to attack.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) machine: Machine,
    pub(super) state: State,
    /// For logs and scratch files.
    pub(super) directory: PathBuf,
}

impl Context {
    /// Predicts the image and finds out what can run it.
    pub(super) fn new(
        common: &Common,
        options: &Options,
        directory: &Path,
        signals: Signals,
    ) -> Result<Self> {
        let image = copy_of(&common.image, directory)?;
        Ok(Self {
            prediction: predict_image(&image)?,
            image,
            published: options.published.clone(),
            opened: options.opened.clone(),
            accelerator: Accelerator::detect(),
            memory: common.memory,
            cpus: common.cpus,
            timeout: Duration::from_secs(options.timeout),
            signals,
            directory: directory.to_owned(),
        })
    }

    /// Prepares a boot of the image with a new TPM and new firmware variables.
    pub(super) fn attempt(&self, name: &str) -> Result<Attempt> {
        let directory = fresh_directory(&self.directory, name)?;
        let state = State::in_directory(&directory.join("state"))?;
        let machine = Machine {
            memory: self.memory,
            cpus: self.cpus,
            accelerator: self.accelerator,
            ..Machine::new(self.image.clone(), state.variables())
        };
        Ok(Attempt {
            machine,
            state,
            directory,
        })
    }
}

impl Attempt {
    /// Starts it.
    pub(super) fn start(&self) -> Result<Session> {
        Session::start(&self.machine, &self.state, &self.directory)
    }

    /// A file in its directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
