//! All faults, what the node says of each, and what becomes of it: the scenes run from this table, and
//! `docs/operator.md` has it.
//!
//! I/O: none.

use testkit::azure::imds;
use testkit::azure::wireserver;

use super::fault::Fault;
use crate::scripted::hub::Wrong;
use crate::scripted::node::Leads;

/// One fault.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name, for reports.
    pub(super) name: &'static str,
    /// What is wrong, for operators.
    pub(super) what: &'static str,
    /// What is made wrong.
    pub(super) fault: Fault,
    /// What the console says while it lasts, all in one line.
    pub(super) says: &'static [&'static str],
    /// Where it is tried.
    pub(super) group: Group,
    /// Whether also a node meets it that has no configuration yet.
    pub(super) is_first: bool,
}

/// Faults that are met alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What the hub answers.
    Answers,
    /// The way to the hub, and who is there.
    Ways,
    /// A real hub, and what convinces it.
    Evidence,
    /// What the hub answers to the registration.
    Registration,
    /// Azure's wireserver.
    Wireserver,
    /// The machine stands still.
    Machine,
    /// What the machine is switched on with.
    PowerOn,
}

impl Group {
    /// All groups, in the order in which the document has them.
    pub(super) const ALL: [Self; 7] = [
        Self::Answers,
        Self::Ways,
        Self::Evidence,
        Self::Registration,
        Self::Wireserver,
        Self::Machine,
        Self::PowerOn,
    ];

    /// What follows, for operators: meanwhile, and when it is mended.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Answers | Self::Ways | Self::Evidence => {
                "a new node waits, one that is ready keeps its last configuration; goes on by itself"
            }
            Self::Registration => "not ready before; goes on by itself",
            Self::Wireserver => "ready all the same; reported as soon as it can be, for 20 minutes",
            Self::Machine => "goes on where it was",
            Self::PowerOn => "never ready; restart the machine when it is mended",
        }
    }

    /// Its rows.
    pub(super) fn rows(self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(move |row| row.group == self)
    }
}

const fn row(
    group: Group,
    name: &'static str,
    what: &'static str,
    fault: Fault,
    says: &'static [&'static str],
) -> Row {
    Row {
        name,
        what,
        fault,
        says,
        group,
        is_first: false,
    }
}

/// The same, and a new node meets it, too.
const fn first(row: Row) -> Row {
    Row {
        is_first: true,
        ..row
    }
}

/// All of them.
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
        &["cannot be used: dns_name is missing, instance_name is missing, public_ip is missing"],
    )),
    row(
        Group::Answers,
        "key-missing",
        "configuration: a required key is missing",
        Fault::Answer(Wrong::Without("dns_name")),
        &["cannot be used: dns_name is missing"],
    ),
    first(row(
        Group::Answers,
        "wrong-type",
        "configuration: a required key is of another kind",
        Fault::Answer(Wrong::Number("public_ip")),
        &["cannot be used: public_ip is not an IP address"],
    )),
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
        &["no answer within 60s"],
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
    first(row(
        Group::Ways,
        "other-authority",
        "the hub's certificate is from an authority that is not in the image",
        Fault::Stranger,
        &["the server's certificate was refused"],
    )),
    first(row(
        Group::Ways,
        "other-machine",
        "the hub's name leads to another machine",
        Fault::Name(Leads::Other),
        &["the server's certificate was refused", "not valid for name"],
    )),
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
        "nobody answers at the hub's address",
        Fault::Name(Leads::Nobody),
        &["connect to hub.sim.test:443: no answer within 5s"],
    ),
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
        &["own evidence could not be made: get a TD quote from Azure's metadata service"],
    ),
    row(
        Group::Evidence,
        "metadata-closed",
        "metadata service: connections are closed",
        Fault::Metadata(imds::Fault::Close),
        &["own evidence could not be made: get a TD quote from Azure's metadata service"],
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
        &[
            "own evidence could not be made: use the vTPM",
            "TPM_RC_RETRY",
        ],
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
        &["read the goal state", "500"],
    ),
    row(
        Group::Wireserver,
        "wireserver-busy",
        "wireserver: 429",
        Fault::Wireserver(wireserver::Fault::Status(429)),
        &["read the goal state", "429"],
    ),
    row(
        Group::Wireserver,
        "wireserver-gone",
        "wireserver: 410",
        Fault::Wireserver(wireserver::Fault::Status(410)),
        &["read the goal state", "410"],
    ),
    row(
        Group::Wireserver,
        "wireserver-conflict",
        "wireserver: 409",
        Fault::Wireserver(wireserver::Fault::Status(409)),
        &["read the goal state", "409"],
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
        &["check-in: attempt"],
    ),
    row(
        Group::Wireserver,
        "wireserver-huge",
        "wireserver: 32 MiB",
        Fault::Wireserver(wireserver::Fault::Oversized),
        &["check-in: attempt"],
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
        &["own evidence could not be made: this is an Azure machine, but it has no vTPM"],
    ),
    row(
        Group::PowerOn,
        "clock-behind",
        "the host's clock is years behind, and no time server answers",
        Fault::Clock("2001-01-01T00:00:00"),
        &["the server's certificate was refused"],
    ),
    row(
        Group::PowerOn,
        "clock-ahead",
        "the host's clock is decades ahead, and no time server answers",
        Fault::Clock("2060-01-01T00:00:00"),
        &[
            "waiting for a plausible time",
            "15 years after the image was built",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_words_are_there() {
        for row in ROWS {
            let same = ROWS.iter().filter(|other| other.name == row.name);
            assert_eq!(same.count(), 1, "{}", row.name);
            assert!(
                !row.says.is_empty() || row.group == Group::Machine,
                "{}",
                row.name
            );
            assert!(Group::ALL.contains(&row.group));
            // The document's table has bars of its own.
            assert!(!row.what.contains('|'), "{}", row.name);
        }
    }

    #[test]
    fn a_new_node_meets_faults_of_its_hub_only() {
        for row in ROWS.iter().filter(|row| row.is_first) {
            let is_hubs = matches!(row.group, Group::Answers | Group::Ways);
            assert!(is_hubs, "{}", row.name);
        }
    }
}
