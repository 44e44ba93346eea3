//! MRTD: the firmware that a TD is built with.
//!
//! Intel "TDX Module Base Architecture Specification", "Measurement and Attestation", MRTD;
//! "TDX Module ABI Specification", TDH.MEM.PAGE.ADD and TDH.MR.EXTEND: one SHA-384 over everything
//! that the host adds, 128 bytes for the address of each page, and 128 bytes with an address and
//! the contents for each 256 bytes that are measured. The host chooses what is added, in which
//! order; hosts follow the firmware's metadata (`tdvf.rs`).
//!
//! Left out: hosts that follow it in their own way. Google's measured every section for a time, the
//! memory map with them, so that MRTD depended on the machine's size.
//!
//! I/O: none.

use std::iter::zip;

use sha2::{Digest as _, Sha384};

use super::tdvf::{PAGE_SIZE, Section, Tdvf, TdvfError};
use crate::{Digest, Sha384Digest};

/// Bytes that one TDH.MR.EXTEND measures.
const CHUNK_SIZE: usize = 256;

/// In which order a host adds the pages of a section and measures their contents.
///
/// MRTD is another in each. The guest's firmware is the same: an auditor accepts both, or knows the
/// host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MrtdOrder {
    /// Each page is measured when it was added: KVM since Linux 6.16, with QEMU since 10.1, and the
    /// distributions' earlier trees with QEMU 9. Linux `arch/x86/kvm/vmx/tdx.c`,
    /// `tdx_gmem_post_populate`: TDH.MEM.PAGE.ADD, then TDH.MR.EXTEND for the page.
    SinglePass,
    /// All pages of a section are added, then all are measured: trees of 2024, from before TDX came
    /// to Linux, with QEMU 8. Patch "KVM: TDX: Extend memory measurement with initial guest memory",
    /// v19: KVM_MEMORY_MAPPING for the section, then KVM_TDX_EXTEND_MEMORY.
    TwoPass,
}

/// Returns MRTD of a TD that a host built with `firmware`, the whole file, in this order.
///
/// `firmware` need not be trusted. MRTD says nothing on the sections that are not
/// [measured](Section::is_measured): variables, and memory that the host fills.
///
/// # Errors
///
/// [`TdvfError`] if this is no TDX virtual firmware, or one that hosts would treat differently.
pub fn mrtd(firmware: &[u8], order: MrtdOrder) -> Result<Sha384Digest, TdvfError> {
    Ok(Tdvf::parse(firmware)?.mrtd(order))
}

impl Tdvf<'_> {
    /// Returns MRTD of a TD that a host built with this firmware in this order.
    pub fn mrtd(&self, order: MrtdOrder) -> Sha384Digest {
        let mut hash = Sha384::new();
        for section in self.sections() {
            match order {
                MrtdOrder::SinglePass => {
                    for (address, contents) in pages(section) {
                        add_page(&mut hash, address);
                        measure_page(&mut hash, address, contents);
                    }
                }
                MrtdOrder::TwoPass => {
                    pages(section).for_each(|(address, _)| add_page(&mut hash, address));
                    for (address, contents) in pages(section) {
                        measure_page(&mut hash, address, contents);
                    }
                }
            }
        }
        Digest(hash.finalize().into())
    }
}

/// The pages of a section: address, and the contents if they are measured.
fn pages<'a>(section: &Section<'a>) -> impl Iterator<Item = (u64, &'a [u8])> {
    // Exactly the pages of a measured section, as parsing makes sure.
    let contents = if section.is_measured {
        section.contents
    } else {
        &[]
    };
    let contents = contents
        .chunks(usize::from(PAGE_SIZE))
        .chain(std::iter::repeat(&[][..]));
    let end = section.address.saturating_add(section.size);
    zip(
        (section.address..end).step_by(usize::from(PAGE_SIZE)),
        contents,
    )
}

/// TDH.MEM.PAGE.ADD.
fn add_page(hash: &mut Sha384, address: u64) {
    record(hash, b"MEM.PAGE.ADD\0\0\0\0", address);
}

/// TDH.MR.EXTEND for each part of a page.
fn measure_page(hash: &mut Sha384, address: u64, contents: &[u8]) {
    for (address, chunk) in zip((address..).step_by(CHUNK_SIZE), contents.chunks(CHUNK_SIZE)) {
        record(hash, b"MR.EXTEND\0\0\0\0\0\0\0", address);
        hash.update(chunk);
    }
}

/// What is hashed for an operation: its name, the guest's physical address at byte 16, and zeros to
/// byte 128.
fn record(hash: &mut Sha384, operation: &[u8; 16], address: u64) {
    hash.update(operation);
    hash.update(address.to_le_bytes());
    hash.update([0; 104]);
}
