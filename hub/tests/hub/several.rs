//! Several hubs on one PostgreSQL, and much at once.

use std::collections::BTreeMap;
use std::thread;

use serde_json::json;

use crate::support::{Hub, Kind, Place, on_both};

on_both!(the_same_things_at_once_happen_once);

#[test]
fn hubs_on_one_database_agree() {
    let place = Place::new(Kind::Postgres);
    // Started at once, on an empty database: the tables are made by one of them.
    let hubs: Vec<Hub> = thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(|| Hub::lax(&place))).collect();
        starting
            .into_iter()
            .map(|hub| hub.join().unwrap())
            .collect()
    });
    hubs[0].whitelist("m1");
    hubs[1].builder("b1", "1.2.3.4", "production");
    hubs[2].node("1.2.3.4", "GET", "configuration", "").ok();
    at_once(&hubs.iter().collect::<Vec<_>>());
    // Each registers for the same service; one is left active.
    thread::scope(|scope| {
        for (index, hub) in hubs.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..10 {
                    let address = format!("0x{:040x}", index * 100 + n);
                    let body = json!({"ecdsa_pubkey_address": address}).to_string();
                    hub.node("1.2.3.4", "POST", "register_credentials/x", &body)
                        .ok();
                    hub.node("1.2.3.4", "GET", "configuration", "").ok();
                }
            });
        }
    });
    let history = hubs[0]
        .admin("GET", "builders/credentials/b1", "")
        .ok()
        .json();
    let entries = history["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 30);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["is_active"] == true)
            .count(),
        1
    );
    // A challenge of one is known to the others: they have the same keys.
    let polls = hubs[0]
        .admin("GET", "builders/events/b1?limit=1000", "")
        .ok()
        .text();
    assert_eq!(polls.matches("\"GetConfig\"").count(), 31);
}

fn the_same_things_at_once_happen_once(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    at_once(&[&hub, &hub, &hub]);
}

/// Adds the same builders and sets the same builder's configuration from all hubs.
fn at_once(hubs: &[&Hub]) {
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let answers: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = hubs
            .iter()
            .enumerate()
            .map(|(index, hub)| {
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    for n in 0..10 {
                        let name = format!("same{n}");
                        let body = json!({"name": name, "ip_address": "9.9.9.9", "network": "n"});
                        answers.push(hub.post("builders", &body).status);
                        let body = json!({"from": index, "n": n});
                        hub.post("builders/configuration/b1", &body).ok();
                    }
                    answers
                })
            })
            .collect();
        asking
            .into_iter()
            .flat_map(|answers| answers.join().unwrap())
            .collect()
    });
    for status in answers {
        *statuses.entry(status).or_default() += 1;
    }
    assert_eq!(
        statuses,
        BTreeMap::from([(200, 10), (500, (hubs.len() - 1) * 10)])
    );
    let history = hubs[0]
        .admin("GET", "builders/history/b1?limit=1000", "")
        .ok()
        .json();
    let entries = history["entries"].as_array().unwrap();
    assert_eq!(entries.len(), hubs.len() * 10 + 1);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["is_active"] == true)
            .count(),
        1
    );
}
