//! Hubs with something to show, filled as admins and nodes do it.

use std::net::SocketAddr;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::support::{Hub, Kind, LAX, Place};

/// A text that does all it can to be more.
pub(crate) const EVIL: &str =
    "</td></table><script>document.title='x';window.owned=1;alert(1)</script>";

/// Names of builders, and what is shown.
pub(crate) const EVIL_NAMES: &[(&str, &str)] = &[
    (EVIL, EVIL),
    (
        "\"><img src=http://127.0.0.1:9/ onerror=alert(1)>",
        "\"><img src=http://127.0.0.1:9/ onerror=alert(1)>",
    ),
    (
        "' onmouseover='window.owned=1' style='position:fixed",
        "' onmouseover='window.owned=1' style='position:fixed",
    ),
    ("&lt;b&gt; &#60;i>", "&lt;b&gt; &#60;i>"),
    // It would be read as `admin`, or as the name of another builder.
    ("\u{202e}nimda", r"\u{202e}nimda"),
    ("alpha\u{200b}", r"alpha\u{200b}"),
    ("beta ", r"beta\u{20}"),
    ("be\u{3164}ta  1", r"be\u{3164}ta\u{20}\u{20}1"),
    ("אבג مرحبا 日本 🦀", "אבג مرحبا 日本 🦀"),
    // No blank at which to break it.
    (LONG, LONG),
];
const LONG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A hub and what is known of its content.
pub(crate) struct Filled {
    hub: Hub,
    /// When the certificate ends that ends soon.
    pub(crate) soon: String,
    _place: Place,
}

impl Filled {
    pub(crate) fn address(&self) -> SocketAddr {
        self.hub.address("admin")
    }

    pub(crate) fn empty() -> Self {
        let place = Place::new(Kind::Sqlite);
        Self {
            hub: Hub::start(&place, LAX),
            soon: String::new(),
            _place: place,
        }
    }

    /// Four builders: one well, one whose certificate ends soon, one with an image that is no
    /// longer active, one that was never active; three measurements.
    pub(crate) fn usual() -> Self {
        let filled = Self::empty();
        let hub = &filled.hub;
        filled.measurement("image-1", "11");
        filled.measurement("image-2", "22");
        let inactive = json!({"measurement_id": "image-3", "attestation_type": "test",
            "measurements": {"4": {"expected": "33"}}});
        hub.post("measurements", &inactive).ok();
        for (name, ip, network) in [
            ("alpha", "10.0.0.1", "production"),
            ("beta", "10.0.0.2", "production"),
            ("gamma", "10.0.0.3", "test"),
        ] {
            hub.builder(name, ip, network);
        }
        let delta = json!({"name": "delta", "ip_address": "10.0.0.4", "network": "test"});
        hub.post("builders", &delta).ok();

        let node = |ip: &str, value: &str| {
            let registers = json!({"4": value}).to_string();
            hub.node_with(ip, &registers, "GET", "configuration", "")
                .ok();
        };
        node("10.0.0.1", "22");
        node("10.0.0.2", "22");
        node("10.0.0.3", "11");
        let soon = OffsetDateTime::now_utc() + Duration::days(5);
        let soon = date_time_ymd(soon.year(), soon.month().into(), soon.day());
        filled.register("10.0.0.1", date_time_ymd(2090, 1, 1));
        filled.register("10.0.0.2", soon);
        let off = json!({"enabled": false});
        hub.post("measurements/activation/image-1", &off).ok();
        Self {
            soon: written(soon),
            ..filled
        }
    }

    /// Everything that takes a text has one that means ill.
    pub(crate) fn hostile() -> Self {
        let filled = Self::empty();
        let hub = &filled.hub;
        for (index, (name, _)) in EVIL_NAMES.iter().enumerate() {
            let builder = json!({"name": name, "ip_address": format!("10.0.0.{index}"),
                "dns_name": name, "network": name});
            hub.post("builders", &builder).ok();
        }
        let evil = json!({"measurement_id": EVIL, "attestation_type": EVIL, "measurements": {}});
        hub.post("measurements", &evil).ok();
        filled.measurement("<b>bold</b>", "aa");
        // A node whose configuration lacks keys with strange names: they are in the log.
        let (name, network) = ("<svg onload=alert(1)>", "<u>");
        let builder = json!({"name": name, "ip_address": "10.0.1.1", "network": network});
        hub.post("builders", &builder).ok();
        let path = format!("builders/configuration/{}", encoded(name));
        hub.post(&path, &json!({"a": 1})).ok();
        let path = format!("builders/activation/{}", encoded(name));
        hub.post(&path, &json!({"enabled": true})).ok();
        let key = "<img src=x onerror=alert(1)>\u{7}\u{202e}\u{1b}[31m\n";
        let path = format!("networks/{}/required-keys", encoded(network));
        hub.post(&path, &json!({"required": [{"key": key}]})).ok();
        hub.node("10.0.1.1", "GET", "configuration", "").is(409);
        filled
    }

    fn measurement(&self, name: &str, value: &str) {
        let measurement = json!({"measurement_id": name, "attestation_type": "test",
            "measurements": {"4": {"expected": value}}});
        self.hub.post("measurements", &measurement).ok();
        let path = format!("measurements/activation/{}", encoded(name));
        self.hub.post(&path, &json!({"enabled": true})).ok();
    }

    fn register(&self, ip: &str, ends: OffsetDateTime) {
        let mut params = CertificateParams::new(vec![ip.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = ends;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let body = json!({"tls_cert": certificate.pem()}).to_string();
        let path = "register_credentials/instance";
        self.hub
            .node_with(ip, r#"{"4":"22"}"#, "POST", path, &body)
            .ok();
    }
}

/// A text as a part of a path.
fn encoded(text: &str) -> String {
    let bytes = text.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

/// Now, as the hub writes it.
pub(crate) fn stamp() -> String {
    written(OffsetDateTime::now_utc())
}

fn written(time: OffsetDateTime) -> String {
    let (hour, minute, second) = time.to_hms();
    format!(
        "{}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day()
    )
}
