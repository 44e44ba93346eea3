//! The options of `serve`. Names, environment variables and ports are those of existing hubs where
//! these have them.
//!
//! I/O: none.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use crate::hub::CertificatePolicy;
use crate::routes::Listener;

/// Where the data are.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// A file for SQLite, or postgres://USER@HOST/NAME
    #[arg(long, env = "DATABASE", default_value = "builderhub.sqlite")]
    pub(crate) database: String,

    /// The same, as existing hubs call it; counts before --database
    #[arg(long, env = "POSTGRES_DSN", hide_env_values = true)]
    pub(crate) postgres_dsn: Option<String>,

    /// PEM file with the roots that PostgreSQL's certificate must have (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub(crate) postgres_ca: Option<PathBuf>,

    /// Most connections to the database at once
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub(crate) connections: usize,
}

impl DatabaseArguments {
    /// The file or URL. A variable that is empty, as unit files have them, names none.
    pub(crate) fn location(&self) -> &str {
        let dsn = self.postgres_dsn.as_deref();
        let location = dsn.filter(|dsn| !dsn.is_empty());
        let location = location.unwrap_or(&self.database);
        location.strip_prefix("sqlite:").unwrap_or(location)
    }
}

/// Serves nodes and admins.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,

    /// For nodes behind a proxy, health and public routes
    #[arg(
        long,
        env = "LISTEN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS",
        value_parser = crate::options::address
    )]
    pub(crate) listen_addr: SocketAddr,

    /// For the admin API and page
    #[arg(
        long,
        env = "ADMIN_ADDR",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS",
        value_parser = crate::options::address
    )]
    pub(crate) admin_addr: SocketAddr,

    /// For other services of the operator, without authentication
    #[arg(
        long,
        env = "INTERNAL_ADDR",
        default_value = "127.0.0.1:8082",
        value_name = "ADDRESS",
        value_parser = crate::options::address
    )]
    pub(crate) internal_addr: SocketAddr,

    /// For Prometheus
    #[arg(
        long,
        env = "METRICS_ADDR",
        default_value = "127.0.0.1:8090",
        value_name = "ADDRESS",
        value_parser = crate::options::address
    )]
    pub(crate) metrics_addr: SocketAddr,

    #[command(flatten)]
    pub(crate) log: crate::log::LogArguments,

    #[command(flatten)]
    pub(crate) attested: super::attested::AttestedArguments,

    #[command(flatten)]
    pub(crate) mutual: super::mutual::MutualArguments,

    /// How often the files of TLS certificates, keys and authorities are looked at for changes;
    /// SIGHUP has it done at once
    #[arg(
        long,
        default_value_t = 30,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub(crate) tls_reload_seconds: u64,

    #[command(flatten)]
    pub(crate) secret_keys: super::secret_keys::SecretKeyArguments,

    /// Take what a node runs, and where it is, from X-Flashbots-* and X-Forwarded-For of requests to
    /// the main listener: a proxy in front has verified it
    #[arg(long)]
    pub(crate) trust_proxy_headers: bool,

    /// Do so even though not only this machine, and not only who has a certificate, reaches the main listener: whoever does can be any node
    #[arg(long)]
    pub(crate) danger_trust_headers_from_anywhere: bool,

    /// The admin's name
    #[arg(
        long,
        env = "ADMIN_BASIC_USER",
        default_value = "admin",
        value_name = "NAME"
    )]
    pub(crate) admin_basic_user: String,

    /// The bcrypt hash of the admin's password
    #[arg(
        long,
        env = "ADMIN_BASIC_PASSWORD_BCRYPT",
        hide_env_values = true,
        value_name = "HASH"
    )]
    pub(crate) admin_basic_password_bcrypt: Option<String>,

    /// A file with the bcrypt hash of the admin's password
    #[arg(
        long,
        conflicts_with = "admin_basic_password_bcrypt",
        value_name = "FILE"
    )]
    pub(crate) admin_password_file: Option<PathBuf>,

    /// Let everybody be admin; only with a loopback --admin-addr
    #[arg(long, env = "DISABLE_ADMIN_AUTH", value_parser = crate::options::boolish,
        value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true)]
    pub(crate) disable_admin_auth: bool,

    /// Keys required in networks that have no list of their own: buildernet-v1, none, or a JSON file
    #[arg(long, default_value = "buildernet-v1", value_name = "LIST")]
    pub(crate) required_keys: String,

    /// What is asked of registered certificates
    #[arg(long, value_enum, default_value_t = CertificatePolicy::Names, value_name = "POLICY")]
    pub(crate) certificates: CertificatePolicy,

    /// Allow active measurements that name no register, so that every machine matches
    #[arg(long)]
    pub(crate) danger_accept_any_measurement: bool,

    /// How long /drain waits for load balancers to notice
    #[arg(
        long,
        env = "DRAIN_SECONDS",
        default_value_t = 15,
        value_name = "SECONDS"
    )]
    pub(crate) drain_seconds: u64,

    /// Requests of one node's address per minute
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub(crate) node_requests_per_minute: u32,

    /// Wrong admin passwords of one address per minute
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) admin_failures_per_minute: u32,

    /// How long events and ended registrations are kept
    #[arg(long, default_value_t = 365, value_name = "DAYS")]
    pub(crate) retention_days: u64,
}

impl ServeArguments {
    /// Refuses combinations that would let strangers in.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.trust_proxy_headers
                || self.listen_addr.ip().is_loopback()
                || self.mutual.is_on()
                || self.danger_trust_headers_from_anywhere,
            "--trust-proxy-headers needs a loopback --listen-addr, not {}, or client certificates \
             (--listen-client-ca): anybody who reaches it could be any node",
            self.listen_addr
        );
        ensure!(
            !self.disable_admin_auth || self.admin_addr.ip().is_loopback(),
            "--disable-admin-auth needs a loopback --admin-addr, not {}",
            self.admin_addr
        );
        Ok(())
    }

    /// The listeners without attested TLS.
    pub(super) fn listeners(&self) -> [(Listener, SocketAddr); 4] {
        [
            (Listener::Main, self.listen_addr),
            (Listener::Admin, self.admin_addr),
            (Listener::Internal, self.internal_addr),
            (Listener::Metrics, self.metrics_addr),
        ]
    }
}
