//! A directory that keeps evidence with all that its verification takes, so that it can be judged
//! again without a network.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | which format this is, and everything that is in no other file |
//! | `document` | the evidence, byte by byte as it came |
//! | `certificate.der` | the connection's certificate, whose key the evidence is about |
//! | `collateral.json` | what Intel said of the platform |
//! | `reference-values.json` | what the machine was expected to measure to |
//!
//! The verdict in the manifest is for people: it is not read. Hashes are there to notice damage,
//! not forgery; whoever forges a file can forge its hash, and then has the signatures against him.
//! The reference values are signed by nobody: they are as good as whoever kept them.
//!
//! I/O: makes and reads files of one directory.

mod manifest;

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use attestation::evidence::MAX_DOCUMENT;
use attestation::{Collateral, EvidenceKind};
use measurements::reference::ReferenceValues;
use sha2::{Digest, Sha256};

use crate::exhibit::Exhibit;
use crate::expectations::{self, MAX_VALUES};
use crate::files;
use crate::moment::Moment;
use crate::trust::{MAX_COLLATERAL, PlatformArguments};
use manifest::{FileHashes, Manifest, Verdict};

const MANIFEST: &str = "manifest.json";
const DOCUMENT: &str = "document";
const CERTIFICATE: &str = "certificate.der";
const COLLATERAL: &str = "collateral.json";
const REFERENCES: &str = "reference-values.json";

const MAX_MANIFEST: u64 = 64 << 10;
const MAX_EVIDENCE: u64 = MAX_DOCUMENT as u64;
/// A document, and what a certificate has besides.
const MAX_CERTIFICATE: u64 = MAX_EVIDENCE + (16 << 10);

/// What is kept.
pub(crate) struct Kept {
    pub(crate) url: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) time: Moment,
    pub(crate) exhibit: Exhibit,
    /// `None` if there was none to be had.
    pub(crate) collateral: Option<Collateral>,
    /// Empty if nothing was compared.
    pub(crate) references: Vec<ReferenceValues>,
    pub(crate) overlooked: Overlooked,
}

/// What the policy did not insist on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overlooked {
    /// TCB statuses that were accepted beside `UpToDate`.
    pub(crate) accepted: Vec<attestation::TcbStatus>,
    pub(crate) azure_v6_tcb: bool,
    /// Whether it was enough to be a genuine machine.
    pub(crate) expectations: bool,
}

impl Overlooked {
    pub(crate) fn of(platform: &PlatformArguments, expectations: bool) -> Self {
        Self {
            accepted: platform.accept_tcb_status.clone(),
            azure_v6_tcb: platform.override_azurev6_tcbinfo,
            expectations,
        }
    }
}

/// Refuses a place where something would be overwritten, before anything is done.
pub(crate) fn check_vacant(directory: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("look into {}", directory.display()))?,
    };
    ensure!(
        entries.count() == 0,
        "{} is not empty, expected a new directory",
        directory.display()
    );
    Ok(())
}

/// Writes the directory; the manifest comes last, so that one that is incomplete has none.
pub(crate) fn save(directory: &Path, kept: &Kept, verdict: (&str, &str)) -> anyhow::Result<()> {
    check_vacant(directory)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("make the directory {}", directory.display()))?;
    let write = |name: &str, bytes: &[u8]| -> anyhow::Result<String> {
        let path = directory.join(name);
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        Ok(hash(bytes))
    };
    let exhibit = &kept.exhibit;
    let document = write(DOCUMENT, &exhibit.document)?;
    let certificate = exhibit.certificate.as_deref();
    let certificate = certificate.map(|der| write(CERTIFICATE, der)).transpose()?;
    let collateral = kept.collateral.as_ref().map(Collateral::to_json);
    let collateral = collateral
        .map(|json| write(COLLATERAL, &json))
        .transpose()?;
    let references = match kept.references.as_slice() {
        [] => None,
        references => {
            let json = serde_json::to_vec_pretty(references).context("write reference values")?;
            Some(write(REFERENCES, &json)?)
        }
    };
    let files = FileHashes {
        document,
        certificate,
        collateral,
        references,
    };
    let (outcome, summary) = verdict;
    let verdict = Verdict {
        outcome: outcome.to_owned(),
        summary: summary.to_owned(),
    };
    let manifest = Manifest::new(kept, files, verdict);
    let json = serde_json::to_vec_pretty(&manifest).context("write the manifest")?;
    write(MANIFEST, &json)?;
    Ok(())
}

/// Reads the directory. Nothing of it is verified but the hashes.
///
/// Fails if a file is missing, too large, damaged or malformed.
pub(crate) fn load(directory: &Path) -> anyhow::Result<Kept> {
    let read = |name: &str, limit: u64| {
        let path = directory.join(name);
        let kind = fs::metadata(&path).with_context(|| format!("open {}", path.display()))?;
        ensure!(kind.is_file(), "{} is not a file", path.display());
        files::read(&path, limit)
    };
    let manifest = Manifest::parse(&read(MANIFEST, MAX_MANIFEST)?)?;
    let read = |name: &str, limit: u64, expected: &str| {
        let bytes = read(name, limit)?;
        let actual = hash(&bytes);
        ensure!(
            actual == expected,
            "{name} is damaged: expected SHA-256 {expected}, got {actual}"
        );
        Ok(bytes)
    };
    let files = &manifest.files;
    let document = read(DOCUMENT, MAX_EVIDENCE, &files.document)?;
    let optional = |name: &str, limit: u64, hash: &Option<String>| {
        let hash = hash.as_deref();
        hash.map(|hash| read(name, limit, hash)).transpose()
    };
    let certificate = optional(CERTIFICATE, MAX_CERTIFICATE, &files.certificate)?;
    let collateral = optional(COLLATERAL, MAX_COLLATERAL, &files.collateral)?;
    let collateral = collateral.map(|json| Collateral::parse(&json)).transpose();
    let references = optional(REFERENCES, MAX_VALUES, &files.references)?;
    let references = references.map(|json| expectations::parse(REFERENCES, json));
    let kind = EvidenceKind::from_name(&manifest.attestation_type)
        .with_context(|| format!("{:?} is no kind of evidence", manifest.attestation_type))?;
    Ok(Kept {
        exhibit: Exhibit {
            kind,
            document,
            certificate,
            challenge: manifest.binding.challenge()?,
        },
        collateral: collateral.with_context(|| format!("read {COLLATERAL}"))?,
        references: references.transpose()?.unwrap_or_default(),
        time: manifest.time.parse()?,
        overlooked: manifest.overlooked.parse()?,
        url: manifest.url,
        address: manifest.address,
    })
}

fn hash(bytes: &[u8]) -> String {
    manifest::hex(&Sha256::digest(bytes))
}
