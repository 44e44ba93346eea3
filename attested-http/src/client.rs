//! A client of one server: sends requests over connections that are kept and shared.
//!
//! Connections are made when they are needed: one for all requests where HTTP/2 is agreed on, one
//! for each request under way otherwise, kept for the next. Each is a new handshake, to an address
//! that is looked up anew, and what the server has proven on it comes with each answer.
//! Who asked for a connection may leave; it is made nevertheless, for the next request.
//!
//! A server that cannot be reached is left alone for a while, longer each time, and requests
//! meanwhile fail at once with [`UpstreamError::Pausing`]. A request is sent again, once, if the
//! connection turns out to be dead before the request was begun, or if it may be repeated
//! (RFC 9110, section 9.2.2), has no body, and nothing came back.
//!
//! I/O: opens sockets, reads and writes them; looks names up.

mod backoff;
mod connection;
mod dial;
mod error;
mod lookup;
mod paced;
mod places;
mod pool;
mod secure;
mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use attestation::tls::VerifiedPeer;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use tokio::time::{Instant, sleep_until};

use self::connection::{Ready, Refused};
pub use self::error::UpstreamError;
use self::paced::Paced;
use self::places::User;
use self::pool::Pool;
pub use self::pool::{ClientCounters, Reach};
pub use self::secure::{Dialed, Named, Secure, Securing, Unsecured};
pub use self::target::{Target, TargetError};
use crate::body::{Body, empty};

/// Bounds on a client's time and number.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// For one address to take a TCP connection.
    pub tcp: Duration,
    /// For the head of an answer, from the last byte that was sent of the request.
    pub response_head: Duration,
    /// How long the server may send nothing of an answer that has begun, while somebody waits for
    /// it. Longer than any server that streams stays silent.
    pub response_idle: Duration,
    /// Requests under way at the same time; more wait. See [`Upstream::send_for`] for who is next.
    pub requests: usize,
    /// Connections of HTTP/1.1 that are being made at the same time.
    pub dials: usize,
    /// How long requests wait for a place, and then for a connection to be begun.
    pub queue: Duration,
    /// Connections of HTTP/1.1 that are kept without a request.
    pub idle_connections: usize,
    /// How long a connection is kept without a request. Less than servers usually do.
    pub idle: Duration,
    /// First and longest pause after a failure to connect; each is twice as long as the former,
    /// and up to half of it is left out by chance.
    pub pause: (Duration, Duration),
    /// How often HTTP/2 is asked for a sign of life while requests are under way.
    pub ping: Duration,
    /// How long the sign may take.
    pub pong: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            response_idle: Duration::from_secs(300),
            requests: 512,
            dials: 4,
            queue: Duration::from_secs(10),
            idle_connections: 32,
            idle: Duration::from_secs(50),
            pause: (Duration::from_millis(250), Duration::from_secs(30)),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
        }
    }
}

/// One server, and the connections to it. Clones share them.
pub struct Upstream<C> {
    pool: Arc<Pool<C>>,
}

impl<C> Clone for Upstream<C> {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
        }
    }
}

/// A server's answer.
pub struct Answer<C> {
    /// It. The body is read from the connection as it is polled.
    pub response: Response<Body>,
    /// What the server has proven on the connection; always there if `secure` verifies.
    pub verified: Option<Arc<VerifiedPeer<C>>>,
}

