//! What a relying party has to be told, to trust a simulated machine: for tests and nobody else.
//!
//! I/O: writes files into the run directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::tee::Tee;

/// Files for a relying party's options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Roots {
    /// The root of processors, in the place of Intel's; PEM.
    pub processor: PathBuf,
    /// Who certifies vTPMs' attestation keys, in the place of Azure's intermediate authorities, which
    /// verifiers know: the vTPM has the key's own certificate only. PEM.
    pub attestation_key: PathBuf,
    /// What Intel would publish about the processor; JSON.
    pub collateral: PathBuf,
}

impl Roots {
    /// Writes the files into `directory`.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write(tee: &Tee, directory: &Path) -> io::Result<Self> {
        let roots = Self {
            processor: directory.join("processor-root.pem"),
            attestation_key: directory.join("attestation-key-root.pem"),
            collateral: directory.join("collateral.json"),
        };
        // The same for all keys; missing only if that is the machine's fault.
        let certificates = tee.ak_certificates(&tee.ak());
        let issuer = certificates.intermediates.into_iter().next();
        let attestation_key = issuer.unwrap_or(certificates.root);
        fs::write(&roots.processor, pem(tee.root()))?;
        fs::write(&roots.attestation_key, pem(&attestation_key))?;
        fs::write(&roots.collateral, tee.collateral().to_json())?;
        Ok(roots)
    }
}

/// A certificate as text, RFC 7468.
fn pem(certificate: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::child::run_tool;
    use crate::needed;

    #[test]
    fn roots_are_certificates_to_openssl() {
        if !needed::programs(&["openssl"]) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let tee = Tee::new(1, SystemTime::now());
        let roots = Roots::write(&tee, directory.path()).unwrap();
        for root in [&roots.processor, &roots.attestation_key] {
            let path = root.to_str().unwrap();
            let verified = run_tool(
                "openssl",
                &["verify", "-partial_chain", "-trusted", path, path],
            )
            .unwrap();
            assert!(String::from_utf8_lossy(&verified).contains("OK"));
        }
        let collateral = fs::read(&roots.collateral).unwrap();
        let collateral: serde_json::Value = serde_json::from_slice(&collateral).unwrap();
        assert!(collateral["tcb_info"].is_string());
    }
}
