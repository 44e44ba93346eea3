//! Asks services on this machine, as anybody without trust in a certificate would.
//!
//! I/O: runs curl against loopback addresses.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::child::{ToolError, run_tool};

/// Fetches `https://<address><path>` without verifying the certificate.
///
/// The result proves nothing about who answered; it shows that something does.
///
/// # Errors
///
/// [`ToolError`] if curl is missing, nothing answers within `timeout`, or the status is an error.
pub fn fetch_insecure(
    address: SocketAddrV4,
    path: &str,
    timeout: Duration,
) -> Result<Vec<u8>, ToolError> {
    fetch(&url(address, path), timeout)
}

/// Fetches `http://<address><path>`.
///
/// # Errors
///
/// As [`fetch_insecure`].
pub fn fetch_plain(
    address: SocketAddrV4,
    path: &str,
    timeout: Duration,
) -> Result<Vec<u8>, ToolError> {
    fetch(&format!("http://{address}{path}"), timeout)
}

fn fetch(url: &str, timeout: Duration) -> Result<Vec<u8>, ToolError> {
    run_tool(
        "curl",
        &[
            "--insecure",
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
            "--max-time",
            &timeout.as_secs().max(1).to_string(),
            url,
        ],
    )
}

/// The address that [`fetch_insecure`] asks.
pub fn url(address: SocketAddrV4, path: &str) -> String {
    format!("https://{address}{path}")
}

/// A port of 127.0.0.1.
pub fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_is_an_error() {
        assert!(fetch_insecure(local(1), "/cert", Duration::from_secs(1)).is_err());
        assert!(fetch_plain(local(1), "/metrics", Duration::from_secs(1)).is_err());
    }

    #[test]
    fn url_names_the_address() {
        assert_eq!(url(local(7936), "/cert"), "https://127.0.0.1:7936/cert");
    }
}
