//! How values of options are read, where existing hubs read more than Rust does by itself: their
//! unit files and variables are to work as they are.
//!
//! I/O: none.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::builder::BoolishValueParser;

/// Reads `true`, `1`, `t`, and so on; of a variable that is something else, nothing is guessed.
pub(crate) fn boolish() -> BoolishValueParser {
    BoolishValueParser::new()
}

/// Reads an address with a port; a port alone (`:8080`) is all of this machine's addresses.
///
/// # Errors
///
/// If it is neither, or has a name other than `localhost`: what a name means may change.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = || "expected ADDRESS:PORT, :PORT or localhost:PORT".to_owned();
    let port = |port: &str| port.parse::<u16>().map_err(|_| expected());
    match text.rsplit_once(':') {
        Some(("", digits)) => Ok((Ipv6Addr::UNSPECIFIED, port(digits)?).into()),
        Some(("localhost", digits)) => Ok((Ipv4Addr::LOCALHOST, port(digits)?).into()),
        _ => text.parse().map_err(|_| expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:1", "[::1]:1"),
            (":8080", "[::]:8080"),
            ("localhost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":",
            "8080",
            "hub.example:1",
            "localhost",
            ":99999",
            "::1",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
