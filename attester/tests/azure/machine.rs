//! A machine of Azure, as far as evidence goes.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use attestation::{Binding, Collateral, Evidence, TrustRoots, Verified, Verifier, VerifyError};
use attester::azure::Imds;
use attester::tpm::Tpm;
use attester::{AzureAttester, Patience};
use tempfile::TempDir;
use testkit::azure::imds::Imds as Service;
use testkit::azure::vtpm::Vtpm;
use testkit::needed;
use testkit::tee::Tee;

type Between = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

pub(crate) struct Machine {
    pub(crate) tee: Tee,
    pub(crate) vtpm: Vtpm,
    pub(crate) imds: Service,
    pub(crate) tpm: testkit::tpm::Tpm,
    between: Arc<Mutex<Between>>,
    directory: TempDir,
}

/// Little enough for a test to wait for its end, enough for a busy machine.
pub(crate) const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(20),
    tries: 4,
    pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(20),
};

pub(crate) const IMPATIENCE: Patience = Patience {
    limit: Duration::from_millis(300),
    tries: 2,
    ..PATIENCE
};

impl Machine {
    /// `None` if there is no software TPM, which in CI is a failure.
    pub(crate) fn start() -> Option<Self> {
        if !needed::programs(&["swtpm"]) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let tpm = testkit::tpm::Tpm::start(&directory.path().join("state"), directory.path());
        let tpm = tpm.unwrap();
        tpm.power_on().unwrap();
        let tee = Tee::new(1, SystemTime::now());
        let machine = Self {
            vtpm: Vtpm::provision(&tpm, &tee).unwrap(),
            imds: Service::start(tee.clone(), "builder-0", []).unwrap(),
            between: Arc::new(Mutex::new(Box::new(|_| None))),
            tee,
            tpm,
            directory,
        };
        let between = Arc::clone(&machine.between);
        let hook = move |command: &[u8]| (between.lock().unwrap())(command);
        machine.vtpm.listen(&machine.socket(), hook).unwrap();
        Some(machine)
    }

    /// What comes between the attester and the TPM from now on.
    pub(crate) fn between(&self, hook: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
        *self.between.lock().unwrap() = Box::new(hook);
    }

    /// Listens anew: for a vTPM that was changed, and with this between.
    pub(crate) fn listen(&self, hook: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) {
        self.vtpm.listen(&self.socket(), hook).unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("commands.sock")
    }

    pub(crate) fn attester(&self) -> AzureAttester {
        self.attester_with(PATIENCE, PATIENCE)
    }

    pub(crate) fn attester_with(&self, tpm: Patience, imds: Patience) -> AzureAttester {
        let service = Imds::new(&self.imds.url()).unwrap().with_patience(imds);
        AzureAttester::new(Tpm::new(self.socket()).with_patience(tpm), service)
    }

    pub(crate) fn verify(
        &self,
        evidence: &Evidence,
        binding: &Binding,
    ) -> Result<Verified, VerifyError> {
        // The vTPM has the AK's own certificate only: its issuer stands in for the root.
        let issuers = self
            .tee
            .ak_certificates(&self.vtpm.machine().ak)
            .intermediates;
        let roots = TrustRoots::danger_trust_instead(self.tee.root().to_vec(), issuers);
        let json = self.tee.collateral().to_json();
        let collateral = Collateral::parse(json.as_bytes()).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Verifier::new(roots).verify(evidence, &collateral, binding, now.unwrap().as_secs())
    }
}

pub(crate) fn atls(nonce: &[u8]) -> Binding {
    Binding::atls_user_data([1; 32], nonce)
}

/// The whole chain of an error, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
