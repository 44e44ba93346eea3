//! The attested front: a machine made of test keys asks for its configuration, in both protocols and
//! with both kinds of evidence.

use std::sync::Arc;
use std::time::SystemTime;

use attestation::EvidenceKind;
use attestation::tls::{Connector, Dial, Http, NameCheck, Nobody, Timeouts};
use attested_http::Upstream;
use attested_http::body::empty;
use attested_http::client::{ClientSettings, Target};
use http_body_util::BodyExt;
use hyper::Request;
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use serde_json::json;
use testkit::tee::{Tee, TeeAttester};

use crate::support::{Hub, Kind, Place, on_both};

on_both!(a_machine_gets_its_configuration_by_what_it_proves);

/// The files that the hub's options name.
fn options(place: &Place, tee: &Tee) -> Vec<String> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(place.path(name), bytes).unwrap();
        place.path(name).display().to_string()
    };
    let ak_root = tee.ak_certificates(&tee.ak()).root;
    let options = [
        (
            "--tls-certificate",
            write("certificate", certificate.pem().as_bytes()),
        ),
        (
            "--tls-key",
            write("tls-key", key.serialize_pem().as_bytes()),
        ),
        ("--danger-trust-root", write("root", tee.root())),
        ("--danger-trust-ak-root", write("ak-root", &ak_root)),
        (
            "--collateral",
            write("collateral", tee.collateral().to_json().as_bytes()),
        ),
        ("--atls-listen", "127.0.0.1:0".to_owned()),
        ("--required-keys", "none".to_owned()),
    ];
    options
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The machine's registers, as an admin whitelists them.
fn whitelist(hub: &Hub, tee: &Tee, kind: EvidenceKind) {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let registers = match kind {
        EvidenceKind::AzureTdx => json!({
            "4": {"expected": hex(&tee.pcrs[&4])},
            "11": {"expected_any": ["00".repeat(32), hex(&tee.pcrs[&11])]},
        }),
        EvidenceKind::DcapTdx => json!({
            "0": {"expected": hex(&tee.td.mrtd)},
            "2": {"expected": hex(&tee.td.rtmrs[1])},
        }),
    };
    let name = format!("right-{}", kind.name());
    let entry = json!({"measurement_id": name, "attestation_type": kind.name(),
        "measurements": registers});
    hub.post("measurements", &entry).ok();
    hub.post(
        &format!("measurements/activation/{name}"),
        &json!({"enabled": true}),
    )
    .ok();
}

/// Asks as a node does, and says what came of it.
async fn ask(
    place: &Place,
    hub: &Hub,
    attester: Option<TeeAttester>,
    is_atls: bool,
    headers: &[(&str, &str)],
) -> Result<(u16, String), String> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(place.path("certificate")).unwrap();
    use rustls_pki_types::pem::PemObject;
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let name = NameCheck::new("localhost".try_into().unwrap(), roots).unwrap();
    let dial = if is_atls {
        Dial::AtlsNamed(name)
    } else {
        Dial::RatlsNamed(name)
    };
    let connector =
        Connector::<TeeAttester, Nobody>::new(dial, attester, vec![Http::Http1], Timeouts::CLIENT);
    let port = hub.address("attested").port();
    let target: Target = format!("https://localhost:{port}").parse().unwrap();
    let upstream = Upstream::new(target, connector.unwrap(), ClientSettings::default());
    let mut request = Request::builder().uri("/api/l1-builder/v1/configuration");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(empty()).unwrap();
    let answer = upstream
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.response.status().as_u16();
    let body = answer
        .response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
}

fn a_machine_gets_its_configuration_by_what_it_proves(database: Kind) {
    let tee = Arc::new(Tee::new(1, SystemTime::now()));
    let place = Place::new(database);
    let options = options(&place, &tee);
    let hub = Hub::start(
        &place,
        &options.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    hub.builder("b1", "127.0.0.1", "production");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |kind, tee: &Tee, is_atls, headers: &[(&str, &str)]| {
        runtime.block_on(ask(
            &place,
            &hub,
            Some(tee.attester(kind)),
            is_atls,
            headers,
        ))
    };
    for kind in [EvidenceKind::AzureTdx, EvidenceKind::DcapTdx] {
        for is_atls in [true, false] {
            // A genuine machine, of which nobody knows what it runs; what it says of itself in
            // headers is not looked at.
            let claims = [
                ("X-Flashbots-Attestation-Type", "test"),
                ("X-Flashbots-Measurement", r#"{"4":"aa"}"#),
                ("X-Forwarded-For", "127.0.0.1"),
            ];
            hub_whitelists_test_once(&hub);
            assert_eq!(ask(kind, &tee, is_atls, &claims), Ok((403, String::new())));
            // Somebody else's roots vouch for it.
            let other = Tee::new(2, SystemTime::now());
            let refused = ask(kind, &other, is_atls, &[]);
            assert!(refused.is_err(), "{kind:?} {refused:?}");
            let nobody = runtime.block_on(self::ask(&place, &hub, None, is_atls, &[]));
            assert!(nobody.is_err(), "{nobody:?}");
        }
        whitelist(&hub, &tee, kind);
        for is_atls in [true, false] {
            let elsewhere = [("X-Forwarded-For", "9.9.9.9")];
            let answer = ask(kind, &tee, is_atls, &elsewhere);
            assert_eq!(
                answer,
                Ok((200, r#"{"instance_name":"b1"}"#.to_owned())),
                "{kind:?}"
            );
        }
        let events = hub
            .admin("GET", "builders/events/b1?limit=1", "")
            .ok()
            .json();
        let event = &events["entries"][0];
        assert_eq!(event["measurement_id"], format!("right-{}", kind.name()));
        assert_eq!(event["address"], "127.0.0.1");
        let off = json!({"enabled": false});
        hub.post(
            &format!("measurements/activation/right-{}", kind.name()),
            &off,
        )
        .ok();
        assert_eq!(ask(kind, &tee, true, &[]), Ok((403, String::new())));
    }
    assert!(hub.stop());
}

/// An entry that the headers above would match.
fn hub_whitelists_test_once(hub: &Hub) {
    if hub.admin("GET", "measurements/m1", "").status == 404 {
        hub.whitelist("m1");
    }
}
