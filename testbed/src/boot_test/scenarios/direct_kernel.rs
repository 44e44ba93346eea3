//! QEMU can hand the firmware a kernel, an initrd and a command line of the host's choice. Here
//! all of it is the image's own, only that the initrd has one more file and the command line one
//! more word: everything that runs is genuine, and still it must not pass for the image.
//!
//! I/O: reads the kernel image, starts a machine.

use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use measurements::Image;
use testkit::console::phases::Phase;
use testkit::machine::DirectKernel;
use testkit::tamper::credential::initrd;

use crate::boot_test::context::{Attempt, Context};
use crate::boot_test::marker::find;
use crate::checks::Checks;

const MARKER: &str = "MARKDIRECT";

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("direct-kernel")?;
    let file = File::open(&context.image).context("open the image")?;
    let mut image = Image::open(file).context("find the kernel image")?;
    attempt.machine.direct_kernel = Some(take_apart(&mut image, &attempt)?);
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Kernel, context.timeout);
    ensure!(started, "the kernel did not start");
    session.wait_for_phase(Phase::Userspace, Duration::from_secs(60));

    let lines = session.machine.console().lines();
    let obeyed = find(&lines, &[MARKER]).is_some();
    let different = session.compare(&context.prediction)?.different();
    let result = match (obeyed, different.is_empty()) {
        (_, false) => Ok(Some(format!("registers that differ: {different:?}"))),
        (true, true) => Err(anyhow!("obeyed, and no register shows it")),
        (false, true) => Ok(Some("no effect".to_owned())),
    };
    checks.note("shows-or-no-effect", result);
    Ok(())
}

/// The image's kernel, initrd and command line, with an addition to the latter two.
fn take_apart(image: &mut Image<File>, attempt: &Attempt) -> Result<DirectKernel> {
    let mut section = |name: &str| {
        let data = image.read_section(name, 1 << 30);
        data.with_context(|| format!("read section {name} of the kernel image"))
    };
    let kernel = attempt.file("linux");
    fs::write(&kernel, section(".linux")?)?;
    let mut archive = section(".initrd")?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(initrd(MARKER, MARKER)?);
    let file = attempt.file("initrd");
    fs::write(&file, archive)?;
    let line = section(".cmdline")?;
    let line = String::from_utf8_lossy(&line);
    let line = line.trim_end_matches(['\0', '\n', ' ']);
    Ok(DirectKernel {
        kernel,
        initrd: file,
        command_line: format!("{line} systemd.hostname={MARKER}"),
    })
}
