//! What machine this is, by what its kernel shows.
//!
//! An Azure machine is known by its chassis's asset tag, the same on all of them (Microsoft's "Azure
//! virtual machine asset tag", as cloud-init and afterburn know it). The host writes it: it decides
//! which evidence is made, never what the evidence proves. An Azure machine is asked for Azure's
//! evidence and nothing else: were a broken vTPM a reason to fall back, a host could choose the kind.
//!
//! I/O: sysfs and device nodes below the root.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs};

use attestation::{AttestError, Attester, Attesting, Binding, EvidenceKind};

use crate::azure::{AzureAttester, IMDS, Imds, ImdsError};
use crate::tdx::{self, TdxAttester};
use crate::tpm::{self, Tpm};

/// Where the kernel shows the asset tag.
const ASSET_TAG: &str = "sys/class/dmi/id/chassis_asset_tag";

/// Azure's.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The device of a TDX guest.
const TDX_GUEST: &str = "dev/tdx_guest";

/// Which kind of evidence to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that this machine can make.
    Auto,
    /// This one.
    Kind(EvidenceKind),
}

/// Where things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the paths of devices, sysfs and configfs are below: `/`, but in tests.
    pub root: PathBuf,
    /// Base address of Azure's metadata service.
    pub imds: String,
    /// The vTPM's device or socket; `None` for the kernel's resource manager below the root.
    pub tpm: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root: "/".into(),
            imds: IMDS.into(),
            tpm: None,
        }
    }
}

/// Not the name of a choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, azure-tdx or dcap-tdx, got {actual:?}")]
pub struct ChoiceError {
    actual: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Kind(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let actual = || text.to_owned();
        match text {
            "auto" => Ok(Self::Auto),
            name => EvidenceKind::from_name(name)
                .map(Self::Kind)
                .ok_or_else(|| ChoiceError { actual: actual() }),
        }
    }
}

/// Why there is no attester.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The machine cannot make evidence, as far as can be seen.
    #[error(
        "this machine is no TEE that is known: {} is not Azure's ({asset_tag}), and there is neither {} nor {}",
        asset_tag_path.display(), reports.display(), device.display()
    )]
    NoTee {
        /// Where an Azure machine has Azure's tag.
        asset_tag_path: PathBuf,
        /// What is there.
        asset_tag: String,
        /// Where a TDX machine takes requests.
        reports: PathBuf,
        /// The device of a TDX machine.
        device: PathBuf,
    },
    /// An Azure machine without a vTPM.
    #[error("this is an Azure machine, but it has no vTPM at {}", path.display())]
    NoTpm {
        /// Where it was expected.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The address of the metadata service is none.
    #[error("set up Azure's metadata service")]
    Imds(#[from] ImdsError),
}

/// The attester of the machine that this program runs on.
#[derive(Clone, Debug)]
pub enum PlatformAttester {
    /// On Azure.
    Azure(AzureAttester),
    /// On another TDX machine.
    Tdx(TdxAttester),
}

impl PlatformAttester {
    /// What kind of evidence it makes, always the same.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Self::Azure(_) => EvidenceKind::AzureTdx,
            Self::Tdx(_) => EvidenceKind::DcapTdx,
        }
    }

    /// Does what can be done before the first connection: on Azure, gets the TD quote that all
    /// evidence for aTLS has in common, and the report that it is of; elsewhere nothing. For a
    /// program's start, so that a slow metadata service is not waited for in a handshake.
    ///
    /// # Errors
    ///
    /// [`AttestError`] if the hardware, or the host's service, did not answer as it must. It may be
    /// called again, and [`attest`](Attester::attest) does without it.
    pub async fn prepare(&self) -> Result<(), AttestError> {
        match self {
            Self::Azure(attester) => attester.prepare().await.map_err(AttestError::of),
            Self::Tdx(_) => Ok(()),
        }
    }
}

impl Attester for PlatformAttester {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        match self {
            Self::Azure(attester) => attester.attest(binding),
            Self::Tdx(attester) => attester.attest(binding),
        }
    }
}

/// Finds out what kind of evidence the machine below this root can make.
///
/// # Errors
///
/// [`OpenError::NoTee`], which says what was looked at.
pub fn detect(root: &Path) -> Result<EvidenceKind, OpenError> {
    let asset_tag_path = root.join(ASSET_TAG);
    let asset_tag = match fs::read_to_string(&asset_tag_path) {
        Ok(tag) if tag.trim() == AZURE_ASSET_TAG => return Ok(EvidenceKind::AzureTdx),
        Ok(tag) => format!("{:?}", tag.trim()),
        Err(error) if error.kind() == ErrorKind::NotFound => "it is not there".to_owned(),
        Err(error) => error.to_string(),
    };
    let (reports, device) = (root.join(tdx::REPORTS), root.join(TDX_GUEST));
    if reports.is_dir() || device.exists() {
        return Ok(EvidenceKind::DcapTdx);
    }
    Err(OpenError::NoTee {
        asset_tag_path,
        asset_tag,
        reports,
        device,
    })
}

