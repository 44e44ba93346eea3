//! The events of one register as the logs have them, firmware's and then userspace's.
//!
//! I/O: none.

use super::super::meaning::{TAG_INITRD, TAG_LOAD_OPTIONS, TAG_LOADER_CONFIG};
use super::super::{LoggedEvent, Meaning, UserspaceEvent, UserspaceRegister, event_type};
use super::Logs;
use super::kind::Kind;
use crate::reference::RegisterValue;

/// One event of a log.
#[derive(Debug, Clone)]
pub(super) struct Observed<'a> {
    /// In the bank that is looked at; `None` if the event has none in it.
    pub(super) digest: Option<RegisterValue>,
    pub(super) kind: Kind,
    pub(super) source: Source<'a>,
}

/// Where an event comes from, and what it says.
#[derive(Debug, Clone)]
pub(super) enum Source<'a> {
    Firmware {
        event: &'a LoggedEvent,
        meaning: Meaning,
    },
    Userspace(&'a UserspaceEvent),
}

/// All events of a register, in order.
pub(super) fn of<'a>(logs: &Logs<'a>, register: u8) -> Vec<Observed<'a>> {
    let mut observed = Vec::new();
    let mut section = None;
    for event in logs.firmware.extended(register.into()) {
        let meaning = event.meaning();
        let name = section_name(event, &meaning);
        // What follows a name is that section's contents, whatever the log calls it.
        let kind = match (&name, &meaning, section) {
            (Some(name), _, _) => Kind::SectionName(name.clone()),
            (None, Meaning::Section(_), Some(before)) => Kind::SectionData(before),
            _ => kind_of(event, &meaning),
        };
        section = name;
        observed.push(Observed {
            digest: event.digests.of(logs.bank),
            kind,
            source: Source::Firmware { event, meaning },
        });
    }
    observed.extend(logs.extended_by_userspace(register).map(|event| Observed {
        digest: event.digests.of(logs.bank),
        kind: Kind::Userspace,
        source: Source::Userspace(event),
    }));
    observed
}

impl<'a> Logs<'a> {
    /// What userspace extended into a register, in order.
    pub(super) fn extended_by_userspace(
        &self,
        register: u8,
    ) -> impl Iterator<Item = &'a UserspaceEvent> + use<'a> {
        let is_of_tdx = self.firmware.is_of_tdx();
        let events = self.userspace.map(|log| log.events.as_slice());
        events
            .unwrap_or_default()
            .iter()
            .filter(move |event| match event.register {
                UserspaceRegister::Pcr(pcr) => !is_of_tdx && pcr == register,
                UserspaceRegister::Rtmr(rtmr) => is_of_tdx && rtmr.checked_add(1) == Some(register),
                UserspaceRegister::NvIndex(_) => false,
            })
    }
}

/// The section whose name was measured: the digest is of the name and a NUL.
fn section_name(event: &LoggedEvent, meaning: &Meaning) -> Option<String> {
    let Meaning::Section(claimed) = meaning else {
        return None;
    };
    let is_name = event.digests.are_of(&[claimed.as_bytes(), b"\0"].concat());
    is_name.then(|| claimed.clone())
}

fn kind_of(event: &LoggedEvent, meaning: &Meaning) -> Kind {
    match (event.event_type, meaning) {
        (_, Meaning::Tag { id, .. }) if *id == TAG_LOAD_OPTIONS => Kind::CommandLine,
        (_, Meaning::Tag { id, .. }) if *id == TAG_INITRD => Kind::Initrd,
        (_, Meaning::Tag { id, .. }) if *id == TAG_LOADER_CONFIG => Kind::LoaderConfig,
        (event_type::EV_EFI_BOOT_SERVICES_APPLICATION, Meaning::Image(image)) => {
            if image.is_stub_payload {
                Kind::Kernel
            } else {
                Kind::Program
            }
        }
        (event_type::EV_EFI_BOOT_SERVICES_APPLICATION, _) => Kind::Program,
        (
            event_type::EV_EFI_BOOT_SERVICES_DRIVER | event_type::EV_EFI_RUNTIME_SERVICES_DRIVER,
            _,
        ) => Kind::Driver,
        (event_type::EV_SEPARATOR, _) => Kind::Separator,
        (event_type::EV_EFI_ACTION, _) => Kind::Action,
        (event_type::EV_EFI_GPT_EVENT, _) => Kind::PartitionTable,
        (event_type::EV_IPL, Meaning::Text(_)) => Kind::Text,
        _ => Kind::Other,
    }
}
