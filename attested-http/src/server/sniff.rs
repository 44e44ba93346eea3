//! Which HTTP an unencrypted connection begins with.
//!
//! I/O: reads the stream it is given.

use std::io;

use attestation::tls::Http;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::stream::Rewound;

/// What HTTP/2 begins with (RFC 9113, section 3.4), and no HTTP/1.1 request does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until that is clear, and puts everything back in front.
pub(super) async fn sniff<S>(mut stream: S) -> io::Result<(Http, Rewound<S>)>
where
    S: AsyncRead + Unpin,
{
    let mut seen = Vec::with_capacity(PREFACE.len());
    loop {
        let room = PREFACE.len().saturating_sub(seen.len());
        if room == 0 {
            return Ok((Http::Http2, Rewound::new(seen, stream)));
        }
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let read = (&mut stream).take(room).read_buf(&mut seen).await?;
        if read == 0 || !PREFACE.starts_with(&seen) {
            return Ok((Http::Http1, Rewound::new(seen, stream)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_lost() {
        let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore";
        for (bytes, expected) in [
            (preface, Http::Http2),
            (b"PROPFIND / HTTP/1.1\r\n", Http::Http1),
            (b"GET / HTTP/1.1\r\n", Http::Http1),
            (b"PRI", Http::Http1),
            (b"", Http::Http1),
        ] {
            let (http, mut stream) = sniff(bytes).await.unwrap();
            assert_eq!(http, expected);
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, bytes);
        }
    }
}
