//! The image as it is: everything must be as it should.
//!
//! I/O: starts a machine, twice with the same TPM and firmware variables.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use attestation::tpm_quote::{self, AkPublic};
use measurements::Prediction;
use testkit::tpm::Tpm;

use super::published_ports;
use crate::boot_test::context::Context;
use crate::boot_test::marker::ensure_no_prompt;
use crate::checks::Checks;
use crate::registers::{ensure_same_events, verified};
use crate::session::{EVENT_LOG, Session};

/// How long `/cert` may take after the boot.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the guest may take to shut down after the power button.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for a prompt.
const PROMPT_PATIENCE: Duration = Duration::from_secs(6);

pub(super) fn run(context: &Context, checks: &mut Checks) -> Result<()> {
    let attempt = context.attempt("clean")?;
    let tpm = Tpm::start(&attempt.state.tpm(), &attempt.directory)?;
    tpm.power_on()?;
    let ak = tpm.client().create_ak().context("make a key in the TPM")?;
    tpm.client().shutdown()?;
    let session = Session::start_with(&attempt.machine, tpm, &attempt.directory)?;
    checks.watch(&session);
    boots_and_measures(context, checks, &session, "fresh");
    checks.check("quote", quotes(context, &session, &ak));
    checks.note("tcp-ports", published_ports::tcp(context, &session));
    checks.note("udp-ports", published_ports::udp(&session));
    checks.check("no-prompt", ensure_no_prompt(&session, PROMPT_PATIENCE));
    checks.check("power-button", press_power_button(&session));
    drop(session);

    let session = attempt.start()?;
    checks.watch(&session);
    boots_and_measures(context, checks, &session, "kept");
    Ok(())
}

fn boots_and_measures(context: &Context, checks: &mut Checks, session: &Session, tpm: &str) {
    let booted = session.wait_until_running(context.timeout);
    checks.check(&format!("{tpm}-tpm/boots"), booted);
    let certificate = session.wait_for_certificate(CERTIFICATE_TIMEOUT);
    checks.boot(tpm, session, certificate.as_ref().ok().copied());
    checks.check(&format!("{tpm}-tpm/certificate"), certificate.map(drop));
    let compared = session.compare(&context.prediction);
    let equal = compared.and_then(|comparison| comparison.ensure_equal());
    checks.check(&format!("{tpm}-tpm/registers"), equal);
    let logged = check_event_log(context, session);
    checks.check(&format!("{tpm}-tpm/event-log"), logged);
}

/// The firmware logged exactly the predicted events. The log stays beside the others.
fn check_event_log(context: &Context, session: &Session) -> Result<()> {
    let found = session.event_log()?;
    let path = session.machine.directory().join(EVENT_LOG);
    fs::write(path, &found.bytes).context("keep the event log")?;
    ensure_same_events(&context.prediction, &found.log)
}

/// The key that was made before the boot signs exactly the predicted registers: as a verifier far
/// away would see it, and so the guest has not reset the TPM or taken its place.
fn quotes(context: &Context, session: &Session, ak: &[u8]) -> Result<()> {
    let ak = AkPublic::parse(ak).context("parse the key")?;
    let expected = expected_registers(&context.prediction);
    let registers: Vec<u8> = expected.keys().copied().collect();
    let nonce = b"boot-test nonce";
    let quote = session.tpm.client().quote(nonce, &registers)?;
    tpm_quote::verify(&quote.attest, &quote.signature, &ak, &expected, nonce)
        .context("verify the quote")?;
    Ok(())
}

fn expected_registers(prediction: &Prediction) -> BTreeMap<u8, [u8; 32]> {
    let value = |register| Some((register, prediction.value(register)?.sha256.0));
    verified().into_iter().filter_map(value).collect()
}

/// The guest shuts down in order: a node that does not loses what it has not written.
fn press_power_button(session: &Session) -> Result<()> {
    let obeyed = session.machine.power_down(SHUTDOWN_TIMEOUT);
    ensure!(obeyed, "the guest does not shut down");
    Ok(())
}
