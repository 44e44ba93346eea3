//! The judgement as JSON. Names are stable: scripts read them.
//!
//! I/O: none.

use std::collections::BTreeMap;

use attestation::policy::{Comparison, RegisterComparison, TcbAppraisal};
use attestation::verify::Shortfall;
use attestation::{EvidenceKind, Verified};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::{Judgement, Occasion, register_name, statements, word};
use crate::exhibit::protocol_name;
use crate::report::Outcome;

/// Counts up when a field is removed, or means something else.
const VERSION: u32 = 1;

/// The document, without what a command has to say besides.
pub(crate) fn document(judgement: &Judgement, occasion: &Occasion) -> Map<String, Value> {
    let mut document = outcome(judgement.outcome, &judgement.summary);
    let window = judgement.proven().and_then(statements::collateral_window);
    let compared = judgement.comparisons().iter();
    let compared: Vec<Value> = compared
        .map(|image| comparison(occasion.kind, image))
        .collect();
    let matched = judgement.decisive().filter(|image| image.is_equal());
    let fields = [
        ("url", json!(occasion.url)),
        ("address", json!(occasion.address)),
        ("time", json!(occasion.time.to_string())),
        ("protocol", json!(protocol_name(occasion.protocol))),
        ("attestation_type", json!(occasion.kind.name())),
        ("document_size", json!(occasion.document_size)),
        ("verified", json!(statements::verified(judgement, occasion))),
        (
            "not_verified",
            json!(statements::not_verified(judgement, occasion)),
        ),
        ("warnings", json!(statements::warnings(judgement, occasion))),
        (
            "has_ak_certificate",
            json!(judgement.proven().map(|p| p.verified.has_ak_certificate())),
        ),
        (
            "roots_are_pinned",
            json!(judgement.proven().map(|p| p.verified.roots_are_pinned())),
        ),
        ("tcb", json!(judgement.tcb().map(tcb))),
        (
            "collateral",
            json!(window.map(|(from, until)| {
                json!({
                    "valid_from": from.to_string(),
                    "valid_until": until.to_string(),
                    "source": occasion.collateral.to_string(),
                })
            })),
        ),
        (
            "measurements",
            json!(judgement.proven().map(|p| measurements(&p.verified))),
        ),
        ("compared", json!(compared)),
        ("matched", json!(matched.map(|image| &image.measurement_id))),
    ];
    document.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    document
}

/// The document of a command that did not come as far as a judgement.
pub(super) fn outcome(outcome: Outcome, summary: &str) -> Map<String, Value> {
    let fields = [
        ("version", json!(VERSION)),
        ("outcome", json!(word(outcome))),
        ("summary", json!(summary)),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// The registers as existing tools write them to files, which is with four spaces and no line end.
pub(crate) fn measurements_file(verified: &Verified) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let indented = PrettyFormatter::with_indent(b"    ");
    measurements(verified).serialize(&mut Serializer::with_formatter(&mut file, indented))?;
    Ok(file)
}

fn measurements(verified: &Verified) -> BTreeMap<String, String> {
    let registers = verified.registers().iter();
    registers
        .map(|(index, value)| (index.to_string(), value.to_string()))
        .collect()
}

fn tcb(tcb: &TcbAppraisal) -> Value {
    let report = &tcb.report;
    let short: Vec<Value> = report.shortfalls.iter().map(shortfall).collect();
    let parts = report.short_parts();
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    let fmspc: String = report
        .fmspc
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    json!({
        "status": report.status.as_str(),
        "accepted": tcb.is_accepted,
        "advisory_ids": report.advisory_ids,
        "short_parts": parts,
        "shortfalls": short,
        "fmspc": fmspc,
        "evaluation_data_number": report.evaluation_data_number,
        "azure_v6_override": report.azure_v6_override,
    })
}

fn shortfall(short: &Shortfall) -> Value {
    json!({
        "part": short.part.to_string(),
        "component": short.component,
        "actual": short.actual,
        "expected": short.expected,
    })
}

fn comparison(kind: EvidenceKind, image: &Comparison) -> Value {
    let registers = image.registers.iter();
    let registers: Vec<Value> = registers.map(|compared| register(kind, compared)).collect();
    json!({
        "measurement_id": image.measurement_id,
        "equal": image.is_equal(),
        "registers": registers,
    })
}

fn register(kind: EvidenceKind, compared: &RegisterComparison) -> Value {
    let expected: Vec<String> = compared.expected.iter().map(ToString::to_string).collect();
    json!({
        "register": compared.register,
        "name": register_name(kind, compared.register).to_string(),
        "expected": expected,
        "actual": compared.actual.map(|actual| actual.to_string()),
        "equal": compared.is_equal(),
    })
}
