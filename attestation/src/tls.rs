//! Attested TLS: connections whose other end has proven which image it runs.
//!
//! Two protocols exchange evidence, and [`Acceptor`] serves both and ordinary TLS on one port:
//!
//! | | evidence travels | and is bound to | spoken by |
//! |---|---|---|---|
//! | aTLS, Constellation-style | in an extension of a certificate | the certificate's key and the verifying side's nonce | Go tools |
//! | `flashbots-ratls/1` | as first application data | the certificate's key and the session's exporter | Rust tools |
//!
//! [`Acceptor`] is the server's side and [`Connector`] the client's; both work on any stream of
//! bytes. What a connection has proven is in the type of the result: [`Accepted`] or
//! [`Connected`] with a [`VerifiedPeer`], which is made nowhere else. Every handshake is a full
//! one, with a new nonce: a resumed session would let evidence of another time stand for now.
//!
//! Who makes evidence is an [`Attester`](crate::attester::Attester), who verifies it a
//! [`PeerVerifier`]. Left out: what
//! evidence proves, accepting and dialling, HTTP, and idle connections.
//!
//! I/O: reads and writes the streams it is given; draws random numbers; waits.

mod alpn;
pub mod certificate;
mod client;
pub mod client_hello;
mod error;
mod gate;
pub mod limits;
pub mod message;
pub mod nonce;
mod ordinary;
mod parties;
mod peer;
mod replay;
mod server;
mod stack;
mod stream;

pub use self::alpn::Http;
pub use self::client::{Connector, Dial};
pub use self::error::{BoxError, Fault, HandshakeError, ProtocolError, Step};
pub use self::ordinary::{Identity, NameCheck};
pub use self::parties::{Nobody, PeerVerifier, Shown};
pub use self::peer::{Accepted, Connected, Protocol, Timeouts, VerifiedPeer};
pub use self::server::{Acceptor, ServerSettings};
pub use self::stream::TlsStream;
