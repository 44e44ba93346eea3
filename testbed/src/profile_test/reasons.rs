//! Whether the differences that `cvmctl diff` finds all follow from another root hash.
//!
//! I/O: none.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The registers that cover the root hash, of both kinds of machine.
const REGISTERS: [&str; 5] = ["11", "4", "9", "rtmr1", "rtmr2"];

/// The one section of the UKI that may differ.
const COMMAND_LINE: &str = ".cmdline";
const ROOT_HASH: &str = "roothash=";
/// Its text in a section of the UKI may lie across two blocks.
const MOST_BLOCKS: u64 = 2;

/// Fails if anything differs for another reason; returns both root hashes.
pub(super) fn only_root_hash(difference: &Value) -> Result<(String, String)> {
    for empty in ["not_covered", "unknown"] {
        let list = array(difference, empty)?;
        ensure!(list.is_empty(), "{empty}: {list:?}");
    }
    let hashes = sections(difference)?;
    partitions(difference, &hashes)?;
    registers(difference, &hashes)?;
    Ok(hashes)
}

/// One section differs, in one word.
fn sections(difference: &Value) -> Result<(String, String)> {
    let sections = array(difference, "sections")?;
    let [section] = &sections[..] else {
        bail!("{} sections of the UKI differ, not one", sections.len());
    };
    ensure!(
        section.get("name").and_then(Value::as_str) == Some(COMMAND_LINE),
        "another section than {COMMAND_LINE} differs: {section}"
    );
    let words = array(section, "text")?;
    let [old, new] = &words[..] else {
        bail!("not one word of the command line differs: {words:?}");
    };
    let hash = |change: &Value, kind| {
        let word = change.get(kind).and_then(Value::as_str);
        let hash = word.and_then(|word| word.strip_prefix(ROOT_HASH));
        let hash = hash.with_context(|| format!("not a root hash {kind}: {change}"))?;
        Ok::<_, anyhow::Error>(hash.to_owned())
    };
    Ok((hash(old, "removed")?, hash(new, "added")?))
}

/// Both partitions of the root differ and have other GUIDs; the ESP has another command line.
fn partitions(difference: &Value, hashes: &(String, String)) -> Result<()> {
    let partitions = array(difference, "partitions")?;
    ensure!(
        partitions.len() == 3,
        "{} partitions differ: {partitions:?}",
        partitions.len()
    );
    for partition in partitions {
        let name = partition.get("name").and_then(Value::as_str);
        let name = name.context("a partition without a name")?;
        let entry = array(partition, "entry")?;
        match name {
            _ if name.contains("root") => {
                let [change] = &entry[..] else {
                    bail!("{name}: more than its GUID differs: {entry:?}");
                };
                is_guid(change, hashes).with_context(|| format!("{name}: {change}"))?;
            }
            _ if name.contains("EFI system partition") => {
                ensure!(entry.is_empty(), "{name}: {entry:?}");
                let blocks = partition.pointer("/contents/blocks/differing");
                let blocks = blocks.and_then(Value::as_u64);
                ensure!(
                    blocks.is_some_and(|blocks| blocks <= MOST_BLOCKS),
                    "{name}: more differs than a word: {partition}"
                );
            }
            _ => bail!("{name} differs"),
        }
    }
    Ok(())
}

/// The GUIDs are halves of the root hashes (Discoverable Partitions Specification).
fn is_guid(change: &Value, hashes: &(String, String)) -> Result<()> {
    let guids = change.as_str().and_then(|text| text.strip_prefix("GUID "));
    let guids = guids.and_then(|text| text.split_once(" → "));
    let (old, new) = guids.context("not its GUID")?;
    let is_half = |guid: &str, hash: &str| {
        let digits = guid.replace('-', "");
        hash.starts_with(&digits) || hash.ends_with(&digits)
    };
    ensure!(
        is_half(old, &hashes.0) && is_half(new, &hashes.1),
        "not halves of the root hashes"
    );
    Ok(())
}

