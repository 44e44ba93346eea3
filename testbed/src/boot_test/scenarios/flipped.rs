//! One flipped bit: in the kernel image it shows, in the root file system it stops the boot.
//!
//! I/O: makes tampered images, starts machines.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::console::phases::Phase;
use testkit::fetch::{fetch_insecure, local};
use testkit::tamper::disk::{copy, flip};
use testkit::tamper::esp::flip_uki;
use testkit::tamper::gpt::{ROOT, ROOT_VERITY, Type, find};

use crate::boot_test::context::Context;
use crate::checks::Checks;
use crate::registers::predict_image;
use crate::session::{ATTESTATION_PORT, Session};

/// In erofs's superblock, which begins at 1024: the volume's name, without meaning for a mount.
/// Linux, fs/erofs/erofs_fs.h.
const VOLUME_NAME: u64 = 1024 + 64;
/// Past the hash tree's superblock of one block: the first byte of its root.
const TREE_ROOT: u64 = 4096;
/// How long the guest may take to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// What dm-verity says: Linux, drivers/md/dm-verity-target.c.
const CORRUPTED: &str = "is corrupted";

pub(super) fn kernel(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("flipped-kernel")?;
    let image = attempt.file("tampered.vhd");
    copy(&context.image, &image)?;
    flip_uki(&image, &attempt.directory)?;
    let tampered = predict_image(&image)?;
    attempt.machine.image = image;
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Initrd, context.timeout);
    ensure!(started, "the kernel did not start");

    let different = session.compare(&context.prediction)?.different();
    let shown = different
        .contains(&4)
        .then(|| Some(format!("registers that differ: {different:?}")));
    checks.note("shows", shown.context("PCR 4 is that of the true image"));
    let predicted = session.compare(&tampered)?.ensure_equal();
    checks.check("measures-as-the-tampered-image", predicted);
    Ok(())
}

pub(super) fn root(context: &Context, checks: &mut Checks) -> Result<()> {
    stops(context, checks, "flipped-root", ROOT, VOLUME_NAME)
}

pub(super) fn tree(context: &Context, checks: &mut Checks) -> Result<()> {
    stops(context, checks, "flipped-tree", ROOT_VERITY, TREE_ROOT)
}

/// Flips a bit at `offset` of the partition, and checks that the boot does not come through.
fn stops(
    context: &Context,
    checks: &mut Checks,
    name: &str,
    partition: Type,
    offset: u64,
) -> Result<()> {
    let mut attempt = context.attempt(name)?;
    let image = attempt.file("tampered.vhd");
    copy(&context.image, &image)?;
    flip(&image, find(&image, partition)?.offset + offset)?;
    attempt.machine.image = image;
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Initrd, context.timeout);
    ensure!(started, "the initrd did not start");

    let comparison = session.compare(&context.prediction)?;
    checks.check("measures-as-the-true-image", comparison.ensure_equal());
    let stopped = ensure_stops(&session, context.timeout);
    checks.check("stops", stopped);
    let lines = session.machine.console().lines();
    let detected = lines.iter().find(|line| line.text.contains(CORRUPTED));
    let detected = detected.map(|line| Some(line.text.clone()));
    checks.note("detected", detected.context("dm-verity says nothing"));
    Ok(())
}

/// The machine ends by itself (the kernel panics and restarts, which QEMU does not) without
/// having come to the root file system or answered on the attestation port.
fn ensure_stops(session: &Session, timeout: Duration) -> Result<()> {
    let port = session.machine.forward_tcp(ATTESTATION_PORT)?;
    let end = Instant::now() + timeout;
    while session.machine.ended().is_none() {
        ensure!(
            fetch_insecure(local(port), "/cert", ANSWER_TIMEOUT).is_err(),
            "it serves /cert"
        );
        ensure!(
            Instant::now() < end,
            "it still runs after {} s",
            timeout.as_secs()
        );
        thread::sleep(Duration::from_millis(200));
    }
    let phases = session.phases();
    let came_through = phases.iter().find(|(phase, _)| *phase >= Phase::Userspace);
    ensure!(came_through.is_none(), "the root file system was used");
    Ok(())
}
