//! Whether an event's digest is one of what its data says.
//!
//! What is extended is not always what is logged. The forms that writers use:
//! - firmware: the data as it is (separators, actions, variables, versions, partition tables), or
//!   the variable's value alone. TCG PC Client Platform Firmware Profile 1.06, "Events".
//! - systemd-stub: the section's name in ASCII with a NUL, logged in UTF-16; a command line in
//!   UTF-16 without the NUL that the log has. systemd `src/boot/measure.c`, `src/boot/stub.c`.
//! - GRUB: the text behind "grub_cmd: " or "kernel_cmdline: ", with or without a NUL.
//!
//! I/O: none.

use super::meaning::{Variable, text};
use super::{LoggedEvent, event_type};

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
            event_type::EV_IPL => whole() || self.is_text_confirmed(),
            event_type::EV_EFI_VARIABLE_BOOT | event_type::EV_EFI_VARIABLE_BOOT2 => {
                whole() || self.is_value_confirmed()
            }
            _ => whole(),
        }
    }

    fn is_text_confirmed(&self) -> bool {
        let Some(text) = text::decode(&self.data) else {
            return false;
        };
        let utf16 = text::utf16(&text);
        let ascii = [text.as_bytes(), b"\0"].concat();
        let behind = |separator| text.split_once(separator).map(|(_, rest): (_, &str)| rest);
        let grub = behind(": ").or_else(|| behind(" ")).unwrap_or_default();
        self.digests.are_of(&utf16)
            || self.digests.are_of(&[&utf16[..], &[0, 0]].concat())
            || self.digests.are_of(&ascii)
            || self.digests.are_of(text.as_bytes())
            || self.digests.are_of(grub.as_bytes())
            || self.digests.are_of(&[grub.as_bytes(), b"\0"].concat())
    }

    fn is_value_confirmed(&self) -> bool {
        Variable::parse(&self.data).is_some_and(|variable| self.digests.are_of(&variable.value))
    }
}
