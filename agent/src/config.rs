//! What the image tells the agent: the drop-ins of `/usr/lib/cvm-agent/conf.d`, merged.
//!
//! They are part of the verified root, so they are measured, and nothing else is read: no
//! environment, no file that could be changed later. Files are read in the order of their names
//! (the base has 10, a layer 50), and what a later one sets replaces what an earlier one set. A
//! word that nobody knows is an error that names file and line: an image with a misspelt setting
//! must not start as if it had none.
//!
//! I/O: reads files.

pub(crate) mod disk;
mod file;
mod hub;
pub(crate) mod node;
pub(crate) mod signers;
pub(crate) mod templates;

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use attester::Choice;
use rustls::pki_types::ServerName;

use self::file::File;
pub(crate) use self::hub::{Hub, HubProtocol, Roots};
use self::node::Boot;

/// Where the drop-ins are.
pub(crate) const DIRECTORY: &str = "/usr/lib/cvm-agent/conf.d";

/// Longest drop-in that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Everything the drop-ins say, with what they leave open filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Config {
    pub(crate) attest: Attest,
    /// Without a hub there is no proxy to one.
    pub(crate) hub: Option<Hub>,
    /// What the boot does besides.
    pub(crate) boot: Boot,
}

/// The attestation server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attest {
    /// Serves the certificate, attested.
    pub(crate) listen: SocketAddr,
    /// Serves the certificate to services on this machine, in plain text.
    pub(crate) local: SocketAddr,
    /// Certified besides `localhost`, `127.0.0.1` and `::1`.
    pub(crate) names: Vec<ServerName<'static>>,
    /// Which hardware makes the evidence.
    pub(crate) kind: Choice,
    /// Where the boot leaves the key and certificate to serve; until then it is one of its own.
    pub(crate) identity: Option<PathBuf>,
}

impl Config {
    /// Reads all `*.toml` in `directory`.
    ///
    /// # Errors
    ///
    /// Names the file, and the line where there is one: unreadable, not TOML, unknown or
    /// malformed settings, or one that is missing. A directory that is not there is an error too.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut merged = File::default();
        for path in drop_ins(directory)? {
            let text = read(&path)?;
            let file = File::parse(&text).with_context(|| format!("read {}", path.display()))?;
            merged.replace_with(file);
        }
        let config = merged.finish();
        config.with_context(|| format!("merge the drop-ins of {}", directory.display()))
    }
}

/// The drop-ins in the order in which they count.
fn drop_ins(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("list {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let opening = || format!("read {}", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).with_context(opening)?;
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    if read.with_context(opening)? as u64 > LONGEST {
        bail!("{} is longer than {LONGEST} bytes", path.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
