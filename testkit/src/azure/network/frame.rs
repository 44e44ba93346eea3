//! Ethernet frames with IPv4 in them: whom they are for, and answers to datagrams.
//!
//! Formats: RFC 894 (Ethernet), 791 (IPv4), 768 (UDP), 9293 (TCP). What is anything else, or
//! malformed, is nothing to us: QEMU's user network deals with it.
//!
//! I/O: none.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// QEMU's for the gateway: two fixed bytes and the address.
const GATEWAY_HARDWARE: [u8; 6] = [0x52, 0x55, 168, 0, 0, 2];
/// QEMU's for the first network card.
const GUEST_HARDWARE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// The DHCP server's: locally administered.
const SERVER_HARDWARE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Whom a guest wants to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A new TCP connection: a SYN.
    Tcp(SocketAddrV4),
    /// A datagram.
    Udp(SocketAddrV4),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
        }
    }
}

/// An IPv4 packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    from_hardware: [u8; 6],
    to_hardware: [u8; 6],
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    /// Whether it opens a connection.
    Tcp(bool),
    Udp(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// Parses a frame; `None` if there is no whole TCP segment or datagram in it.
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
        let (to_hardware, rest) = ethernet.split_first_chunk()?;
        let (from_hardware, kind) = rest.split_first_chunk()?;
        if number(kind, 0)? != IPV4 {
            return None;
        }
        let header = usize::from(packet.first()? & 0x0f) * 4;
        // Ethernet pads short packets; fragments have no ports.
        let packet = packet.get(..usize::from(number(packet, 2)?))?;
        let is_fragment = number(packet, 6)? & 0x3fff != 0;
        if packet.first()? >> 4 != 4 || header < IP_HEADER || is_fragment {
            return None;
        }
        let body = packet.get(header..)?;
        let address = |at: usize, port: usize| {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(SocketAddrV4::new(octets.into(), number(body, port)?))
        };
        let content = match *packet.get(9)? {
            TCP => Content::Tcp(body.get(13)? & 0x12 == 0x02),
            UDP => Content::Udp(body.get(UDP_HEADER..usize::from(number(body, 4)?))?),
            _ => return None,
        };
        Some(Self {
            from_hardware: *from_hardware,
            to_hardware: *to_hardware,
            from: address(12, 0)?,
            to: address(16, 2)?,
            content,
        })
    }

    /// Whom it is for, if it is the first of a connection or a datagram.
    pub(super) fn destination(&self) -> Option<Destination> {
        match self.content {
            Content::Tcp(true) => Some(Destination::Tcp(self.to)),
            Content::Tcp(false) => None,
            Content::Udp(_) => Some(Destination::Udp(self.to)),
        }
    }

    /// The datagram's content.
    pub(super) fn datagram(&self) -> Option<&'a [u8]> {
        match self.content {
            Content::Udp(payload) => Some(payload),
            Content::Tcp(_) => None,
        }
    }

    /// The frame that answers this one with a datagram; `None` if that is too long for one.
    pub(super) fn answer(&self, payload: &[u8]) -> Option<Vec<u8>> {
        frame(
            self.to_hardware,
            self.from_hardware,
            self.to,
            self.from,
            payload,
        )
    }

    /// The frame that answers this one, of a sender without an address, from a DHCP server.
    pub(super) fn broadcast(&self, server: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, self.from.port());
        frame(
            SERVER_HARDWARE,
            self.from_hardware,
            server,
            everybody,
            payload,
        )
    }
}

/// A datagram of the guest to somebody behind the gateway.
pub(super) fn of_guest(to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    let from = SocketAddrV4::new(super::GUEST, to.port());
    frame(GUEST_HARDWARE, GATEWAY_HARDWARE, from, to, payload)
}