impl<C: Send + Sync + 'static> Upstream<C> {
    /// A client of the server at `target`. `secure` makes TCP connections into ones that may be
    /// spoken on: a [`Connector`](attestation::tls::Connector), [`Named`] or [`Unsecured`].
    pub fn new(target: Target, secure: impl Secure<C>, settings: ClientSettings) -> Self {
        Self {
            pool: Pool::new(target, Box::new(secure), settings),
        }
    }

    /// Where requests go.
    pub fn target(&self) -> &Target {
        self.pool.target()
    }

    /// What happens, in numbers.
    pub fn counters(&self) -> &ClientCounters {
        self.pool.counters()
    }

    /// Whether the server can be reached, as far as is known.
    pub fn reach(&self) -> Reach {
        self.pool.reach()
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// Of the URI only path and query count, and `Host` is the target's; everything else is sent
    /// as it is.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] if there is no answer. Whether the server has acted upon the request is
    /// then unknown, but for those that say that it was not sent.
    pub async fn send(&self, request: Request<Body>) -> Result<Answer<C>, UpstreamError> {
        self.send_as(None, request).await
    }

    /// The same as [`send`](Self::send), for a client at this address, who shares
    /// [`ClientSettings::requests`] with others: whoever has fewest under way is next, and who has a
    /// quarter of them leaves the last quarter to others.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    pub async fn send_for(
        &self,
        client: IpAddr,
        request: Request<Body>,
    ) -> Result<Answer<C>, UpstreamError> {
        self.send_as(Some(client.into()), request).await
    }

    async fn send_as(
        &self,
        user: User,
        request: Request<Body>,
    ) -> Result<Answer<C>, UpstreamError> {
        let settings = self.pool.settings();
        self.pool.counters().requests.add();
        let place = self.pool.place(user).await?;
        let (mut request, pace) = Paced::of(request);
        let mut repeat = repeatable(&request);
        let mut is_first = true;
        loop {
            let mut ready = self.pool.connection(is_first).await?;
            if ready.is_fresh() || !is_first {
                repeat = None;
            }
            let is_fresh = ready.is_fresh();
            let prepared = self.prepare(request, &ready)?;
            pace.restart();
            let answer = {
                let sending = ready.send(prepared);
                tokio::pin!(sending);
                loop {
                    let at = pace.deadline(settings.response_head);
                    tokio::select! {
                        answer = &mut sending => break answer,
                        () = sleep_until(at) => if pace.deadline(settings.response_head) <= Instant::now() {
                            let limit = settings.response_head;
                            return Err(UpstreamError::Timeout { limit });
                        }
                    }
                }
            };
            let refused = match answer {
                Ok(response) => {
                    self.pool.answered();
                    let verified = ready.verified();
                    let response = ready.hold(response, place, Arc::clone(&self.pool));
                    return Ok(Answer { response, verified });
                }
                Err(refused) => refused,
            };
            self.pool.discard(&ready);
            request = match (refused, repeat.take()) {
                // It was given back, so that nothing of it was sent.
                (Refused::Unsent(request), _) if is_first && !is_fresh => *request,
                (Refused::Broken(_), Some(head)) => Request::from_parts(head, empty()),
                (Refused::Unsent(_), _) => return Err(self.broken(UpstreamError::Closed, is_fresh)),
                (Refused::Broken(error), None) => {
                    let is_own = error.is_user();
                    let error = UpstreamError::Http(error);
                    return Err(self.broken(error, is_fresh && !is_own));
                }
            };
            is_first = false;
            self.pool.counters().repeated.add();
        }
    }

    /// A server that breaks new connections without an answer has, most likely, refused this
    /// client after the handshake: with TLS 1.3 that is when a client hears of it.
    fn broken(&self, error: UpstreamError, is_fresh: bool) -> UpstreamError {
        if is_fresh {
            self.pool.failed(&error);
        }
        error
    }

    /// The request in the form of the connection's version of HTTP.
    fn prepare(
        &self,
        request: Request<Body>,
        ready: &Ready<C>,
    ) -> Result<Request<Body>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().cloned();
        head.uri = self.target().uri(path, ready.is_http2())?;
        match ready.is_http2() {
            true => {
                head.version = Version::HTTP_2;
                head.headers.remove(HOST);
            }
            false => {
                head.version = Version::HTTP_11;
                head.headers.insert(HOST, self.target().host_header());
            }
        }
        Ok(Request::from_parts(head, body))
    }
}

/// A copy of the head of a request that may be sent twice.
fn repeatable(request: &Request<Body>) -> Option<Parts> {
    let may_repeat = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    let has_body = !hyper::body::Body::is_end_stream(request.body());
    (may_repeat && !has_body).then(|| {
        let mut copy = Request::new(()).into_parts().0;
        copy.method = request.method().clone();
        copy.uri = request.uri().clone();
        copy.headers = request.headers().clone();
        copy
    })
}
