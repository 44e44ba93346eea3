//! Where the identity is kept, so that an agent that starts again, or a machine that does, has it still.
//!
//! In memory (`/run`), it lives as long as the machine runs, and so it has no end. On the encrypted
//! disk it outlives that; then it ends, and another is made well before.
//!
//! I/O: reads and writes the file that the drop-ins name.

use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use nix::unistd::{Gid, Uid};
use rustls::pki_types::ServerName;

use super::handover;
use crate::config::node::Keep;
use crate::identity::Identity;

/// An identity is replaced when less than a third of its life is left.
const LEFT: u32 = 3;

/// The identity that is kept, if it is for these names and good for long enough, or a new one.
///
/// What is kept and cannot be used is replaced, and it is said why: it is a key, and another is as good.
///
/// # Errors
///
/// The new one cannot be made or kept: one that is gone with the next start is not what the image wants.
pub(super) fn kept_or_new(
    keep: &Keep,
    names: &[ServerName<'static>],
    now: SystemTime,
) -> anyhow::Result<Identity> {
    match usable(keep, names, now) {
        Ok(identity) => return Ok(identity),
        Err(why) => tracing::info!("identity: a new one is made: {why:#}"),
    }
    let identity = new(keep, names, now)?;
    store(keep, &identity.bundle())?;
    Ok(identity)
}

/// A new one, which is not kept yet.
pub(super) fn new(
    keep: &Keep,
    names: &[ServerName<'static>],
    now: SystemTime,
) -> anyhow::Result<Identity> {
    let end = match keep.lifetime {
        Some(lifetime) => Some(
            now.checked_add(lifetime)
                .context("the clock shows no time")?,
        ),
        None => None,
    };
    Identity::generate(names, end)
}

/// Keeps a new one in the place of the former.
pub(super) fn store(keep: &Keep, bundle: &[u8]) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    handover::write(bundle, &keep.file, uid, gid)
        .with_context(|| format!("keep it in {}", keep.file.display()))
}

/// Whether it is time for another. One that cannot be judged is never kept, so it has no end.
pub(super) fn is_due(identity: &Identity, keep: &Keep, now: SystemTime) -> bool {
    let (Some(lifetime), Ok(end)) = (keep.lifetime, identity.not_after()) else {
        return false;
    };
    // A clock that was set back must not make an identity outlive what it was given.
    end.duration_since(now)
        .map_or(true, |left| left < lifetime / LEFT || left > lifetime)
}

fn usable(keep: &Keep, names: &[ServerName<'static>], now: SystemTime) -> anyhow::Result<Identity> {
    let identity = Identity::read(&keep.file).map_err(|error| match is_missing(&error) {
        true => anyhow::anyhow!("there is none yet"),
        false => error,
    })?;
    let is_for = identity.is_for(names);
    anyhow::ensure!(
        is_for.with_context(|| unusable(&keep.file))?,
        "the one that is kept is for other names"
    );
    anyhow::ensure!(
        !is_due(&identity, keep, now),
        "the one that is kept is about to end, or has ended"
    );
    Ok(identity)
}

fn unusable(file: &Path) -> String {
    format!("what is in {} cannot be used", file.display())
}

fn is_missing(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref());
    kinds
        .map(std::io::Error::kind)
        .any(|kind| kind == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn names(name: &'static str) -> [ServerName<'static>; 1] {
        [ServerName::try_from(name).unwrap()]
    }

    /// What is kept in a folder after these times, by its fingerprint.
    fn fingerprints(keep: &Keep, times: &[SystemTime]) -> Vec<String> {
        let at = |time: &SystemTime| {
            let identity = kept_or_new(keep, &names("node.example"), *time);
            identity.unwrap().fingerprint().to_owned()
        };
        times.iter().map(at).collect()
    }

    #[test]
    fn in_memory_it_stays_whatever_the_clock_does() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep {
            file: directory.path().join("below/identity.pem"),
            lifetime: None,
        };
        let times = [now(), now() + 4000 * DAY, now() - 4000 * DAY];
        let made = fingerprints(&keep, &times);
        assert!(made.iter().all(|it| *it == made[0]), "{made:?}");
    }

    #[test]
    fn with_a_lifetime_it_is_replaced_when_a_third_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep {
            file: directory.path().join("identity.pem"),
            lifetime: Some(90 * DAY),
        };
        let times = [now(), now() + 60 * DAY, now() + 61 * DAY];
        let made = fingerprints(&keep, &times);
        assert_eq!(made[0], made[1]);
        assert_ne!(made[1], made[2]);
        // Of a time that is still to come, when the clock was wrong.
        let earlier = fingerprints(&keep, &[now() - 10 * DAY]);
        assert_ne!(earlier[0], made[2]);
    }

    #[test]
    fn what_cannot_be_used_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep {
            file: directory.path().join("identity.pem"),
            lifetime: None,
        };
        let first = kept_or_new(&keep, &names("node.example"), now()).unwrap();
        let other = kept_or_new(&keep, &names("other.example"), now()).unwrap();
        assert_ne!(first.fingerprint(), other.fingerprint());
        for nonsense in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\n"] {
            fs::write(&keep.file, nonsense).unwrap();
            let made = kept_or_new(&keep, &names("other.example"), now()).unwrap();
            assert_eq!(fs::read(&keep.file).unwrap(), *made.bundle());
        }
    }

    #[test]
    fn one_that_cannot_be_kept_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("identity.pem");
        fs::create_dir(&file).unwrap();
        let keep = Keep {
            file: file.clone(),
            lifetime: None,
        };
        let error = kept_or_new(&keep, &[], now()).err().unwrap();
        assert!(format!("{error:#}").contains(&file.display().to_string()));
    }
}