/// A frame with a datagram; `None` if it is too long for one.
fn frame(
    from_hardware: [u8; 6],
    to_hardware: [u8; 6],
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(payload.len().checked_add(UDP_HEADER)?).ok()?;
    let length = udp_length.checked_add(u16::try_from(IP_HEADER).ok()?)?;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]); // no id, whole, 64 hops
    header.extend(from.ip().octets());
    header.extend(to.ip().octets());
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);

    let mut frame = [to_hardware, from_hardware].concat();
    frame.extend(IPV4.to_be_bytes());
    frame.extend(header);
    frame.extend(from.port().to_be_bytes());
    frame.extend(to.port().to_be_bytes());
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]); // no checksum: optional in IPv4
    frame.extend(payload);
    Some(frame)
}

/// The 16-bit number at an offset.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// The one's complement of the one's complement sum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0u32, |sum, pair| {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        sum + u32::from(u16::from_be_bytes([high, low]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or_default()
}

/// An address of a guest, for tests.
#[cfg(test)]
pub(super) const GUEST: SocketAddrV4 = SocketAddrV4::new(super::GUEST, 40000);

/// A frame from [`GUEST`], for tests.
#[cfg(test)]
pub(super) fn datagram(to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    // An answer to a datagram that went the other way.
    let packet = Packet {
        from_hardware: [2; 6],
        to_hardware: [1; 6],
        from: to,
        to: GUEST,
        content: Content::Udp(&[]),
    };
    packet.answer(payload).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(168, 0, 0, 3), 53);

    #[test]
    fn datagram_is_read_and_answered() {
        let frame = datagram(RESOLVER, b"question");
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!((packet.from, packet.to), (GUEST, RESOLVER));
        assert_eq!(packet.datagram(), Some(&b"question"[..]));
        assert_eq!(packet.destination(), Some(Destination::Udp(RESOLVER)));

        let answer = packet.answer(b"answer").unwrap();
        let answer = Packet::parse(&answer).unwrap();
        assert_eq!((answer.from, answer.to), (RESOLVER, GUEST));
        assert_eq!(answer.to_hardware, packet.from_hardware);
        assert_eq!(answer.datagram(), Some(&b"answer"[..]));
    }

    #[test]
    fn padding_of_short_frames_is_not_content() {
        let mut frame = datagram(RESOLVER, b"q");
        frame.resize(60, 0);
        assert_eq!(Packet::parse(&frame).unwrap().datagram(), Some(&b"q"[..]));
    }

    #[test]
    fn checksum_is_that_of_the_standard() {
        // RFC 1071, 3: the numbers of its example.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
        // A header with its checksum in it sums up to nothing.
        let frame = datagram(RESOLVER, b"");
        assert_eq!(checksum(&frame[14..34]), 0);
    }

    #[test]
    fn only_the_first_segment_opens_a_connection() {
        let segment = |flags: u8| {
            let mut frame = datagram(RESOLVER, &[0; 12]);
            frame[14 + 9] = TCP;
            frame[14 + 20 + 13] = flags;
            Packet::parse(&frame).unwrap().destination()
        };
        assert_eq!(segment(0x02), Some(Destination::Tcp(RESOLVER)));
        assert_eq!(segment(0xc2), Some(Destination::Tcp(RESOLVER))); // with ECN
        assert_eq!(segment(0x12), None);
        assert_eq!(segment(0x10), None);
    }

    #[test]
    fn no_frame_panics() {
        let frame = datagram(RESOLVER, b"question");
        for length in 0..frame.len() {
            let _ = Packet::parse(&frame[..length]);
        }
        for at in 12..frame.len() {
            for byte in [0, 1, 0x0f, 0x4f, 0xff] {
                let mut frame = frame.clone();
                frame[at] = byte;
                let _ = Packet::parse(&frame);
            }
        }
        // Fragments, and what is not IPv4.
        let mut fragment = frame.clone();
        fragment[14 + 6] = 0x20;
        assert!(Packet::parse(&fragment).is_none());
        let mut arp = frame;
        arp[13] = 6;
        assert!(Packet::parse(&arp).is_none());
    }
}
