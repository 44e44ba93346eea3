//! What is on the EFI System Partition of a chain.
//!
//! I/O: makes UKIs and the disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use measurements::Assumptions;
use testkit::make::disk::{EspFile, disk};
use testkit::make::uki::Recipe;

/// What firmware starts.
pub(super) const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";

/// What is on the partition, and what is to be started of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// UKIs, each with its path.
    pub(super) ukis: Vec<(&'static str, Recipe)>,
    /// Whether firmware starts systemd-boot.
    pub(super) has_loader: bool,
    /// Other files, each with its path and what is in it.
    pub(super) files: Vec<(&'static str, &'static str)>,
    /// What the prediction has to be told.
    pub(super) assumptions: Assumptions,
    /// The path of the UKI that must be started.
    pub(super) started: &'static str,
}

impl Layout {
    /// A UKI that firmware starts itself.
    pub(super) fn direct(recipe: Recipe) -> Self {
        Self {
            ukis: vec![(FALLBACK, recipe)],
            started: FALLBACK,
            ..Self::default()
        }
    }

    /// Makes a disk of it and returns the path.
    pub(super) fn make(&self, folder: &Path, kernel: &Path, scratch: &Path) -> Result<PathBuf> {
        let stub = folder.join("linuxx64.efi.stub");
        let mut files = Vec::new();
        if self.has_loader {
            files.push((FALLBACK, folder.join("systemd-bootx64.efi")));
        }
        for (number, (path, text)) in self.files.iter().enumerate() {
            let file = scratch.join(format!("file{number}"));
            fs::write(&file, text).with_context(|| format!("write {path}"))?;
            files.push((path, file));
        }
        for (number, (path, recipe)) in self.ukis.iter().enumerate() {
            let name = format!("uki{number}");
            let made = recipe.make(&name, &stub, kernel, scratch);
            let made = made.with_context(|| format!("make {path} of {}", stub.display()))?;
            files.push((path, made));
        }
        let files: Vec<_> = files
            .iter()
            .map(|(path, contents)| EspFile { path, contents })
            .collect();
        let image = scratch.join("disk.raw");
        disk(&image, &files).context("make the disk")?;
        Ok(image)
    }
}
