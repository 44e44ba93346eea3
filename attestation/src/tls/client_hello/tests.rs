use proptest::prelude::*;

use super::*;

const NONCE: &[u8] = b"kO0pRDkbQ2BLvhVxh2oEBVZJ4WbiA9OwIt5pHZkE0bE=";

fn vec16(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vec16(&[vec![0], vec16(name)].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|name| [&[u8::try_from(name.len()).unwrap()], *name].concat())
        .collect();
    extension(16, &vec16(&list))
}

fn handshake(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(vec16(&[0x13, 0x01]));
    body.extend([1, 0]);
    if let Some(extensions) = extensions {
        body.extend(vec16(extensions));
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, length[1], length[2], length[3]], body.as_slice()].concat()
}

fn records(message: &[u8], each: usize) -> Vec<u8> {
    message
        .chunks(each)
        .flat_map(|part| [vec![22, 3, 1], vec16(part)].concat())
        .collect()
}

fn hello(extensions: &[u8]) -> Parsed {
    parse(&records(&handshake(Some(extensions)), 1 << 14))
}

#[test]
fn a_go_clients_nonce_is_read_as_it_is() {
    let Parsed::Hello(hello) = hello(&server_name(NONCE)) else {
        panic!("no hello");
    };
    assert_eq!(hello.server_name.as_deref(), Some(NONCE));
    assert!(hello.alpn.is_empty());
}

#[test]
fn alpn_keeps_its_order() {
    let names: [&[u8]; 2] = [b"flashbots-ratls/1+h2", b"h2"];
    let Parsed::Hello(hello) = hello(&alpn(&names)) else {
        panic!("no hello");
    };
    assert_eq!(hello.alpn, names);
    assert_eq!(hello.server_name, None);
}

#[test]
fn no_extensions_are_no_wishes() {
    let parsed = parse(&records(&handshake(None), 1 << 14));
    assert_eq!(parsed, Parsed::Hello(ClientHello::default()));
}

#[test]
fn every_cut_into_records_and_reads_gives_the_same() {
    let extensions = [server_name(NONCE), alpn(&[b"h2"])].concat();
    let message = handshake(Some(&extensions));
    let expected = parse(&records(&message, message.len()));
    assert!(matches!(expected, Parsed::Hello(_)));
    for each in [4, 5, 7, 50, message.len() - 1] {
        let bytes = records(&message, each);
        if bytes.len() / (each + 5) >= MOST_RECORDS {
            assert_eq!(parse(&bytes), Parsed::Error(HelloError::Records));
            continue;
        }
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::NeedMore, "{each} {end}");
        }
        assert_eq!(parse(&bytes), expected, "{each}");
    }
}

#[test]
fn more_records_than_anybody_needs_are_refused() {
    let message = handshake(Some(&server_name(NONCE)));
    let parsed = parse(&records(&message, 1));
    assert_eq!(parsed, Parsed::Error(HelloError::Records));
}

#[test]
fn what_is_no_tls_is_refused_at_the_first_byte() {
    for (bytes, kind, major) in [
        (&b"G"[..], b'G', 3),
        (b"\x16\x02", 22, 2),
        (b"\x80\x2e\x01\x00\x02", 0x80, 0x2e),
        (b"\x15\x03\x01\x00\x02", 21, 3),
    ] {
        let expected = Parsed::Error(HelloError::NotTls { kind, major });
        assert_eq!(parse(bytes), expected);
    }
}

#[test]
fn lengths_beyond_the_bounds_are_refused_before_they_are_waited_for() {
    let length = |actual| Parsed::Error(HelloError::RecordLength { actual });
    assert_eq!(parse(&[22, 3, 1, 0, 0]), length(0));
    assert_eq!(parse(&[22, 3, 1, 0x40, 1]), length(0x4001));
    let parsed = parse(&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 1]);
    assert_eq!(
        parsed,
        Parsed::Error(HelloError::TooLong { actual: 0x4001 })
    );
    let parsed = parse(&[22, 3, 1, 0, 5, 2]);
    assert_eq!(parsed, Parsed::Error(HelloError::Message { actual: 2 }));
}

#[test]
fn twice_is_refused() {
    for (extension, kind) in [(server_name(b"a"), 0), (alpn(&[b"h2"]), 16)] {
        let parsed = hello(&[extension.clone(), extension].concat());
        assert_eq!(parsed, Parsed::Error(HelloError::Duplicate(kind)));
    }
    let two = [vec![0], vec16(b"a"), vec![0], vec16(b"b")].concat();
    let parsed = hello(&extension(0, &vec16(&two)));
    let expected = Parsed::Error(HelloError::Malformed("server_name"));
    assert_eq!(parsed, expected);
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let names = "application_layer_protocol_negotiation";
    for (extension, what) in [
        (extension(16, &[0, 1, 0]), names),
        (extension(16, &[0, 2, 3, b'h']), names),
        (extension(16, &[0, 0, 9]), names),
        (extension(0, &[0, 0, 9]), "server_name"),
        (extension(0, &[0, 9]), "server_name"),
        (vec![0, 0, 0], "extension header"),
    ] {
        let expected = Parsed::Error(HelloError::Malformed(what));
        assert_eq!(hello(&extension), expected);
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes: Vec<u8>) {
        let _ = parse(&bytes);
        let _ = parse(&records(&handshake(Some(&bytes)), 1 << 14));
    }

    #[test]
    fn a_damaged_hello_ends_or_waits(at in 0usize..200, to: u8) {
        let extensions = [server_name(NONCE), alpn(&[b"h2", b"http/1.1"])].concat();
        let mut bytes = records(&handshake(Some(&extensions)), 100);
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = parse(&bytes);
    }
}
