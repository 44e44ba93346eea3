//! The command lines of both proxies: those of the tools that they replace, and more.
//!
//! I/O: none.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use attested_http::Target;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::trust::TrustArguments;

/// Proves to clients what this machine runs, and passes their requests on to an HTTP server.
///
/// Serves both protocols on one port, aTLS and flashbots-ratls/1, and ordinary TLS to everybody else
/// (`curl --insecure`), with HTTP/1.1 and HTTP/2. With --client-measurements, nobody is let through
/// who does not prove to run one of these images, and requests say in X-Flashbots-Attestation-Type and
/// X-Flashbots-Measurement what was proven.
#[derive(Debug, Args)]
#[command(after_help = SERVER_HELP)]
pub(super) struct ServerArguments {
    /// Where to listen for attested connections
    #[arg(
        long,
        env = "LISTEN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT"
    )]
    pub(super) listen_addr: String,

    /// Where to answer health checks: any path, 200
    #[arg(
        long,
        env = "LISTEN_ADDR_HEALTHCHECK",
        default_value = "",
        hide_default_value = true,
        value_name = "ADDRESS:PORT"
    )]
    pub(super) listen_addr_healthcheck: String,

    /// The HTTP server behind this proxy; the name of an https one is verified
    #[arg(
        long,
        env = "TARGET_ADDR",
        default_value = "https://localhost:80",
        value_name = "URL"
    )]
    pub(super) target_addr: Target,

    /// What this machine is. auto finds out and fails if it is neither; none proves nothing
    #[arg(long, env = "SERVER_ATTESTATION_TYPE", value_enum, default_value_t = AttestationChoice::Auto, value_name = "TYPE")]
    pub(super) server_attestation_type: AttestationChoice,

    /// The server's certificate and its issuers, PEM; only with --server-attestation-type=none
    #[arg(
        long,
        env = "TLS_CERTIFICATE_PATH",
        value_name = "FILE",
        requires = "tls_private_key_path"
    )]
    pub(super) tls_certificate_path: Option<PathBuf>,

    /// The key of that certificate, PEM
    #[arg(
        long,
        env = "TLS_PRIVATE_KEY_PATH",
        value_name = "FILE",
        requires = "tls_certificate_path"
    )]
    pub(super) tls_private_key_path: Option<PathBuf>,

    /// Let only clients through that prove to run one of these images (JSON)
    #[arg(long, env = "CLIENT_MEASUREMENTS", value_name = "FILE")]
    pub(super) client_measurements: Option<PathBuf>,

    /// Without effect: the measurements say which types of clients are let through
    #[arg(
        long,
        env = "CLIENT_ATTESTATION_TYPE",
        hide = true,
        value_name = "TYPE"
    )]
    pub(super) client_attestation_type: Option<String>,

    #[command(flatten)]
    pub(super) machine: MachineArguments,

    #[command(flatten)]
    pub(super) log: ServerLogArguments,

    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

/// Takes plain HTTP requests of this machine, and sends them to an attested server.
///
/// With --server-measurements the server must prove on every connection that it runs one of these
/// images, and answers say in X-Flashbots-Attestation-Type and X-Flashbots-Measurement what it has
/// proven. With --verify-tls it must have the name in --target-addr. Speaks HTTP/1.1 and, to who
/// knows beforehand, HTTP/2.
#[derive(Debug, Args)]
#[command(after_help = CLIENT_HELP)]
pub(super) struct ClientArguments {
    /// Where to listen for plain HTTP. Whoever reaches it acts as this machine
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub(super) listen_addr: String,

    /// Where to answer health checks: any path, 200
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "ADDRESS:PORT"
    )]
    pub(super) listen_addr_healthcheck: String,

    /// The attested server
    #[arg(long, default_value = "https://localhost:80", value_name = "URL")]
    pub(super) target_addr: Target,

    /// How to exchange evidence with it
    #[arg(long, value_enum, default_value_t = ProtocolChoice::Atls)]
    pub(super) protocol: ProtocolChoice,

    /// The server must prove to run one of these images (JSON)
    #[arg(long, value_name = "FILE")]
    pub(super) server_measurements: Option<PathBuf>,

    /// The server must have a certificate for its name; together with measurements only with
    /// --protocol=ratls
    #[arg(long)]
    pub(super) verify_tls: bool,

    /// Who vouches for the server's name (PEM), instead of the system's authorities
    #[arg(long, requires = "verify_tls", value_name = "FILE")]
    pub(super) tls_ca_certificate: Option<PathBuf>,

    /// What this machine is, for servers that ask. auto finds out and fails if it is neither
    #[arg(long, value_enum, default_value_t = AttestationChoice::None, value_name = "TYPE")]
    pub(super) client_attestation_type: AttestationChoice,

    /// Without effect: the measurements say which types of servers are trusted
    #[arg(long, hide = true, value_name = "TYPE")]
    pub(super) server_attestation_type: Option<String>,

    #[command(flatten)]
    pub(super) machine: MachineArguments,

    #[command(flatten)]
    pub(super) log: ClientLogArguments,

    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

