//! All scenarios, in the order in which they run.
//!
//! I/O: see each.

mod clean;
mod direct_kernel;
mod esp_files;
mod flipped;
mod host_inputs;
mod load_options;
mod published_ports;

use anyhow::Result;

use super::context::Context;
use crate::checks::Checks;

/// One boot, or a few that belong together.
pub(super) struct Scenario {
    /// Its name, for `--only`.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) what: &'static str,
    /// Boots and checks; an error means that it could not be done.
    pub(super) run: fn(&Context, &mut Checks) -> Result<()>,
}

/// All scenarios.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "clean",
        what: "boots with a new TPM and again with the kept one; measures as predicted; answers",
        run: clean::run,
    },
    Scenario {
        name: "host-inputs",
        what: "whatever the host offers beside the image has no effect",
        run: host_inputs::run,
    },
    Scenario {
        name: "esp-files",
        what: "what is put beside the kernel image has no effect or shows in PCR 12 or 13",
        run: esp_files::run,
    },
    Scenario {
        name: "load-options",
        what: "a command line from the firmware's boot entry shows in PCR 9 or 12",
        run: load_options::run,
    },
    Scenario {
        name: "direct-kernel",
        what: "the image's kernel, handed over with another initrd, does not pass for the image",
        run: direct_kernel::run,
    },
    Scenario {
        name: "flipped-kernel",
        what: "one flipped bit in the kernel image changes PCR 4",
        run: flipped::kernel,
    },
    Scenario {
        name: "flipped-root",
        what: "one flipped bit in the root file system stops the boot",
        run: flipped::root,
    },
    Scenario {
        name: "flipped-tree",
        what: "one flipped bit in the root's hash tree stops the boot",
        run: flipped::tree,
    },
];
