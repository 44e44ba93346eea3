//! Asks a guest's HTTPS service, as anybody without trust in its certificate would.
//!
//! I/O: runs curl against 127.0.0.1.

use std::time::Duration;

use crate::child::{ToolError, run_tool};

/// Fetches `https://127.0.0.1:<port><path>` without verifying the certificate.
///
/// The result proves nothing about who answered; it shows that something does.
///
/// # Errors
///
/// [`ToolError`] if curl is missing, nothing answers within `timeout`, or the status is an error.
pub fn fetch_insecure(port: u16, path: &str, timeout: Duration) -> Result<Vec<u8>, ToolError> {
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
            &url(port, path),
        ],
    )
}

/// The address that [`fetch_insecure`] asks.
pub fn url(port: u16, path: &str) -> String {
    format!("https://127.0.0.1:{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_is_an_error() {
        assert!(fetch_insecure(1, "/cert", Duration::from_secs(1)).is_err());
    }

    #[test]
    fn url_names_loopback() {
        assert_eq!(url(7936, "/cert"), "https://127.0.0.1:7936/cert");
    }
}
