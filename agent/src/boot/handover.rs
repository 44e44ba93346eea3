//! Gives the node's identity to the services that show it.
//!
//! Each gets a file of its own, in memory (`/run`), that only its user can read. A file is never
//! there half, nor ever readable by another: it is written under another name with no rights for
//! anybody else, given to its owner, and then renamed.
//!
//! I/O: writes files; reloads units; asks the attestation server what it serves.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::unistd::{Gid, Uid, User};
use zeroize::Zeroizing;

use super::hub::Hub;
use super::units::Units;
use crate::config::node::{Identity as Settings, Recipient};
use crate::identity::Identity;

/// Which certificate, by its fingerprint, units have taken up from their files.
#[derive(Default)]
pub(super) struct Taken(BTreeMap<PathBuf, String>);

/// The attestation server answers with the certificate that it was given.
pub(super) struct Served(());

/// Gives `identity` to all that are named and do not have it, and checks that the attestation server
/// shows it.
///
/// # Errors
///
/// Names the files, users or units; one that fails keeps no other from its own. Doing it again is
/// always right.
pub(super) async fn hand_over(
    identity: &Identity,
    settings: &Settings,
    units: &Units,
    local: SocketAddr,
    Taken(taken): &mut Taken,
) -> anyhow::Result<Served> {
    let mut failures = Vec::new();
    for copy in &settings.copies {
        let fingerprint = identity.fingerprint();
        // A reload for nothing is none: it may cost connections, or what is known of them.
        if taken.get(&copy.file).is_some_and(|it| it == fingerprint) && is_there(identity, copy) {
            continue;
        }
        let given = give(identity, copy, units).await;
        if given.is_ok() {
            taken.insert(copy.file.clone(), fingerprint.to_owned());
        }
        let given = given.with_context(|| format!("write {}", copy.file.display()));
        failures.extend(given.err().map(|error| format!("{error:#}")));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    check(identity, settings, local).await
}

/// Whether the attestation server shows it. A machine whose image hands nothing over has no such
/// server to ask.
pub(super) async fn check(
    identity: &Identity,
    settings: &Settings,
    local: SocketAddr,
) -> anyhow::Result<Served> {
    if !settings.copies.is_empty() {
        let server = Hub::called("the attestation server", local)?;
        ensure!(
            server.fetch("/cert").await?.as_slice() == identity.pem().as_ref(),
            "the attestation server does not serve the new certificate yet"
        );
    }
    Ok(Served(()))
}

fn is_there(identity: &Identity, copy: &Recipient) -> bool {
    fs::read(&copy.file).is_ok_and(|there| Zeroizing::new(there) == identity.bundle())
}

async fn give(identity: &Identity, copy: &Recipient, units: &Units) -> anyhow::Result<()> {
    let bundle = identity.bundle();
    if !is_there(identity, copy) {
        let owner = User::from_name(&copy.owner).context("look the owner up")?;
        let owner = owner.with_context(|| format!("there is no user {:?}", copy.owner))?;
        write(&bundle, &copy.file, owner.uid, owner.gid)?;
    }
    // Whether the unit has taken it up is not known from the file: a reload may have failed.
    match &copy.reload {
        Some(unit) => units.reload(unit).await,
        None => Ok(()),
    }
}

/// Writes a file that only this user can read, in a directory that only we can write to.
pub(super) fn write(bundle: &[u8], path: &Path, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let directory = path.parent().context("it is in no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    // Whoever can write there could put a link in the way.
    let metadata = fs::symlink_metadata(directory)?;
    let is_ours = metadata.is_dir() && metadata.uid() == Uid::effective().as_raw();
    ensure!(
        is_ours && metadata.mode() & 0o022 == 0,
        "{} is a directory that others can write to",
        directory.display()
    );
    let beside = path.with_extension("new");
    remove_if_there(&beside)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bundle)?;
    fchown(&file, Some(uid.as_raw()), Some(gid.as_raw()))?;
    // On a disk, the file could be there before what is in it.
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // Nor is a name there before its directory is: what is registered now must be found again.
    fs::File::open(directory)?.sync_all()?;
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write_mine(bundle: &[u8], file: &Path) -> anyhow::Result<()> {
        write(bundle, file, Uid::effective(), Gid::effective())
    }

    #[test]
    fn only_the_owner_can_read_it_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("below/identity.pem");
        // What a stopped attempt has left is no hindrance.
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(file.with_extension("new"), "half").unwrap();
        for _ in 0..2 {
            let identity = Identity::generate(&[], None).unwrap();
            write_mine(&identity.bundle(), &file).unwrap();
            assert_eq!(fs::read(&file).unwrap(), *identity.bundle());
        }
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.uid(), nix::unistd::Uid::effective().as_raw());
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_others_can_write_to_gets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("identity.pem");
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), open).unwrap();
        let error = write_mine(b"key", &file).unwrap_err();
        assert!(
            format!("{error:#}").contains("others can write"),
            "{error:#}"
        );
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_user_who_is_not_there_gets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let copy = Recipient {
            file: directory.path().join("identity.pem"),
            owner: "nobody-of-that-name".to_owned(),
            reload: None,
            address: None,
        };
        let identity = Identity::generate(&[], None).unwrap();
        let error = give(&identity, &copy, &Units::new("systemctl".into())).await;
        let error = error.unwrap_err();
        assert!(format!("{error:#}").contains("nobody-of-that-name"));
        assert!(!copy.file.exists());
    }
}
