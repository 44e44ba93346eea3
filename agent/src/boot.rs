//! `cvm-agent boot`: makes this machine a node, unattended, and keeps it one.
//!
//! Every stage takes what the former has proven, so that none can be left out or come too early; a
//! stage of which the drop-ins say nothing is skipped. What can succeed later is tried for ever, ever
//! more slowly, and says what it waits for. Nothing that was not verified is used instead. Meanwhile
//! the configuration is fetched again, so that what is mended at the hub reaches a node that waits.
//!
//! I/O: see the stages; notifies systemd; handles SIGTERM, SIGINT, and SIGHUP (fetch the configuration
//! now).

mod check_in;
mod clock;
mod configuration;
mod disk;
mod handover;
mod hub;
mod keep;
mod progress;
mod refresh;
mod registration;
mod render;
mod retry;
mod shown;
mod signers;
mod space;
mod switches;
mod units;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustls::pki_types::ServerName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::clock::Time;
use self::configuration::Configuration;
use self::disk::{Data, DataDisk};
use self::handover::{Served, Taken};
use self::hub::Hub;
use self::progress::Stage;
use self::refresh::Refresh;
use self::render::{Rendered, Templates};
use self::retry::until_done;
use self::signers::Registered;
use self::units::Units;
use crate::config::node::Registration;
use crate::config::{self, Config};
use crate::identity::Identity;
use crate::notify::{self, Notifier};

/// What services that need a whole node are started by.
const READY: &str = "cvm-ready.target";

/// Where Debian has programs.
pub(crate) const PROGRAMS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How often it is looked whether the certificate is still served.
const LOOK: Duration = Duration::from_secs(60);

/// What `cvm-agent boot` is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the image's drop-ins are
    #[arg(long, value_name = "DIR", default_value = config::DIRECTORY)]
    config: PathBuf,

    /// Below which directory the machine's /sys and the image's files are
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The command that starts and reloads units
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/systemctl")]
    systemctl: PathBuf,

    /// Azure's platform service
    #[arg(long, value_name = "URL", default_value = wireserver::WIRESERVER)]
    wireserver: String,
    /// Where the programs for the data disk are looked for, folders separated by colons
    #[arg(long, value_name = "PATH", default_value = PROGRAMS)]
    programs: String,
}

/// Boots, then watches until told to stop.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(until_stopped(args));
    runtime.shutdown_background();
    result
}

