//! What can be attached in the place of a node's data disk, and a key that is not its own.
//!
//! I/O: none.

use super::{Group, Row, row};
use crate::fault_test::fault::Fault;
use crate::scripted::disk::Medium;

pub(super) const ROWS: &[Row] = &[
    row(
        Group::Disk,
        "disk-missing",
        "no disk",
        Fault::Disk(Medium::Nothing),
        &["no disk at LUN 10"],
    ),
    row(
        Group::Disk,
        "disk-partitions",
        "a disk with a partition table",
        Fault::Disk(Medium::PartitionTable),
        &["the disk has foreign data: gpt"],
    ),
    row(
        Group::Disk,
        "disk-ext4",
        "a disk with a file system",
        Fault::Disk(Medium::Ext4),
        &["the disk has foreign data: ext4"],
    ),
    row(
        Group::Disk,
        "disk-other-luks",
        "a disk that another system has encrypted",
        Fault::Disk(Medium::OtherLuks),
        &["the disk has a LUKS header at 0 that is not ours"],
    ),
    row(
        Group::Disk,
        "disk-one-sector",
        "a disk that is blank but for one sector",
        Fault::Disk(Medium::OneSector),
        &["the disk is not blank: there are data in the mebibyte at 104857600, and no header"],
    ),
    row(
        Group::Disk,
        "disk-read-only",
        "a disk that is read-only",
        Fault::Disk(Medium::ReadOnly),
        &["the disk is read-only"],
    ),
    row(
        Group::Disk,
        "disk-small",
        "a disk that is too small",
        Fault::Disk(Medium::Small),
        &["the disk has 67108864 bytes, expected 134217728 at least"],
    ),
    row(
        Group::Disk,
        "disk-null-cipher",
        "its own disk, whose headers say that nothing is encrypted",
        Fault::Disk(Medium::NullCipher),
        &["the header is not the one that was written"],
    ),
    row(
        Group::Disk,
        "disk-records",
        "its own disk, with a bit changed in each record",
        Fault::Disk(Medium::Records),
        &["the record of slot A is not authentic"],
    ),
    row(
        Group::Disk,
        "disk-wrong-key",
        "its own disk, and the hub has another key; or another node's disk",
        Fault::DiskKey,
        &["the key is wrong: the disk wants key"],
    ),
];
