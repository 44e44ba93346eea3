//! Registers that a machine is said to have, in the forms in which they are handed about.
//!
//! - JSON, in a file or on the command line: `{"4": "5e11…"}`; reference values of one image;
//! - text: `pcr4 5e11…`, and what `tpm2_pcrread` prints (`4 : 0x5E11…` under `sha256:`).
//!
//! I/O: reads the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use measurements::reference::{AttestationType, ReferenceValues, RegisterValue};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::files;

/// Largest file that is read.
const MAX_SIZE: u64 = 1 << 20;
/// Highest PCR of a PC Client TPM.
const MAX_PCR: u8 = 23;
/// RTMR3, as logs and reference values count.
const MAX_MR: u8 = 4;
/// Banks of TPMs that logs are not read in.
const OTHER_BANKS: [&str; 6] = [
    "sha1", "sha512", "sm3_256", "sha3_256", "sha3_384", "sha3_512",
];

/// Reads registers from JSON, or from the file of that name. A register may have several values,
/// of which one is enough, and values of several banks. The names must be those of the kind of
/// machine that the log is of: the same numbers mean other registers elsewhere.
pub(super) fn read(source: &str, is_of_tdx: bool) -> anyhow::Result<Vec<(u8, RegisterValue)>> {
    if is_json(source) {
        return parse_json(source, is_of_tdx).context("read the registers given with --pcrs");
    }
    let path = Path::new(source);
    let bytes = files::read(path, MAX_SIZE)
        .with_context(|| format!("take {source} for a file: --pcrs expects one, or JSON"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("read {source} as text"))?;
    let parsed = if is_json(&text) {
        parse_json(&text, is_of_tdx)
    } else {
        parse_text(&text, is_of_tdx)
    };
    parsed.with_context(|| format!("read the registers in {source}"))
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn parse_json(text: &str, is_of_tdx: bool) -> anyhow::Result<Vec<(u8, RegisterValue)>> {
    if let Ok(Pairs(pairs)) = serde_json::from_str(text) {
        let parse = |(name, hex): (String, String)| {
            let register = parse_name(&name, is_of_tdx)?;
            let value = parse_value(&hex).with_context(|| format!("register {name:?}"))?;
            Ok((register, value))
        };
        let parsed = pairs
            .into_iter()
            .map(parse)
            .collect::<anyhow::Result<_>>()?;
        return without_repetition(parsed);
    }
    let entries = ReferenceValues::parse(text)?;
    let [entry] = entries.as_slice() else {
        bail!("expected one image's values, got {}", entries.len());
    };
    let kind = entry.attestation_type;
    ensure!(
        (kind != AttestationType::AzureTdx) == is_of_tdx,
        "expected values of {}, whose log this is, got those of {kind}",
        machine(is_of_tdx)
    );
    let registers = entry.registers.iter();
    let values = registers.flat_map(|(register, values)| {
        let values = values.iter();
        values.map(move |value| (*register, *value))
    });
    Ok(values.collect())
}

/// One register per line; the name of a bank on a line of its own is a heading.
fn parse_text(text: &str, is_of_tdx: bool) -> anyhow::Result<Vec<(u8, RegisterValue)>> {
    let mut registers = Vec::new();
    let mut is_known_bank = true;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let line = line.trim();
        let mut words = line
            .split([':', '=', ' ', '\t'])
            .filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (None, ..) => (),
            (Some(bank), None, None) if line.ends_with(':') => {
                is_known_bank = matches!(bank, "sha256" | "sha384" | "pcrs");
                ensure!(
                    is_known_bank || OTHER_BANKS.contains(&bank),
                    "line {number}: expected the name of a bank, got {bank:?}"
                );
            }
            (Some(_), Some(_), None) if !is_known_bank => (),
            (Some(name), Some(hex), None) => {
                let register = parse_name(name, is_of_tdx);
                let register = register.with_context(|| format!("line {number}"))?;
                let value = parse_value(hex).with_context(|| format!("line {number}"))?;
                registers.push((register, value));
            }
            _ => bail!("line {number}: expected a register and its value, got {line:?}"),
        }
    }
    ensure!(!registers.is_empty(), "expected registers, got none");
    without_repetition(registers)
}

/// `4`, `pcr4`, `PCR4` of a vTPM; `mrtd`, `rtmr0`, `1` of a bare TDX guest.
fn parse_name(name: &str, is_of_tdx: bool) -> anyhow::Result<u8> {
    let lower = name.to_ascii_lowercase();
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u8>().ok().filter(|_| is_plain)
    };
    let register = match (is_of_tdx, lower.strip_prefix("rtmr")) {
        (false, _) => number(lower.strip_prefix("pcr").unwrap_or(&lower)),
        (true, Some(rtmr)) => number(rtmr).and_then(|rtmr| rtmr.checked_add(1)),
        (true, None) if lower == "mrtd" => Some(0),
        (true, None) => number(&lower),
    };
    let highest = if is_of_tdx { MAX_MR } else { MAX_PCR };
    let register = register.filter(|register| *register <= highest);
    let machine = machine(is_of_tdx);
    register.with_context(|| {
        format!("expected the number of a register of {machine}, whose log this is, got {name:?}")
    })
}

fn machine(is_of_tdx: bool) -> &'static str {
    if is_of_tdx {
        "a bare TDX guest (mrtd, rtmr0 to rtmr3; 0 to 4)"
    } else {
        "a vTPM (pcr0 to pcr23)"
    }
}

fn parse_value(hex: &str) -> anyhow::Result<RegisterValue> {
    let hex = hex.strip_prefix("0x").unwrap_or(hex);
    match hex.len() {
        64 => Ok(RegisterValue::Sha256(hex.parse()?)),
        96 => Ok(RegisterValue::Sha384(hex.parse()?)),
        other => bail!("expected 64 or 96 hex digits, got {other} characters"),
    }
}

fn without_repetition(
    registers: Vec<(u8, RegisterValue)>,
) -> anyhow::Result<Vec<(u8, RegisterValue)>> {
    let mut seen = BTreeMap::new();
    for (register, value) in &registers {
        let bank = matches!(value, RegisterValue::Sha256(_));
        let before = seen.insert((*register, bank), *value);
        ensure!(before.is_none(), "register {register} is there twice");
    }
    Ok(registers)
}

/// An object of strings, with keys that are there twice.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}
