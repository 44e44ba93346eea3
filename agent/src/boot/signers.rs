//! Addresses of the keys that services sign with: taken from a file that the service writes, and
//! registered at the hub beside the node's certificate.
//!
//! A service starts when the node is ready and makes its key then: ready does not wait for it.
//!
//! I/O: reads files below `/run`; asks the hub.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::fcntl::OFlag;
use nix::unistd::User;
use tokio::time::sleep;

use super::Machine;
use super::handover::Served;
use super::registration::register_signer;
use super::retry::Pauses;
use crate::config::signers::Signer;
use crate::identity::Identity;

/// How often it is looked for files that have come or changed.
const LOOK: Duration = Duration::from_secs(2);

/// Longest file, in bytes: an address, and a line end of either kind.
const LONGEST: u64 = 44;

/// An address of an Ethereum key: `0x`, and 20 bytes in hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address(String);

/// What the hub has of a service.
#[derive(Eq, PartialEq)]
pub(super) struct Registered {
    address: Address,
    /// The fingerprint of the certificate beside it.
    certificate: String,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let digits = line.strip_prefix("0x")?;
        let is_address = digits.len() == 40 && digits.bytes().all(|it| it.is_ascii_hexdigit());
        is_address.then(|| Self(line.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Registers each address when it comes, when it changes, and when the certificate is another; a
/// failure is tried again and keeps no other service from its own.
pub(super) async fn keep(
    machine: &Machine,
    identity: &Identity,
    served: &Served,
    done: &mut BTreeMap<String, Registered>,
) -> Infallible {
    let mut pauses = Pauses::default();
    loop {
        let settings = machine.config.boot.registration.as_ref();
        if let Some((hub, settings)) = machine.hub.as_ref().zip(settings) {
            for (service, signer) in &settings.signers {
                if !pauses.is_over(service) {
                    continue;
                }
                let registered = async {
                    let Some(address) = read(signer)? else {
                        return Ok(None);
                    };
                    let certificate = identity.fingerprint().to_owned();
                    let now = Registered {
                        address,
                        certificate,
                    };
                    if done.get(service) == Some(&now) {
                        return Ok(None);
                    }
                    register_signer(service, &now.address, hub, settings, identity, served).await?;
                    anyhow::Ok(Some(now))
                };
                match registered.await {
                    Ok(None) => pauses.succeeded(service),
                    Ok(Some(now)) => {
                        tracing::info!("signers: the hub has the address of {service}");
                        pauses.succeeded(service);
                        done.insert(service.clone(), now);
                    }
                    Err(error) => {
                        let pause = pauses.failed(service).as_secs_f32();
                        tracing::warn!(
                            "signers: {service}: {error:#}; tried again in {pause:.0} s"
                        );
                    }
                }
            }
        }
        sleep(LOOK).await;
    }
}

/// The address in a service's file; nothing if the service has not written it yet.
///
/// # Errors
///
/// What is there is not a file of the declared owner's alone with an address and nothing else.
fn read(signer: &Signer) -> anyhow::Result<Option<Address>> {
    let reading = || format!("read {}", signer.file.display());
    // Not through a link, and without waiting for whoever would write to a pipe.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(&signer.file);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(reading)?,
    };
    let metadata = file.metadata().with_context(reading)?;
    let owner = User::from_name(&signer.owner).context("look the owner up")?;
    let owner = owner.with_context(|| format!("there is no user {:?}", signer.owner))?;
    ensure!(
        metadata.is_file() && metadata.uid() == owner.uid.as_raw() && metadata.mode() & 0o022 == 0,
        "{} is not a file that only {} can write to",
        signer.file.display(),
        signer.owner
    );
    let mut text = String::new();
    let length = file.take(LONGEST + 1).read_to_string(&mut text);
    // Whatever it is, it may be a key that somebody has put into the wrong file.
    let address = match length {
        Ok(length) if length as u64 <= LONGEST => Address::parse(&text),
        _ => None,
    };
    let address = address.with_context(|| {
        format!(
            "{}: expected 0x and 40 hexadecimal digits, and no more",
            signer.file.display()
        )
    })?;
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::Uid;

    use super::*;

    const ADDRESS: &str = "0x00112233445566778899aAbBcCdDeEfF00112233";

    fn signer(directory: &tempfile::TempDir) -> Signer {
        let me = User::from_uid(Uid::effective()).unwrap().unwrap();
        Signer {
            file: directory.path().join("signer"),
            owner: me.name,
        }
    }

    #[test]
    fn an_address_is_taken_with_or_without_the_line_s_end() {
        let directory = tempfile::tempdir().unwrap();
        let signer = signer(&directory);
        assert!(read(&signer).unwrap().is_none());
        for end in ["", "\n", "\r\n"] {
            fs::write(&signer.file, format!("{ADDRESS}{end}")).unwrap();
            assert_eq!(read(&signer).unwrap().unwrap().as_str(), ADDRESS);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let signer = signer(&directory);
        let digits = ADDRESS.strip_prefix("0x").unwrap();
        for text in [
            String::new(),
            digits.to_owned(),
            format!("0X{digits}"),
            format!("{ADDRESS}0"),
            format!("{ADDRESS} "),
            format!(" {ADDRESS}"),
            format!("{ADDRESS}\n\n"),
            format!("{ADDRESS}\n{ADDRESS}"),
            ADDRESS.replace('3', "g"),
            ADDRESS.replace("33", "é"),
            format!("{ADDRESS}{}", "\n".repeat(9000)),
        ] {
            fs::write(&signer.file, &text).unwrap();
            let error = format!("{:#}", read(&signer).unwrap_err());
            assert!(error.contains("expected 0x and 40"), "{text:?}: {error}");
            assert!(!error.contains("112233"), "{error}");
        }
        fs::write(&signer.file, [0xff; 42]).unwrap();
        assert!(read(&signer).is_err());
    }

    #[test]
    fn what_another_could_have_written_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut signer = signer(&directory);
        fs::write(&signer.file, ADDRESS).unwrap();
        let open = fs::Permissions::from_mode(0o620);
        fs::set_permissions(&signer.file, open).unwrap();
        let refused = |signer: &Signer| format!("{:#}", read(signer).unwrap_err());
        assert!(refused(&signer).contains("is not a file that only"));
        fs::set_permissions(&signer.file, fs::Permissions::from_mode(0o644)).unwrap();
        let other = if Uid::effective().is_root() {
            "nobody"
        } else {
            "root"
        };
        let me = std::mem::replace(&mut signer.owner, other.to_owned());
        assert!(refused(&signer).contains("is not a file that only"));
        signer.owner = "nobody-of-that-name".to_owned();
        assert!(refused(&signer).contains("nobody-of-that-name"));
        signer.owner = me;
        let link = directory.path().join("link");
        symlink(&signer.file, &link).unwrap();
        signer.file = link;
        assert!(refused(&signer).contains("read "));
        // A pipe that nobody writes to, and a directory.
        signer.file = directory.path().join("pipe");
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&signer.file, mode).unwrap();
        assert!(refused(&signer).contains("is not a file that only"));
        signer.file = directory.path().to_owned();
        assert!(refused(&signer).contains("is not a file that only"));
    }
}
