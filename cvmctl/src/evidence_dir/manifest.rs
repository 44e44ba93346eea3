//! `manifest.json`, version 1.
//!
//! I/O: none.

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Kept, Overlooked};
use crate::exhibit::Challenge;

const FORMAT: &str = "cvmctl-evidence";
const VERSION: u32 = 1;

/// Longest nonce; aTLS servers answer shorter ones, too.
const MAX_NONCE: usize = 64;

/// The file. A field that is not known is refused: it could change what the others mean.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    version: u32,
    /// What wrote it, for people.
    tool: String,
    pub(super) time: String,
    pub(super) url: Option<String>,
    pub(super) address: Option<String>,
    pub(super) attestation_type: String,
    pub(super) binding: SavedBinding,
    pub(super) overlooked: SavedOverlooked,
    pub(super) files: FileHashes,
    /// For people: never read.
    verdict: Verdict,
}

/// What the evidence is bound to, beside the certificate's key; hex. Says which protocol it was.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "protocol", rename_all = "lowercase")]
pub(super) enum SavedBinding {
    Atls { nonce: String },
    Ratls { exporter: String },
}

/// SHA-256 of each file; none for a file that is not there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileHashes {
    pub(super) document: String,
    pub(super) certificate: Option<String>,
    pub(super) collateral: Option<String>,
    pub(super) references: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedOverlooked {
    accept_tcb_status: Vec<String>,
    override_azurev6_tcbinfo: bool,
    no_expectations: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verdict {
    pub(super) outcome: String,
    pub(super) summary: String,
}

impl Manifest {
    pub(super) fn new(kept: &Kept, files: FileHashes, verdict: Verdict) -> Self {
        let overlooked = &kept.overlooked;
        let accepted = overlooked.accepted.iter();
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            tool: concat!("cvmctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            time: kept.time.to_string(),
            url: kept.url.clone(),
            address: kept.address.clone(),
            attestation_type: kept.exhibit.kind.name().to_owned(),
            binding: match &kept.exhibit.challenge {
                Challenge::Nonce(nonce) => SavedBinding::Atls { nonce: hex(nonce) },
                Challenge::Exporter(exporter) => SavedBinding::Ratls {
                    exporter: hex(exporter),
                },
            },
            overlooked: SavedOverlooked {
                accept_tcb_status: accepted.map(ToString::to_string).collect(),
                override_azurev6_tcbinfo: overlooked.azure_v6_tcb,
                no_expectations: overlooked.expectations,
            },
            files,
            verdict,
        }
    }

    pub(super) fn parse(json: &[u8]) -> anyhow::Result<Self> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Header {
            format: String,
            version: u32,
        }
        let context = "read the manifest";
        let header: Header = serde_json::from_slice(json).context(context)?;
        if (header.format.as_str(), header.version) != (FORMAT, VERSION) {
            let Header { format, version } = header;
            bail!("expected a manifest of {FORMAT} {VERSION}, got {format:?} {version}");
        }
        serde_json::from_slice(json).context(context)
    }
}

impl SavedBinding {
    pub(super) fn challenge(&self) -> anyhow::Result<Challenge> {
        match self {
            Self::Atls { nonce } => {
                let nonce = bytes(nonce).context("read the nonce")?;
                ensure!(
                    nonce.len() <= MAX_NONCE,
                    "the nonce has {} bytes, expected at most {MAX_NONCE}",
                    nonce.len()
                );
                Ok(Challenge::Nonce(nonce))
            }
            Self::Ratls { exporter } => {
                let exporter = bytes(exporter).context("read the exporter")?;
                let actual = exporter.len();
                let exporter = exporter.try_into().ok();
                let wrong = || format!("the exporter has {actual} bytes, expected 32");
                Ok(Challenge::Exporter(exporter.with_context(wrong)?))
            }
        }
    }
}

impl SavedOverlooked {
    pub(super) fn parse(&self) -> anyhow::Result<Overlooked> {
        let accepted = self.accept_tcb_status.iter().map(|name| name.parse());
        Ok(Overlooked {
            accepted: accepted.collect::<Result<_, _>>()?,
            azure_v6_tcb: self.override_azurev6_tcbinfo,
            expectations: self.no_expectations,
        })
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        bail!("expected an even number of hexadecimal digits");
    };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| {
        let value = digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?;
        u8::try_from(value).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.context("expected hexadecimal digits")
}