/// Makes the attester that was chosen. Only looks whether the devices are there: what they answer is
/// seen when evidence is made.
///
/// # Errors
///
/// [`OpenError`].
pub fn open(choice: Choice, settings: &Settings) -> Result<PlatformAttester, OpenError> {
    let kind = match choice {
        Choice::Auto => detect(&settings.root)?,
        Choice::Kind(kind) => kind,
    };
    match kind {
        EvidenceKind::AzureTdx => {
            let default = || settings.root.join(tpm::DEVICE.trim_start_matches('/'));
            let path = settings.tpm.clone().unwrap_or_else(default);
            fs::metadata(&path).map_err(|source| OpenError::NoTpm {
                path: path.clone(),
                source,
            })?;
            let imds = Imds::new(&settings.imds)?;
            let attester = AzureAttester::new(Tpm::new(path), imds);
            Ok(PlatformAttester::Azure(attester))
        }
        EvidenceKind::DcapTdx => {
            let attester = TdxAttester::new(&settings.root);
            Ok(PlatformAttester::Tdx(attester))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Settings) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let settings = Settings {
            root: root.path().into(),
            ..Settings::default()
        };
        (root, settings)
    }

    const AZURE: (&str, &str) = (ASSET_TAG, "7783-7084-3265-9085-8269-3286-77\n");

    #[test]
    fn machines_are_told_apart() {
        let kind = |files: &[(&str, &str)]| detect(root(files).0.path()).ok();
        let (azure, tdx) = (Some(EvidenceKind::AzureTdx), Some(EvidenceKind::DcapTdx));
        let reports = format!("{}/x", tdx::REPORTS);
        let other = (ASSET_TAG, "7783-7084-3265-9085-8269-3286-78\n");
        assert_eq!(kind(&[AZURE]), azure);
        assert_eq!(kind(&[AZURE, (TDX_GUEST, "")]), azure);
        assert_eq!(kind(&[(TDX_GUEST, "")]), tdx);
        assert_eq!(kind(&[other, (&reports, "")]), tdx);
        assert_eq!(kind(&[other]), None);
        assert_eq!(kind(&[]), None);
    }

    #[test]
    fn what_was_looked_at_is_said() {
        let (directory, settings) = root(&[(ASSET_TAG, "Chassis\n")]);
        let error = open(Choice::Auto, &settings).unwrap_err();
        let path = directory.path().display();
        let expected = format!(
            "this machine is no TEE that is known: {path}/sys/class/dmi/id/chassis_asset_tag is not \
             Azure's (\"Chassis\"), and there is neither {path}/sys/kernel/config/tsm/report nor \
             {path}/dev/tdx_guest"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_azure_machine_without_vtpm_is_nothing_else() {
        let (_directory, settings) = root(&[AZURE, (TDX_GUEST, "")]);
        let error = open(Choice::Auto, &settings).unwrap_err();
        assert!(matches!(error, OpenError::NoTpm { .. }), "{error}");
    }

    #[test]
    fn what_is_chosen_is_opened() {
        let (_directory, mut settings) = root(&[("dev/tpmrm0", "")]);
        for (choice, kind) in [
            ("azure-tdx", EvidenceKind::AzureTdx),
            ("dcap-tdx", EvidenceKind::DcapTdx),
        ] {
            let attester = open(choice.parse().unwrap(), &settings).unwrap();
            assert_eq!(attester.kind(), kind);
        }
        settings.tpm = Some("/surely/not/a/tpm".into());
        let azure = Choice::Kind(EvidenceKind::AzureTdx);
        let error = open(azure, &settings).unwrap_err();
        assert!(matches!(error, OpenError::NoTpm { .. }), "{error}");
        settings.tpm = None;
        settings.imds = "https://elsewhere".into();
        assert!(matches!(open(azure, &settings), Err(OpenError::Imds(_))));
    }

    #[test]
    fn choices_have_names() {
        for name in ["auto", "azure-tdx", "dcap-tdx"] {
            assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
        }
        let error = "sev-snp".parse::<Choice>().unwrap_err();
        let expected = "expected auto, azure-tdx or dcap-tdx, got \"sev-snp\"";
        assert_eq!(error.to_string(), expected);
    }
}
