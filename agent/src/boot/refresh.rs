//! The configuration, fetched until there is one, and again for as long as the node lives.
//!
//! A configuration is used if all of it can be used. While the hub is away, slow or wrong, the last
//! good one stays.
//!
//! I/O: asks the hub; SIGHUP.

use std::future::pending;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::time::sleep;

use super::Machine;
use super::clock::Plausible;
use super::configuration::Configuration;
use super::hub::Hub;
use super::retry::{Backoff, spread};
use crate::config::node::Configuration as Settings;
use crate::notify;

/// After a refresh that failed, the next comes no later than this.
const SOON: Duration = Duration::from_secs(60);

/// Most changed members that are said by name.
const SAID: usize = 10;

/// Who fetches the configuration.
pub(super) struct Refresh<'a> {
    machine: &'a Machine,
    source: Option<(&'a Hub, &'a Settings)>,
    hangup: Signal,
}

impl<'a> Refresh<'a> {
    pub(super) fn new(machine: &'a Machine, hangup: Signal) -> Self {
        let settings = machine.config.boot.configuration.as_ref();
        Self {
            machine,
            source: machine.hub.as_ref().zip(settings),
            hangup,
        }
    }

    /// The first one that has everything; without a hub, an empty one. Whether the hub's certificate
    /// is valid depends on the time, so that has to be plausible.
    pub(super) async fn first(&mut self, _: &Plausible) -> Configuration {
        let Some((hub, settings)) = self.source else {
            return Configuration::empty();
        };
        let mut stage = self.machine.begin("configuration");
        let mut backoff = Backoff::default();
        loop {
            let error = match fetch(hub, settings).await {
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
                _ = self.hangup.recv() => {
                    self.machine.notifier.send(&notify::reloading());
                    self.machine.notifier.send("READY=1");
                }
            }
        }
    }

    /// The next one that differs from `now` and can be used.
    pub(super) async fn changed(&mut self, now: &Configuration) -> Configuration {
        let mut has_failed = false;
        loop {
            let pause = match self.source {
                Some((_, settings)) if has_failed => settings.refresh.min(SOON),
                Some((_, settings)) => settings.refresh,
                None => Duration::MAX,
            };
            tokio::select! {
                () = wait(pause) => match self.refreshed(now).await {
                    Ok(Some(changed)) => return changed,
                    Ok(None) => has_failed = false,
                    Err(()) => has_failed = true,
                },
                _ = self.hangup.recv() => {
                    self.machine.notifier.send(&notify::reloading());
                    let refreshed = self.refreshed(now).await;
                    self.machine.notifier.send("READY=1");
                    if let Ok(Some(changed)) = refreshed {
                        return changed;
                    }
                }
            }
        }
    }

    /// A changed configuration, if there is one.
    async fn refreshed(&self, now: &Configuration) -> Result<Option<Configuration>, ()> {
        let Some((hub, settings)) = self.source else {
            return Ok(None);
        };
        let stage = self.machine.begin("refresh");
        let fetched = match fetch(hub, settings).await {
            Ok(fetched) => fetched,
            Err(error) => {
                stage.failed(&error.context("the last configuration stays"));
                return Err(());
            }
        };
        let changed = fetched.differences(now);
        if changed.is_empty() {
            stage.done("nothing has changed");
            return Ok(None);
        }
        if let Some(templates) = &self.machine.templates
            && let Err(error) = templates.try_out(&fetched).await
        {
            stage.failed(&error.context("the last configuration stays"));
            return Err(());
        }
        let said: Vec<_> = changed.iter().take(SAID).map(String::as_str).collect();
        let more = changed.len().saturating_sub(SAID);
        stage.done(&match more {
            0 => format!("changed: {}", said.join(", ")),
            _ => format!("changed: {}, and {more} more", said.join(", ")),
        });
        Ok(Some(fetched))
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
