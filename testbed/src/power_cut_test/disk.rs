//! What must be true of a node's disk, before and after its power was cut.
//!
//! Two things are looked at. The header, from outside: one that was made anew has another UUID. And a file
//! inside: the image keeps the node's certificate on the encrypted disk (`identity.keep`), and says its
//! fingerprint at each boot.
//!
//! I/O: none.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::moments::Kind;
use crate::data_disk::Disk;

/// That a new disk is done, on the console.
pub(super) const FORMATTED: &str = "the disk is formatted and ready";

/// So long after a file was written in the guest, its name is on the disk as well: ext4 commits each 5 s.
pub(super) const SETTLED: Duration = Duration::from_secs(15);

/// What is expected of a disk at the next boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The UUID of its header; none until it has one that counts.
    uuid: Option<String>,
    /// The fingerprint of the certificate that is on it, and when it was said first.
    certificate: Option<(String, Duration)>,
}

impl Held {
    /// The disk of a node that is ready: what it held, it holds. Says what that is.
    ///
    /// # Errors
    ///
    /// It is not encrypted, or was made anew; or the certificate is another one.
    pub(super) fn at_ready(
        &mut self,
        disk: &Disk,
        certificate: Option<(String, Duration)>,
    ) -> Result<String> {
        let Disk::Ready(uuid) = disk else {
            bail!("the node is ready, and its disk is {disk:?}");
        };
        let said = self.same(uuid)?;
        let (now, at) = certificate.context("the node is ready, and has named no certificate")?;
        let kept = match &self.certificate {
            Some((was, _)) => {
                ensure!(
                    *was == now,
                    "what was kept on the disk is lost: the certificate was {was}, and is {now}"
                );
                "the same certificate"
            }
            None => "a new certificate",
        };
        let is_new = self.certificate.is_none();
        *self = Self {
            uuid: Some(uuid.clone()),
            // One that is found again was settled before.
            certificate: Some((now, if is_new { at } else { Duration::ZERO })),
        };
        Ok(format!("{said}, {kept}"))
    }

    /// The disk right after the power was cut, so long after power-on, by what was said until then. Says what
    /// is there.
    ///
    /// # Errors
    ///
    /// What it held is gone, or it is not what the node has said that it is.
    pub(super) fn at_cut(&mut self, kind: Kind, disk: &Disk, cut: &Cut) -> Result<String> {
        let Disk::Ready(uuid) = disk else {
            ensure!(
                !cut.is_formatted,
                "the node had said {FORMATTED:?}, and the disk is {disk:?}"
            );
            ensure!(
                kind == Kind::First && self.uuid.is_none(),
                "the disk held data, and is {disk:?}"
            );
            return Ok(match disk {
                Disk::Blank => "blank".to_owned(),
                _ => "half formatted".to_owned(),
            });
        };
        let said = self.same(uuid)?;
        self.uuid = Some(uuid.clone());
        // Of a first boot, the node has named it on the way.
        if self.certificate.is_none() {
            self.certificate = cut.certificate.clone();
        }
        let is_settled = |at: Duration| at.is_zero() || cut.at.saturating_sub(at) >= SETTLED;
        let settled = self.certificate.take().filter(|(_, at)| is_settled(*at));
        self.certificate = settled.map(|(certificate, _)| (certificate, Duration::ZERO));
        Ok(said)
    }

    fn same(&self, uuid: &str) -> Result<String> {
        match &self.uuid {
            Some(was) => {
                ensure!(was == uuid, "it was made anew: {was} is now {uuid}");
                Ok(format!("still {uuid}"))
            }
            None => Ok(format!("formatted: {uuid}")),
        }
    }
}

