//! Compares the sections of two UKIs.
//!
//! I/O: reads the images' sections.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::Context;
use measurements::Image;
use measurements::image::Section;
use serde::Serialize;

use super::initrd::{self, InitrdDifference};
use super::text::{Change, line_changes, word_changes};
use super::{Kind, Pair, facts};

/// Largest section that is compared as text.
const MAX_TEXT_SIZE: u64 = 1 << 20;

/// A section that differs.
#[derive(Debug, Serialize)]
pub(super) struct SectionDifference {
    pub(super) name: String,
    pub(super) change: Kind,
    /// Bytes in memory.
    pub(super) size: Pair<Option<u64>>,
    pub(super) sha256: Pair<Option<String>>,
    /// Words or lines, of a section that is text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) text: Vec<Change>,
    /// Files, of a section that is an initrd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) initrd: Option<InitrdDifference>,
    /// Versions, of a section that is a kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<Pair<Option<String>>>,
}

impl SectionDifference {
    /// How large it was and is.
    pub(super) fn sizes(&self) -> String {
        match (self.size.a, self.size.b) {
            (Some(a), Some(b)) if a == b => format!("other contents, {a} bytes"),
            (Some(a), Some(b)) => format!("{a} → {b} bytes"),
            (Some(size), None) | (None, Some(size)) => format!("{size} bytes"),
            (None, None) => String::new(),
        }
    }

    /// What it is that differs, one line for each; the size if no more is known.
    pub(super) fn details(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.text.iter().map(Change::line).collect();
        if let Some(initrd) = &self.initrd {
            // First what says how far the list of files goes.
            lines.extend(initrd.remarks.iter().cloned());
            lines.extend(initrd.files.iter().map(initrd::FileDifference::line));
        }
        lines.extend(self.kernel.as_ref().and_then(kernel_line));
        if lines.is_empty() {
            lines.push(match self.change {
                Kind::Changed => self.sizes(),
                change => format!("{change}, {}", self.sizes()),
            });
        }
        lines
    }
}

fn kernel_line(versions: &Pair<Option<String>>) -> Option<String> {
    match (&versions.a, &versions.b) {
        (Some(a), Some(b)) if a == b => Some(format!("another build of Linux {a}")),
        (Some(a), Some(b)) => Some(format!("Linux {a} → {b}")),
        _ => None,
    }
}

/// Compares all sections: the first with a name in one UKI belongs to the first with that name in
/// the other, and so on.
pub(super) fn compare<A: Read + Seek, B: Read + Seek>(
    a: &mut Image<A>,
    b: &mut Image<B>,
) -> anyhow::Result<Vec<SectionDifference>> {
    let mut differences = Vec::new();
    for (name, pair) in pairs(a.sections(), b.sections()) {
        let compared = difference(name.clone(), &pair, a, b);
        differences.extend(compared.with_context(|| format!("compare section {name}"))?);
    }
    Ok(differences)
}

fn pairs(a: Vec<Section>, b: Vec<Section>) -> Vec<(String, Pair<Option<Section>>)> {
    let mut pairs: Vec<(String, Pair<Option<Section>>)> = Vec::new();
    let mut counts = BTreeMap::<String, usize>::new();
    for section in a {
        let count = counts.entry(section.name.clone()).or_default();
        *count += 1;
        let pair = Pair {
            a: Some(section.clone()),
            b: None,
        };
        pairs.push((numbered(&section.name, *count), pair));
    }
    counts.clear();
    for section in b {
        let count = counts.entry(section.name.clone()).or_default();
        *count += 1;
        let name = numbered(&section.name, *count);
        match pairs.iter_mut().find(|(other, _)| *other == name) {
            Some((_, pair)) => pair.b = Some(section),
            None => pairs.push((
                name,
                Pair {
                    a: None,
                    b: Some(section),
                },
            )),
        }
    }
    pairs
}

/// A section's name; of several with the same name, all but the first have a number.
fn numbered(name: &str, count: usize) -> String {
    match count {
        1 => name.to_owned(),
        _ => format!("{name} ({count})"),
    }
}

fn difference<A: Read + Seek, B: Read + Seek>(
    name: String,
    pair: &Pair<Option<Section>>,
    a: &mut Image<A>,
    b: &mut Image<B>,
) -> anyhow::Result<Option<SectionDifference>> {
    let sha256 = Pair {
        a: digest(a, pair.a.as_ref())?,
        b: digest(b, pair.b.as_ref())?,
    };
    if sha256.a == sha256.b {
        return Ok(None);
    }
    let mut difference = SectionDifference {
        name,
        change: Kind::of(&sha256),
        size: Pair {
            a: pair.a.as_ref().map(|section| section.size),
            b: pair.b.as_ref().map(|section| section.size),
        },
        sha256,
        text: Vec::new(),
        initrd: None,
        kernel: None,
    };
    if let (Some(of_a), Some(of_b)) = (&pair.a, &pair.b) {
        match of_a.name.as_str() {
            ".initrd" | ".ucode" => {
                let (a, b) = (a.section_reader(of_a), b.section_reader(of_b));
                difference.initrd = Some(initrd::compare(a, b)?);
            }
            ".linux" => {
                let versions = Pair {
                    a: facts::kernel_version(a.section_reader(of_a))?,
                    b: facts::kernel_version(b.section_reader(of_b))?,
                };
                difference.kernel = Some(versions);
            }
            name if of_a.size.max(of_b.size) <= MAX_TEXT_SIZE => {
                let a = text(a.section_reader(of_a))?;
                let b = text(b.section_reader(of_b))?;
                difference.text = match name {
                    ".cmdline" => word_changes(&a, &b),
                    ".osrel" | ".uname" | ".sbat" | ".profile" | ".sdmagic" => line_changes(&a, &b),
                    _ => Vec::new(),
                };
            }
            _ => {}
        }
    }
    Ok(Some(difference))
}

fn digest<R: Read + Seek>(
    image: &mut Image<R>,
    section: Option<&Section>,
) -> anyhow::Result<Option<String>> {
    let digests = section.map(|section| image.section_digests(section));
    let digests = digests.transpose()?;
    Ok(digests.map(|digests| digests.sha256.to_string()))
}

/// The section as text, without the NULs at its end. Callers have looked at its size.
pub(super) fn text(mut section: impl Read) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    section
        .by_ref()
        .take(MAX_TEXT_SIZE)
        .read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches('\0').to_owned())
}
