//! The configuration, fetched until there is one, and again for as long as the node lives.
//!
//! A configuration is used if all of it can be used. While the hub is away, slow or wrong, the last
//! good one stays.
//!
//! I/O: asks the hub; SIGHUP.

use std::future::pending;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::time::sleep;

use super::Machine;
use super::clock::Time;
use super::configuration::Configuration;
use super::hub::Hub;
use super::progress::{Stage, is_same};
use super::retry::{Backoff, spread};
use crate::config::node::Configuration as Settings;
use crate::notify::{self, Notifier};

/// After a refresh that failed, the next comes no later than this.
const SOON: Duration = Duration::from_secs(60);

/// Most changed members that are said by name.
const SAID: usize = 10;

/// While nothing comes of it, that is said again after this.
const AGAIN: Duration = Duration::from_secs(600);

/// Who fetches the configuration.
pub(super) struct Refresh<'a> {
    machine: &'a Machine,
    source: Option<(&'a Hub, &'a Settings)>,
    hangup: Signal,
    /// Since when there was no configuration that could be used.
    lost: Option<Lost>,
}

/// A hub that gives nothing that can be used.
struct Lost {
    since: Instant,
    said: Instant,
    why: String,
}

/// A reload, of which systemd has to hear the end, also if it is broken off.
struct Reloading<'a>(&'a Notifier);

impl<'a> Reloading<'a> {
    fn begin(notifier: &'a Notifier) -> Self {
        notifier.send(&notify::reloading());
        Self(notifier)
    }
}

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        self.0.send("READY=1");
    }
}

/// Why the configuration is fetched again.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Occasion {
    /// Somebody wants it, and to know what comes of it.
    Asked,
    /// It is time; only what is new is said.
    Time,
}

impl<'a> Refresh<'a> {
    pub(super) fn new(machine: &'a Machine, hangup: Signal) -> Self {
        let settings = machine.config.boot.configuration.as_ref();
        Self {
            machine,
            source: machine.hub.as_ref().zip(settings),
            hangup,
            lost: None,
        }
    }

    /// The first one that has everything; without a hub, an empty one. Whether the hub's certificate
    /// is valid depends on the time, so that has to be plausible.
    pub(super) async fn first(&mut self, _: &Time) -> Configuration {
        let Some((hub, settings)) = self.source else {
            return Configuration::empty();
        };
        let mut stage = self.machine.begin("configuration");
        let mut backoff = Backoff::default();
        loop {
            // An agent that starts again has files of a former configuration in place.
            let usable = async {
                let configuration = fetch(hub, settings).await?;
                if let Some(templates) = &self.machine.templates {
                    templates.try_out(&configuration).await?;
                }
                anyhow::Ok(configuration)
            };
            let error = match usable.await {
                Ok(configuration) => {
                    stage.done("fetched, and nothing that is required is missing");
                    return configuration;
                }
                Err(error) => error,
            };
            let pause = backoff.next();
            stage.waits(&error, pause);
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.hangup.recv() => drop(Reloading::begin(&self.machine.notifier)),
            }
        }
    }

    /// The next one that differs from `now` and can be used.
    pub(super) async fn changed(&mut self, now: &Configuration) -> Configuration {
        loop {
            let pause = match self.source {
                Some((_, settings)) if self.lost.is_some() => settings.refresh.min(SOON),
                Some((_, settings)) => settings.refresh,
                None => Duration::MAX,
            };
            tokio::select! {
                () = wait(pause) => {
                    if let Some(changed) = self.refreshed(now, Occasion::Time).await {
                        return changed;
                    }
                }
                _ = self.hangup.recv() => {
                    let reloading = Reloading::begin(&self.machine.notifier);
                    let changed = self.refreshed(now, Occasion::Asked).await;
                    drop(reloading);
                    if let Some(changed) = changed {
                        return changed;
                    }
                }
            }
        }
    }

    /// A changed configuration, if there is one.
    async fn refreshed(&mut self, now: &Configuration, why: Occasion) -> Option<Configuration> {
        let (hub, settings) = self.source?;
        let stage = match why {
            Occasion::Asked => self.machine.begin("refresh"),
            Occasion::Time => Stage::again(&self.machine.notifier, "refresh"),
        };
        let (fetched, changed) = match self.usable(hub, settings, now).await {
            Ok(usable) => usable,
            Err(error) => {
                let error = error.context("the last configuration stays");
                match self.is_lost(&error) || why == Occasion::Asked {
                    true => stage.failed(&error),
                    false => stage.status(&format!("{error:#}")),
                }
                return None;
            }
        };
        if let Some(lost) = self.lost.take() {
            let minutes = lost.since.elapsed().as_secs_f32() / 60.0;
            tracing::info!(
                "refresh: the hub's configuration can be used again, after {minutes:.1} min"
            );
        }
        if changed.is_empty() {
            match why {
                Occasion::Asked => stage.done("nothing has changed"),
                Occasion::Time => stage.status("nothing has changed"),
            }
            return None;
        }
        let said: Vec<_> = changed.iter().take(SAID).map(String::as_str).collect();
        let more = changed.len().saturating_sub(SAID);
        stage.done(&match more {
            0 => format!("changed: {}", said.join(", ")),
            _ => format!("changed: {}, and {more} more", said.join(", ")),
        });
        Some(fetched)
    }

    /// What the hub gives, and in which members it differs from `now`.
    async fn usable(
        &self,
        hub: &Hub,
        settings: &Settings,
        now: &Configuration,
    ) -> anyhow::Result<(Configuration, Vec<String>)> {
        let fetched = fetch(hub, settings).await?;
        self.machine.names(&fetched)?;
        if let Some(disk) = &self.machine.disk {
            disk.keys(&fetched)?;
        }
        let changed = fetched.differences(now);
        if let Some(templates) = &self.machine.templates
            && !changed.is_empty()
        {
            templates.try_out(&fetched).await?;
        }
        Ok((fetched, changed))
    }

    /// Notes that the hub gave nothing that can be used; whether that is to be said.
    fn is_lost(&mut self, error: &anyhow::Error) -> bool {
        let (now, why) = (Instant::now(), format!("{error:#}"));
        match &mut self.lost {
            Some(lost) if is_same(&lost.why, &why) && lost.said.elapsed() < AGAIN => false,
            Some(lost) => {
                (lost.said, lost.why) = (now, why);
                true
            }
            None => {
                let (since, said) = (now, now);
                self.lost = Some(Lost { since, said, why });
                true
            }
        }
    }
}

async fn fetch(hub: &Hub, settings: &Settings) -> anyhow::Result<Configuration> {
    let json = hub.fetch(&settings.path).await;
    let json = json.context("fetch the configuration")?;
    Configuration::parse(&json, &settings.required)?.if_there(&settings.optional)
}

/// A pause that differs a little from node to node; one without end has none.
async fn wait(pause: Duration) {
    match pause {
        Duration::MAX => pending().await,
        pause => sleep(spread(pause, 0.1)).await,
    }
}
