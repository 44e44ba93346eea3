//! The connections to one server.
//!
//! I/O: opens connections; draws random numbers.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use attestation::tls::{Fault, Http};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use super::ClientSettings;
use super::backoff::{Backoff, Whose};
use super::connection::{Link, Ready, Sender, Usage};
use super::dial::dial;
use super::error::UpstreamError;
use super::lookup::Lookup;
use super::places::{Place, Places, User};
use super::secure::{Dialed, Secure};
use super::target::Target;
use crate::body::Body;
use crate::causes::Causes;
use crate::server::Count;

/// Most requests that may be sent over HTTP/2 before the server has said what it takes.
const FIRST_STREAMS: usize = 16;

/// Bytes of one answer's body, and of all together, that a server may send ahead.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// Longest head of an answer, in bytes.
const HEAD: usize = 256 << 10;

pub(super) struct Pool<C> {
    target: Target,
    secure: Box<dyn Secure<C>>,
    settings: ClientSettings,
    places: Places,
    lookup: Lookup,
    /// Held while a connection is made that others may share.
    dialing: Arc<tokio::sync::Mutex<()>>,
    /// One is held while a connection is made that nobody else may use.
    dials: Arc<Semaphore>,
    /// Told of connections that somebody else may use now.
    kept: Notify,
    state: Mutex<State<C>>,
    counters: ClientCounters,
}

struct State<C> {
    next: u64,
    shared: Option<(http2::SendRequest<Body>, Arc<Link<C>>)>,
    idle: Vec<(http1::SendRequest<Body>, Arc<Link<C>>)>,
    /// What the server spoke last.
    speaks: Option<Http>,
    backoff: Backoff,
}

/// A client's numbers; they only ever grow.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Requests that were to be sent.
    pub requests: Count,
    /// Requests that were sent again, on another connection.
    pub repeated: Count,
    /// Connections that were tried.
    pub dials: Count,
    /// Connections that could not be made, or broke before the first answer.
    pub failures: Count,
}

/// Whether a server can be reached, as far as is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Nothing is wrong.
    Reached,
    /// Nothing was tried yet.
    Untried,
    /// The last try failed.
    Failing {
        /// How long until the next try may be made.
        next: Duration,
        /// What went wrong, with all causes.
        cause: Arc<str>,
    },
}

