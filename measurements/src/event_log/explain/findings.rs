//! Differences in words.
//!
//! I/O: none.

use super::super::{Bank, Escaped, Meaning, UserspaceEvent, event_type};
use super::kind::Kind;
use super::observed::{Observed, Source};
use super::{Expected, Finding, FindingKind, Logs, command_line};

/// What the stub calls the archives that it makes of files beside the UKI: systemd
/// `src/boot/stub.c`.
const ARCHIVES: [&str; 6] = [
    "Credentials initrd",
    "Global credentials initrd",
    "System extension initrd",
    "Global system extension initrd",
    "Configuration extension initrd",
    "Global configuration extension initrd",
];

pub(super) fn changed(
    logs: &Logs<'_>,
    expected: &Expected<'_>,
    observed: &Observed<'_>,
) -> Finding {
    let text = match &expected.kind {
        Kind::CommandLine | Kind::Text => command_line(logs, expected, observed),
        Kind::Initrd if expected.detail.is_empty() => "another initrd".to_owned(),
        Kind::Initrd => format!("another initrd: expected {}", Escaped(expected.detail)),
        Kind::Kernel if observed.kind == Kind::Kernel => "another kernel".to_owned(),
        Kind::Kernel => format!("another kernel: {}", observed.claim()),
        Kind::Program => {
            let what = expected.subject.rsplit(" the ").next().unwrap_or("program");
            format!("another {}: {}", Escaped(what), observed.claim())
        }
        Kind::SectionData(section) => {
            let what = content_of(section).map(|what| format!(" (another {what})"));
            let what = what.unwrap_or_default();
            format!("section {} has other contents{what}", Escaped(section))
        }
        Kind::Separator => format!("another separator: {}", observed.claim()),
        Kind::Action => format!("another firmware action: {}", observed.claim()),
        Kind::PartitionTable => format!(
            "the partition table differs: another disk, or one that was fitted ({})",
            observed.claim()
        ),
        Kind::LoaderConfig => "loader.conf has other contents".to_owned(),
        Kind::SectionName(_) | Kind::Driver | Kind::Userspace | Kind::Other => {
            let subject = Escaped(expected.subject);
            format!("another {subject}: {}", observed.claim())
        }
    };
    Finding {
        kind: FindingKind::Changed,
        text,
        expected: Some(logs.bank.pick(expected.digests)),
        actual: observed.digest,
    }
}

pub(super) fn missing(logs: &Logs<'_>, register: u8, expected: &Expected<'_>) -> Finding {
    let name = logs.register_name(register);
    let text = match &expected.kind {
        Kind::CommandLine => "no command line was measured".to_owned(),
        Kind::Initrd => "no initrd was measured: Linux was given none".to_owned(),
        Kind::Kernel => format!(
            "kernel event missing in {name}: the stub did not start the kernel through the \
             firmware (stub ≥ 258, or Secure Boot?)"
        ),
        Kind::PartitionTable => {
            "no partition table was measured: the firmware found none on the disk".to_owned()
        }
        Kind::SectionName(section) | Kind::SectionData(section) => {
            let section = Escaped(section);
            format!("section {section} is in the image but was not measured by this boot")
        }
        _ => format!("event missing: {}", Escaped(expected.subject)),
    };
    Finding {
        kind: FindingKind::Missing,
        text,
        expected: Some(logs.bank.pick(expected.digests)),
        actual: None,
    }
}

pub(super) fn added(logs: &Logs<'_>, register: u8, observed: &Observed<'_>) -> Finding {
    let name = logs.register_name(register);
    let claim = observed.claim();
    let text = match (&observed.kind, &observed.source) {
        _ if observed.digest.is_none() => {
            format!("an extra event without a {} digest: {claim}", logs.bank)
        }
        (Kind::Userspace, Source::Userspace(event)) => userspace(event),
        (Kind::Kernel, _) => format!(
            "an extra event in {name}: the stub started the kernel through the firmware (stub ≤ \
             257, or Secure Boot with shim?)"
        ),
        (Kind::Program, _) => {
            format!("an extra event in {name}: {claim} was loaded (boot loader, driver, shim?)")
        }
        (Kind::Driver, _) => {
            format!("an extra event in {name}: {claim} was loaded (a driver)")
        }
        (Kind::SectionName(section) | Kind::SectionData(section), _) => {
            let section = Escaped(section);
            format!("section {section} was measured by this boot but is absent from the image")
        }
        (Kind::Action, _) => format!("an extra firmware action: {claim}"),
        (Kind::CommandLine, _) => "an extra kernel command line was measured".to_owned(),
        (Kind::Initrd, _) => "an extra initrd was measured".to_owned(),
        (kind, _) => match foreign(logs, register, kind) {
            Some(what) => format!("{what}: {claim}"),
            None => format!("an extra event in {name}: {claim}"),
        },
    };
    Finding {
        kind: FindingKind::Added,
        text,
        expected: None,
        actual: observed.digest,
    }
}

