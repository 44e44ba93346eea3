//! What the hub can do to a node, and whoever is on the way to it.
//!
//! I/O: none.

use super::{Group, Row, first, row};
use crate::fault_test::fault::Fault;
use crate::scripted::hub::Wrong;
use crate::scripted::node::Leads;

pub(super) const ROWS: &[Row] = &[
    row(
        Group::Answers,
        "hub-error",
        "hub: 500",
        Fault::Answer(Wrong::Refusal(500, "the database is away")),
        &["the hub answers 500 Internal Server Error: the database is away"],
    ),
    row(
        Group::Answers,
        "hub-page",
        "hub: 503 without a reason",
        Fault::Answer(Wrong::Status(503)),
        &["the hub answers 503 Service Unavailable: 0 bytes that are no reason"],
    ),
    first(row(
        Group::Answers,
        "hub-refuses",
        "hub: 403",
        Fault::Answer(Wrong::Status(403)),
        &["the hub does not let this node in (403)"],
    )),
    row(
        Group::Answers,
        "hub-knows-no-path",
        "hub: 404",
        Fault::Answer(Wrong::Refusal(404, "there is no such path")),
        &["the hub answers 404 Not Found: there is no such path"],
    ),
    row(
        Group::Answers,
        "garbage",
        "configuration: no JSON",
        Fault::Answer(Wrong::Body("<html>Sign in</html>")),
        &["the configuration is not JSON: line 1, column 1"],
    ),
    row(
        Group::Answers,
        "list",
        "configuration: JSON, but no object",
        Fault::Answer(Wrong::Body("[]")),
        &["the configuration is no JSON object"],
    ),
    first(row(
        Group::Answers,
        "empty",
        "configuration: `{}`",
        Fault::Answer(Wrong::Body("{}")),
        &["cannot be used: disk_encryption.key is missing, dns_name is missing"],
    )),
    row(
        Group::Answers,
        "key-missing",
        "configuration: a required key is missing",
        Fault::Answer(Wrong::Without("dns_name")),
        &["cannot be used: dns_name is missing"],
    ),
    row(
        Group::Answers,
        "wrong-type",
        "configuration: a required key is of another kind",
        Fault::Answer(Wrong::Number("public_ip")),
        &["cannot be used: public_ip is not an IP address"],
    ),
    row(
        Group::Answers,
        "huge",
        "configuration: more than 1 MiB",
        Fault::Answer(Wrong::Huge),
        &["read the hub's answer: length limit exceeded"],
    ),
    row(
        Group::Answers,
        "cut-off",
        "configuration: ends in the middle",
        Fault::Answer(Wrong::CutOff),
        &["read the hub's answer"],
    ),
    row(
        Group::Answers,
        "hub-hangs",
        "hub: takes the request and does not answer",
        Fault::Answer(Wrong::Never),
        &["no answer from the hub: no answer within 60s"],
    ),
    first(row(
        Group::Ways,
        "hub-closed",
        "hub: connections are closed at once",
        Fault::Closed,
        &["establish a connection with hub.sim.test:443"],
    )),
    row(
        Group::Ways,
        "way-cut",
        "connections break off in the handshake",
        Fault::Cut,
        &["establish a connection with hub.sim.test:443"],
    ),
    row(
        Group::Ways,
        "hub-silent",
        "hub: connections are taken, and nothing is said",
        Fault::Silent,
        &[
            "establish a connection with hub.sim.test:443",
            "the handshake took longer than 60s",
        ],
    ),
    row(
        Group::Ways,
        "no-tls",
        "who answers speaks no TLS",
        Fault::Noise,
        &[
            "establish a connection with hub.sim.test:443",
            "the TLS handshake failed",
        ],
    ),
    row(
        Group::Ways,
        "other-authority",
        "the hub's certificate is from an authority that is not in the image",
        Fault::Stranger,
        &["the server's certificate was refused"],
    ),
    row(
        Group::Ways,
        "other-machine",
        "the hub's name leads to another machine",
        Fault::Name(Leads::Other),
        &["the server's certificate was refused", "not valid for name"],
    ),
    first(row(
        Group::Ways,
        "no-such-name",
        "the hub's name does not exist",
        Fault::Name(Leads::Nowhere),
        &["find the address of hub.sim.test:443"],
    )),
    row(
        Group::Ways,
        "nobody-there",
        "nobody listens at the hub's address",
        Fault::Name(Leads::Nobody),
        &["connect to hub.sim.test:443: Connection refused"],
    ),
    row(
        Group::Registration,
        "registration-error",
        "hub: 500 to the registration",
        Fault::Registration(Wrong::Status(500)),
        &["register the certificate: the hub answers 500 Internal Server Error"],
    ),
    row(
        Group::Registration,
        "registration-refused",
        "hub: refuses the certificate",
        Fault::Registration(Wrong::Refusal(400, "none of its names is the builder's")),
        &["the hub answers 400 Bad Request: none of its names is the builder's"],
    ),
];
