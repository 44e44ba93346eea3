//! `testbed azure-sim --self-test`: the image on the simulated host, seen from the host's side.
//!
//! The guest is not asked, and nothing is put into it: what it does by itself proves what it
//! reaches. Its time service looks up four names at each boot and connects to what it is told. The
//! simulated DNS leads three of them to a [`Witness`] behind Azure's own two addresses and one of a
//! test's, and the fourth to an address that nothing answers for. Its hub's name leads to an
//! [`Impostor`].
//!
//! I/O: starts the host; prints; runs cvmctl if it is given; writes the report.

mod impostor;
mod loopback;
mod published;
mod report;
mod verified;
mod witness;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::azure::disk::DiskState;
use testkit::azure::host::RunningHost;
use testkit::azure::network::{Destination, METADATA, WIRESERVER};
use testkit::azure::wireserver::Health;
use testkit::console::phases::phases;

use super::{Options, POLL, SHUTDOWN_TIMEOUT};
use crate::checks::Checks;
use crate::registers::{Comparison, predict_image};
use crate::session::wait_until_running;
use crate::signals::Signals;
use crate::story;
use crate::work::Work;
use impostor::Impostor;
use witness::Witness;

/// How long the guest may take, once it has booted, for what it does by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// NTS key establishment (RFC 8915): what the time service connects to first.
const NTS: u16 = 4460;

/// The address of some service of a test.
const SERVICE: Ipv4Addr = Ipv4Addr::new(168, 20, 30, 40);
/// An address on the Internet, if there was one (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Names that the image's time service looks up, and where they lead here.
const INSIDE_NAMES: [(&str, Ipv4Addr); 3] = [
    ("time.cloudflare.com", WIRESERVER),
    ("nts.netnod.se", METADATA),
    ("ptbtime1.ptb.de", SERVICE),
];
const OUTSIDE_NAME: &str = "ntppool1.time.nl";

/// Makes all checks; returns whether they passed.
pub(super) fn run(options: &Options, signals: &Signals, work: &Work) -> Result<bool> {
    let prediction = predict_image(options.image())?;
    let witness = Witness::start().context("listen for the guest")?;
    let mut host = options.host()?;
    for (name, address) in INSIDE_NAMES {
        let address = SocketAddrV4::new(address, NTS);
        host.reach(address, Some(name), witness.address())?;
    }
    host.network.name(OUTSIDE_NAME, OUTSIDE);
    let impostor = match &options.builderhub {
        Some(program) => Some(Impostor::start(
            program,
            &mut host,
            &prediction,
            work.path(),
        )?),
        None => None,
    };
    let accelerator = host.accelerator;
    let host = host.start(work.path(), &options.state(work.path()))?;

    let mut checks = Checks::new("azure-sim");
    checks.follow(host.machine.console());
    let limit = Duration::from_secs(options.timeout);
    checks.check("boots", wait_until_running(&host.machine, limit));
    checks.boot_of("azure", &phases(&host.machine.console().lines()));
    let sight = Sight {
        options,
        signals,
        host: &host,
    };
    checks.check("registers", sight.registers(&prediction));
    if let Some(published) = &options.published {
        checks.note("published", sight.published(published));
    }
    checks.note("disk", sight.disk());
    for (name, address) in INSIDE_NAMES {
        checks.note(&format!("reaches-{address}"), sight.reaches(&witness, name));
    }
    checks.note("nothing-leaves", sight.nothing_leaves());
    checks.note("health", sight.health());
    if let Some(impostor) = &impostor {
        checks.note("looks-for-its-hub", sight.looks_for_its_hub());
        checks.note("refuses-another-hub", sight.refuses_another_hub());
        checks.check("other-hub-is-not-asked", impostor.ensure_unasked());
    }
    if let Some(cvmctl) = &options.cvmctl {
        checks.check(
            "attested",
            verified::is_trusted(cvmctl, &host, options.image()),
        );
        let refused = verified::is_refused_without_roots(cvmctl, &host, options.image());
        checks.check("refused-by-those-not-told", refused);
    }
    if signals.stop() {
        bail!("interrupted");
    }
    let ends = host.machine.power_down(SHUTDOWN_TIMEOUT.max(limit / 4));
    checks.check(
        "power-button",
        ends.then_some(()).context("the guest does not shut down"),
    );
    if let Some(path) = &options.report {
        report::write(path, options, accelerator, &checks)?;
    }
    let (passed, failed) = checks.counts();
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

/// What all checks look at.
struct Sight<'a> {
    options: &'a Options,
    signals: &'a Signals,
    host: &'a RunningHost,
}

