//! Predicts the registers of a bare TDX guest: MRTD, RTMR1 and RTMR2.
//!
//! | register | holds | known offline |
//! |---|---|---|
//! | MRTD | the firmware's code, and where it lies in memory | from the firmware file: [`Tdvf`] |
//! | RTMR0 | the firmware's settings: memory map, ACPI tables, variables, boot options | no: the host decides |
//! | RTMR1 | partition table, boot loader, UKI, kernel | from the image: [`predict()`] |
//! | RTMR2 | contents of the UKI, command line, initrd | from the image: [`predict()`] |
//! | RTMR3 | nothing; left to programs in the guest | yes: zero |
//!
//! A TDX guest has no PCRs. Firmware, boot loader, stub and kernel measure through
//! EFI_CC_MEASUREMENT_PROTOCOL instead, which maps the PCR that they would have used: 1 and 7 to
//! RTMR0, 2 to 6 to RTMR1, 8 to 15 to RTMR2 (UEFI 2.10, 38.4.1; EDK II
//! `OvmfPkg/IntelTdx/TdxMeasurementLib/TdxMeasurementCommon.c`, `TdxMeasurementMapPcrToMrIndex`).
//! So an RTMR holds the events of several PCRs, in the order in which they happen.
//!
//! Proven: the order of RTMR1, against log and register of a real TDX guest (another boot chain);
//! every event, against the log of a boot of our own image by the same firmware with a TPM; MRTD
//! against other implementations. Not proven: a boot of our own image on TDX hardware. Left out:
//! RTMR0; firmware other than EDK II's; kernels that QEMU loads itself (`-kernel`).
//!
//! I/O: reads the image.

mod gpt_event;
mod guid_table;
mod mrtd;
mod predict;
mod rtmr1;
mod rtmr2;
mod tdvf;

pub use gpt_event::{GptEventError, gpt_event};
pub use mrtd::{MrtdOrder, mrtd};
pub use predict::{TdxPredictError, TdxPrediction, predict};
pub use rtmr1::{BootLoader, Rtmr1Inputs, SeparatorRegister, measures_tagged_events, rtmr1};
pub use rtmr2::{Rtmr2Inputs, linux_measures, rtmr2, stub_measures};
pub use tdvf::{MAX_FIRMWARE_SIZE, Section, SectionKind, Tdvf, TdvfError};
