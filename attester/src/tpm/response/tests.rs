//! Responses written by hand, and what comes of changing them.

use proptest::prelude::*;

use super::*;

/// A response with a password session, as to commands that were authorized.
fn authorized(parameters: &[u8]) -> Vec<u8> {
    let mut body = u32::try_from(parameters.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    body.extend(parameters);
    body.extend([0, 0, 1, 0, 0]);
    message(0x8002, &body)
}

fn message(tag: u16, body: &[u8]) -> Vec<u8> {
    let mut message = tag.to_be_bytes().to_vec();
    message.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

fn pcrs(selection: [u8; 3], values: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 0x0b, 3];
    body.extend(selection);
    body.extend(u32::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    message(0x8001, &body)
}

fn nv_public() -> Vec<u8> {
    let mut body = vec![0, 14, 1, 0x40, 0, 1, 0, 0x0b, 0x20, 4, 0, 4, 0, 0, 8, 0];
    body.extend([0, 0]);
    message(0x8001, &body)
}

fn quote() -> Vec<u8> {
    authorized(b"\x00\x06attest\x00\x14\x00\x0b\x00\x01s")
}

#[test]
fn a_refusal_carries_its_code() {
    let refused = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x8b];
    let error = ResponseError::Refused(ResponseCode(0x18b));
    assert_eq!(parse_nv_size(&refused, 1), Err(error.clone()));
    assert_eq!(parse_quote(&refused), Err(error));
    let unknown = [0x80, 1, 0, 0, 0, 10, 0xde, 0xad, 0xbe, 0xef];
    let error = ResponseError::Refused(ResponseCode(0xdead_beef));
    assert_eq!(parse_nv_read(&unknown, 1), Err(error));
}

#[test]
fn nv_responses_are_about_what_was_asked_for() {
    assert_eq!(parse_nv_size(&nv_public(), 0x0140_0001), Ok(2048));
    let other = parse_nv_size(&nv_public(), 0x0140_0002);
    assert!(matches!(other, Err(ResponseError::Unexpected { .. })));
    let read = authorized(b"\x00\x03abc");
    assert_eq!(parse_nv_read(&read, 3).as_deref(), Ok(&b"abc"[..]));
    for size in [0, 2, 4] {
        let result = parse_nv_read(&read, size);
        assert!(matches!(result, Err(ResponseError::Unexpected { .. })));
    }
    assert_eq!(parse_nv_write(&authorized(b"")), Ok(()));
    assert!(parse_nv_write(&authorized(b"?")).is_err());
    assert_eq!(parse_nv_define(&authorized(b"")), Ok(()));
    assert!(parse_nv_define(&authorized(b"?")).is_err());
}

#[test]
fn values_are_assigned_to_the_registers_that_were_asked_for() {
    let values: [&[u8]; 2] = [&[1; 32], &[2; 32]];
    let response = pcrs([0x10, 2, 0], &values);
    let expected = vec![(4, [1; 32]), (9, [2; 32])];
    assert_eq!(parse_pcrs(&response, &[4, 9]), Ok(expected));
    assert!(parse_pcrs(&response, &[4, 8]).is_err());
    assert!(parse_pcrs(&response, &[4]).is_err());
    // An inactive bank, fewer values, values of another bank.
    assert!(parse_pcrs(&pcrs([0; 3], &[]), &[4, 9]).is_err());
    assert!(parse_pcrs(&pcrs([0x10, 2, 0], &values[..1]), &[4, 9]).is_err());
    let short: [&[u8]; 2] = [&[1; 32], &[2; 20]];
    assert!(parse_pcrs(&pcrs([0x10, 2, 0], &short), &[4, 9]).is_err());
}

#[test]
fn signed_structures_are_cut_out() {
    let (attest, signature) = parse_quote(&quote()).unwrap();
    assert_eq!(attest, b"attest");
    assert_eq!(signature, b"\x00\x14\x00\x0b\x00\x01s");
    assert!(parse_quote(&authorized(b"\x00\x06attest")).is_err());
    let public = message(0x8001, b"\x00\x03key\x00\x01n\x00\x01q");
    assert_eq!(parse_public(&public).as_deref(), Ok(&b"key"[..]));
    assert!(parse_public(&message(0x8001, b"\x00\x03key\x00\x01n\x00\x01qq")).is_err());
}

#[test]
fn every_shorter_response_is_refused() {
    let read = authorized(b"\x00\x03abc");
    for length in 0..quote().len() {
        assert!(parse_quote(&quote()[..length]).is_err(), "{length}");
    }
    for length in 0..read.len() {
        assert!(parse_nv_read(&read[..length], 3).is_err(), "{length}");
    }
}

fn parse_all(bytes: &[u8], number: u16) {
    let _ = parse_code(bytes);
    let _ = parse_nv_buffer_max(bytes);
    let _ = parse_nv_size(bytes, number.into());
    let _ = parse_nv_read(bytes, number);
    let _ = parse_nv_write(bytes);
    let _ = parse_nv_define(bytes);
    let _ = parse_public(bytes);
    let _ = parse_quote(bytes);
    let [first, second] = number.to_be_bytes();
    let _ = parse_pcrs(bytes, &[first, second]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), number: u16) {
        parse_all(&bytes, number);
    }

    #[test]
    fn no_body_makes_it_panic(
        body in prop::collection::vec(any::<u8>(), 0..256),
        is_authorized: bool,
        number: u16,
    ) {
        parse_all(&message(if is_authorized { 0x8002 } else { 0x8001 }, &body), number);
        parse_all(&authorized(&body), number);
    }

    #[test]
    fn no_changed_response_makes_it_panic(which in 0..3_usize, position in 0..90_usize, value: u8) {
        let mut bytes = [quote(), nv_public(), pcrs([0x10, 2, 0], &[&[1; 32], &[2; 32]])][which].clone();
        if let Some(byte) = bytes.get_mut(position) {
            *byte = value;
        }
        parse_all(&bytes, 0x0409);
    }
}