async fn until_stopped(args: Args) -> anyhow::Result<()> {
    let notifier = Arc::new(Notifier::from_env().context("open NOTIFY_SOCKET")?);
    let host = check_in::host(&args.root, &args.wireserver);
    let config = match Config::read(&args.config).context("read the configuration") {
        Ok(config) => config,
        Err(error) => {
            // An image with such a fault never becomes a node: trying again is systemd's, saying it is ours.
            check_in::failed(host, &error).await;
            return Err(error);
        }
    };
    check_in::up(host);
    let mut terminate = signal(SignalKind::terminate()).context("install signal handlers")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("install signal handlers")?;
    let hangup = signal(SignalKind::hangup()).context("install signal handlers")?;
    // Ready to be talked to. That the node is ready, the target says: systemd takes a pending start
    // for a boot that is not over, and this one may wait for a hub or a disk for days.
    notifier.send("READY=1");
    tokio::spawn(notify::keep_alive(Arc::clone(&notifier)));

    let machine = Machine {
        hub: match &config.hub {
            Some(hub) => Some(Hub::at(hub.listen)?),
            None => None,
        },
        disk: config
            .boot
            .disk
            .as_ref()
            .map(|disk| DataDisk::new(disk, &args.root, &args.programs, &notifier)),
        units: Units::new(args.systemctl),
        templates: Templates::of(&config, &args.root),
        root: args.root,
        config,
        notifier,
    };
    tokio::select! {
        never = live(&machine, hangup) => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    machine.notifier.send("STOPPING=1\nSTATUS=stopped");
    Ok(())
}

/// What the boot works with.
struct Machine {
    config: Config,
    hub: Option<Hub>,
    disk: Option<DataDisk>,
    units: Units,
    /// Without the section, there are none.
    templates: Option<Templates>,
    /// What `/` is.
    root: PathBuf,
    notifier: Arc<Notifier>,
}

/// What was done, for a configuration or one before it.
#[derive(Default)]
struct Done {
    identity: Option<Identity>,
    taken: Taken,
    /// The fingerprint of the certificate that the hub has.
    registered: Option<String>,
    /// What it has of services that sign, by service.
    signers: BTreeMap<String, Registered>,
    is_ready: bool,
}

async fn live(machine: &Machine, hangup: Signal) -> Infallible {
    render::recover(machine).await;
    let time = clock::plausible(machine).await;
    let mut refresh = Refresh::new(machine, hangup);
    let mut configuration = refresh.first(&time).await;
    let mut done = Done::default();
    loop {
        tokio::select! {
            changed = refresh.changed(&configuration) => configuration = changed,
            // The same again, with another identity.
            () = make(machine, &configuration, &time, &mut done) => {}
        }
    }
}

/// Makes the machine the node that the configuration wants, and keeps it so, until it has another
/// identity. What is done already is not done again; this may be broken off at any wait, and begun
/// again.
async fn make(machine: &Machine, configuration: &Configuration, time: &Time, done: &mut Done) {
    let data = disk::mounted(machine, configuration).await;
    let another = tokio::select! {
        never = disk::watch(machine, configuration, &data) => match never {},
        another = serve(machine, configuration, &data, time, done) => another,
    };
    done.registered = Some(another.fingerprint().to_owned());
    done.identity = Some(another);
}

/// Makes the node that others see, until it is time for another identity: that one.
async fn serve(
    machine: &Machine,
    configuration: &Configuration,
    data: &Data,
    time: &Time,
    done: &mut Done,
) -> Identity {
    let registered = done.registered.as_deref();
    let identity = identity(machine, configuration, data, &mut done.identity, registered).await;
    let served = hand_over(machine, identity, &mut done.taken).await;
    let rendered = render(machine, configuration, &served).await;
    let switches = switches::stop(machine, configuration, &rendered).await;
    register(
        machine,
        identity,
        (&served, &rendered),
        &mut done.registered,
    )
    .await;
    if !done.is_ready {
        clock::synchronise(machine, time).await;
        ready(machine, data).await;
        done.is_ready = true;
    }
    tokio::select! {
        another = another_identity(machine, configuration, identity, &served) => another,
        never = watch(machine, identity, &mut done.taken) => match never {},
        never = shown::watch(machine, identity) => match never {},
        never = switches::keep(machine, switches) => match never {},
        never = signers::keep(machine, identity, &served, &mut done.signers) => match never {},
        never = registration::keep(machine, identity, &served) => match never {},
    }
}

/// A key, certified for the node's names: that of before, or the one that is kept, if it is for them and
/// not about to end.
async fn identity<'a>(
    machine: &Machine,
    configuration: &Configuration,
    _: &Data,
    done: &'a mut Option<Identity>,
    registered: Option<&str>,
) -> &'a Identity {
    // The hub knows it, and it may serve until the hub knows another. What the hub does not know, as it may
    // have refused it for its names, has to be for those that are right now.
    let stays = done.as_ref().is_some_and(|former| {
        let is_right = || former.is_for(&machine.names(configuration)?);
        registered == Some(former.fingerprint()) || is_right().unwrap_or_default()
    });
    if !stays {
        *done = None;
    }
    if let Some(identity) = done {
        // Whether it still is the right one is looked at when all else is as it has to be.
        return identity;
    }
    let mut stage = machine.begin("identity");
    let make = async || {
        // The drop-ins certify only what they also require.
        let names = machine.names(configuration)?;
        let keep = machine.config.boot.identity.keep.clone();
        // On a disk, it may take its time.
        let kept = spawn_blocking(move || keep::kept_or_new(&keep, &names, SystemTime::now()));
        kept.await.context("wait for the identity")?
    };
    let made = until_done(&mut stage, make).await;
    stage.done(&format!("certificate_sha256={}", made.fingerprint()));
    done.insert(made)
}

