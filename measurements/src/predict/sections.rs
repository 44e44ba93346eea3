//! The sections that a stub takes, out of those that are there.
//!
//! Mirrors systemd v257 `src/boot/pe.c`: `pe_locate_profile_sections`, `pe_locate_sections_internal`
//! (v255 `src/boot/efi/pe.c`, `locate_sections`).
//!
//! I/O: none.

use std::collections::BTreeMap;

use super::stub_rules::{Lookup, StubRules};
use super::{MAX_TEXT_SIZE, PredictError};
use crate::StubVersion;
use crate::pe::SectionHeader;
use crate::source::Content;
use crate::uki::{PROFILE, Uki};

/// Every section that some version takes: `unified_sections`, systemd v259
/// `src/fundamental/uki.c`.
const ALL: [&str; 15] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrsig", ".pcrpkey", PROFILE, ".dtbauto", ".hwids", ".efifw",
];

/// Of these: copied, because they are shown, decoded, or wrapped in an archive.
const TEXTS: [&str; 6] = [
    ".cmdline", ".uname", ".osrel", ".pcrsig", ".pcrpkey", PROFILE,
];

/// Taken if they fit the machine, each with the first version that knows it:
/// `pe_locate_sections_internal`.
const FOR_SOME_MACHINES: [(&str, u32); 2] = [(".dtbauto", 257), (".efifw", 258)];

/// The stub's own code and data, which it has no reason to measure.
const OWN: [&str; 15] = [
    ".text",
    ".rodata",
    ".data",
    ".bss",
    ".reloc",
    ".sdmagic",
    ".compat",
    ".dynamic",
    ".dynsym",
    ".dynstr",
    ".rela",
    ".eh_frame",
    ".note",
    ".rdata",
    ".idata",
];

/// The sections of one profile, as they are in memory.
#[derive(Debug)]
pub(crate) struct Sections {
    found: BTreeMap<&'static str, Content>,
    /// Those of which another of the same name counts.
    passed_over: Vec<&'static str>,
    /// Those that count as another, as their name begins with its name: their name, and its.
    stand_ins: Vec<(String, &'static str)>,
    /// Those that nothing takes.
    unknown: Vec<String>,
    /// Those that only other versions measure.
    unmeasured: Vec<&'static str>,
}

impl Sections {
    pub(crate) fn of(
        uki: &Uki,
        rules: &StubRules,
        version: &StubVersion,
        profile: u32,
    ) -> Result<Self, PredictError> {
        let (base, profiles) = if rules.has_profiles {
            uki.regions()
        } else {
            (uki.file().sections(), Vec::new())
        };
        let chosen = profiles.get(crate::bytes::index(profile)).copied();
        let no_such = PredictError::NoSuchProfile {
            wanted: profile,
            count: profiles.len(),
            reason: if rules.has_profiles {
                format!("the UKI has {}", profiles.len())
            } else {
                format!("systemd-stub {version} knows no profiles")
            },
        };
        let chosen = match (chosen, profile) {
            (Some(chosen), _) => chosen,
            // A UKI without profiles is what it would be if it had one.
            (None, 0) => &[],
            (None, _) => return Err(no_such),
        };

        for (section, since) in FOR_SOME_MACHINES {
            let mut all = base.iter().chain(chosen);
            let is_one =
                |s: &SectionHeader| s.name_bytes() == section.as_bytes() && s.virtual_size > 0;
            if version.major() >= since && all.any(is_one) {
                return Err(PredictError::MachineDependent { section });
            }
        }

        let mut sections = Self {
            found: BTreeMap::new(),
            passed_over: Vec::new(),
            stand_ins: Vec::new(),
            unknown: unknown_names(base, chosen),
            unmeasured: Vec::new(),
        };
        for name in ALL {
            let ambiguous = || PredictError::AmbiguousSection {
                section: name,
                version: version.to_string(),
            };
            let find = |region| locate(region, name, rules.lookup).ok_or_else(ambiguous);
            let header = match find(chosen)? {
                Some(header) => Some(header),
                None => find(base)?,
            };
            // An empty section counts as absent: `PE_SECTION_VECTOR_IS_SET`.
            let Some(header) = header.filter(|h| h.virtual_size > 0) else {
                continue;
            };
            let content = uki.content(header)?;
            if TEXTS.contains(&name) && content.size() > MAX_TEXT_SIZE {
                let actual = content.size();
                return Err(PredictError::SectionSize {
                    section: name,
                    actual,
                });
            }
            let is_named = |s: &&SectionHeader| s.name_bytes() == name.as_bytes();
            if [base, chosen]
                .iter()
                .any(|region| region.iter().filter(is_named).count() > 1)
            {
                sections.passed_over.push(name);
            }
            if header.name_bytes() != name.as_bytes() {
                sections.stand_ins.push((header.name(), name));
            }
            if name != ".pcrsig" && !rules.measured.contains(&name) {
                sections.unmeasured.push(name);
            }
            sections.found.insert(name, content);
        }
        let Self {
            stand_ins,
            unknown,
            unmeasured,
            ..
        } = &mut sections;
        let counts = |name: &str| stand_ins.iter().any(|(actual, _)| actual == name);
        unknown.retain(|name| !counts(name));
        unmeasured.retain(|name| !counts(name));
        Ok(sections)
    }