/// Just the registers that cover the root hash differ, and for no other reason.
fn registers(difference: &Value, hashes: &(String, String)) -> Result<()> {
    let registers = difference.get("registers").and_then(Value::as_object);
    let registers = registers.context("no registers")?;
    let mut names: Vec<_> = registers.keys().map(String::as_str).collect();
    names.sort_unstable();
    ensure!(names == REGISTERS, "these registers differ: {names:?}");
    let words = [
        COMMAND_LINE.to_owned(),
        format!("- {ROOT_HASH}{}", hashes.0),
        format!("+ {ROOT_HASH}{}", hashes.1),
    ];
    for (name, register) in registers {
        for cause in array(register, "causes")? {
            for because in array(cause, "because")? {
                let text = because.as_str().unwrap_or_default();
                let is_partition = text
                    .split_once("): ")
                    .is_some_and(|(_, guid)| is_guid(&Value::from(guid), hashes).is_ok());
                ensure!(
                    is_partition || words.iter().any(|word| word == text),
                    "register {name}, {cause}: another reason"
                );
            }
        }
    }
    Ok(())
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    let list = value.get(name).and_then(Value::as_array);
    list.with_context(|| format!("no {name} in what cvmctl says"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "9f850fe774c512d5cc8920e90d8ecad2ca0223144fb767b7e38da1f9aa4e24cc";
    const NEW: &str = "a4e47257f8b1b143efb24cbbd393adb3528a85bcdd60400a2addcb83b6a13226";
    const GUIDS: &str =
        "GUID 9f850fe7-74c5-12d5-cc89-20e90d8ecad2 → a4e47257-f8b1-b143-efb2-4cbbd393adb3";
    const VERITY: &str =
        "GUID ca022314-4fb7-67b7-e38d-a1f9aa4e24cc → 528a85bc-dd60-400a-2add-cb83b6a13226";

    /// What cvmctl says of two images that differ in one file.
    fn difference() -> Value {
        let command_line = json!({"causes": [{"event": ".cmdline: data", "because":
            [format!("- roothash={OLD}"), format!("+ roothash={NEW}")]}]});
        let uki = json!({"causes": [{"event": "Authenticode digest", "because": [".cmdline"]}]});
        let table = json!({"causes": [{"event": "partition table", "because":
            [format!("partition 2 (root, \"root-x86-64\"): {GUIDS}")]}]});
        json!({
            "not_covered": [], "unknown": [],
            "sections": [{"name": ".cmdline", "text":
                [{"removed": format!("roothash={OLD}")}, {"added": format!("roothash={NEW}")}]}],
            "partitions": [
                {"name": "1 (EFI system partition, \"esp\")", "entry": [],
                    "contents": {"blocks": {"differing": 1}}},
                {"name": "2 (root, \"root-x86-64\")", "entry": [GUIDS]},
                {"name": "3 (root verity, \"root-x86-64-verity\")", "entry": [VERITY]},
            ],
            "registers": {"4": uki, "9": command_line, "11": command_line,
                "rtmr1": table, "rtmr2": command_line},
        })
    }

    #[test]
    fn root_hash_alone_is_accepted() {
        let hashes = only_root_hash(&difference()).unwrap();
        assert_eq!(hashes, (OLD.to_owned(), NEW.to_owned()));
    }

    #[test]
    fn any_other_difference_is_refused() {
        let changes: [(&str, Value); 8] = [
            ("/sections/0/name", json!(".initrd")),
            ("/sections/0/text/1/added", json!("debug")),
            ("/partitions/0/contents/blocks/differing", json!(3)),
            ("/partitions/0/entry", json!(["name"])),
            (
                "/partitions/1/entry/0",
                json!(VERITY.replace("9f85", "0000").replace("ca02", "0000")),
            ),
            ("/registers/9/causes/0/because/0", json!("+ debug")),
            ("/not_covered", json!(["a partition"])),
            ("/unknown", json!(["PCR 4"])),
        ];
        for (place, value) in changes {
            let mut difference = difference();
            *difference.pointer_mut(place).unwrap() = value;
            assert!(only_root_hash(&difference).is_err(), "{place}");
        }
        for (list, more) in [
            ("sections", json!({"name": ".initrd"})),
            ("partitions", json!({"name": "4 (data)", "entry": []})),
        ] {
            let mut difference = difference();
            difference[list].as_array_mut().unwrap().push(more);
            assert!(only_root_hash(&difference).is_err(), "{list}");
        }
        let mut difference = difference();
        difference["registers"]["12"] = json!({"causes": []});
        assert!(only_root_hash(&difference).is_err());
    }
}