/// Waits until there has to be another identity; then one that the hub has.
///
/// The node's peers know the former by the hub, and it is served until they can know the other one: a hub
/// that is away, or does not take it, costs nothing.
async fn another_identity(
    machine: &Machine,
    configuration: &Configuration,
    former: &Identity,
    served: &Served,
) -> Identity {
    let keep = &machine.config.boot.identity.keep;
    let is_right = || -> anyhow::Result<bool> {
        let names = machine.names(configuration)?;
        Ok(former.is_for(&names)? && !keep::is_due(former, keep, SystemTime::now()))
    };
    while is_right().unwrap_or_default() {
        sleep(LOOK).await;
    }
    let mut stage = machine.begin("identity");
    let make = async || keep::new(keep, &machine.names(configuration)?, SystemTime::now());
    let another = until_done(&mut stage, make).await;
    stage.done(&format!(
        "another one, the former is served until the hub has it, certificate_sha256={}",
        another.fingerprint()
    ));
    if let Some((hub, settings)) = machine.registers() {
        let mut stage = machine.begin("registration");
        let tell = async || registration::register(hub, settings, &another, served).await;
        until_done(&mut stage, tell).await;
        stage.done("the hub has the other certificate");
    }
    let mut stage = machine.begin("identity");
    let store = async || {
        let (keep, bundle) = (keep.clone(), another.bundle());
        let stored = spawn_blocking(move || keep::store(&keep, &bundle));
        stored.await.context("wait for the disk")?
    };
    until_done(&mut stage, store).await;
    stage.done("the other one is kept");
    another
}

/// Looks whether the attestation server still shows the identity, for ever.
async fn watch(machine: &Machine, identity: &Identity, taken: &mut Taken) -> Infallible {
    loop {
        sleep(LOOK).await;
        if !machine.serves(identity).await {
            *taken = Taken::default();
            hand_over(machine, identity, taken).await;
        }
    }
}

/// Has services show it.
async fn hand_over(machine: &Machine, identity: &Identity, taken: &mut Taken) -> Served {
    let mut stage = machine.begin("handover");
    let give = async || {
        let settings = &machine.config.boot.identity;
        let local = machine.config.attest.local;
        handover::hand_over(identity, settings, &machine.units, local, taken).await
    };
    let served = until_done(&mut stage, give).await;
    stage.done("the attestation server shows the certificate");
    served
}

/// Makes files of the configuration, and has services take them up.
async fn render(machine: &Machine, configuration: &Configuration, served: &Served) -> Rendered {
    let Some(templates) = &machine.templates else {
        return Rendered::none();
    };
    let mut stage = machine.begin("render");
    let make = async || {
        templates
            .render(configuration, &machine.units, served)
            .await
    };
    let (rendered, outcome) = until_done(&mut stage, make).await;
    stage.done(&outcome);
    rendered
}

/// Tells the hub, when services have all that the node's peers may ask for.
async fn register(
    machine: &Machine,
    identity: &Identity,
    (served, _): (&Served, &Rendered),
    done: &mut Option<String>,
) {
    let Some((hub, settings)) = machine.registers() else {
        return;
    };
    if done.as_deref() == Some(identity.fingerprint()) {
        return;
    }
    let mut stage = machine.begin("registration");
    let tell = async || registration::register(hub, settings, identity, served).await;
    until_done(&mut stage, tell).await;
    stage.done("the hub has the certificate");
    *done = Some(identity.fingerprint().to_owned());
}

/// Starts what needs a whole node.
async fn ready(machine: &Machine, data: &Data) {
    let mut stage = machine.begin("ready");
    let start = async || {
        disk::is_well(machine, data).await?;
        machine.units.start(READY).await
    };
    until_done(&mut stage, start).await;
    stage.done("this node is ready");
}

/// How the data disk is used by this program's units.
pub(crate) fn disk_settings(disk: &config::disk::Disk, root: &Path) -> encrypted_disk::Settings {
    disk::settings(disk, root)
}

impl Machine {
    fn begin(&self, stage: &'static str) -> Stage<'_> {
        Stage::begin(&self.notifier, stage)
    }

    /// Where certificates are registered, if they are.
    fn registers(&self) -> Option<(&Hub, &Registration)> {
        let settings = self.config.boot.registration.as_ref();
        self.hub.as_ref().zip(settings)
    }

    /// What the certificate names besides the machine itself.
    fn names(&self, configuration: &Configuration) -> anyhow::Result<Vec<ServerName<'static>>> {
        let mut names = self.config.attest.names.clone();
        names.extend(configuration.names(&self.config.boot.identity.names)?);
        Ok(names)
    }

    /// Whether the attestation server shows this certificate now.
    async fn serves(&self, identity: &Identity) -> bool {
        let settings = &self.config.boot.identity;
        let served = handover::check(identity, settings, self.config.attest.local);
        served.await.is_ok()
    }
}
