//! How far a boot has come, and how long each part took, told from the console alone.
//!
//! I/O: none.

use std::time::Duration;

use super::Line;

/// A part of the boot, in order; each begins with a line on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The firmware starts the boot loader entry.
    Firmware,
    /// The kernel runs.
    Kernel,
    /// systemd runs in the initrd.
    Initrd,
    /// The initrd hands over to the root file system.
    SwitchRoot,
    /// systemd runs from the root file system.
    Userspace,
    /// All units that belong to the boot are started.
    Finished,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 6] = [
        Self::Firmware,
        Self::Kernel,
        Self::Initrd,
        Self::SwitchRoot,
        Self::Userspace,
        Self::Finished,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::SwitchRoot => "switch-root",
            Self::Userspace => "userspace",
            Self::Finished => "finished",
        }
    }

    /// Whether `line` shows that this phase has begun.
    fn begins_with(self, line: &str) -> bool {
        let any = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
        match self {
            Self::Firmware => any(&["BdsDxe: starting Boot"]),
            Self::Kernel => any(&["Linux version ", "] Command line: "]),
            Self::Initrd => {
                any(&["systemd[1]: Running in initrd", "Booting initrd of"])
                    || is_systemd_welcome(line)
            }
            Self::SwitchRoot => any(&["Switching root", "initrd-switch-root.service"]),
            Self::Userspace => is_systemd_welcome(line),
            Self::Finished => reported_state(line).is_some(),
        }
    }
}

/// The first line that systemd writes, in the initrd and again in the root file system.
fn is_systemd_welcome(line: &str) -> bool {
    line.contains(" running in system mode (") || line.starts_with("Welcome to ")
}

/// What `systemctl is-system-running` can say, systemctl(1).
const SYSTEM_STATES: [&str; 8] = [
    "initializing",
    "starting",
    "running",
    "degraded",
    "maintenance",
    "stopping",
    "offline",
    "unknown",
];

/// What the image's boot report says about the system: `running`, `degraded`, … The unit writes
/// `boot-report[<pid>]: <state>` when no job is left.
pub fn reported_state(line: &str) -> Option<&str> {
    let (_, report) = line.split_once("boot-report[")?;
    let (pid, state) = report.split_once("]: ")?;
    // Whole words only: the line may not have ended yet.
    (pid.parse::<u32>().is_ok() && SYSTEM_STATES.contains(&state)).then_some(state)
}

/// When each phase began, as far as it did. A phase is looked for only after the one before it.
pub fn phases(lines: &[Line]) -> Vec<(Phase, Duration)> {
    let mut begun = Vec::new();
    let mut rest = lines.iter();
    for phase in Phase::ALL {
        let mut ahead = rest.clone();
        if let Some(line) = ahead.find(|line| phase.begins_with(&line.text)) {
            begun.push((phase, line.at));
            rest = ahead;
        }
    }
    begun
}

/// The units that systemd reports as failed, in its status lines: `[FAILED] Failed to start …`.
pub fn failed_units(lines: &[Line]) -> Vec<String> {
    let marks = ["[FAILED] ", "[DEPEND] "];
    lines
        .iter()
        .filter_map(|line| {
            let text = line.text.trim_start();
            marks.iter().find_map(|mark| text.strip_prefix(mark))
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(texts: &[&str]) -> Vec<Line> {
        let seconds = 1..;
        seconds
            .zip(texts)
            .map(|(second, text)| Line {
                at: Duration::from_secs(second),
                text: (*text).to_owned(),
            })
            .collect()
    }

    #[test]
    fn phases_of_a_whole_boot() {
        let lines = console(&[
            "BdsDxe: starting Boot0001 \"UEFI QEMU QEMU HARDDISK \" from PciRoot(0x0)/…",
            "[    0.000000] Linux version 6.12.48+deb13-cloud-amd64",
            "[    2.1] systemd[1]: systemd 257.8-1~deb13u2 running in system mode (+PAM …)",
            "[    2.2] systemd[1]: Running in initrd.",
            "         Starting initrd-switch-root.service - Switch Root...",
            "[    6.1] systemd[1]: systemd 257.8-1~deb13u2 running in system mode (+PAM …)",
            "[   32.895453] boot-report[370]: running",
        ]);
        let seconds: Vec<_> = phases(&lines)
            .into_iter()
            .map(|(phase, at)| (phase.name(), at.as_secs()))
            .collect();
        assert_eq!(
            seconds,
            [
                ("firmware", 1),
                ("kernel", 2),
                ("initrd", 3),
                ("switch-root", 5),
                ("userspace", 6),
                ("finished", 7),
            ]
        );
    }

    #[test]
    fn boot_that_stops_has_only_its_first_phases() {
        let lines = console(&["BdsDxe: starting Boot0001", "Linux version 6.12"]);
        assert_eq!(phases(&lines).len(), 2);
    }

    #[test]
    fn state_is_a_single_word_of_the_boot_report() {
        assert_eq!(
            reported_state("[   32.9] boot-report[370]: degraded"),
            Some("degraded")
        );
        assert_eq!(
            reported_state("[   33.0] boot-report[371]: Startup finished in 2s"),
            None
        );
        assert_eq!(reported_state("other[1]: running"), None);
    }

    #[test]
    fn failed_units_are_told_from_good_ones() {
        let lines = console(&[
            "[  OK  ] Started cvm-attest.service - Attestation.",
            "[FAILED] Failed to start chrony.service - NTP.",
            "[DEPEND] Dependency failed for home.mount.",
        ]);
        assert_eq!(
            failed_units(&lines),
            [
                "Failed to start chrony.service - NTP.",
                "Dependency failed for home.mount."
            ]
        );
    }
}
