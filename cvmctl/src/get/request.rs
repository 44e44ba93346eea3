//! The command line of `cvmctl get`, and the request that it stands for.
//!
//! I/O: none.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use attestation::EvidenceKind;
use clap::{Args, ValueEnum};
use hyper::Uri;

use crate::expectations::ExpectationArguments;
use crate::trust::TrustArguments;

/// Asks a node for something, usually its certificate, if it proves that it runs what is expected.
///
/// The node has to prove on this very connection that it is a genuine TDX machine and which image
/// it runs; only then is it asked. Its answer goes to standard output, what was verified and what
/// was not to standard error, so that `cvmctl get … > node.pem` keeps a certificate that can be
/// trusted, or an empty file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArguments {
    /// What to ask for, such as https://192.0.2.1:7936/cert
    #[arg(required_unless_present = "addr", conflicts_with = "addr")]
    url: Option<String>,

    /// The same as URL
    #[arg(long, value_name = "URL")]
    addr: Option<String>,

    /// Write the registers of a genuine machine to this file (JSON), be they as expected or not
    #[arg(long, value_name = "FILE")]
    out_measurements: Option<PathBuf>,

    /// Write the answer to this file instead of standard output; it stays as it was if there is none
    #[arg(long, value_name = "FILE")]
    out_response: Option<PathBuf>,

    /// The one kind of evidence that will do
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    attestation_type: Kind,

    /// How to exchange evidence. auto: by aTLS; by flashbots-ratls/1 if the node has shown none by
    /// aTLS (never if it has, and was refused)
    #[arg(long, value_enum, default_value_t = ProtocolChoice::Auto)]
    protocol: ProtocolChoice,

    /// Give up after so many seconds: of fetching expected values, of waiting for evidence and
    /// verifying it, and of waiting for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// Print one JSON document, with the answer in it unless that goes to a file
    #[arg(long)]
    pub(super) json: bool,

    /// Keep the evidence in this new directory, for `cvmctl verify`
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,

    /// Log what the libraries do, too
    #[arg(long)]
    log_debug: bool,

    #[command(flatten)]
    expectations: ExpectationArguments,

    #[command(flatten)]
    trust: TrustArguments,
}

const EXAMPLES: &str = "\
Examples:
  cvmctl get https://192.0.2.1:7936/cert --image node.vhd > node.pem
  cvmctl get https://192.0.2.1:7936/cert --expected-measurements published.json --json
  cvmctl get https://192.0.2.1:7936/cert --image node.vhd --save evidence > node.pem
  cvmctl verify evidence                         judge it again, without a network

Exit codes:
  0  trusted, and the node has answered
  1  not trusted: evidence refused, another image, or a TCB status that is not accepted
  2  could not tell: unreachable, no evidence, no collateral, nothing to compare with, no answer";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Whatever the node shows; what is expected is of one kind anyway
    Auto,
    /// A TDX machine of Azure, with a vTPM
    AzureTdx,
    /// A bare TDX guest
    DcapTdx,
}

/// How to exchange evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolChoice {
    /// aTLS first
    Auto,
    /// In the node's certificate; what Go tools speak
    Atls,
    /// flashbots-ratls/1: after the handshake; what Rust tools speak
    Ratls,
}

/// What is asked for.
pub(super) struct Request {
    pub(super) node: Node,
    pub(super) kind: Option<EvidenceKind>,
    pub(super) protocol: ProtocolChoice,
    pub(super) timeout: Duration,
    pub(super) out_measurements: Option<PathBuf>,
    pub(super) out_response: Option<PathBuf>,
    pub(super) is_json: bool,
    pub(super) save: Option<PathBuf>,
    pub(super) logs_debug: bool,
    pub(super) expectations: ExpectationArguments,
    pub(super) trust: TrustArguments,
}

/// Where the node is, and what of it is wanted.
pub(super) struct Node {
    pub(super) url: Uri,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl TryFrom<GetArguments> for Request {
    type Error = anyhow::Error;

    fn try_from(arguments: GetArguments) -> anyhow::Result<Self> {
        let address = arguments.url.or(arguments.addr);
        let address = address.context("expected the node's address")?;
        Ok(Self {
            node: Node::parse(&address).with_context(|| format!("read the address {address}"))?,
            kind: match arguments.attestation_type {
                Kind::Auto => None,
                Kind::AzureTdx => Some(EvidenceKind::AzureTdx),
                Kind::DcapTdx => Some(EvidenceKind::DcapTdx),
            },
            protocol: arguments.protocol,
            timeout: Duration::from_secs(arguments.timeout),
            out_measurements: arguments.out_measurements,
            out_response: arguments.out_response,
            is_json: arguments.json,
            save: arguments.save,
            logs_debug: arguments.log_debug,
            expectations: arguments.expectations,
            trust: arguments.trust,
        })
    }
}

impl Node {
    fn parse(address: &str) -> anyhow::Result<Self> {
        let url: Uri = address.parse()?;
        ensure!(
            url.scheme_str() == Some("https"),
            "expected an address such as https://192.0.2.1:7936/cert"
        );
        let authority = url.authority().context("expected a host")?.as_str();
        ensure!(!authority.contains('@'), "expected a host without a user");
        let host = url.host().context("expected a host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: host.to_owned(),
            port: url.port_u16().unwrap_or(443),
            url,
        })
    }
}