/// Where an event does not come from the image, if its register tells.
fn foreign(logs: &Logs<'_>, register: u8, kind: &Kind) -> Option<&'static str> {
    match (logs.firmware.is_of_tdx(), register) {
        (false, 8) => Some("PCR 8 is not zero (GRUB)"),
        (false, 12) => Some(
            "PCR 12 is not zero: something from outside the UKI (command line, add-on, credentials)",
        ),
        (false, 13) => Some("PCR 13 is not zero: extensions from outside the UKI"),
        (false, 14) => Some("PCR 14 is not zero (shim)"),
        // There, RTMR2 has what is in PCR 8 to 15 elsewhere.
        (true, 3) if matches!(kind, Kind::Text | Kind::Other) => Some(
            "RTMR2 has something from outside the UKI (GRUB, command line, add-on, credentials, \
             extensions)",
        ),
        (true, 4) => Some("RTMR3 is not zero: a program in the guest extended it"),
        _ => None,
    }
}

pub(super) fn no_bank(bank: Bank) -> Finding {
    unknown(format!("the log has no {bank} bank"))
}

pub(super) fn too_many(expected: usize, observed: usize) -> Finding {
    unknown(format!(
        "{observed} events, where {expected} are predicted: not compared one by one"
    ))
}

fn unknown(text: String) -> Finding {
    Finding {
        kind: FindingKind::Unknown,
        text,
        expected: None,
        actual: None,
    }
}

/// A section that is missing or added is so with its name and its contents: said once.
pub(super) fn without_repetition(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.dedup_by(|next, before| {
        next.kind == before.kind && next.text == before.text && next.text.starts_with("section ")
    });
    findings
}

fn command_line(logs: &Logs<'_>, expected: &Expected<'_>, observed: &Observed<'_>) -> String {
    let what = match expected.kind {
        Kind::CommandLine => "the command line",
        _ => "the command line from outside the UKI",
    };
    let found = observed
        .digest
        .and_then(|digest| command_line::find(logs, expected.detail, digest));
    if let Some(actual) = found {
        let difference = command_line::difference(expected.detail, &actual);
        return format!("{what} differs: {difference}");
    }
    let detail = Escaped(expected.detail);
    let mut text = format!("{what} differs: expected \"{detail}\", logged is a digest only");
    for claimed in logs.command_lines {
        let claimed = Escaped(claimed);
        text.push_str(&format!(", which is not that of the claimed \"{claimed}\""));
    }
    text
}

/// What is known to be in a section.
fn content_of(section: &str) -> Option<&'static str> {
    match section {
        ".linux" => Some("kernel"),
        ".osrel" => Some("os-release"),
        ".cmdline" => Some("command line"),
        ".initrd" => Some("initrd"),
        ".uname" => Some("kernel version"),
        ".sbat" => Some("revocation level"),
        ".ucode" => Some("microcode"),
        _ => None,
    }
}

/// What systemd extends after boot, and which unit does it.
fn userspace(event: &UserspaceEvent) -> String {
    let text = Escaped(&event.text);
    // A key's digest cannot be that of its name.
    if !event.is_confirmed() && event.kind != "volume-key" {
        return format!("userspace extended what its log claims to be \"{text}\", wrongly");
    }
    match event.kind.as_str() {
        "phase" => format!("boot phase \"{text}\" (systemd-pcrphase is not masked)"),
        "machine-id" => format!("\"{text}\" (systemd-pcrmachine is not masked)"),
        "filesystem" => format!("file system \"{text}\" (systemd-pcrfs is not masked)"),
        "volume-key" => format!("key of \"{text}\" (systemd-cryptsetup was told to measure it)"),
        _ => format!("userspace extended \"{text}\""),
    }
}

impl Observed<'_> {
    /// What the log says about the event, and whether that can be believed.
    fn claim(&self) -> String {
        match &self.source {
            Source::Userspace(event) => format!("\"{}\"", Escaped(&event.text)),
            Source::Firmware { event, meaning } => match meaning {
                Meaning::Text(text) if event.event_type == event_type::EV_IPL => {
                    if event.is_confirmed() {
                        format!("the text {meaning}")
                    } else if ARCHIVES.contains(&text.as_str()) {
                        format!("the log says {meaning}")
                    } else {
                        format!("the log claims {meaning}, but the digest is not of that text")
                    }
                }
                _ if event.is_confirmed() => meaning.to_string(),
                _ => format!("the log says {meaning}"),
            },
        }
    }
}
