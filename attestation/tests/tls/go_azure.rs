//! A Go client that verifies evidence of a machine of Azure with code of its own (`interop/azure.go`),
//! and asks for a URL with Go's HTTP client.

use std::io::Write;
use std::time::{Duration, SystemTime};

use attestation::EvidenceKind;
use attestation::tls::{Acceptor, Nobody};
use rustls::pki_types::UnixTime;
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::tee::azure_document::AzureDocumentFault;
use testkit::tee::quote::QuoteFault;
use testkit::tee::tpm_quote::TpmFault;
use testkit::tee::{Fault, Tee, TeeAttester};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::go::program;
use crate::node::{CLIENT, server};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\ncertificate\n";

fn root_of(tee: &Tee) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(tee.root()).unwrap();
    file
}

/// Runs the program against a server with this machine's evidence; what it prints, or its error.
async fn get(tee: &Tee, root: &Tee, version: &str) -> Result<Value, String> {
    let server = server(Some(tee.attester(EvidenceKind::AzureTdx)), None::<Nobody>);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/cert", listener.local_addr().unwrap());
    let root = root_of(root);
    let mut go = Command::new(program());
    go.args(["get", "-tls", version, "-url", &url, "-root"]);
    let go = go.arg(root.path()).kill_on_drop(true).output();
    let (output, ()) = tokio::join!(go, answer(&listener, &server));
    let output = output.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

async fn answer(listener: &TcpListener, server: &Acceptor<TeeAttester, Nobody>) {
    let (stream, _) = listener.accept().await.unwrap();
    // A client that refuses breaks the handshake off, or says so afterwards.
    let Ok(mut accepted) = server.accept(stream, CLIENT, UnixTime::now()).await else {
        return;
    };
    let mut request = [0; 4096];
    if !matches!(accepted.stream.read(&mut request).await, Ok(1..)) {
        return;
    }
    accepted.stream.write_all(ANSWER).await.unwrap();
    accepted.stream.shutdown().await.unwrap();
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

#[tokio::test]
async fn a_go_client_follows_the_evidence_to_the_root() {
    let tee = Tee::new(1, now());
    for version in ["1.2", "1.3"] {
        let got = get(&tee, &tee, version).await.unwrap();
        assert_eq!(got["version"], format!("TLS {version}"));
        assert_eq!(got["body"], "certificate\n");
        let registers = got["registers"].as_object().unwrap();
        assert_eq!(registers.len(), 24);
        for (index, value) in &tee.pcrs {
            let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(registers[&index.to_string()], value, "PCR {index}");
        }
    }
}

#[tokio::test]
async fn a_go_client_refuses_what_is_wrong() {
    let tee = Tee::new(1, now());
    let other_root = get(&tee, &Tee::new(2, now()), "1.3").await.unwrap_err();
    assert!(
        other_root.contains("do not end at the root"),
        "{other_root}"
    );
    let faults: [(Fault, &str); 5] = [
        (AzureDocumentFault::UnvouchedAk.into(), "not the AK"),
        (
            AzureDocumentFault::InstanceInfoRewritten.into(),
            "another nonce, key or TD quote",
        ),
        (
            TpmFault::OtherNonce.into(),
            "another nonce, key or TD quote",
        ),
        (TpmFault::PcrsSwapped.into(), "other registers"),
        (
            QuoteFault::SignatureOfOtherKey.into(),
            "has not signed the quote",
        ),
    ];
    for (fault, reason) in faults {
        let error = get(&Tee::with_fault(1, now(), fault), &tee, "1.3").await;
        let error = error.expect_err(reason);
        assert!(error.contains(reason), "{fault:?}: {error}");
    }
}
