//! One connection: a TLS handshake, then HTTP/1.1 requests, each step with an end.
//!
//! I/O: reads and writes the accepted socket.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::limits::{HEADERS, Limits, REQUEST_HEAD};
use super::routes::{self, Phase};

/// What every connection needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) certificate: Bytes,
    pub(super) limits: Limits,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Connection {
    /// Serves `socket` until the peer is done, a limit is reached or the server closes.
    ///
    /// However it ends, it ends: a peer's mistakes are the peer's and are not reported, since
    /// anybody could fill the journal with them.
    pub(super) async fn serve<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let lifetime = self.limits.lifetime;
        let _ = timeout(lifetime, async {
            if let Some(stream) = self.handshake(socket).await {
                self.answer(stream).await;
            }
        })
        .await;
    }

    async fn handshake<S>(&self, socket: S) -> Option<impl AsyncRead + AsyncWrite + Unpin>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(Arc::clone(&self.tls)).accept(socket);
        tokio::select! {
            stream = timeout(self.limits.handshake, handshake) => stream.ok()?.ok(),
            // No request is under way yet.
            () = closing(self.phase.clone()) => None,
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = routes::respond(&request, &self.certificate, *self.phase.borrow());
            async { Ok::<Response<_>, Infallible>(response) }
        });
        let mut requests = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.request_head)
                .max_buf_size(REQUEST_HEAD)
                .max_headers(HEADERS)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            _ = requests.as_mut() => return,
            () = closing(self.phase.clone()) => {}
        }
        requests.as_mut().graceful_shutdown();
        let _ = requests.await;
    }
}

/// Resolves when the server closes, or is gone.
async fn closing(mut phase: watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}
