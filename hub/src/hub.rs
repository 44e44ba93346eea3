//! What all requests share.
//!
//! I/O: the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::admin_auth::AdminAuth;
use crate::configuration::Sources;
use crate::database::Database;
use crate::event_log::EventLog;
use crate::limiter::Limiter;
use crate::metrics::Metrics;

/// The hub.
pub(crate) struct Hub {
    /// Where everything is.
    pub(crate) database: Database,
    /// Where events of reads go.
    pub(crate) events: EventLog,
    /// What configurations are made with.
    pub(crate) sources: Sources,
    /// What operators decided.
    pub(crate) settings: Settings,
    /// The admin; `None` if anybody who reaches the listener is.
    pub(crate) admin: Option<AdminAuth>,
    /// How often a node may ask.
    pub(crate) node_limit: Limiter,
    /// How often an address may fail to be the admin.
    pub(crate) admin_limit: Limiter,
    /// Numbers.
    pub(crate) metrics: Metrics,
    /// Whether load balancers should send requests here.
    pub(crate) is_ready: AtomicBool,
}

/// What operators decided.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether the headers of requests to the main listener are a trusted proxy's.
    pub(crate) trusts_headers: bool,
    /// Whether an entry of the whitelist may match everything.
    pub(crate) accepts_any_measurement: bool,
    /// What is asked of registered certificates.
    pub(crate) certificates: CertificatePolicy,
    /// How long a drain waits until load balancers have noticed.
    pub(crate) drain: Duration,
}

/// What is asked of registered certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CertificatePolicy {
    /// Nothing: any text is taken, as existing hubs do.
    Any,
    /// A valid certificate with the builder's names; a proof, if there is one, has to be right.
    Names,
    /// The same, and a proof of possession of its key.
    Proven,
}

impl Hub {
    /// Whether load balancers should send requests here.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::SeqCst)
    }

    /// Says it, and says what was said before.
    pub(crate) fn set_ready(&self, is_ready: bool) -> bool {
        self.is_ready.swap(is_ready, Ordering::SeqCst)
    }
}
