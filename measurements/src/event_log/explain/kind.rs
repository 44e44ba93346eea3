//! Kinds of event, so that a predicted one can be told from a measured one of the same kind.
//!
//! I/O: none.

/// What sort of thing was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// What Linux was given as its command line.
    CommandLine,
    /// What Linux was given as its initrd.
    Initrd,
    /// A program that firmware started: boot loader or UKI.
    Program,
    /// A driver that firmware loaded.
    Driver,
    /// The kernel, started through the firmware.
    Kernel,
    /// A section's name.
    SectionName(String),
    /// A section's contents.
    SectionData(String),
    /// The border between firmware and what it starts.
    Separator,
    /// Something that firmware says it did.
    Action,
    /// The partition table of the disk that was booted.
    PartitionTable,
    /// The boot loader's configuration.
    LoaderConfig,
    /// A text that boot loader or stub measured: command lines from outside of the UKI.
    Text,
    /// By systemd, after boot.
    Userspace,
    /// Anything else.
    Other,
}

impl Kind {
    /// Says whether a measured event of this kind can be the predicted one with other contents.
    pub(super) fn is_of(&self, expected: &Self) -> bool {
        match (self, expected) {
            // A kernel that the stub did not make up a path for was loaded from a file.
            (Self::Program, Self::Kernel) => true,
            (Self::Userspace | Self::Other, _) => false,
            (actual, expected) => actual == expected,
        }
    }

    /// The kind that a prediction's subject names.
    pub(super) fn of_subject(subject: &str) -> Self {
        if let Some((section, part)) = subject.split_once(": ") {
            match part {
                "name" => return Self::SectionName(section.to_owned()),
                "data" => return Self::SectionData(section.to_owned()),
                _ => (),
            }
        }
        match subject {
            "kernel command line" => Self::CommandLine,
            "initrd" => Self::Initrd,
            "separator" => Self::Separator,
            "partition table" => Self::PartitionTable,
            "loader.conf" => Self::LoaderConfig,
            "Authenticode digest of .linux" => Self::Kernel,
            _ if subject.starts_with("Authenticode digest of ") => Self::Program,
            _ if subject.starts_with("firmware action ") => Self::Action,
            _ if subject.starts_with("command line from ") => Self::Text,
            _ => Self::Other,
        }
    }
}
