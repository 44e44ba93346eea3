//! A machine of Azure made of a test TEE.

use std::fs;
use std::io::Write;
use std::time::SystemTime;

use tempfile::{NamedTempFile, TempDir};
use testkit::azure::imds::Imds;
use testkit::azure::vtpm::Vtpm;
use testkit::tee::Tee;
use testkit::tpm::Tpm;

use crate::node::Node;

/// What Azure writes on its chassis.
const ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77\n";

/// A TPM, a metadata service, and files below which `/sys` is.
pub(crate) struct Machine {
    pub(crate) tee: Tee,
    pub(crate) imds: Imds,
    pub(crate) vtpm: Vtpm,
    pub(crate) tpm: Tpm,
    files: TempDir,
}

impl Machine {
    /// `None` where there is no software TPM, which in CI is a failure.
    pub(crate) fn start() -> Option<Self> {
        Self::of(Tee::new(1, SystemTime::now()))
    }

    pub(crate) fn of(tee: Tee) -> Option<Self> {
        if !testkit::needed::programs(&["swtpm", "curl"]) {
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        let dmi = files.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("chassis_asset_tag"), ASSET_TAG).unwrap();
        let tpm = Tpm::start(&files.path().join("state"), files.path()).unwrap();
        tpm.power_on().unwrap();
        let vtpm = Vtpm::provision(&tpm, &tee).unwrap();
        vtpm.listen(&files.path().join("tpmrm0"), |_| None).unwrap();
        let imds = Imds::start(tee.clone(), "node", []).unwrap();
        Some(Self {
            tee,
            imds,
            vtpm,
            tpm,
            files,
        })
    }

    /// A node on this machine.
    pub(crate) async fn node(&self, drop_in: &str) -> Node {
        let path = |name: &str| self.files.path().join(name).to_str().unwrap().to_owned();
        let (root, tpm, imds) = (path(""), path("tpmrm0"), self.imds.url());
        let options = ["--root", &root, "--tpm", &tpm, "--imds", &imds];
        Node::start(&options, drop_in).await
    }

    /// Who has issued the AK's certificate, DER. The vTPM has no certificate above that.
    pub(crate) fn ak_root(&self) -> Vec<u8> {
        let mut certificates = self.tee.ak_certificates(&self.vtpm.machine().ak);
        certificates.intermediates.remove(0)
    }

    /// The root at which quotes of this machine end, as a file.
    pub(crate) fn root(&self) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(self.tee.root()).unwrap();
        file
    }
}
