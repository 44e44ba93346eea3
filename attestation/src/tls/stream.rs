//! The stream of a finished handshake, whichever TLS stack is under it.
//!
//! I/O: reads and writes the stream inside.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::replay::Replay;

/// Application data over TLS, in either role.
pub struct TlsStream<S>(Stack<S>);

enum Stack<S> {
    Openssl(Box<SslStream<Replay<S>>>),
    Rustls(Box<tokio_rustls::TlsStream<Replay<S>>>),
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Stack::Openssl(_) => "TlsStream(openssl)",
            Stack::Rustls(_) => "TlsStream(rustls)",
        })
    }
}

impl<S> TlsStream<S> {
    pub(super) fn openssl(stream: SslStream<Replay<S>>) -> Self {
        Self(Stack::Openssl(Box::new(stream)))
    }

    pub(super) fn rustls(stream: impl Into<tokio_rustls::TlsStream<Replay<S>>>) -> Self {
        Self(Stack::Rustls(Box::new(stream.into())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stack::Openssl(stream) => Pin::new(stream).poll_read(context, buffer),
            Stack::Rustls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stack::Openssl(stream) => Pin::new(stream).poll_write(context, bytes),
            Stack::Rustls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stack::Openssl(stream) => Pin::new(stream).poll_flush(context),
            Stack::Rustls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stack::Openssl(stream) => Pin::new(stream).poll_shutdown(context),
            Stack::Rustls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
