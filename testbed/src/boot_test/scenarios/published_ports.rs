//! Only the published ports answer; to all others the guest is silent.
//!
//! I/O: connects to the guest through 127.0.0.1.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use testkit::ports::{Answer, probe_tcp, probe_udp};

use crate::boot_test::context::Context;
use crate::session::Session;

/// TCP ports that something on a node listens on, might listen on, or that an attacker would
/// try first.
const TCP: &[u16] = &[
    21, 22, 23, 25, 53, 68, 80, 88, 111, 123, 135, 139, 323, 389, 443, 445, 514, 546, 631, 873,
    1080, 1883, 2049, 2222, 2375, 2376, 2379, 3000, 3128, 3306, 3500, 3535, 4000, 4317, 5000, 5060,
    5353, 5355, 5432, 5544, 5555, 5900, 6060, 6379, 7070, 7936, 7937, 7938, 8000, 8080, 8443, 8545,
    8546, 8551, 8645, 8888, 9000, 9090, 9091, 9100, 9323, 9999, 10250, 11211, 14727, 19531, 19532,
    27017, 30303, 40192, 50051, 65535,
];

/// UDP ports of services that an image like this often has.
const UDP: &[u16] = &[
    53, 67, 68, 69, 111, 123, 137, 161, 323, 500, 514, 546, 1900, 2049, 4500, 5353, 5355, 9200,
    30303, 30304, 40192, 51820,
];

/// Exactly the published ports accept connections, and the others do not even refuse: without a
/// firewall, a port that nobody listens on refuses. So do exactly those that a node listens on when it
/// has its configuration, which it never gets here.
pub(super) fn tcp(context: &Context, session: &Session) -> Result<Option<String>> {
    let mut ports = TCP.to_vec();
    ports.extend(&context.published);
    ports.extend(&context.opened);
    let ports = sorted(&ports);
    let answers = probe_tcp(&session.machine, &ports)?;
    let accepted = with_answer(&answers, Answer::Accepted);
    let published = sorted(&context.published);
    ensure!(
        accepted == published,
        "published: {published:?}; accepted a connection: {accepted:?}"
    );
    let refused = with_answer(&answers, Answer::Refused);
    let opened = sorted(&context.opened);
    ensure!(
        refused == opened,
        "opened: {opened:?}; refused, not dropped: {refused:?}"
    );
    Ok(Some(format!(
        "{} dropped, {} accepted, {} refused until there is a configuration",
        with_answer(&answers, Answer::Dropped).len(),
        accepted.len(),
        refused.len()
    )))
}

/// No UDP port answers.
pub(super) fn udp(session: &Session) -> Result<Option<String>> {
    let answered = probe_udp(&session.machine, UDP)?;
    ensure!(answered.is_empty(), "answered: {answered:?}");
    Ok(Some(format!("{} silent", UDP.len())))
}

fn sorted(ports: &[u16]) -> Vec<u16> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn with_answer(answers: &BTreeMap<u16, Answer>, wanted: Answer) -> Vec<u16> {
    answers
        .iter()
        .filter(|(_, answer)| **answer == wanted)
        .map(|(port, _)| *port)
        .collect()
}
