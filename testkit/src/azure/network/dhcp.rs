//! A DHCP server for one guest. RFC 2131 and 2132.
//!
//! I/O: none.

use std::net::SocketAddrV4;

use super::{GATEWAY, GUEST, RESOLVER, WIRESERVER};

/// The port of servers.
pub(super) const SERVER_PORT: u16 = 67;
/// This server.
pub(super) const SERVER: SocketAddrV4 = SocketAddrV4::new(GATEWAY, SERVER_PORT);

/// The guest's neighbours; everybody else, Azure's services too, is behind the gateway.
const MASK: [u8; 4] = [255, 255, 255, 0];
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Operation, hardware, hops, transaction, times, flags, addresses, hardware address, names.
const HEADER: usize = 236;
const BOOT_REPLY: u8 = 2;
const LEASE: [u8; 4] = 86_400u32.to_be_bytes();

// Options.
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
/// Azure's own: where the wireserver is.
const WIRESERVER_ADDRESS: u8 = 245;
const PAD: u8 = 0;
const END: u8 = 255;

// Message types.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// Answers a request; `None` if it is none, or needs no answer.
pub(super) fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = request.split_at_checked(HEADER)?;
    let options = rest.strip_prefix(&COOKIE)?;
    let kind = match option(options, MESSAGE_TYPE)? {
        [DISCOVER] => OFFER,
        [REQUEST] => ACK,
        _ => return None,
    };
    let mut reply = header.to_vec();
    *reply.first_mut()? = BOOT_REPLY;
    // "Your" address.
    reply.splice(16..20, GUEST.octets());
    reply.splice(20..24, GATEWAY.octets());
    reply.extend(COOKIE);
    reply.extend([MESSAGE_TYPE, 1, kind]);
    let mut add = |code: u8, value: [u8; 4]| {
        reply.extend([code, 4]);
        reply.extend(value);
    };
    add(SERVER_IDENTIFIER, GATEWAY.octets());
    add(LEASE_TIME, LEASE);
    add(SUBNET_MASK, MASK);
    add(ROUTER, GATEWAY.octets());
    add(DNS, RESOLVER.octets());
    add(WIRESERVER_ADDRESS, WIRESERVER.octets());
    reply.push(END);
    Some(reply)
}

/// The value of an option.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (&code, rest) = options.split_first()?;
        match code {
            PAD => options = rest,
            END => return None,
            _ => {
                let (&length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(length))?;
                if code == wanted {
                    return Some(value);
                }
                options = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(b"xact");
        bytes[28..34].copy_from_slice(b"\x52\x54\0\x12\x34\x56");
        bytes.extend(COOKIE);
        bytes.extend([PAD, 12, 2, b'h', b'i', MESSAGE_TYPE, 1, kind, END]);
        bytes
    }

    #[test]
    fn guest_is_offered_and_given_its_address() {
        for (kind, expected) in [(DISCOVER, OFFER), (REQUEST, ACK)] {
            let reply = answer(&request(kind)).unwrap();
            assert_eq!(reply[0], BOOT_REPLY);
            assert_eq!(&reply[4..8], b"xact");
            assert_eq!(reply[16..20], GUEST.octets());
            assert_eq!(&reply[28..34], b"\x52\x54\0\x12\x34\x56");
            let options = &reply[HEADER + 4..];
            assert_eq!(option(options, MESSAGE_TYPE), Some(&[expected][..]));
            assert_eq!(option(options, ROUTER), Some(&GATEWAY.octets()[..]));
            assert_eq!(option(options, DNS), Some(&RESOLVER.octets()[..]));
        }
    }

    #[test]
    fn what_is_no_request_has_no_answer() {
        let whole = request(DISCOVER);
        for length in 0..whole.len() - 1 {
            assert!(answer(&whole[..length]).is_none(), "{length}");
        }
        assert!(answer(&request(7)).is_none());
        assert!(answer(&request(END)).is_none());
    }
}