/// What was known of the machine when its power was cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    /// Since power-on.
    pub(super) at: Duration,
    /// Whether it had said that the disk is formatted.
    pub(super) is_formatted: bool,
    /// The certificate that it had named, and when.
    pub(super) certificate: Option<(String, Duration)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(uuid: &str) -> Disk {
        Disk::Ready(uuid.to_owned())
    }

    fn certificate(name: &str, at: u64) -> Option<(String, Duration)> {
        Some((name.to_owned(), Duration::from_secs(at)))
    }

    fn cut(at: u64) -> Cut {
        Cut {
            at: Duration::from_secs(at),
            ..Cut::default()
        }
    }

    /// A disk of a node that has been ready.
    fn held() -> Held {
        let mut held = Held::default();
        held.at_ready(&ready("a"), certificate("c", 50)).unwrap();
        held
    }

    #[test]
    fn a_ready_node_has_an_encrypted_disk() {
        for disk in [Disk::Blank, Disk::Begun] {
            let mut held = Held::default();
            assert!(
                held.at_ready(&disk, certificate("c", 1)).is_err(),
                "{disk:?}"
            );
        }
        assert!(Held::default().at_ready(&ready("a"), None).is_err());
    }

    #[test]
    fn what_was_there_is_there_at_the_next_boot() {
        assert!(held().at_ready(&ready("a"), certificate("c", 9)).is_ok());
        assert!(held().at_ready(&ready("b"), certificate("c", 9)).is_err());
        assert!(held().at_ready(&ready("a"), certificate("d", 9)).is_err());
        assert!(held().at_ready(&Disk::Blank, certificate("c", 9)).is_err());
    }

    #[test]
    fn it_is_there_when_the_power_is_cut_as_well() {
        for kind in [Kind::Later, Kind::Refresh] {
            assert!(held().at_cut(kind, &ready("a"), &cut(90)).is_ok());
            for disk in [ready("b"), Disk::Blank, Disk::Begun] {
                assert!(held().at_cut(kind, &disk, &cut(90)).is_err(), "{disk:?}");
            }
        }
        // Even if nothing was known of it: a later boot has been preceded by one that was ready.
        assert!(
            Held::default()
                .at_cut(Kind::Later, &Disk::Blank, &cut(9))
                .is_err()
        );
    }

    #[test]
    fn a_first_boot_may_be_cut_anywhere_but_formatted_is_formatted() {
        for disk in [Disk::Blank, Disk::Begun, ready("a")] {
            assert!(Held::default().at_cut(Kind::First, &disk, &cut(9)).is_ok());
        }
        let formatted = Cut {
            is_formatted: true,
            ..cut(9)
        };
        for disk in [Disk::Blank, Disk::Begun] {
            let mut held = Held::default();
            assert!(held.at_cut(Kind::First, &disk, &formatted).is_err());
        }
        let mut held = Held::default();
        held.at_cut(Kind::First, &ready("a"), &formatted).unwrap();
        assert!(
            held.clone()
                .at_ready(&ready("b"), certificate("c", 9))
                .is_err()
        );
        assert!(held.at_ready(&ready("a"), certificate("c", 9)).is_ok());
        let mut half = Held::default();
        half.at_cut(Kind::First, &Disk::Begun, &cut(9)).unwrap();
        assert!(half.at_ready(&ready("b"), certificate("c", 9)).is_ok());
    }

    #[test]
    fn a_certificate_counts_as_soon_as_it_is_settled() {
        let after = |held: &mut Held, kind, cut: &Cut| {
            held.at_cut(kind, &ready("a"), cut).unwrap();
            held.at_ready(&ready("a"), certificate("d", 9)).is_ok()
        };
        // Said at 50 s.
        assert!(after(&mut held(), Kind::Refresh, &cut(51)));
        assert!(!after(&mut held(), Kind::Refresh, &cut(66)));
        // Found again, it was settled from the first second on.
        let mut found = held();
        found.at_ready(&ready("a"), certificate("c", 60)).unwrap();
        assert!(!after(&mut found, Kind::Refresh, &cut(61)));
        // So it is after a cut that it has outlasted.
        let mut twice = held();
        twice.at_cut(Kind::Refresh, &ready("a"), &cut(66)).unwrap();
        assert!(!after(&mut twice, Kind::Later, &cut(3)));
        // Of a first boot as well.
        let first = |at| Cut {
            certificate: certificate("c", 50),
            ..cut(at)
        };
        assert!(after(&mut Held::default(), Kind::First, &first(51)));
        assert!(!after(&mut Held::default(), Kind::First, &first(66)));
    }
}