impl Sight<'_> {
    fn registers(&self, prediction: &measurements::Prediction) -> Result<()> {
        let pcrs = self.host.tpm.client().read_pcrs();
        let pcrs = pcrs.context("read the registers")?;
        Comparison::new(prediction, &pcrs).ensure_equal()
    }

    /// What the vTPM holds is what is published of the image.
    fn published(&self, file: &Path) -> Result<Option<String>> {
        let pcrs = self.host.tpm.client().read_pcrs();
        published::compare(file, &pcrs.context("read the registers")?)
    }

    /// The node has tried to connect to whatever has its hub's name.
    fn looks_for_its_hub(&self) -> Result<Option<String>> {
        let attempts = self.wait(|| Ok(Impostor::attempts(self.host)));
        let attempts = attempts.context("the node has not tried to reach its hub")?;
        Ok(Some(format!("{attempts} connections")))
    }

    /// The node says on the console that it does not believe the hub.
    fn refuses_another_hub(&self) -> Result<Option<String>> {
        let console = self.host.machine.console();
        let line = self.wait(|| Ok(Impostor::refusal(&console.lines())));
        let line =
            line.context("the console does not say that the hub's certificate is refused")?;
        Ok(Some(line))
    }

    /// The disk has come, at LUN 10 or as its namespace, and the guest has looked at it.
    fn disk(&self) -> Result<Option<String>> {
        let (disk, machine) = (self.host.disk(), &self.host.machine);
        let reads = self.wait(|| {
            if let DiskState::Failed(why) = disk.state() {
                bail!("QEMU refused: {why}");
            }
            let reads = disk.reads(machine)?;
            Ok((reads > 0).then_some(reads))
        });
        let state = story::disk(&disk.state());
        let reads = reads.with_context(|| format!("nobody has read from the disk ({state})"))?;
        let place = match self.options.nvme {
            true => "an NVMe namespace",
            false => {
                let lun = disk.lun(machine)?;
                ensure!(lun == Some(10), "the disk is at LUN {lun:?}, not 10");
                "LUN 10"
            }
        };
        Ok(Some(format!("{place}, {state}, {reads} reads")))
    }

    /// The guest has sent its TLS greeting for `name` to the address that the name has here.
    fn reaches(&self, witness: &Witness, name: &str) -> Result<Option<String>> {
        let seen = self.wait(|| Ok(witness.has_seen(name).then_some(())));
        seen.with_context(|| {
            let sent = self.host.traffic();
            let sent: Vec<_> = sent
                .iter()
                .map(|(to, count)| format!("{to}: {count}"))
                .collect();
            format!("no greeting for {name}; the guest sent {}", sent.join(", "))
        })?;
        Ok(Some(format!("its greeting for {name} has come")))
    }

    /// The guest has tried to reach somebody outside; QEMU has not.
    fn nothing_leaves(&self) -> Result<Option<String>> {
        let outside = Destination::Tcp(SocketAddrV4::new(OUTSIDE, NTS));
        let tried = self.wait(|| Ok(self.host.unanswered().get(&outside).copied()));
        let tried = tried.context("the guest has not tried, so nothing is proved")?;
        // Where there is no route, a connection outside would end before there is a socket; but
        // for a datagram QEMU makes the socket first. The guest sends none, so we do.
        let discard = SocketAddrV4::new(OUTSIDE, 9);
        let mut sockets = 0;
        for _ in 0..20 {
            self.host
                .wire()
                .send_as_guest(discard, b"does this go out?")?;
            thread::sleep(Duration::from_millis(100));
            sockets = loopback::ensure_only_loopback(self.host.machine.process())?;
        }
        ensure!(
            sockets > 0,
            "QEMU's sockets are not seen, so nothing is proved"
        );
        Ok(Some(format!(
            "{tried} attempts to reach {outside}, all of QEMU's {sockets} sockets on loopback"
        )))
    }

    /// What the node has reported to the wireserver.
    fn health(&self) -> Result<Option<String>> {
        let wireserver = &self.host.wireserver;
        let refused: Vec<_> = wireserver
            .reports()
            .into_iter()
            .filter_map(|report| report.refused)
            .collect();
        ensure!(
            refused.is_empty(),
            "reports were refused: {}",
            refused.join("; ")
        );
        if self.options.expect_ready {
            let ready = self.wait(|| {
                let is_ready = wireserver.health() == Some(Health::Ready);
                Ok(is_ready.then_some(()))
            });
            ready.context("the node has not reported itself ready")?;
        }
        Ok(Some(story::health(wireserver.health().as_ref())))
    }

    /// Looks again and again until there is something, for a while.
    fn wait<T>(&self, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if let Some(status) = self.host.machine.ended() {
                bail!("the machine ended ({status})");
            }
            if self.signals.stop() || Instant::now() >= end {
                bail!("not within {} s", PATIENCE.as_secs());
            }
            thread::sleep(POLL);
        }
    }
}
