//! What the host can do to a node, what the node proves with, and a hub that does not believe it.
//!
//! I/O: none.

use testkit::azure::imds;
use testkit::azure::wireserver;

use super::{Group, Row, row};
use crate::fault_test::fault::Fault;

pub(super) const ROWS: &[Row] = &[
    row(
        Group::Evidence,
        "builder-inactive",
        "the builder is not active at the hub, or has another address there",
        Fault::BuilderInactive,
        &["the hub does not let this node in (403)"],
    ),
    row(
        Group::Evidence,
        "measurement-inactive",
        "the image's measurement is not active at the hub",
        Fault::MeasurementInactive,
        &["the hub does not let this node in (403)"],
    ),
    row(
        Group::Evidence,
        "hub-restarts",
        "the hub is stopped",
        Fault::HubEnded,
        &["hub.sim.test:443"],
    ),
    row(
        Group::Evidence,
        "metadata-error",
        "metadata service: 500",
        Fault::Metadata(imds::Fault::Status(500)),
        &[
            "own evidence could not be made",
            "get a TD quote from Azure's metadata service",
        ],
    ),
    row(
        Group::Evidence,
        "metadata-closed",
        "metadata service: connections are closed",
        Fault::Metadata(imds::Fault::Close),
        &[
            "own evidence could not be made",
            "get a TD quote from Azure's metadata service",
        ],
    ),
    row(
        Group::Evidence,
        "metadata-hangs",
        "metadata service: does not answer",
        Fault::Metadata(imds::Fault::Hang),
        &["making evidence took longer than 10s"],
    ),
    row(
        Group::Evidence,
        "metadata-garbage",
        "metadata service: no JSON",
        Fault::Metadata(imds::Fault::Garbage),
        &["get a TD quote from Azure's metadata service: the answer is malformed"],
    ),
    row(
        Group::Evidence,
        "metadata-no-quote",
        "metadata service: what it gives is no quote",
        Fault::Metadata(imds::Fault::NoQuote),
        &["get a TD quote from Azure's metadata service: the TD quote is malformed"],
    ),
    row(
        Group::Evidence,
        "metadata-stale",
        "metadata service: the quote of another report",
        Fault::Metadata(imds::Fault::OtherReport),
        &["the TD quote is of another report than the one that was handed in"],
    ),
    row(
        Group::Evidence,
        "wrong-ak",
        "vTPM: its key is another than the paravisor vouches for",
        Fault::WrongAk,
        &["the AK in the vTPM (0x81000003) is another than the HCL report names"],
    ),
    row(
        Group::Evidence,
        "tpm-busy",
        "vTPM: too busy to quote",
        Fault::BusyTpm,
        &["making evidence took longer than 10s"],
    ),
    row(
        Group::Wireserver,
        "wireserver-hangs",
        "wireserver: does not answer",
        Fault::Wireserver(wireserver::Fault::Hang),
        &["read the goal state: no answer within 30s"],
    ),
    row(
        Group::Wireserver,
        "wireserver-closed",
        "wireserver: connections are closed",
        Fault::Wireserver(wireserver::Fault::Close),
        &["read the goal state: exchange HTTP messages"],
    ),
    row(
        Group::Wireserver,
        "wireserver-error",
        "wireserver: 500",
        Fault::Wireserver(wireserver::Fault::Status(500)),
        &["read the goal state: expected status 200, got 500 Internal Server Error"],
    ),
    row(
        Group::Wireserver,
        "wireserver-busy",
        "wireserver: 429",
        Fault::Wireserver(wireserver::Fault::Status(429)),
        &["read the goal state: expected status 200, got 429 Too Many Requests"],
    ),
    row(
        Group::Wireserver,
        "wireserver-gone",
        "wireserver: 410",
        Fault::Wireserver(wireserver::Fault::Status(410)),
        &["read the goal state: expected status 200, got 410 Gone"],
    ),
    row(
        Group::Wireserver,
        "wireserver-conflict",
        "wireserver: 409",
        Fault::Wireserver(wireserver::Fault::Status(409)),
        &["read the goal state: expected status 200, got 409 Conflict"],
    ),
    row(
        Group::Wireserver,
        "wireserver-garbage",
        "wireserver: speaks no HTTP",
        Fault::Wireserver(wireserver::Fault::Garbage),
        &["read the goal state: exchange HTTP messages"],
    ),
    row(
        Group::Wireserver,
        "wireserver-page",
        "wireserver: a web page instead of the goal state",
        Fault::Wireserver(wireserver::Fault::WrongContentType),
        &["read the goal state: expected the wireserver's answer, got a web page"],
    ),
    row(
        Group::Wireserver,
        "wireserver-huge",
        "wireserver: 32 MiB",
        Fault::Wireserver(wireserver::Fault::Oversized),
        &["read the goal state: read the answer"],
    ),
    row(
        Group::Wireserver,
        "wireserver-cut-off",
        "wireserver: half an answer",
        Fault::Wireserver(wireserver::Fault::CutOff),
        &["read the goal state: read the answer"],
    ),
    row(
        Group::Machine,
        "paused",
        "the host stops the machine for 45 s",
        Fault::Paused,
        &[],
    ),
    row(
        Group::PowerOn,
        "no-tpm",
        "the machine has no vTPM",
        Fault::NoTpm,
        &[
            "own evidence could not be made",
            "this is an Azure machine, but it has no vTPM",
        ],
    ),
    // systemd sets a clock that shows an earlier time than the image's date to that, and one that is 15
    // years ahead as well.
    row(
        Group::PowerOn,
        "clock-behind",
        "the host's clock is years behind, or decades ahead, and no time server answers",
        Fault::Clock("2001-01-01T00:00:00"),
        &[
            "the server's certificate was refused",
            "certificate not valid yet",
        ],
    ),
    row(
        Group::PowerOn,
        "clock-ahead",
        "the host's clock is years ahead, and no time server answers",
        Fault::Clock("2034-01-01T00:00:00"),
        &[
            "the server's certificate was refused",
            "certificate expired",
        ],
    ),
];
