//! A boot entry in the firmware's variables can carry a command line, which systemd-stub takes in
//! place of the image's own when Secure Boot is off.
//!
//! I/O: sets firmware variables, starts a machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::console::phases::Phase;
use testkit::tamper::esp::UKI;
use testkit::tamper::variable::{boot_entry, set};

use crate::boot_test::checks::Checks;
use crate::boot_test::context::Context;
use crate::boot_test::marker::find;

const MARKER: &str = "MARKLOADOPTIONS";

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let attempt = context.attempt("load-options")?;
    let options = format!("console=ttyS0 systemd.hostname={MARKER}");
    set(&attempt.state.variables(), &boot_entry(UKI, &options)).context("set the boot entry")?;
    let session = attempt.start()?;
    checks.watch(&session);
    let started = session.wait_for_phase(Phase::Kernel, context.timeout);
    ensure!(started, "the kernel did not start");
    // Without root= it will not boot further; if it does, it has obeyed the image's own line.
    session.wait_for_phase(Phase::Userspace, Duration::from_secs(40));
    let comparison = session.compare(&context.prediction)?;
    let lines = session.machine.console().lines();
    let obeyed = find(&lines, &[MARKER]).is_some();
    let different = comparison.different();
    let shown = different.contains(&9) || different.contains(&12);
    let result = match (obeyed, shown) {
        (true, false) => Err(anyhow::anyhow!("obeyed, and no register shows it")),
        (true, true) => Ok(Some(format!("obeyed; shows in PCR {different:?}"))),
        (false, true) => Ok(Some(format!("shows in PCR {different:?}"))),
        (false, false) => Ok(Some("no effect".to_owned())),
    };
    checks.note("shows-or-no-effect", result);
    Ok(())
}
