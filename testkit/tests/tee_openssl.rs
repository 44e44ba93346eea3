//! Our certificates, revocation lists and AK certificates, judged by `openssl verify`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::child::find_program;
use testkit::tee::ak_certificate::AkCertificateFault;
use testkit::tee::pki::PkiFault;
use testkit::tee::{AkCertificates, Tee};

const NOW: u64 = 1_790_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Whether there is an openssl, the lack of which fails in CI.
fn has_openssl() -> bool {
    let is_there = find_program("openssl").is_some();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "openssl is missing"
    );
    if !is_there {
        eprintln!("skipped: openssl is missing");
    }
    is_there
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// Runs `openssl verify` at our time: leaf first in `chain`, then its issuers.
fn verify(root: &[u8], chain: &str, crls: &[&[u8]]) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, issuers) = chain.split_once(end).ok_or("the chain is empty")?;
    let mut command = Command::new("openssl");
    command
        .args(["verify", "-x509_strict", "-attime", &NOW.to_string()])
        .arg("-CAfile")
        .arg(write("root", pem("CERTIFICATE", root)));
    if !issuers.is_empty() {
        command
            .arg("-untrusted")
            .arg(write("issuers", issuers.to_owned()));
    }
    if !crls.is_empty() {
        let crls: String = crls.iter().map(|der| pem("X509 CRL", der)).collect();
        command
            .args(["-crl_check_all", "-CRLfile"])
            .arg(write("crls", crls));
    }
    outcome(command.arg(write("leaf", format!("{leaf}{end}"))))
}

fn outcome(command: &mut Command) -> Result<(), String> {
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The PCK chain, out of a quote, where it is the last thing.
fn pck_chain(tee: &Tee) -> String {
    let quote = tee.quote(&tee.td_report([0; 64]));
    let text = String::from_utf8_lossy(&quote);
    let start = text.find("-----BEGIN").unwrap();
    text[start..].trim_end_matches('\0').to_owned()
}

/// Both chains with the revocation lists.
fn verify_both(tee: &Tee) -> Result<(), String> {
    let collateral = tee.collateral();
    let crls = [&collateral.root_ca_crl[..], &collateral.pck_crl];
    verify(tee.root(), &pck_chain(tee), &crls)?;
    verify(tee.root(), &collateral.tcb_info_issuer_chain, &crls)
}

fn ak_chain(certificates: &AkCertificates) -> String {
    std::iter::once(&certificates.leaf)
        .filter(|leaf| !leaf.is_empty())
        .chain(&certificates.intermediates)
        .map(|der| pem("CERTIFICATE", der))
        .collect()
}

#[test]
fn valid_chains_and_revocation_lists_verify() {
    if !has_openssl() {
        return;
    }
    let tee = Tee::new(1, now());
    assert_eq!(verify_both(&tee), Ok(()));
    let certificates = tee.ak_certificates(&tee.ak());
    assert_eq!(
        verify(&certificates.root, &ak_chain(&certificates), &[]),
        Ok(())
    );
}

#[test]
fn each_wrong_chain_or_list_is_refused_for_its_reason() {
    if !has_openssl() {
        return;
    }
    for fault in PkiFault::ALL {
        let expected = match fault {
            PkiFault::OtherRoot
            | PkiFault::PckOfOtherRoot
            | PkiFault::TcbSignerOfOtherRoot
            | PkiFault::RootCrlOfOtherKey
            | PkiFault::PckCrlOfOtherKey => {
                "signature failure|self-signed certificate in|unable to get local issuer|unable to get certificate CRL"
            }
            PkiFault::PckRevoked | PkiFault::PlatformCaRevoked | PkiFault::TcbSignerRevoked => {
                "certificate revoked"
            }
            PkiFault::PckExpired | PkiFault::PlatformCaExpired | PkiFault::TcbSignerExpired => {
                "certificate has expired"
            }
            PkiFault::PckNotYetValid => "certificate is not yet valid",
            PkiFault::RootCrlExpired | PkiFault::PckCrlExpired => "CRL has expired",
            PkiFault::PckCrlIsRootCrl => "unable to get certificate CRL",
            PkiFault::PckCrlMissing => "CRL",
            // Rules of SGX, not of X.509.
            PkiFault::PckOfRoot
            | PkiFault::TcbSignerOfPlatformCa
            | PkiFault::PckWithoutSgxExtension
            | PkiFault::PckOfOtherFmspc
            | PkiFault::PckOfOtherPceId => {
                assert_eq!(
                    verify_both(&Tee::with_fault(1, now(), *fault)),
                    Ok(()),
                    "{fault:?}"
                );
                continue;
            }
        };
        let error = verify_both(&Tee::with_fault(1, now(), *fault)).unwrap_err();
        let is_expected = expected.split('|').any(|text| error.contains(text));
        assert!(is_expected, "{fault:?}: expected {expected}, got {error}");
    }
}

#[test]
fn each_wrong_ak_certificate_is_refused_for_its_reason() {
    if !has_openssl() {
        return;
    }
    for fault in AkCertificateFault::ALL {
        let expected = match fault {
            AkCertificateFault::Altered => "signature failure",
            AkCertificateFault::OtherRoot => "unable to get local issuer certificate",
            AkCertificateFault::Expired | AkCertificateFault::IntermediateExpired => "has expired",
            AkCertificateFault::IntermediateMissing => "unable to get local issuer certificate",
            AkCertificateFault::IntermediateIsNoCa => "invalid CA certificate",
            AkCertificateFault::Malformed => "Could not",
            AkCertificateFault::Missing => "the chain is empty",
            // The certificate is valid; it is just another's.
            AkCertificateFault::OtherKey => "",
        };
        let tee = Tee::with_fault(1, now(), *fault);
        let certificates = tee.ak_certificates(&tee.ak());
        let result = verify(&certificates.root, &ak_chain(&certificates), &[]);
        if expected.is_empty() {
            assert_eq!(result, Ok(()), "{fault:?}");
            continue;
        }
        let error = result.unwrap_err();
        assert!(
            error.contains(expected),
            "{fault:?}: expected {expected}, got {error}"
        );
    }
}

#[test]
fn the_ak_in_certificate_pem_and_nv_index_is_one_key() {
    if !has_openssl() {
        return;
    }
    let tee = Tee::new(1, now());
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("certificate");
    let content = tee.ak_certificates(&tee.ak()).nv_content();
    assert_eq!(content.len(), 4096);
    std::fs::write(&certificate, content).unwrap();
    let printed = openssl(
        &certificate,
        &["x509", "-inform", "DER", "-noout", "-pubkey"],
    );
    assert_eq!(printed, tee.ak().to_pem());
    // And the one that names itself restricted.
    let public = tee.ak().tpmt_public();
    assert_eq!(public.len(), 280);
    assert_eq!(public[24..], *tee.ak().modulus());
}

fn openssl(input: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .arg("-in")
        .arg(input)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
