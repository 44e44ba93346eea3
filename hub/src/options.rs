//! How values of options are read, where existing hubs read more than Rust does by itself: their
//! unit files and variables are to work as they are.
//!
//! I/O: none.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads `true`, `1`, `t`, and so on; nothing, as in `LOG_JSON=`, is false.
///
/// # Errors
///
/// If it is something else: nothing is guessed.
pub(crate) fn boolish(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "" | "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
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
    fn a_boolean_is_what_everybody_calls_one_or_nothing() {
        for (yes, no) in [
            ("true", "false"),
            ("1", "0"),
            ("T", "F"),
            ("On", "Off"),
            ("YES", ""),
        ] {
            assert_eq!((boolish(yes), boolish(no)), (Ok(true), Ok(false)));
        }
        for text in ["perhaps", "2", " ", "true "] {
            assert!(boolish(text).is_err(), "{text}");
        }
    }

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
