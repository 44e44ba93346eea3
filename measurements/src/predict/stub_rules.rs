//! What each version of systemd-stub measures, and what it hands to the kernel: one table.
//!
//! Mirrors systemd's `src/boot/efi/` up to v256 and `src/boot/` since v257: `stub.c`, `linux.c`,
//! `pe.c`, `util.c`, and `src/fundamental/uki.h`.
//!
//! I/O: none.

use crate::StubVersion;
use crate::stub_version::StubVersionError;

/// The rules of one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StubRules {
    /// The first and the last version that they are for.
    pub(crate) versions: (u32, u32),
    /// How the kernel is started.
    pub(crate) kernel: KernelStart,
    /// Which section counts if several match a name.
    pub(crate) lookup: Lookup,
    /// The sections that are measured into PCR 11, in their order: "the canonical order in which
    /// we measure", `enum UnifiedSection`.
    pub(crate) measured: &'static [&'static str],
    /// What the initrd is made of besides `.initrd`.
    pub(crate) initrd: InitrdRules,
    /// What becomes of white space in the command line.
    pub(crate) mangling: Mangling,
    /// Whether `.profile` begins another profile.
    pub(crate) has_profiles: bool,
    /// Whether the kernel is left with the UKI's own LoadOptions if there is no `.cmdline`.
    pub(crate) keeps_load_options: bool,
    /// Whether `console=` is added to a command line without, as the machine has it.
    pub(crate) adds_console: bool,
}

/// How it is known what a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Predictions were found equal to a TPM's registers.
    Booted,
    /// From its source.
    Read,
    /// From its neighbours and the release notes: its source was not at hand.
    Inferred,
}

/// `linux_exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelStart {
    /// Through the EFI handover protocol: neither firmware nor kernel measures anything.
    Handover,
    /// Through the firmware's LoadImage, which measures it into PCR 4.
    Firmware,
    /// By a loader of the stub's own, which does not.
    Stub,
}

/// `pe_locate_sections`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The last whose name begins with the name looked for: `.dtbauto` counts as `.dtb`.
    LastByPrefix,
    /// The first that is named exactly so.
    FirstExact,
    /// One of these two.
    Unknown,
}

/// `combine_initrds`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitrdRules {
    /// Whether `.ucode` comes before everything else.
    pub(crate) has_microcode: bool,
    /// Sections that are wrapped in an archive of their own, in the archives' order, and the name of
    /// the file in it.
    pub(crate) wrapped: &'static [(&'static str, &'static str)],
    /// Whether a random secret of the machine comes last: `prepare_boot_secret`.
    pub(crate) has_boot_secret: bool,
}

/// `mangle_stub_cmdline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mangling {
    /// Control characters become spaces; spaces are cut off at the end.
    End,
    /// White space, control characters and DEL are cut off at both ends and become spaces inside.
    /// Where there is nothing else, the stub takes the NUL for white space, and reads on.
    BothEndsOfText,
    /// As before, but a text of nothing else becomes empty.
    BothEnds,
}

const TO_253: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey",
];
const FROM_254: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
];
const FROM_256: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey",
];
const FROM_257: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey", ".profile", ".hwids",
];

const SIGNATURE: (&str, &str) = (".pcrsig", "tpm2-pcr-signature.json");
const KEY: (&str, &str) = (".pcrpkey", "tpm2-pcr-public-key.pem");

const INITRD_TO_255: InitrdRules = InitrdRules {
    has_microcode: false,
    wrapped: &[SIGNATURE, KEY],
    has_boot_secret: false,
};
const INITRD_256: InitrdRules = InitrdRules {
    has_microcode: true,
    ..INITRD_TO_255
};
const INITRD_FROM_257: InitrdRules = InitrdRules {
    wrapped: &[
        SIGNATURE,
        KEY,
        (".osrel", "os-release"),
        (".profile", "profile"),
    ],
    ..INITRD_256
};

const V250: StubRules = StubRules {
    versions: (250, 251),
    kernel: KernelStart::Handover,
    lookup: Lookup::LastByPrefix,
    measured: &[],
    initrd: INITRD_TO_255,
    mangling: Mangling::End,
    has_profiles: false,
    keeps_load_options: false,
    adds_console: false,
};
const V252: StubRules = StubRules {
    versions: (252, 253),
    kernel: KernelStart::Firmware,
    measured: TO_253,
    ..V250
};
const V254: StubRules = StubRules {
    versions: (254, 254),
    measured: FROM_254,
    ..V252
};
const V255: StubRules = StubRules {
    versions: (255, 255),
    mangling: Mangling::BothEndsOfText,
    ..V254
};
const V256: StubRules = StubRules {
    versions: (256, 256),
    lookup: Lookup::Unknown,
    measured: FROM_256,
    initrd: INITRD_256,
    ..V255
};
const V257: StubRules = StubRules {
    versions: (257, 257),
    lookup: Lookup::FirstExact,
    measured: FROM_257,
    initrd: INITRD_FROM_257,
    mangling: Mangling::BothEnds,
    has_profiles: true,
    ..V256
};
const V258: StubRules = StubRules {
    versions: (258, 260),
    kernel: KernelStart::Stub,
    keeps_load_options: true,
    ..V257
};
const V261: StubRules = StubRules {
    versions: (261, 262),
    initrd: InitrdRules {
        has_boot_secret: true,
        ..INITRD_FROM_257
    },
    adds_console: true,
    ..V258
};

/// Versions of which predictions were found equal to the registers of a TPM: `docs/stub-versions.md`
/// says which boots.
const BOOTED: [u32; 7] = [252, 254, 255, 257, 259, 261, 262];

/// Versions whose source was read.
const READ: [u32; 1] = [258];

const ALL: [StubRules; 8] = [V250, V252, V254, V255, V256, V257, V258, V261];

impl StubRules {
    /// The first and the last version whose rules are known.
    pub(crate) const KNOWN: (u32, u32) = (V250.versions.0, V261.versions.1);

    /// Returns the rules of a version.
    ///
    /// # Errors
    ///
    /// [`StubVersionError::Unknown`] if they are not known. Nothing is guessed from neighbours.
    pub(crate) fn of(version: &StubVersion) -> Result<Self, StubVersionError> {
        let is_meant = |rules: &&Self| {
            let (first, last) = rules.versions;
            (first..=last).contains(&version.major())
        };
        let rules = ALL.iter().find(is_meant).copied();
        rules.ok_or_else(|| StubVersionError::Unknown {
            actual: version.clone(),
        })
    }
}

impl Proof {
    /// How it is known what a version of which there are rules does.
    pub(crate) fn of(version: &StubVersion) -> Self {
        let major = version.major();
        if BOOTED.contains(&major) {
            Self::Booted
        } else if READ.contains(&major) {
            Self::Read
        } else {
            Self::Inferred
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_version_has_its_rules_once() {
        let (first, last) = StubRules::KNOWN;
        for major in first..=last {
            let count = ALL
                .iter()
                .filter(|r| (r.versions.0..=r.versions.1).contains(&major))
                .count();
            assert_eq!(count, 1, "{major}");
        }
    }
}