/// How this machine's evidence is made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Own evidence")]
pub(super) struct MachineArguments {
    /// The vTPM of azure-tdx, a device or a socket [default: /dev/tpmrm0]
    #[arg(long, value_name = "PATH")]
    pub(super) tpm: Option<PathBuf>,

    /// The metadata service of azure-tdx, which makes TD quotes
    #[arg(long, value_name = "URL", default_value = attester::azure::IMDS)]
    pub(super) imds: String,

    /// Write the TD quotes that are sent and received to quotes/ (for debugging; 1,000 at most)
    #[arg(long, env = "LOG_DCAP_QUOTE", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub(super) log_dcap_quote: bool,

    /// Refused: evidence of a dummy proves nothing
    #[arg(long, env = "DEV_DUMMY_DCAP", hide = true, value_name = "URL")]
    pub(super) dev_dummy_dcap: Option<String>,
}

/// How a server's proxy logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct ServerLogArguments {
    /// Log in JSON
    #[arg(long, env = "LOG_JSON", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub(super) log_json: bool,

    /// Log every request and every failed handshake, with which strangers can fill the log
    #[arg(long, env = "LOG_DEBUG", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub(super) log_debug: bool,
}

/// How a client's proxy logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct ClientLogArguments {
    /// Log in JSON
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub(super) log_json: bool,

    /// Log every request
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub(super) log_debug: bool,
}

/// What this machine proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AttestationChoice {
    /// Whatever it is; an error if it is neither
    Auto,
    /// A TDX machine of Azure, with a vTPM
    AzureTdx,
    /// A bare TDX guest
    DcapTdx,
    /// Nothing
    None,
    /// Refused
    #[value(hide = true)]
    Dummy,
}

/// How to exchange evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolChoice {
    /// In certificates; what Go tools speak
    Atls,
    /// flashbots-ratls/1: after the handshake; what Rust tools speak
    Ratls,
}

const SERVER_HELP: &str = "\
Examples:
  cvmctl proxy server --listen-addr 0.0.0.0:7936 --target-addr http://localhost:14727
  cvmctl proxy server --server-attestation-type none --client-measurements clients.json \\
      --tls-certificate-path hub.pem --tls-private-key-path hub.key --target-addr http://localhost:8080

Unlike the proxy of the same flags: requests under way are finished after SIGTERM or SIGINT, within
30 s; handshakes, idle and stalled connections have an end; connections and evidence are bounded,
fairly; the same evidence is never accepted for another connection; PCRs are those of the quote that
was verified; a refused header ends the request; measurements of no image are an error; auto never
falls back to proving nothing; --log-debug is off. A second signal ends at once.";

const CLIENT_HELP: &str = "\
Examples:
  cvmctl proxy client --target-addr https://192.0.2.1:7936 --server-measurements published.json
  cvmctl proxy client --listen-addr localhost:7937 --target-addr https://hub.example \\
      --verify-tls --client-attestation-type azure-tdx

Unlike the proxy of the same flags: one of --server-measurements and --verify-tls is needed, since a
server that proves nothing may be anybody; each connection has a nonce of its own; connections are
kept and shared (HTTP/2 where the server speaks it) and made anew with growing pauses, of at most
30 s, in which requests fail at once; SIGTERM and SIGINT let requests under way end, within 30 s;
--log-debug is off. A server that is not trusted is a 502 that says why.";

impl MachineArguments {
    fn check(&self, own: AttestationChoice) -> anyhow::Result<()> {
        let is_dummy = self.dev_dummy_dcap.is_some() || own == AttestationChoice::Dummy;
        ensure!(
            !is_dummy,
            "--dev-dummy-dcap and the attestation type dummy are not supported: quotes of a dummy \
             prove nothing, and no verifier that can be trusted accepts them; use the type none, \
             or a simulated machine and --danger-trust-root on the other side"
        );
        Ok(())
    }
}

impl ServerArguments {
    /// Checks what goes together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.machine.check(self.server_attestation_type)?;
        ensure!(
            self.tls_certificate_path.is_none()
                || self.server_attestation_type == AttestationChoice::None,
            "--tls-certificate-path needs --server-attestation-type=none: an attesting server \
             has certificates of its own"
        );
        Ok(())
    }
}

impl ClientArguments {
    /// Checks what goes together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.machine.check(self.client_attestation_type)?;
        ensure!(
            self.target_addr.is_https(),
            "expected an https address in --target-addr: plain HTTP proves nothing"
        );
        match (&self.server_measurements, self.verify_tls, self.protocol) {
            (None, false, _) => bail!(
                "what the server has to be is not said: add --server-measurements FILE for a \
                 server that attests, or --verify-tls for one with a name"
            ),
            (Some(_), true, ProtocolChoice::Atls) => bail!(
                "--verify-tls does not go with --server-measurements: in aTLS the nonce is where \
                 the name would be; --protocol=ratls checks both"
            ),
            _ => Ok(()),
        }
    }
}
