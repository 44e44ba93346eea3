//! Killed at any point, under load, a hub loses no write that it acknowledged.
//!
//! `HUB_KILLS` says how often it is killed; 20 times if it isn't set.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Hub, Kind, PASSWORD, Place, http, on_both};

on_both!(a_killed_hub_loses_nothing_that_it_acknowledged);

const WRITERS: usize = 4;

fn a_killed_hub_loses_nothing_that_it_acknowledged(kind: Kind) {
    let kills: u64 = std::env::var("HUB_KILLS").map_or(20, |n| n.parse().unwrap());
    let place = Place::new(kind);
    let next = Arc::new(AtomicU64::new(0));
    let mut acknowledged: Vec<String> = Vec::new();
    let mut hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    let mut polls = 0;
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let new = Arc::new(Mutex::new(Vec::new()));
        let polled = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (stop, new, next) = (Arc::clone(&stop), Arc::clone(&new), Arc::clone(&next));
                let (admin, main) = (hub.address("admin"), hub.address("main"));
                let polled = Arc::clone(&polled);
                std::thread::spawn(move || {
                    let basic = http::basic("admin", PASSWORD);
                    while !stop.load(Ordering::SeqCst) {
                        let name = format!("w{}", next.fetch_add(1, Ordering::SeqCst));
                        let body = json!({"name": name, "ip_address": "9.9.9.9", "network": "n"});
                        let headers = [("Authorization", basic.as_str())];
                        let body = body.to_string();
                        let path = "/api/admin/v1/builders";
                        let answer =
                            http::try_request(admin, "POST", path, &headers, body.as_bytes());
                        if answer.is_ok_and(|answer| answer.status == 200) {
                            new.lock().unwrap().push(name);
                        }
                        let headers = [
                            ("X-Flashbots-Attestation-Type", "test"),
                            ("X-Flashbots-Measurement", r#"{"4":"aa"}"#),
                            ("X-Forwarded-For", "1.2.3.4"),
                        ];
                        let path = "/api/l1-builder/v1/configuration";
                        let answer = http::try_request(main, "GET", path, &headers, b"");
                        if answer.is_ok_and(|answer| answer.status == 200) {
                            polled.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        // Another moment each time, from the first writes on.
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 211));
        hub.kill();
        stop.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.join().unwrap();
        }
        acknowledged.append(&mut new.lock().unwrap());
        polls += polled.load(Ordering::SeqCst);
        hub = Hub::lax(&place);
    }
    let there = names(&hub);
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|name| !there.contains(*name))
        .collect();
    assert!(lost.is_empty(), "lost {lost:?} of {}", acknowledged.len());
    assert!(
        acknowledged.len() as u64 >= kills,
        "too few writes: {}",
        acknowledged.len()
    );
    let events = count(&hub, "builders/events/b1", |event| {
        event["event"] == "GetConfig"
    });
    assert!(events >= polls, "lost events: {events} of {polls}");
    println!(
        "{kills} kills, {} writes and {polls} polls acknowledged, none lost",
        acknowledged.len()
    );
}

fn names(hub: &Hub) -> std::collections::HashSet<String> {
    let mut names = std::collections::HashSet::new();
    pages(hub, "builders", |entry| {
        names.insert(entry["name"].as_str().unwrap().to_owned());
    });
    names
}

fn count(hub: &Hub, path: &str, counts: impl Fn(&Value) -> bool) -> u64 {
    let mut count = 0;
    pages(hub, path, |entry| count += u64::from(counts(entry)));
    count
}

fn pages(hub: &Hub, path: &str, mut each: impl FnMut(&Value)) {
    let mut after = json!(0);
    while !after.is_null() {
        let page = hub
            .admin("GET", &format!("{path}?limit=1000&after={after}"), "")
            .ok()
            .json();
        page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(&mut each);
        after = page["after"].clone();
    }
}
