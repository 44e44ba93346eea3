//! What can be made wrong around a node, and mended again, while it runs or before it is switched on.
//!
//! I/O: see the simulated services.

use std::mem::discriminant;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::azure::host::{AzureHost, VtpmFault};
use testkit::azure::imds;
use testkit::azure::vtpm::code;
use testkit::azure::way::Course;
use testkit::azure::wireserver;

use crate::scripted::disk::Medium;
use crate::scripted::hub::Wrong;
use crate::scripted::node::{CHANGED, Leads};
use crate::scripted::world::World;

/// How long a machine is paused: longer than systemd's watchdogs wait.
const PAUSE: Duration = Duration::from_secs(45);
/// So much comes from the hub before the connection is cut: in the middle of its certificate.
const CUT: u64 = 400;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Of the hub's answer to the request for the configuration.
    Answer(Wrong),
    /// Of its answer to the registration.
    Registration(Wrong),
    /// Connections to the hub are closed at once.
    Closed,
    /// They are taken, and nothing is said.
    Silent,
    /// Who takes them speaks something else.
    Noise,
    /// They break off in the middle.
    Cut,
    /// The hub's name leads elsewhere, or nowhere.
    Name(Leads),
    /// The hub's certificate is of an authority that is not the image's.
    Stranger,
    /// The hub's process is ended.
    HubEnded,
    /// The hub does not know the builder any more.
    BuilderInactive,
    /// The hub does not let in what the image measures any more.
    MeasurementInactive,
    /// Of the metadata service's quotes.
    Metadata(imds::Fault),
    /// The paravisor's report is about another key than the vTPM's.
    WrongAk,
    /// The TPM answers quotes by "retry".
    BusyTpm,
    /// Of all of the wireserver's answers.
    Wireserver(wireserver::Fault),
    /// What is attached in the place of the data disk.
    Disk(Medium),
    /// The hub has another key for the disk that is attached.
    DiskKey,
    /// The machine stands still for a while.
    Paused,
    /// The machine has no TPM.
    NoTpm,
    /// What the clock shows at power-on.
    Clock(&'static str),
}

impl Fault {
    /// Makes a host wrong that is not switched on yet; all other faults come later.
    pub(super) fn describe(self, host: &mut AzureHost) {
        match self {
            Self::NoTpm => host.vtpm = VtpmFault::Missing,
            Self::Clock(time) => host.clock = Some(time.to_owned()),
            _ => {}
        }
    }

    /// Whether applying this one ends `other`, because the same thing is wrong in another way.
    pub(super) fn replaces(self, other: Self) -> bool {
        let is_of_the_way = |fault| {
            matches!(
                fault,
                Self::Closed | Self::Silent | Self::Noise | Self::Cut | Self::Stranger
            )
        };
        discriminant(&self) == discriminant(&other) || is_of_the_way(self) && is_of_the_way(other)
    }

    /// Makes it wrong.
    pub(super) fn apply(self, world: &mut World<'_>) -> Result<()> {
        let node = world.node()?;
        match self {
            Self::Answer(wrong) => world.hub.set_configuration_wrong(Some(wrong)),
            Self::Registration(wrong) => world.hub.set_registration_wrong(Some(wrong)),
            Self::Closed => node.lead(Course::Closed),
            Self::Silent => node.lead(Course::Silent),
            Self::Noise => node.lead(Course::Noise),
            Self::Cut => node.lead(Course::CutAfter(world.hub.address(), CUT)),
            Self::Name(leads) => node.resolve(leads),
            Self::Stranger => node.lead(Course::To(world.stranger.address())),
            Self::HubEnded => world.end_real_hub()?,
            Self::BuilderInactive => world.admin(&["builder", "deactivate", World::BUILDER])?,
            Self::MeasurementInactive => {
                world.admin(&["measurement", "deactivate", World::MEASUREMENT])?;
            }
            Self::Metadata(fault) => {
                node.host.metadata.fail_always(Some(fault));
                // Evidence is made for each connection.
                node.disconnect();
            }
            Self::WrongAk => {
                let reporting = node.host.vtpm.report_another_ak(true);
                reporting.context("have another key reported")?;
                node.disconnect();
            }
            Self::BusyTpm => {
                node.host.tpm.be_busy([code::QUOTE]);
                node.disconnect();
            }
            Self::Wireserver(fault) => {
                let faults = wireserver::Faults::none().anywhere(1..=usize::MAX, fault);
                node.host.wireserver.inject(faults);
            }
            Self::Disk(medium) => world.attach(medium)?,
            Self::DiskKey => {
                // Before there is a disk: with the right key it would be opened.
                let key = format!("{}-and-another", disk_key(world)?);
                give_disk_key(world, key)?;
                world.attach(Medium::Own)?;
            }
            Self::Paused => {
                node.host.machine.execute("stop", json!({}))?;
                thread::sleep(PAUSE);
            }
            Self::NoTpm | Self::Clock(_) => bail!("{self:?}: the machine is switched on already"),
        }
        Ok(())
    }

