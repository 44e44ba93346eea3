//! The routes.
//!
//! Those without a `NEW` before them are of existing hubs, to the letter.
//!
//! I/O: none.

mod admin;
mod open;

use crate::records::documents::Kind;

/// A route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// With which method.
    pub(crate) method: &'static str,
    /// Where; a segment in braces is any one.
    pub(crate) path: &'static str,
    /// At which listeners.
    pub(crate) listeners: &'static [Listener],
    /// For whom.
    pub(crate) auth: Auth,
    /// What answers.
    pub(crate) action: Action,
    /// What for, for people.
    pub(crate) summary: &'static str,
    /// The schema of the request's body, see `openapi-schemas.json`.
    pub(crate) takes: Option<&'static str>,
    /// The schema of the body of a 200, empty if it has none.
    pub(crate) gives: &'static str,
    /// What it answers besides 200 and what all routes of its kind may answer.
    pub(crate) refuses: &'static [u16],
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// For nodes behind a proxy, and for everybody.
    Main,
    /// For nodes, with attested TLS.
    Attested,
    /// For admins.
    Admin,
    /// For other services of the operator.
    Internal,
    /// For Prometheus.
    Metrics,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Anybody.
    None,
    /// An active builder that runs an active measurement.
    Node,
    /// The admin.
    Admin,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Live,
    Ready,
    Drain,
    Undrain,
    Metrics,
    OpenApi,
    Measurements,
    ProductionPeers,
    NetworkPeers,
    Configuration,
    Peers,
    Challenge,
    Register,
    Page,
    Style,
    Admin(AdminAction),
}

/// What answers an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminAction {
    ListMeasurements,
    ShowMeasurement,
    AddMeasurement,
    ActivateMeasurement,
    DeleteMeasurement,
    ListBuilders,
    ShowBuilder,
    AddBuilder,
    ActivateBuilder,
    DeleteBuilder,
    ActiveConfiguration,
    FullConfiguration,
    EarlierConfiguration,
    CheckConfiguration,
    DocumentHistory,
    Credentials,
    BuilderEvents,
    Events,
    RotateSecrets,
    ShowDocument(Kind),
    SetDocument(Kind),
    DeleteDocument(Kind),
}

impl Action {
    /// Whether the answer depends on the database.
    pub(crate) fn asks_database(self) -> bool {
        match self {
            Self::Live | Self::Ready | Self::Drain | Self::Undrain => false,
            Self::Metrics | Self::OpenApi | Self::Style => false,
            Self::Measurements | Self::ProductionPeers | Self::NetworkPeers => true,
            Self::Configuration | Self::Peers | Self::Challenge | Self::Register => true,
            Self::Page | Self::Admin(_) => true,
        }
    }
}

const MAIN: &[Listener] = &[Listener::Main];
const NODES: &[Listener] = &[Listener::Main, Listener::Attested];
const INTERNAL: &[Listener] = &[Listener::Internal];
const ADMIN: &[Listener] = &[Listener::Admin];

const fn public(
    method: &'static str,
    path: &'static str,
    listeners: &'static [Listener],
    action: Action,
    gives: &'static str,
    summary: &'static str,
) -> Route {
    let (auth, takes, refuses) = (Auth::None, None, &[]);
    Route {
        method,
        path,
        listeners,
        auth,
        action,
        summary,
        takes,
        gives,
        refuses,
    }
}

const fn node(
    method: &'static str,
    path: &'static str,
    action: Action,
    gives: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        auth: Auth::Node,
        ..public(method, path, NODES, action, gives, summary)
    }
}

const fn admin(
    method: &'static str,
    path: &'static str,
    action: AdminAction,
    gives: &'static str,
    summary: &'static str,
) -> Route {
    let route = public(method, path, ADMIN, Action::Admin(action), gives, summary);
    Route {
        auth: Auth::Admin,
        ..route
    }
}

impl Route {
    const fn takes(self, schema: &'static str) -> Self {
        Self {
            takes: Some(schema),
            ..self
        }
    }

    const fn refuses(self, statuses: &'static [u16]) -> Self {
        Self {
            refuses: statuses,
            ..self
        }
    }
}

/// All routes.
pub(crate) fn routes() -> impl Iterator<Item = &'static Route> {
    open::ROUTES.iter().chain(admin::ROUTES)
}
