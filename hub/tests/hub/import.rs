//! Taking over an existing hub's database.

use serde_json::json;

use crate::support::{Hub, Kind, LAX, Place, fails, on_both, postgres, run};

on_both!(an_existing_database_is_taken_over);

/// The tables of existing hubs, with a builder of each kind.
const EXISTING: &str = "
CREATE TABLE builders (name varchar(255) PRIMARY KEY, ip_address inet NOT NULL,
    is_active boolean NOT NULL DEFAULT true, network text NOT NULL DEFAULT 'production',
    dns_name text, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(), deprecated_at timestamptz);
CREATE TABLE measurements_whitelist (id serial PRIMARY KEY, name text UNIQUE,
    attestation_type text, measurement jsonb NOT NULL, is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(), deprecated_at timestamptz);
CREATE TABLE service_credential_registrations (id serial PRIMARY KEY,
    builder_name varchar(255) REFERENCES builders (name), service text NOT NULL, tls_cert text,
    ecdsa_pubkey bytea, is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(), deprecated_at timestamptz,
    measurement_id int REFERENCES measurements_whitelist (id), region text DEFAULT '');
CREATE TABLE builder_configs (id serial PRIMARY KEY,
    builder_name varchar(255) REFERENCES builders (name), config jsonb NOT NULL,
    is_active boolean NOT NULL DEFAULT false, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO builders VALUES ('b1', '1.2.3.4', true, 'production', 'b1.example.net', '2024-01-02Z'),
    ('b2', '1.2.3.5', false, 'staging', NULL, '2024-01-03Z');
INSERT INTO measurements_whitelist (name, attestation_type, measurement, is_active) VALUES
    ('m1', 'test', '{\"4\": {\"expected\": \"aa\"}}', true), ('m2', 'test', '{}', false);
INSERT INTO service_credential_registrations
    (builder_name, service, ecdsa_pubkey, is_active, measurement_id, region) VALUES
    ('b1', 'rbuilder', '\\x00000000000000000000000000000000000000AA', true, 1, 'us'),
    ('b1', 'rbuilder', '\\x00000000000000000000000000000000000000BB', false, 1, '');
INSERT INTO builder_configs (builder_name, config, is_active) VALUES
    ('b1', '{\"v\": 1}', false), ('b1', '{\"v\": 2, \"text\": \"q\\\"\"}', true);
";

fn an_existing_database_is_taken_over(kind: Kind) {
    let place = Place::new(kind);
    // On PostgreSQL, in the very database that the hub then uses.
    let from = match kind {
        Kind::Sqlite => postgres::fresh_database(false),
        Kind::Postgres => place.location.clone(),
    };
    postgres::sql(&from, EXISTING);
    let import = ["import", "--from", &from, "--database", &place.location];
    let said = run(&import);
    assert_eq!(
        said,
        "imported 2 measurements, 2 builders, 2 configurations, 2 registrations\n"
    );
    assert!(fails(&import).contains("there are builders or measurements already"));
    let hub = Hub::start(&place, LAX);
    let configuration = hub.node("1.2.3.4", "GET", "configuration", "").ok().json();
    assert_eq!(configuration, json!({"v": 2, "text": "q\""}));
    hub.node("1.2.3.5", "GET", "configuration", "").is(403);
    let address = format!("0x{}aa", "0".repeat(38));
    let peers = hub.node("1.2.3.4", "GET", "builders", "").ok().json();
    assert_eq!(
        peers,
        json!([{"name": "b1", "ip": "1.2.3.4", "dns_name": "b1.example.net",
        "rbuilder": {"ecdsa_pubkey_address": address, "region": "us"}}])
    );
    let builders = hub.admin("GET", "builders", "").ok().json();
    assert_eq!(builders["entries"][0]["created_at"], "2024-01-02T00:00:00Z");
    assert_eq!(builders["entries"][1]["network"], "staging");
    let history = hub.admin("GET", "builders/credentials/b1", "").ok().json();
    assert_eq!(history["entries"][0]["is_active"], false);
    let measurements = hub
        .ask("main", "GET", "/api/l1-builder/v1/measurements")
        .ok()
        .json();
    assert_eq!(measurements.as_array().unwrap().len(), 1);
}
