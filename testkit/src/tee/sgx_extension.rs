//! The PCK certificate's SGX extension: which platform it is, and how well patched.
//!
//! Layout: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification",
//! 1.5, "SGX extensions".
//!
//! I/O: none.

use rcgen::CustomExtension;

use super::case::Case;
use super::der::{boolean, enumerated, integer, object_identifier, octets, sequence};
use super::hash::sha256;
use super::platform::Platform;

/// 1.2.840.113741.1.13.1.
const SGX: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// 1 is "Scalable": no integrity tree, so servers.
const SGX_TYPE_SCALABLE: u8 = 1;

/// The extension of this case's platform.
pub(super) fn of(case: Case) -> CustomExtension {
    let platform = Platform::certified(case);
    let identity = sha256(&[b"platform", &case.seed.to_be_bytes()[..]].concat());
    let (ppid, instance) = identity.split_at(16);
    let content = sequence(&[
        field(&[1], octets(ppid)),
        field(&[2], tcb(&platform)),
        field(&[3], octets(&platform.pce_id)),
        field(&[4], octets(&platform.fmspc)),
        field(&[5], enumerated(SGX_TYPE_SCALABLE)),
        field(&[6], octets(instance)),
        field(&[7], configuration()),
    ]);
    CustomExtension::from_oid_content(&SGX, content)
}

/// CPUSVN byte by byte, PCESVN, and CPUSVN whole.
fn tcb(platform: &Platform) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = (1..)
        .zip(platform.cpu_svn)
        .map(|(number, svn)| field(&[2, number], integer(&[svn])))
        .collect();
    fields.push(field(&[2, 17], integer(&platform.pce_svn.to_be_bytes())));
    fields.push(field(&[2, 18], octets(&platform.cpu_svn)));
    sequence(&fields)
}

/// Dynamic platform, cached keys, SMT: what cloud machines have.
fn configuration() -> Vec<u8> {
    sequence(&[1, 2, 3].map(|number| field(&[7, number], boolean(true))))
}

fn field(arcs: &[u64], value: Vec<u8>) -> Vec<u8> {
    sequence(&[object_identifier(&[&SGX, arcs].concat()), value])
}
