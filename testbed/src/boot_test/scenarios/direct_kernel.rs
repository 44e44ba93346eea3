//! QEMU can hand the firmware a kernel, an initrd and a command line of the host's choice: here
//! the image's own kernel image with an initrd in addition.
//!
//! I/O: copies the kernel image out, starts a machine.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use testkit::console::phases::Phase;
use testkit::machine::DirectKernel;
use testkit::tamper::credential::initrd;
use testkit::tamper::esp::{Esp, UKI};

use crate::boot_test::checks::Checks;
use crate::boot_test::context::Context;
use crate::boot_test::marker::find;

const MARKER: &str = "MARKDIRECT";

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut attempt = context.attempt("direct-kernel")?;
    let kernel = attempt.file("uki.efi");
    Esp::of(&context.image)?.read(UKI, &kernel)?;
    let archive = attempt.file("initrd");
    fs::write(
        &archive,
        initrd("init", &format!("#!/bin/sh\necho {MARKER}\n"))?,
    )?;
    attempt.machine.direct_kernel = Some(DirectKernel {
        kernel,
        initrd: archive,
        command_line: format!("console=ttyS0 systemd.hostname={MARKER}"),
    });
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Kernel, Duration::from_secs(60));
    if started {
        session.wait_for_phase(Phase::Userspace, Duration::from_secs(40));
    }
    let comparison = session.compare(&context.prediction)?;
    let lines = session.machine.console().lines();
    let obeyed = find(&lines, &[MARKER]).is_some();
    let result = match (started, comparison.is_equal()) {
        (true, true) if obeyed => Err(anyhow::anyhow!("obeyed, and no register shows it")),
        (true, true) => Ok(Some("no effect".to_owned())),
        (true, false) => Ok(Some(format!(
            "starts; shows in PCR {:?}",
            comparison.different()
        ))),
        (false, _) => Ok(Some("does not start".to_owned())),
    };
    checks.note("shows-or-no-effect", result);
    Ok(())
}
