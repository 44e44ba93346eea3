//! Whether an event's digest is one of what its data says.
//!
//! What is extended is not always what is logged. The forms that writers use:
//! - firmware: the data as it is (separators, actions, variables, versions, partition tables). TCG
//!   PC Client Platform Firmware Profile 1.06, "Events".
//! - systemd-stub: the section's name in ASCII with a NUL, logged in UTF-16; a command line in
//!   UTF-16 without the NUL that the log has. systemd `src/boot/measure.c`, `src/boot/stub.c`.
//! - GRUB: the text behind "grub_cmd: " and the like, with or without a NUL.
//!   `grub-core/commands/tpm.c`.
//!
//! Where a digest is of a part, the rest of what the data says is unproven, and so is the whole: a
//! boot variable is extended without its name.
//!
//! I/O: none.

use super::meaning::text;
use super::{LoggedEvent, Meaning, event_type};

/// What GRUB writes before the text that it extends.
const GRUB_LABELS: [&str; 3] = ["grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "];

impl LoggedEvent {
    /// Says whether the digests are of what the data says, so that whoever trusts the digests may
    /// believe the data.
    ///
    /// `false` does not make the data a lie: for programs, initrds and sections' contents, the log
    /// has only a name, and the digest is of the thing.
    pub fn is_confirmed(&self) -> bool {
        let whole = || self.digests.are_of(&self.data);
        match self.event_type {
            event_type::EV_NO_ACTION => false,
            event_type::EV_IPL => match self.meaning() {
                Meaning::Section(name) => self.digests.are_of(&[name.as_bytes(), b"\0"].concat()),
                _ => whole() || self.is_text_confirmed(),
            },
            _ => whole(),
        }
    }

    fn is_text_confirmed(&self) -> bool {
        let Some(text) = text::decode(&self.data) else {
            return false;
        };
        let utf16 = text::utf16(&text);
        let ascii = [text.as_bytes(), b"\0"].concat();
        let mut labels = GRUB_LABELS.iter();
        let grub = labels.find_map(|label| text.strip_prefix(label));
        // Whatever has no text behind its label is not GRUB's.
        let is_of_grub = |text: &str| {
            let with_nul = [text.as_bytes(), b"\0"].concat();
            self.digests.are_of(text.as_bytes()) || self.digests.are_of(&with_nul)
        };
        self.digests.are_of(&utf16)
            || self.digests.are_of(&[&utf16[..], &[0, 0]].concat())
            || self.digests.are_of(&ascii)
            || self.digests.are_of(text.as_bytes())
            || grub.is_some_and(|text| !text.is_empty() && is_of_grub(text))
    }
}
