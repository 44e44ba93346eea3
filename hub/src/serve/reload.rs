//! Files that are read again when they change: certificates, keys, authorities. Connections keep what
//! they began with.
//!
//! All files of one thing are read together, and what is made of them takes the former's place at
//! once or not at all: while a new certificate is there and its key is not yet, or one of them is
//! broken, the former pair counts, and the log says so. Contents are compared, not dates: a file that
//! was replaced through a link, or within the same second, has changed, too.
//!
//! I/O: reads the files; waits for SIGHUP; logs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use attested_http::server::Replaceable;
use ring::digest::{SHA256, digest};
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

/// Makes something of the contents of `N` files.
type Make<T, const N: usize> = Box<dyn Fn(&[Vec<u8>; N]) -> anyhow::Result<T> + Send + Sync>;

/// Handshakes whose settings are in `N` files.
pub(super) struct Reloaded<T, const N: usize> {
    /// What it is, for the log.
    what: &'static str,
    files: [PathBuf; N],
    make: Make<T, N>,
    current: Arc<Replaceable<T>>,
    /// The hash of what was read last, good or not; a key is not kept a second time.
    seen: Mutex<Vec<u8>>,
}

impl<T, const N: usize> Reloaded<T, N> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// If one can't be read, or nothing can be made of them.
    pub(super) fn new(
        what: &'static str,
        files: [PathBuf; N],
        make: impl Fn(&[Vec<u8>; N]) -> anyhow::Result<T> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let contents = read(&files);
        let seen = Mutex::new(hash(&contents));
        let made = make(&contents?).with_context(|| format!("prepare {what}"))?;
        Ok(Self {
            what,
            files,
            make: Box::new(make),
            current: Arc::new(Replaceable::new(made)),
            seen,
        })
    }

    /// Does each handshake as the files say when it begins.
    pub(super) fn handshake(&self) -> Arc<Replaceable<T>> {
        Arc::clone(&self.current)
    }

    /// Takes what the files hold now, if it is any good. `None` if it is what was seen before.
    fn refresh(&self, is_asked: bool) -> Option<anyhow::Result<()>> {
        let contents = read(&self.files);
        let hash = hash(&contents);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == hash && !is_asked {
            return None;
        }
        *seen = hash;
        let made = contents.and_then(|contents| (self.make)(&contents));
        Some(made.map(|made| self.current.replace(made)))
    }
}

/// Something that is read again.
pub(super) trait Reload: Send + Sync {
    /// Looks for changes; if it is asked to, says what it found even if there is none.
    fn reload(&self, is_asked: bool);
}

impl<T: Send + Sync, const N: usize> Reload for Reloaded<T, N> {
    fn reload(&self, is_asked: bool) {
        let what = self.what;
        match self.refresh(is_asked) {
            None => {}
            Some(Ok(())) => tracing::info!(what, "read again"),
            Some(Err(error)) => {
                let error = format!("{error:#}");
                tracing::error!(what, error, "could not be read again: the former counts");
            }
        }
    }
}

/// Looks for changes at each `hangup`, and each `interval`, until `stop`.
pub(super) async fn watch(
    all: Vec<Arc<dyn Reload>>,
    mut hangup: Signal,
    interval: Duration,
    stop: impl Future<Output = ()>,
) {
    let forever = async {
        let mut turn = tokio::time::interval(interval);
        // Or the first look would be at once, when the files have only just been read.
        turn.reset();
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = turn.tick() => false,
            };
            for one in &all {
                let one = Arc::clone(one);
                // Disks may be slow, and keys take time.
                let looking = tokio::task::spawn_blocking(move || one.reload(is_asked));
                if looking.await.is_err() {
                    tracing::error!("looking for changed certificates failed");
                }
            }
        }
    };
    tokio::select! {
        () = forever => {}
        () = stop => {}
    }
}

fn read<const N: usize>(files: &[PathBuf; N]) -> anyhow::Result<[Vec<u8>; N]> {
    let mut contents = [const { Vec::new() }; N];
    for (content, path) in contents.iter_mut().zip(files) {
        *content = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    }
    Ok(contents)
}

/// Differs whenever the contents, or why they can't be read, do.
fn hash<const N: usize>(contents: &anyhow::Result<[Vec<u8>; N]>) -> Vec<u8> {
    let parts: Vec<u8> = match contents {
        Ok(contents) => contents
            .iter()
            .flat_map(|content| digest(&SHA256, content).as_ref().to_vec())
            .collect(),
        Err(error) => format!("{error:#}").into_bytes(),
    };
    digest(&SHA256, &parts).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number([text]: &[Vec<u8>; 1]) -> anyhow::Result<u32> {
        Ok(std::str::from_utf8(text)?.trim().parse()?)
    }

    #[test]
    fn what_is_broken_is_said_once_and_never_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let reloaded = Reloaded::new("a number", [file.clone()], number).unwrap();
        assert!(reloaded.refresh(false).is_none());
        std::fs::write(&file, "two").unwrap();
        assert!(reloaded.refresh(false).unwrap().is_err());
        // Said once; again only to whoever asks.
        assert!(reloaded.refresh(false).is_none());
        assert!(reloaded.refresh(true).unwrap().is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(reloaded.refresh(false).unwrap().is_err());
        assert!(reloaded.refresh(false).is_none());
        std::fs::write(&file, "2").unwrap();
        assert!(reloaded.refresh(false).unwrap().is_ok());
        assert!(reloaded.refresh(true).unwrap().is_ok());
    }

    #[test]
    fn nothing_begins_with_what_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        assert!(Reloaded::new("a number", [file.clone()], number).is_err());
        std::fs::write(&file, "one").unwrap();
        assert!(Reloaded::new("a number", [file], number).is_err());
    }
}
