//! The judgement as text.
//!
//! I/O: none.

use std::fmt::Write;

use attestation::policy::{Comparison, RegisterComparison, TcbAppraisal};
use attestation::tls::Protocol;

use super::{Judgement, Occasion, register_name, statements};
use crate::report::{Outcome, one_line};

/// Everything, from what was shown to what to think of it; the last line is the conclusion.
/// `more` is said before that.
pub(crate) fn text(judgement: &Judgement, occasion: &Occasion, more: &[String]) -> String {
    // Writing to a string cannot fail.
    let mut text = String::new();
    for (label, place) in [("node", &occasion.url), ("address", &occasion.address)] {
        if let Some(place) = place {
            let _ = writeln!(text, "{label:<13}{}", one_line(place));
        }
    }
    let protocol = match occasion.protocol {
        Protocol::Atls => "aTLS",
        Protocol::Ratls => "flashbots-ratls/1",
        Protocol::Plain => "none",
    };
    let (kind, size) = (occasion.kind, occasion.document_size);
    let _ = writeln!(text, "evidence     {kind}, {size} bytes, by {protocol}");
    list(
        &mut text,
        "verified",
        &statements::verified(judgement, occasion),
    );
    let not = statements::not_verified(judgement, occasion);
    list(&mut text, "not verified", &not);
    if let Some(tcb) = judgement.tcb() {
        platform(&mut text, tcb);
    }
    if let Some(proven) = judgement.proven()
        && let Some((from, until)) = statements::collateral_window(proven)
    {
        let _ = writeln!(
            text,
            "collateral   Intel's word of {from}, valid until {until}, from {}",
            one_line(&occasion.collateral.to_string())
        );
    }
    if let Some(image) = judgement.decisive() {
        registers(&mut text, judgement, image);
    }
    for line in more {
        let _ = writeln!(text, "{}", one_line(line));
    }
    for warning in statements::warnings(judgement, occasion) {
        let _ = writeln!(text, "WARNING: {}", one_line(&warning));
    }
    let conclusion = match judgement.outcome {
        Outcome::Good => "trusted",
        Outcome::Bad => "NOT TRUSTED",
        Outcome::Undecided => "could not tell",
    };
    let _ = writeln!(text, "{conclusion}: {}", one_line(&judgement.summary));
    text
}

fn list(text: &mut String, label: &str, sentences: &[String]) {
    for (index, sentence) in sentences.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        let _ = writeln!(text, "{label:<13}{}", one_line(sentence));
    }
}

/// Intel's judgement and the policy's, and what is missing where.
fn platform(text: &mut String, tcb: &TcbAppraisal) {
    let report = &tcb.report;
    let status = report.status;
    let accepted = if tcb.is_accepted {
        "accepted"
    } else {
        "NOT ACCEPTED"
    };
    let number = report.evaluation_data_number;
    let _ = writeln!(
        text,
        "TCB status   {status}, {accepted} (evaluation data {number})"
    );
    let parts: Vec<String> = report
        .short_parts()
        .iter()
        .map(ToString::to_string)
        .collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "  short      {}", parts.join(" and "));
    }
    for short in &report.shortfalls {
        let _ = writeln!(text, "             {}", one_line(&short.to_string()));
    }
    if !report.advisory_ids.is_empty() {
        let ids: Vec<String> = report.advisory_ids.iter().map(|id| one_line(id)).collect();
        let _ = writeln!(text, "  advisories {}", ids.join(", "));
    }
}

/// Register by register, as it should be and as it is.
fn registers(text: &mut String, judgement: &Judgement, image: &Comparison) {
    let relation = match (image.is_equal(), judgement.comparisons().len()) {
        (true, _) => "equal to",
        (false, 1) => "different from",
        (false, _) => "different from all, nearest to",
    };
    let name = one_line(&image.measurement_id);
    let _ = writeln!(text, "registers    {relation} {name}");
    let Some(proven) = judgement.proven() else {
        return;
    };
    for compared in &image.registers {
        let name = register_name(proven.verified.kind(), compared.register);
        register(text, &format!("{name:#}"), compared);
    }
}

fn register(text: &mut String, name: &str, compared: &RegisterComparison) {
    let actual = match compared.actual {
        Some(actual) => actual.to_string(),
        None => "absent".to_owned(),
    };
    if compared.is_equal() {
        let _ = writeln!(text, "  {name}  equal     {actual}");
        return;
    }
    let _ = writeln!(text, "  {name}  DIFFERS");
    for (index, expected) in compared.expected.iter().enumerate() {
        let label = if index == 0 { "expected" } else { "or" };
        let _ = writeln!(text, "    {label:<8}  {expected}");
    }
    let _ = writeln!(text, "    actual    {actual}");
}
