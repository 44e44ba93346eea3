//! The configuration that a node gets: layers merged, and refused while keys are missing.
//!
//! I/O: the database.

use std::fmt;

use serde_json::Value as Json;

use crate::database::{Error, Session};
use crate::merge::merge;
use crate::records::documents;
use crate::required::{Required, When};
use crate::sealing::Keys;

/// What configurations are made with, besides the database.
pub(crate) struct Sources {
    /// What opens secrets.
    pub(crate) keys: Keys,
    /// What is required in networks that don't say it themselves.
    pub(crate) required: Required,
}

/// A merged configuration that nobody has checked.
pub(crate) struct Configuration {
    /// The builder's name, for whoever reads what it lacks.
    builder: String,
    has_own: bool,
    merged: Json,
    required: Required,
}

/// Why a configuration can't be delivered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The builder has none.
    Configuration(String),
    /// It has one, without these keys.
    Keys(Vec<String>),
}

impl Sources {
    /// Makes a builder's configuration out of what is in the database at one moment.
    pub(crate) async fn assemble(
        &self,
        session: &mut Session,
        builder: &str,
        network: &str,
    ) -> Result<Configuration, Error> {
        let rows = session.query(
            "SELECT kind, owner, body, key_id FROM hub_documents WHERE active = 1 AND (
                 (kind = 'defaults' AND owner = '') OR (kind = 'network' AND owner = $1) OR
                 (kind = 'builder' AND owner = $2) OR (kind = 'default-secrets' AND owner = '') OR
                 (kind = 'secrets' AND owner = $2) OR (kind = 'required' AND owner = $1))",
            [network.into(), builder.into()],
        );
        let mut layers: [Option<Json>; 5] = Default::default();
        let [defaults, of_network, own, default_secrets, secrets] = &mut layers;
        let mut required = None;
        for mut row in rows.await? {
            let (kind, owner) = (row.text()?, row.text()?);
            let body = row.bytes()?;
            let document = documents::open(&self.keys, &kind, &owner, body, row.optional_text()?)?;
            match kind.as_str() {
                "defaults" => *defaults = Some(document),
                "network" => *of_network = Some(document),
                "builder" => *own = Some(document),
                "default-secrets" => *default_secrets = Some(document),
                "secrets" => *secrets = Some(document),
                _ => required = Some(document),
            }
        }
        let has_own = own.is_some();
        let required = match required {
            Some(list) => Required::parse(list).map_err(|actual| Error::Shape {
                expected: "a list of required keys",
                actual,
            })?,
            None => self.required.clone(),
        };
        let merged = merge(layers.iter().flatten());
        Ok(Configuration {
            builder: builder.to_owned(),
            has_own,
            merged,
            required,
        })
    }
}

impl Configuration {
    /// The merged configuration, whatever it lacks. Holds secrets.
    pub(crate) fn merged(&self) -> &Json {
        &self.merged
    }

    /// Whether the builder has a configuration of its own.
    pub(crate) fn has_own(&self) -> bool {
        self.has_own
    }

    /// The merged configuration, if it is complete. Holds secrets.
    pub(crate) fn check(&self, when: When) -> Result<&Json, Lack> {
        if !self.has_own {
            return Err(Lack::Configuration(self.builder.clone()));
        }
        let missing = self.required.missing(&self.merged, when);
        if missing.is_empty() {
            Ok(&self.merged)
        } else {
            Err(Lack::Keys(missing))
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(builder) => {
                write!(f, "builder {builder:?} has no active configuration")
            }
            Self::Keys(missing) => {
                write!(
                    f,
                    "the configuration is incomplete, missing: {}",
                    missing.join(", ")
                )
            }
        }
    }
}