impl<C: Send + Sync + 'static> Pool<C> {
    pub(super) fn new(
        target: Target,
        secure: Box<dyn Secure<C>>,
        settings: ClientSettings,
    ) -> Arc<Self> {
        let state = State {
            next: 0,
            shared: None,
            idle: Vec::new(),
            speaks: None,
            backoff: Backoff::default(),
        };
        Arc::new(Self {
            target,
            secure,
            settings,
            places: Places::new(settings.requests),
            lookup: Lookup::default(),
            dialing: Arc::default(),
            dials: Arc::new(Semaphore::new(
                settings.dials.clamp(1, Semaphore::MAX_PERMITS),
            )),
            kept: Notify::new(),
            state: Mutex::new(state),
            counters: ClientCounters::default(),
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    pub(super) fn counters(&self) -> &ClientCounters {
        &self.counters
    }

    pub(super) fn reach(&self) -> Reach {
        let state = self.lock();
        match (state.backoff.cause(), state.speaks) {
            (None, None) => Reach::Untried,
            (None, Some(_)) => Reach::Reached,
            (Some(cause), _) => {
                let pausing = state.backoff.pausing(Instant::now());
                let next = pausing.map_or(Duration::ZERO, |(next, _)| next);
                Reach::Failing { next, cause }
            }
        }
    }

    /// A place for one request.
    pub(super) async fn place(&self, user: User) -> Result<Place, UpstreamError> {
        let limit = self.settings.queue;
        let place = timeout(limit, self.places.take(user)).await;
        place.map_err(|_| UpstreamError::Busy { limit })
    }

    /// A connection for one request: one that is there, if it may be an old one, or a new one.
    pub(super) async fn connection(
        self: &Arc<Self>,
        may_be_old: bool,
    ) -> Result<Ready<C>, UpstreamError> {
        if let Some(ready) = self.take(may_be_old) {
            return Ok(ready);
        }
        if self.lock().speaks == Some(Http::Http1) {
            return self.own(may_be_old).await;
        }
        // Everybody may share what one of them dials.
        let dialing = Arc::clone(&self.dialing).lock_owned().await;
        if let Some(ready) = self.take(may_be_old) {
            return Ok(ready);
        }
        if self.lock().speaks == Some(Http::Http1) {
            drop(dialing);
            return self.own(may_be_old).await;
        }
        self.begin(dialing).await
    }

    /// A connection that nobody else may use: a new one, or one that comes back before its turn.
    async fn own(self: &Arc<Self>, may_be_old: bool) -> Result<Ready<C>, UpstreamError> {
        let limit = self.settings.queue;
        let waiting = async {
            let mut turn = pin!(Arc::clone(&self.dials).acquire_owned());
            loop {
                tokio::select! {
                    turn = &mut turn => return (self.take(may_be_old), turn.ok()),
                    () = self.kept.notified() => {
                        let kept = self.take(may_be_old);
                        if kept.is_some() {
                            return (kept, None);
                        }
                    }
                }
            }
        };
        match timeout(limit, waiting).await {
            Ok((Some(ready), _)) => Ok(ready),
            Ok((None, turn)) => self.begin(turn).await,
            Err(_) => Err(UpstreamError::Busy { limit }),
        }
    }

    /// Dials, and drops `turn` after that. Goes on if the one who waits is gone: others may use what
    /// becomes of it, and a server is not asked for a handshake that is thrown away.
    async fn begin(self: &Arc<Self>, turn: impl Send + 'static) -> Result<Ready<C>, UpstreamError> {
        let (sender, dialed) = oneshot::channel();
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(Ok(ready)) = sender.send(pool.dial().await) {
                ready.leave(&pool);
            }
            drop(turn);
        });
        // The task ends without an answer only with the runtime.
        dialed.await.unwrap_or(Err(UpstreamError::Closed))
    }

    fn take(&self, may_be_old: bool) -> Option<Ready<C>> {
        let mut state = self.lock();
        if let Some((sender, link)) = &state.shared {
            if !sender.is_closed() {
                let sender = Sender::Http2(sender.clone());
                return Some(Ready::new(sender, Arc::clone(link), false));
            }
            state.shared = None;
        }
        if !may_be_old {
            return None;
        }
        loop {
            let (sender, link) = state.idle.pop()?;
            if sender.is_ready() {
                return Some(Ready::new(Sender::Http1(sender), link, false));
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, sender: http1::SendRequest<Body>, link: Arc<Link<C>>) {
        let mut state = self.lock();
        state.idle.retain(|(sender, _)| !sender.is_closed());
        if state.idle.len() < self.settings.idle_connections {
            state.idle.push((sender, link));
            drop(state);
            self.kept.notify_one();
        }
    }

    /// Lets nobody else use a connection that has failed.
    pub(super) fn discard(&self, ready: &Ready<C>) {
        let mut state = self.lock();
        let shared = state.shared.as_ref();
        if shared.is_some_and(|(_, link)| link.id == ready.id()) {
            state.shared = None;
        }
    }

    /// Notes that the server has answered.
    pub(super) fn answered(&self) {
        self.lock().backoff.succeeded();
    }

    /// Notes that the server cannot be reached.
    pub(super) fn failed(&self, error: &UpstreamError) {
        self.counters.failures.add();
        let whose = match error {
            UpstreamError::Handshake { source, .. } if source.fault() == Fault::Local => Whose::Own,
            _ => Whose::Servers,
        };
        let cause = Causes(error).to_string();
        let now = Instant::now();
        let mut state = self.lock();
        if state
            .backoff
            .failed(whose, &cause, self.settings.pause, now)
        {
            let next = state.backoff.pausing(now).map(|(next, _)| next);
            drop(state);
            let next_try_ms = next.unwrap_or_default().as_millis();
            let target = self.target.address();
            tracing::warn!(target, next_try_ms, error = cause, "server not reached");
        }
    }

    /// A new connection.
    async fn dial(&self) -> Result<Ready<C>, UpstreamError> {
        let pausing = self.lock().backoff.pausing(Instant::now());
        if let Some((next, cause)) = pausing {
            return Err(UpstreamError::Pausing { next, cause });
        }
        self.counters.dials.add();
        let dialed = self.open().await;
        dialed.inspect_err(|error| self.failed(error))
    }

    async fn open(&self) -> Result<Ready<C>, UpstreamError> {
        let handshake = |source| UpstreamError::Handshake {
            target: self.target.address(),
            source,
        };
        let socket = dial(&self.target, &self.lookup, self.settings.tcp).await?;
        let secured = self.secure.secure(socket).await;
        let dialed = secured.map_err(handshake)?;
        let Dialed { stream, http, peer } = dialed;
        let io = TokioIo::new(stream);
        let usage = Usage::new();
        let verified = peer.map(Arc::new);
        let idle = self.settings.idle;
        let ended = |ended: hyper::Result<()>| {
            if let Err(error) = ended {
                tracing::debug!(error = %Causes(&error), "connection to the server ended");
            }
        };
        let of_task = Arc::clone(&usage);
        let sender = match http {
            Http::Http1 => {
                let mut builder = http1::Builder::new();
                let builder = builder.max_buf_size(HEAD);
                let (sender, connection) = builder
                    .handshake::<_, Body>(io)
                    .await
                    .map_err(UpstreamError::Http)?;
                tokio::spawn(async move {
                    tokio::select! {
                        result = connection => ended(result),
                        () = of_task.idle_for(idle) => {}
                    }
                });
                Sender::Http1(sender)
            }
            Http::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                let builder = builder
                    .timer(TokioTimer::new())
                    .initial_max_send_streams(FIRST_STREAMS)
                    .initial_stream_window_size(WINDOWS.0)
                    .initial_connection_window_size(WINDOWS.1)
                    .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
                    .keep_alive_interval(self.settings.ping)
                    .keep_alive_timeout(self.settings.pong);
                let (sender, connection) = builder
                    .handshake::<_, Body>(io)
                    .await
                    .map_err(UpstreamError::Http)?;
                tokio::spawn(async move {
                    tokio::select! {
                        result = connection => ended(result),
                        () = of_task.idle_for(idle) => {}
                    }
                });
                Sender::Http2(sender)
            }
        };
        let mut state = self.lock();
        let link = Arc::new(Link {
            id: state.next,
            verified,
            usage,
        });
        state.next = state.next.wrapping_add(1);
        state.speaks = Some(http);
        if let Sender::Http2(sender) = &sender {
            state.shared = Some((sender.clone(), Arc::clone(&link)));
        }
        drop(state);
        Ok(Ready::new(sender, link, true))
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
