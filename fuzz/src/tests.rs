//! The corpora, replayed; and that each has something in it that is accepted.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

type Target = (&'static str, fn(&[u8]));

/// By the names that their programs have in Cargo.toml.
const TARGETS: [Target; 31] = [
    ("ak_certificate", ak_certificate),
    ("ak_public", ak_public),
    ("attested_message", attested_message),
    ("canary", canary),
    ("client_hello", client_hello),
    ("collateral", collateral),
    ("cpio", cpio),
    ("disk_record", disk_record),
    ("event_log", event_log),
    ("evidence", evidence),
    ("file_system", file_system),
    ("goal_state", goal_state),
    ("gpt", gpt),
    ("gpt_event", gpt_event),
    ("hcl_report", hcl_report),
    ("image", image),
    ("luks_header", luks_header),
    ("lz4", lz4),
    ("mustache", mustache),
    ("pe", pe),
    ("peer_certificate", peer_certificate),
    ("reference", reference),
    ("sealed_key", sealed_key),
    ("td_quote", td_quote),
    ("td_quote_answer", td_quote_answer),
    ("tdvf", tdvf),
    ("template", template),
    ("tpm_quote", tpm_quote),
    ("tpm_response", tpm_response),
    ("userspace_log", userspace_log),
    ("xz", xz),
];
const SEED_LIMIT: usize = 64 << 10;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(here("corpus").join(name)).unwrap();
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn corpora_are_replayed() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            assert!(input.len() <= SEED_LIMIT, "{name}: {}", input.len());
            target(&input);
        }
    }
}

#[test]
fn every_program_is_replayed_and_calls_its_own_target() {
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    let (_, programs) = manifest.split_once("[[bin]]").unwrap();
    let mut names: Vec<&str> = programs
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .collect();
    names.sort_unstable();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
    for name in names {
        let program = fs::read_to_string(here(&format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("fuzz::{name}(")), "{program}");
    }
}

#[test]
#[should_panic(expected = "attempt to add with overflow")]
fn the_canary_can_be_found() {
    canary(b"canary in a coal mine");
}

#[test]
fn each_corpus_has_an_input_that_is_accepted() {
    let any = |name, accepts: fn(&[u8]) -> bool| corpus(name).iter().any(|i| accepts(i));
    assert!(any("pe", |i| Image::open(Cursor::new(i)).is_ok_and(
        |mut image| measurements::predict(&mut image).is_ok()
    )));
    assert!(any("image", |i| Image::open(Cursor::new(i)).is_ok()));
    assert!(any("file_system", |i| {
        let disk = support::gpt(512, &[(support::ESP_TYPE, i)]);
        Image::open(Cursor::new(disk)).is_ok()
    }));
    assert!(any("file_system", |i| {
        let disk = support::gpt(512, &[(support::ESP_TYPE, i)]);
        Image::open(Cursor::new(disk)).is_ok_and(|image| image.loaded().len() == 2)
    }));
    assert!(any("gpt_event", |i| {
        let (header, entries) = i.split_at(512);
        tdx::gpt_event(header, entries).is_ok()
    }));
    assert!(any("tdvf", |i| Tdvf::parse(i).is_ok()));
    assert!(any("event_log", |i| EventLog::parse(i).is_ok()));
    assert!(any("userspace_log", |i| UserspaceLog::parse(i).is_ok()));
    assert!(any("cpio", |i| {
        let listing = measurements::initrd_files::list(i, |_, _| Err(io::Error::other("none")));
        listing.is_ok_and(|listing| !listing.files().is_empty())
    }));
    let all = |read: io::Result<usize>| read.is_ok_and(|size| size == b"hello\n".len());
    assert!(corpus("xz").iter().any(|i| {
        let mut text = Vec::new();
        let mut from = &i[..];
        all(xz_decoder::Decoder::new(&mut from).and_then(|mut d| d.read_to_end(&mut text)))
    }));
    assert!(corpus("lz4").iter().any(|i| {
        let mut text = Vec::new();
        let mut from = &i[..];
        all(lz4_decoder::Decoder::new(&mut from).and_then(|mut d| d.read_to_end(&mut text)))
    }));
    assert!(any("reference", |i| ReferenceValues::parse(
        &String::from_utf8_lossy(i)
    )
    .is_ok()));
    assert!(any("evidence", |i| Evidence::parse_atls(
        EvidenceKind::AzureTdx,
        i
    )
    .is_ok()));
    assert!(any("evidence", |i| Evidence::parse_ratls(
        EvidenceKind::AzureTdx,
        i
    )
    .is_ok()));
    assert!(any("evidence", |i| Evidence::parse_atls(
        EvidenceKind::DcapTdx,
        i
    )
    .is_ok()));
    assert!(any("td_quote", |i| TdQuote::parse(i).is_ok()));
    assert!(any("goal_state", |i| GoalState::parse(i).is_ok()));
    assert!(any("hcl_report", |i| HclReport::parse(i).is_ok()));
    assert!(any("collateral", |i| Collateral::parse(i).is_ok()));
    assert!(any("client_hello", |i| matches!(
        client_hello::parse(i),
        client_hello::Parsed::Hello(_)
    )));
    assert!(any("peer_certificate", |i| certificate::parse(i).is_ok()));
    assert!(any("attested_message", |i| message::parse(i).is_ok()));
    assert!(any("tpm_quote", |i| tpm_quote::parse(i).is_ok()));
    assert!(any("ak_public", |i| AkPublic::parse(i).is_ok()));
    let registers = [0, 1, 2, 3, 4, 5, 6, 7];
    let read = |i: &Vec<u8>| response::parse_pcrs(i, &registers).is_ok();
    assert!(corpus("tpm_response").iter().any(read));
    assert!(any("tpm_response", |i| response::parse_nv_buffer_max(i).is_ok()));
    assert!(any("luks_header", |i| {
        Header::parse(&luks_copies(i), KeyDerivation::Pbkdf2).is_ok()
    }));
    assert!(any("disk_record", |i| Unproven::parse(i)
        .is_ok_and(|record| record.authenticate(&RECORD_KEY).is_some())));
    assert!(any("sealed_key", |i| Sealed::parse(i).is_ok()));
    assert!(any("td_quote_answer", |i| azure::parse_answer(i).is_ok()));
    assert!(any("ak_certificate", |i| {
        azure::parse_ak_certificate(i, &CERTIFIED_AK).is_ok()
    }));
    let renders = |source: &str, values: &str| {
        let values = serde_json::from_str(values).unwrap_or_default();
        super::mustache_in(Mode::Safe, source, &values).is_some_and(|text| text.contains("42"))
    };
    assert!(corpus("mustache").iter().any(|i| {
        let text = String::from_utf8_lossy(i);
        let parts = text.split_once('\0');
        parts.is_some_and(|(source, values)| renders(source, values))
    }));
    for format in [
        Format::Toml,
        Format::Yaml,
        Format::Json,
        Format::Env,
        Format::Haproxy,
    ] {
        assert!(corpus("template").iter().any(|i| {
            let text = String::from_utf8_lossy(i);
            let source = text.split('\0').next().unwrap_or_default();
            source.contains("{{x}}") && Template::parse("t", source, format).is_ok()
        }));
    }
}
