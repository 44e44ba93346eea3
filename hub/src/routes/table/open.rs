//! The routes of nodes and of everybody, and the admins' page.
//!
//! I/O: none.

use super::{ADMIN, Action, Auth, INTERNAL, Listener, MAIN, Route, node, public};

/// These routes.
pub(super) static ROUTES: &[Route] = &[
    public(
        "GET",
        "/livez",
        MAIN,
        Action::Live,
        "",
        "Whether the hub runs.",
    ),
    public(
        "GET",
        "/readyz",
        MAIN,
        Action::Ready,
        "",
        "Whether it wants requests; 503 if drained.",
    )
    .refuses(&[503]),
    public(
        "GET",
        "/drain",
        MAIN,
        Action::Drain,
        "",
        "Drains; answers when load balancers noticed.",
    ),
    public(
        "GET",
        "/undrain",
        MAIN,
        Action::Undrain,
        "",
        "Ends the drain.",
    ),
    // NEW
    public(
        "GET",
        "/openapi.json",
        &[Listener::Main, Listener::Attested, Listener::Internal],
        Action::OpenApi,
        "Any",
        "This document.",
    ),
    public(
        "GET",
        "/metrics",
        &[Listener::Metrics],
        Action::Metrics,
        "text",
        "Numbers for Prometheus.",
    ),
    public(
        "GET",
        "/api/l1-builder/v1/measurements",
        &[Listener::Main, Listener::Attested, Listener::Internal],
        Action::Measurements,
        "Measurements",
        "All active measurements.",
    ),
    public(
        "GET",
        "/api/internal/l1-builder/v1/builders",
        INTERNAL,
        Action::ProductionPeers,
        "Peers",
        "The active builders of network production.",
    ),
    public(
        "GET",
        "/api/internal/l1-builder/v2/network/{network}/builders",
        INTERNAL,
        Action::NetworkPeers,
        "Peers",
        "The active builders of a network.",
    ),
    node(
        "GET",
        "/api/l1-builder/v1/configuration",
        Action::Configuration,
        "Any",
        "The node's configuration with its secrets; 409 while keys are missing.",
    )
    .refuses(&[409]),
    node(
        "GET",
        "/api/l1-builder/v1/builders",
        Action::Peers,
        "Peers",
        "The active builders of the node's network, itself among them.",
    ),
    // NEW
    node(
        "GET",
        "/api/l1-builder/v1/registration_challenge",
        Action::Challenge,
        "Challenge",
        "What a node signs with a certificate's key to prove that it has it.",
    ),
    node(
        "POST",
        "/api/l1-builder/v1/register_credentials/{service}",
        Action::Register,
        "",
        "Registers a service's credentials, in place of its former ones.",
    )
    .takes("Registration")
    .refuses(&[400]),
    // NEW
    Route {
        auth: Auth::Admin,
        ..public("GET", "/", ADMIN, Action::Page, "html", "An overview.")
    },
    public(
        "GET",
        "/style.css",
        ADMIN,
        Action::Style,
        "css",
        "How the overview looks.",
    ),
];
