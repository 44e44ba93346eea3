//! The unit in which address space is handed to one party.
//!
//! I/O: none.

use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// One address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an address.
    V6(u64),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        // A wildcard IPv6 socket shows IPv4 peers as ::ffff:a.b.c.d, all in one /64.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let upper = [a, b, c, d].map(u64::from);
                Self::V6(upper.into_iter().fold(0, |bits, part| bits << 16 | part))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn peers_are_addresses_in_ipv4_and_networks_in_ipv6() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_eq!(peer("2001:db8:1:2::"), Peer::V6(0x2001_0db8_0001_0002));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