    /// Mends it.
    pub(super) fn mend(self, world: &mut World<'_>) -> Result<()> {
        let to_hub = Course::To(world.hub_address()?);
        let node = world.node()?;
        match self {
            Self::Answer(_) => world.hub.set_configuration_wrong(None),
            Self::Registration(_) => world.hub.set_registration_wrong(None),
            Self::Closed | Self::Silent | Self::Noise | Self::Cut | Self::Stranger => {
                node.lead(to_hub);
            }
            Self::Name(_) => node.resolve(Leads::Hub),
            Self::HubEnded => world.start_real_hub()?,
            Self::BuilderInactive => world.admin(&["builder", "activate", World::BUILDER])?,
            Self::MeasurementInactive => {
                world.admin(&["measurement", "activate", World::MEASUREMENT])?;
            }
            Self::Metadata(_) => {
                node.host.metadata.fail_always(None);
                node.disconnect();
            }
            Self::WrongAk => {
                let reporting = node.host.vtpm.report_another_ak(false);
                reporting.context("have the right key reported")?;
                node.disconnect();
            }
            Self::BusyTpm => {
                node.host.tpm.be_busy([]);
                node.disconnect();
            }
            Self::Wireserver(_) => {
                let none = wireserver::Faults::none();
                node.host.wireserver.inject(none);
            }
            Self::Disk(_) => world.detach()?,
            Self::DiskKey => {
                let detached = world.detach();
                give_disk_key(world, disk_key(world)?)?;
                detached?;
            }
            Self::Paused => {
                node.host.machine.execute("cont", json!({}))?;
            }
            Self::NoTpm | Self::Clock(_) => bail!("{self:?}: the machine has to be restarted"),
        }
        Ok(())
    }
}

/// The disk's key, as the node was first told.
fn disk_key(world: &World<'_>) -> Result<String> {
    let key = world.sample.configuration.pointer("/disk_encryption/key");
    let key = key.and_then(Value::as_str);
    key.map(str::to_owned).context("find the disk's key")
}

/// Has the hub hand out this one, and waits until the node has it.
fn give_disk_key(world: &World<'_>, key: String) -> Result<()> {
    let node = world.node()?;
    let mark = node.mark();
    let changed = world.hub.change(|configuration| {
        let value = configuration.pointer_mut("/disk_encryption/key")?;
        *value = json!(key);
        Some(())
    });
    changed.context("find the disk's key")?;
    node.says(mark, &[CHANGED, "disk_encryption"])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_one_thing_replace_each_other() {
        let answer = |status| Fault::Answer(Wrong::Status(status));
        assert!(answer(500).replaces(answer(403)));
        assert!(Fault::Closed.replaces(Fault::Stranger));
        assert!(!Fault::Closed.replaces(answer(403)));
        assert!(!Fault::Name(Leads::Other).replaces(Fault::Stranger));
        assert!(!Fault::WrongAk.replaces(Fault::BusyTpm));
    }
}
