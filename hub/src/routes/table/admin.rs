//! The routes of the admin API.
//!
//! I/O: none.

use super::{AdminAction as Do, Route, admin};
use crate::records::documents::Kind;

/// These routes.
pub(super) static ROUTES: &[Route] = &[
    admin(
        "POST",
        "/api/admin/v1/measurements",
        Do::AddMeasurement,
        "",
        "Adds one, inactive.",
    )
    .takes("Measurement")
    .refuses(&[400]),
    admin(
        "POST",
        "/api/admin/v1/measurements/activation/{measurement_id}",
        Do::ActivateMeasurement,
        "",
        "Lets nodes that match in, or no longer.",
    )
    .takes("Activation")
    .refuses(&[400, 404]),
    // NEW
    admin(
        "GET",
        "/api/admin/v1/measurements",
        Do::ListMeasurements,
        "MeasurementList",
        "All.",
    )
    .refuses(&[400]),
    admin(
        "GET",
        "/api/admin/v1/measurements/{measurement_id}",
        Do::ShowMeasurement,
        "MeasurementEntry",
        "One, and how many nodes run it.",
    )
    .refuses(&[404]),
    admin(
        "DELETE",
        "/api/admin/v1/measurements/{measurement_id}",
        Do::DeleteMeasurement,
        "",
        "Deletes one that is not active.",
    )
    .refuses(&[400, 404]),
    admin(
        "POST",
        "/api/admin/v1/builders",
        Do::AddBuilder,
        "",
        "Adds one, inactive.",
    )
    .takes("Builder")
    .refuses(&[400]),
    admin(
        "POST",
        "/api/admin/v1/builders/activation/{name}",
        Do::ActivateBuilder,
        "",
        "Has a builder served, or no longer; 400 says which keys its configuration lacks.",
    )
    .takes("Activation")
    .refuses(&[400, 404]),
    // NEW
    admin(
        "GET",
        "/api/admin/v1/builders",
        Do::ListBuilders,
        "BuilderList",
        "All.",
    )
    .refuses(&[400]),
    admin(
        "GET",
        "/api/admin/v1/builders/{name}",
        Do::ShowBuilder,
        "BuilderEntry",
        "One.",
    )
    .refuses(&[404]),
    admin(
        "DELETE",
        "/api/admin/v1/builders/{name}",
        Do::DeleteBuilder,
        "",
        "Deletes one that is not active, with its secrets.",
    )
    .refuses(&[400, 404]),
    admin(
        "GET",
        "/api/admin/v1/builders/configuration/{name}/active",
        Do::ActiveConfiguration,
        "Any",
        "The builder's own configuration, as it was set.",
    )
    .refuses(&[404]),
    admin(
        "GET",
        "/api/admin/v1/builders/configuration/{name}/full",
        Do::FullConfiguration,
        "Any",
        "The merged configuration with secrets, complete or not.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/builders/configuration/{name}",
        Do::SetDocument(Kind::Builder),
        "",
        "Sets the builder's own configuration.",
    )
    .takes("Any")
    .refuses(&[400, 404]),
    // NEW
    admin(
        "GET",
        "/api/admin/v1/builders/configuration/{name}/check",
        Do::CheckConfiguration,
        "Check",
        "Whether the merged configuration would be delivered, and what it lacks.",
    )
    .refuses(&[404]),
    admin(
        "GET",
        "/api/admin/v1/builders/configuration/{name}/earlier/{id}",
        Do::EarlierConfiguration,
        "Any",
        "An earlier configuration, by its id in the history.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/builders/secrets/{name}",
        Do::SetDocument(Kind::Secrets),
        "",
        "Sets the builder's secrets.",
    )
    .takes("Any")
    .refuses(&[400, 404]),
    // NEW
    admin(
        "DELETE",
        "/api/admin/v1/builders/secrets/{name}",
        Do::DeleteDocument(Kind::Secrets),
        "",
        "Takes the builder's secrets away.",
    )
    .refuses(&[404]),
    admin(
        "GET",
        "/api/admin/v1/builders/history/{name}",
        Do::DocumentHistory,
        "History",
        "When configurations and secrets were set.",
    )
    .refuses(&[400, 404]),
    admin(
        "GET",
        "/api/admin/v1/builders/credentials/{name}",
        Do::Credentials,
        "Credentials",
        "What the builder registered, the latest first.",
    )
    .refuses(&[400, 404]),
    admin(
        "GET",
        "/api/admin/v1/builders/events/{name}",
        Do::BuilderEvents,
        "Events",
        "What happened to the builder, the latest first.",
    )
    .refuses(&[400]),
    admin(
        "GET",
        "/api/admin/v1/events",
        Do::Events,
        "Events",
        "What happened, the latest first.",
    )
    .refuses(&[400]),
    admin(
        "POST",
        "/api/admin/v1/secrets/rotation",
        Do::RotateSecrets,
        "Rotation",
        "Seals all secrets with the first of the keys for secrets.",
    ),
    admin(
        "GET",
        "/api/admin/v1/defaults/configuration",
        Do::ShowDocument(Kind::Defaults),
        "Any",
        "The layer below all others.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/defaults/configuration",
        Do::SetDocument(Kind::Defaults),
        "",
        "Sets it.",
    )
    .takes("Any")
    .refuses(&[400]),
    admin(
        "DELETE",
        "/api/admin/v1/defaults/configuration",
        Do::DeleteDocument(Kind::Defaults),
        "",
        "Takes it away.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/defaults/secrets",
        Do::SetDocument(Kind::DefaultSecrets),
        "",
        "Sets the secrets of all builders.",
    )
    .takes("Any")
    .refuses(&[400]),
    admin(
        "DELETE",
        "/api/admin/v1/defaults/secrets",
        Do::DeleteDocument(Kind::DefaultSecrets),
        "",
        "Takes them away.",
    )
    .refuses(&[404]),
    admin(
        "GET",
        "/api/admin/v1/networks/{network}/configuration",
        Do::ShowDocument(Kind::Network),
        "Any",
        "The layer of a network, over the defaults.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/networks/{network}/configuration",
        Do::SetDocument(Kind::Network),
        "",
        "Sets it.",
    )
    .takes("Any")
    .refuses(&[400]),
    admin(
        "DELETE",
        "/api/admin/v1/networks/{network}/configuration",
        Do::DeleteDocument(Kind::Network),
        "",
        "Takes it away.",
    )
    .refuses(&[404]),
    admin(
        "GET",
        "/api/admin/v1/networks/{network}/required-keys",
        Do::ShowDocument(Kind::Required),
        "RequiredKeys",
        "The keys without which no configuration of the network is delivered; \
         404 while the hub's default counts.",
    )
    .refuses(&[404]),
    admin(
        "POST",
        "/api/admin/v1/networks/{network}/required-keys",
        Do::SetDocument(Kind::Required),
        "",
        "Sets them.",
    )
    .takes("RequiredKeys")
    .refuses(&[400]),
    admin(
        "DELETE",
        "/api/admin/v1/networks/{network}/required-keys",
        Do::DeleteDocument(Kind::Required),
        "",
        "Lets the hub's default count again.",
    )
    .refuses(&[404]),
];
