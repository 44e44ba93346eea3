//! A real swtpm behind the proxy, without a machine.

#![allow(
    clippy::unwrap_used,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use measurements::{Digest, Sha256Digest, Sha384Digest};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use testkit::child::find_program;
use testkit::tpm::control::{CMD_INIT, CMD_SET_DATAFD, CMD_SHUTDOWN};
use testkit::tpm::extends::Extend;
use testkit::tpm::wire::{ALG_SHA256, ALG_SHA384, Code, Command};
use testkit::tpm::{Tpm, TpmError};

/// Starts a powered TPM; `None` where there is no swtpm, which fails in CI.
fn tpm(directory: &tempfile::TempDir) -> Option<Tpm> {
    if find_program("swtpm").is_none() {
        assert!(std::env::var_os("CI").is_none(), "swtpm is missing");
        eprintln!("skipped: swtpm is missing");
        return None;
    }
    let tpm = Tpm::start(&directory.path().join("state"), directory.path()).unwrap();
    tpm.power_on().unwrap();
    Some(tpm)
}

#[test]
fn extending_changes_one_register() {
    let directory = tempfile::tempdir().unwrap();
    let Some(tpm) = tpm(&directory) else { return };
    let client = tpm.client();
    let before = client.read_pcrs().unwrap();
    assert!(before.is_zero(4));

    let digest = Sha256Digest::of(b"event");
    client.extend_pcr(4, &digest).unwrap();

    let after = client.read_pcrs().unwrap();
    assert_eq!(after.value(4), Sha256Digest::ZERO.extend(digest));
    assert_eq!(after.value(9), before.value(9));
}

/// Does as QEMU does: hands over a data channel, resets, starts up. Returns control and data.
fn machine(tpm: &Tpm) -> (UnixStream, UnixStream) {
    let mut control = UnixStream::connect(tpm.socket()).unwrap();
    let (mut machine, theirs) = UnixStream::pair().unwrap();
    let descriptors = [theirs.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let message = CMD_SET_DATAFD.to_be_bytes();
    sendmsg(
        &control,
        &[IoSlice::new(&message)],
        &mut ancillary,
        SendFlags::empty(),
    )
    .unwrap();
    assert_eq!(answer(&mut control), [0; 4]);
    reset(&mut control);
    assert_eq!(send(&mut machine, &Command::new(Code::Startup).u16(0)), 0);
    (control, machine)
}

#[test]
fn machine_and_we_use_the_same_registers() {
    let directory = tempfile::tempdir().unwrap();
    let Some(tpm) = tpm(&directory) else { return };
    let (mut control, machine) = machine(&tpm);
    tpm.client().extend_pcr(9, &Digest([7; 32])).unwrap();

    // Its goodbye does not end the TPM.
    ask(&mut control, &CMD_SHUTDOWN.to_be_bytes());
    drop((control, machine));
    let expected = Sha256Digest::ZERO.extend(Digest([7; 32]));
    assert_eq!(tpm.client().read_pcrs().unwrap().value(9), expected);
}

#[test]
fn what_a_machine_extends_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let Some(tpm) = tpm(&directory) else { return };
    let (mut control, mut machine) = machine(&tpm);
    let (sha256, sha384) = (Digest([2; 32]), Digest([3; 48]));
    let extend = |register| {
        let command = Command::new(Code::PcrExtend).handle(register).authorized();
        let command = command.u32(2).u16(ALG_SHA256).bytes(&sha256.0);
        command.u16(ALG_SHA384).bytes(&sha384.0)
    };
    assert_eq!(send(&mut machine, &extend(9)), 0);
    // Of registers that there are not, the TPM refuses it; and ours are no machine's.
    assert_ne!(send(&mut machine, &extend(99)), 0);
    tpm.client().extend_pcr(4, &sha256).unwrap();

    let both = tpm.client().read_sha384_pcrs().unwrap();
    assert_eq!(both.value(9), Sha384Digest::ZERO.extend(sha384));
    assert!(both.is_zero(4));
    let expected = Extend {
        register: 9,
        sha256: Some(sha256),
        sha384: Some(sha384),
    };
    assert_eq!(tpm.extends().list(), [expected]);
    reset(&mut control);
    assert_eq!(tpm.extends().list(), []);
}

#[test]
fn kept_state_keeps_the_attestation_key() {
    let directory = tempfile::tempdir().unwrap();
    let Some(first) = tpm(&directory) else { return };
    let public = first.client().create_ak().unwrap();
    assert!(public.len() > 256);
    first.client().shutdown().unwrap();
    drop(first);

    let second = tpm(&directory).unwrap();
    let quote = second.client().quote(b"nonce", &[4, 9, 11]).unwrap();
    // TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE: Part 2, 10.12.8.
    assert!(quote.attest.starts_with(b"\xffTCG\x80\x18"));
    assert!(quote.attest.windows(5).any(|bytes| bytes == b"nonce"));
    assert_eq!(quote.signature.len(), 2 + 2 + 2 + 256);
}

#[test]
fn new_state_has_no_attestation_key() {
    let directory = tempfile::tempdir().unwrap();
    let Some(tpm) = tpm(&directory) else { return };
    let error = tpm.client().quote(b"nonce", &[4]).unwrap_err();
    assert!(matches!(error, TpmError::Refused { command: 0x158, .. }));
}

fn reset(control: &mut UnixStream) {
    ask(control, &[&CMD_INIT.to_be_bytes()[..], &[0; 4]].concat());
}

/// Sends a command as a machine and returns the response code.
fn send(machine: &mut UnixStream, command: &Command) -> u32 {
    machine.write_all(&command.to_bytes()).unwrap();
    u32::from_be_bytes(answer(machine)[6..10].try_into().unwrap())
}

fn ask(control: &mut UnixStream, message: &[u8]) {
    control.write_all(message).unwrap();
    assert_eq!(answer(control)[..4], [0; 4]);
}

fn answer(stream: &mut UnixStream) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let length = stream.read(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}
