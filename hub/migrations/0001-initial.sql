-- The words in braces are those for which SQLite and PostgreSQL have no common one.
-- Times are microseconds since 1970 in UTC, booleans 0 or 1, JSON and addresses text: what both
-- databases store and compare in the same way.

CREATE TABLE hub_measurements (
    id {id},
    name TEXT NOT NULL UNIQUE,
    attestation_type TEXT NOT NULL,
    registers TEXT NOT NULL,
    active BIGINT NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX hub_measurements_active ON hub_measurements (attestation_type, id) WHERE active = 1;

CREATE TABLE hub_builders (
    id {id},
    name TEXT NOT NULL UNIQUE,
    ip TEXT NOT NULL,
    dns_name TEXT,
    network TEXT NOT NULL,
    active BIGINT NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
-- Addresses are not unique: a builder is replaced by activating its successor at its address.
CREATE INDEX hub_builders_ip ON hub_builders (ip, id) WHERE active = 1;
CREATE INDEX hub_builders_network ON hub_builders (network, id) WHERE active = 1;

CREATE TABLE hub_credentials (
    id {id},
    builder TEXT NOT NULL REFERENCES hub_builders (name) ON DELETE CASCADE,
    service TEXT NOT NULL,
    tls_cert TEXT,
    ecdsa_address TEXT,
    region TEXT NOT NULL DEFAULT '',
    measurement TEXT,
    is_proven BIGINT NOT NULL DEFAULT 0 CHECK (is_proven IN (0, 1)),
    not_after BIGINT,
    active BIGINT NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    created_at BIGINT NOT NULL,
    deprecated_at BIGINT
);
CREATE UNIQUE INDEX hub_credentials_one_active ON hub_credentials (builder, service)
    WHERE active = 1;
CREATE INDEX hub_credentials_history ON hub_credentials (builder, id);

-- Every JSON document that is set and replaced: defaults, network and builder configurations,
-- secrets (sealed: key_id is the key's), required keys. One of each is active, the rest is history.
CREATE TABLE hub_documents (
    id {id},
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    body {blob} NOT NULL,
    key_id TEXT,
    active BIGINT NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    created_at BIGINT NOT NULL,
    deprecated_at BIGINT
);
CREATE UNIQUE INDEX hub_documents_one_active ON hub_documents (kind, owner) WHERE active = 1;
CREATE INDEX hub_documents_history ON hub_documents (kind, owner, id);

-- What admins and nodes did. Names, not references: it outlives what it speaks of.
CREATE TABLE hub_events (
    id {id},
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    builder TEXT,
    measurement TEXT,
    address TEXT,
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX hub_events_builder ON hub_events (builder, id);
CREATE INDEX hub_events_at ON hub_events (at);

CREATE TABLE hub_contacts (
    builder TEXT PRIMARY KEY REFERENCES hub_builders (name) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    measurement TEXT NOT NULL,
    address TEXT NOT NULL
);
