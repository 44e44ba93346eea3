//! What a certificate says: whom it names, and until when it is valid.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use rcgen::SanType;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Read from a certificate, and not verified.
pub(super) struct Certified {
    /// Each as [`name_of`] writes it.
    pub(super) names: BTreeSet<String>,
    /// The last moment at which it is valid.
    pub(super) not_after: SystemTime,
    /// The public key's bits: for P-256 a point, SEC 1 section 2.3.3.
    pub(super) key: Vec<u8>,
}

impl Certified {
    /// Reads a certificate, DER.
    pub(super) fn read(der: &[u8]) -> anyhow::Result<Self> {
        let certificate = Certificate::from_der(der).map_err(|error| anyhow!("{error}"))?;
        let fields = certificate.tbs_certificate();
        let names = fields
            .get_extension::<SubjectAltName>()
            .map_err(|error| anyhow!("read its names: {error}"))?;
        let SubjectAltName(names) = names.context("it names nobody")?.1;
        let key = fields
            .subject_public_key_info()
            .subject_public_key
            .as_bytes();
        let not_after = fields.validity().not_after.to_unix_duration();
        let not_after = SystemTime::UNIX_EPOCH.checked_add(not_after);
        Ok(Self {
            names: names.iter().map(general_name).collect::<Result<_, _>>()?,
            not_after: not_after.context("it ends when no clock goes")?,
            key: key.context("its key is no whole number of bytes")?.to_vec(),
        })
    }
}

/// The same text for the same name, whoever writes it.
pub(super) fn name_of(name: &SanType) -> anyhow::Result<String> {
    match name {
        SanType::DnsName(name) => Ok(format!("DNS {}", name.as_ref())),
        SanType::IpAddress(address) => Ok(format!("IP {address}")),
        other => bail!("{other:?} is neither a DNS name nor an address"),
    }
}

fn general_name(name: &GeneralName) -> anyhow::Result<String> {
    match name {
        GeneralName::DnsName(name) => Ok(format!("DNS {name}")),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(|it| Ipv4Addr::from(it).to_string());
            let v6 = || <[u8; 16]>::try_from(bytes).map(|it| Ipv6Addr::from(it).to_string());
            let address = v4.or_else(|_| v6()).context("it names no address")?;
            Ok(format!("IP {address}"))
        }
        _ => bail!("it names something that is neither a DNS name nor an address"),
    }
}
