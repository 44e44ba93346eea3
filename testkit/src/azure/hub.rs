//! The simulator's hub to its nodes: its name, and the authority that certifies it.
//!
//! The authority's key follows from a number that everybody knows, so whoever is told to trust it
//! trusts everybody. The image of the `sim` profile is told to, and nobody else.
//!
//! I/O: none.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use time::{Duration, OffsetDateTime};

use crate::tee::key::Key;

/// The name under which nodes of the `sim` profile know their hub.
pub const NAME: &str = "hub.sim.test";

/// "sim".
const SEED: u64 = 0x73_69_6d;

/// How long a hub's certificate is valid.
const VALIDITY: Duration = Duration::days(365);

/// A hub's certificate, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// PEM.
    pub certificate: String,
    /// PKCS #8, PEM.
    pub key: String,
}

/// The authority's certificate, PEM: the same each time.
///
/// # Errors
///
/// rcgen's, if it cannot write a certificate.
pub fn root() -> Result<String, rcgen::Error> {
    Ok(authority().self_signed(&key())?.pem())
}

/// Certifies a hub of this name, from a day before `now` on.
///
/// # Errors
///
/// rcgen's, if `name` is no DNS name.
pub fn certify(name: &str, now: SystemTime) -> Result<Credentials, rcgen::Error> {
    certify_by(&key(), name, now)
}

/// The same by an authority of the same name with another key, which nobody is told to trust.
///
/// # Errors
///
/// rcgen's, if `name` is no DNS name.
pub fn certify_by_a_stranger(name: &str, now: SystemTime) -> Result<Credentials, rcgen::Error> {
    let stranger = Key::derive(
        SEED,
        "somebody who says to be the certification authority of hubs",
    );
    certify_by(&stranger, name, now)
}

fn certify_by(key: &Key, name: &str, now: SystemTime) -> Result<Credentials, rcgen::Error> {
    let now = OffsetDateTime::from(now);
    let own = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = named(name);
    params.not_before = now.saturating_sub(Duration::DAY);
    params.not_after = now.saturating_add(VALIDITY);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let authority = authority();
    let certificate = params.signed_by(&own, &Issuer::from_params(&authority, key))?;
    Ok(Credentials {
        certificate: certificate.pem(),
        key: own.serialize_pem(),
    })
}

fn key() -> Key {
    Key::derive(SEED, "certification authority of hubs")
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Simulated Hubs' Root CA");
    params.serial_number = Some(SerialNumber::from(vec![0x73, 0x69, 0x6d]));
    // The image knows no earlier time, and no simulation lasts longer.
    params.not_before = date_time_ymd(2026, 11, 1);
    params.not_after = date_time_ymd(2046, 11, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A reader of a log must not take it for a real one.
fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::OrganizationName, "testkit, the key is public");
    names.push(DnType::CommonName, name);
    names
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::child::run_tool;
    use crate::needed;

    /// What the profile adds to the image, below the checkout.
    const DROP_IN: &str =
        "meta-base/mkosi.profiles/sim/mkosi.extra/usr/lib/cvm-agent/conf.d/90-sim.toml";

    #[test]
    fn profile_has_this_root_and_this_name() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(DROP_IN);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("-----BEGIN").count(), 1, "one root");
        let root = root().unwrap();
        assert!(
            text.contains(&format!("roots_pem = \"\"\"\n{root}\"\"\"\n")),
            "{DROP_IN} should have this root:\n{root}"
        );
        assert!(text.contains(&format!("url = \"https://{NAME}\"\n")));
    }

    #[test]
    fn root_is_the_same_each_time_and_hubs_keys_are_not() {
        assert_eq!(root().unwrap(), root().unwrap());
        let now = SystemTime::now();
        assert!(certify(NAME, now).unwrap() != certify(NAME, now).unwrap());
    }

    #[test]
    fn openssl_finds_the_hub_certified_for_its_name_alone() {
        if !needed::programs(&["openssl"]) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let credentials = certify(NAME, SystemTime::now()).unwrap();
        let ca = write("ca", &root().unwrap());
        let leaf = write("leaf", &credentials.certificate);
        let verify = |name| {
            let wanted = ["-purpose", "sslserver", "-verify_hostname", name];
            let files = ["-CAfile", &ca, "-no-CApath", &leaf];
            run_tool(
                "openssl",
                &[&["verify", "-x509_strict"], &wanted[..], &files].concat(),
            )
        };
        verify(NAME).unwrap();
        assert!(verify("hub.other.test").is_err());
        let strangers = certify_by_a_stranger(NAME, SystemTime::now()).unwrap();
        fs::write(&leaf, strangers.certificate).unwrap();
        assert!(verify(NAME).is_err());
    }
}