    /// Returns a section; `None` if it is not there, or empty.
    pub(crate) fn find(&self, name: &str) -> Option<&Content> {
        self.found.get(name)
    }

    /// Returns a section.
    ///
    /// # Errors
    ///
    /// [`PredictError::MissingSection`] if it is not there, or empty.
    pub(crate) fn required(&self, name: &'static str) -> Result<&Content, PredictError> {
        self.find(name)
            .ok_or(PredictError::MissingSection { section: name })
    }

    /// What is surprising about them.
    pub(super) fn notes(&self, version: &StubVersion) -> Vec<String> {
        let passed_over = self.passed_over.iter().map(|name| {
            format!(
                "the UKI has several sections {name}, of which systemd-stub {version} takes one"
            )
        });
        let stand_ins = self.stand_ins.iter().map(|(actual, name)| {
            format!("section {actual} counts as {name} for systemd-stub {version}")
        });
        let unmeasured = self
            .unmeasured
            .iter()
            .map(|name| format!("section {name} is not measured by systemd-stub {version}"));
        let unknown = self.unknown.iter().map(|name| {
            format!("section {name} is not known, and measured as part of the file only")
        });
        let taken = passed_over.chain(stand_ins);
        taken.chain(unmeasured).chain(unknown).collect()
    }
}

/// Returns the section that counts; the outer `None` if that is not known.
fn locate<'a>(
    sections: &'a [SectionHeader],
    name: &str,
    lookup: Lookup,
) -> Option<Option<&'a SectionHeader>> {
    let name = name.as_bytes();
    let last_by_prefix = sections.iter().rfind(|s| s.starts_with(name));
    let first_exact = sections.iter().find(|s| s.name_bytes() == name);
    match lookup {
        Lookup::LastByPrefix => Some(last_by_prefix),
        Lookup::FirstExact => Some(first_exact),
        Lookup::Unknown => {
            let is_same = match (first_exact, last_by_prefix) {
                (Some(one), Some(other)) => std::ptr::eq(one, other),
                (None, None) => true,
                _ => false,
            };
            is_same.then_some(first_exact)
        }
    }
}

fn unknown_names(base: &[SectionHeader], chosen: &[SectionHeader]) -> Vec<String> {
    let is_known = |section: &SectionHeader| {
        let known = ALL
            .iter()
            .chain(&OWN)
            .any(|k| k.as_bytes() == section.name_bytes());
        // Names are cut off after eight bytes.
        known || section.name_bytes().starts_with(b".note")
    };
    let sections = base.iter().chain(chosen);
    sections
        .filter(|section| !is_known(section))
        .map(SectionHeader::name)
        .collect()
}
