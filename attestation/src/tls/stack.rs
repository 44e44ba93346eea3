//! The `openssl` crate, on the one path where rustls does not do: Go aTLS peers.
//!
//! Their ClientHello has a nonce as server name that is no DNS name, which rustls refuses, and
//! their certificates are larger than the 64 KiB that rustls reads. OpenSSL here does the
//! handshake and proves that a peer has the key of its certificate, no more: whether the
//! certificate is any good is decided by whoever calls, before the first application byte.
//!
//! No session is ever resumed: there are no tickets and no cache.
//!
//! I/O: reads and writes the stream it is given; draws random numbers.

#![allow(
    unsafe_code,
    reason = "three functions of libssl that the openssl crate does not bind; see each call"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foreign_types::ForeignTypeRef;
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time, Asn1Type};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, Error, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode,
    SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::stack::{Stack as NameStack, StackRef};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::alpn;
use super::error::HandshakeError;
use super::nonce::Nonce;
use super::replay::Replay;
use crate::evidence::EvidenceKind;

/// Longest list of certificates that is read from a peer, as in Go's crypto/tls.
const LONGEST_CERTIFICATES: i32 = 256 * 1024;

/// How far an aTLS certificate's dates are from now, in seconds: for clocks that are off.
const VALIDITY: i64 = 2 * 60 * 60;

unsafe extern "C" {
    /// `SSL_CTX_set_cert_cb(3)`, OpenSSL 1.0.2 and later.
    fn SSL_CTX_set_cert_cb(
        context: *mut openssl_sys::SSL_CTX,
        callback: Option<unsafe extern "C" fn(*mut openssl_sys::SSL, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    /// `SSL_get0_peer_CA_list(3)`, OpenSSL 1.1.1 and later.
    fn SSL_get0_peer_CA_list(
        ssl: *const openssl_sys::SSL,
    ) -> *const openssl_sys::stack_st_X509_NAME;
}

/// Settings that all handshakes share.
pub(super) struct Stack {
    server: SslContext,
    client: SslContext,
}

impl Stack {
    /// `names` are the ALPN protocols of this side, as a server or a client, best first.
    pub(super) fn new(names: &[&'static [u8]]) -> Result<Self, ErrorStack> {
        let mut server = context(SslMethod::tls_server())?;
        server.set_num_tickets(0)?;
        let own = names.to_vec();
        server.set_alpn_select_callback(move |_, wanted| {
            // A peer that wants something else gets no ALPN, as from Go servers, not an alert.
            alpn::agree(&own, wanted).ok_or(AlpnError::NOACK)
        });

        let mut client = context(SslMethod::tls_client())?;
        if !names.is_empty() {
            client.set_alpn_protos(&alpn::list(names))?;
        }
        client.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        // SAFETY: the context is alive, the callback never unwinds and takes no argument.
        unsafe {
            SSL_CTX_set_cert_cb(
                client.as_ptr(),
                Some(on_certificate_request),
                std::ptr::null_mut(),
            );
        }
        Ok(Self {
            server: server.build(),
            client: client.build(),
        })
    }

    /// Serves the client behind `stream`, showing `presented`. With `ask` the client has to show
    /// a certificate, which is returned as DER.
    pub(super) async fn accept<S>(
        &self,
        stream: Replay<S>,
        presented: &Presented,
        ask: Option<&Nonce>,
    ) -> Result<(SslStream<Replay<S>>, Option<Vec<u8>>), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ssl = self.server_side(presented, ask);
        let ssl = ssl.map_err(HandshakeError::settings)?;
        let mut stream = SslStream::new(ssl, stream).map_err(HandshakeError::settings)?;
        Pin::new(&mut stream).accept().await.map_err(tls)?;
        let peer = stream.ssl().peer_certificate();
        let peer = peer.map(|certificate| certificate.to_der()).transpose();
        Ok((stream, peer.map_err(HandshakeError::settings)?))
    }

    fn server_side(&self, presented: &Presented, ask: Option<&Nonce>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.server)?;
        presented.show(&mut ssl)?;
        if let Some(nonce) = ask {
            let required = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
            ssl.set_verify_callback(required, |_, _| true);
            let mut names = NameStack::new()?;
            names.push(name(&nonce.to_string())?)?;
            ssl.set_client_ca_list(names);
        }
        Ok(ssl)
    }

    /// Dials the server behind `stream`, sending `server_name` as it is.
    pub(super) async fn connect<S>(
        &self,
        stream: Replay<S>,
        server_name: Option<&str>,
    ) -> Result<Dialed<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = Request::default();
        let ssl = self.client_side(server_name, &request);
        let ssl = ssl.map_err(HandshakeError::settings)?;
        let mut stream = SslStream::new(ssl, stream).map_err(HandshakeError::settings)?;
        let paused = ErrorCode::from_raw(openssl_sys::SSL_ERROR_WANT_X509_LOOKUP);
        let request = match Pin::new(&mut stream).connect().await {
            Ok(()) => None,
            Err(error) if error.code() == paused => Some(request),
            Err(error) => return Err(tls(error)),
        };
        Ok(Dialed { stream, request })
    }

    fn client_side(&self, server_name: Option<&str>, request: &Request) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.client)?;
        if let Some(server_name) = server_name {
            ssl.set_hostname(server_name)?;
        }
        if let Some(index) = request_index() {
            ssl.set_ex_data(index, request.clone());
        }
        Ok(ssl)
    }
}

/// A client's handshake in which the server has proven to have its certificate's key; finished,
/// or paused because the server asks for a certificate.
pub(super) struct Dialed<S> {
    stream: SslStream<Replay<S>>,
    request: Option<Request>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialed<S> {
    /// The server's certificates, its own first.
    pub(super) fn server_chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = self.stream.ssl().peer_cert_chain();
        // A certificate that was parsed can be written again.
        let ders = chain
            .into_iter()
            .flatten()
            .filter_map(|own| own.to_der().ok());
        ders.map(CertificateDer::from).collect()
    }

    /// The server's certificate authorities, DER names, if it asks for a certificate.
    pub(super) fn asked(&self) -> Option<Vec<Vec<u8>>> {
        match &*lock(self.request.as_ref()?) {
            Answer::Asked(names) => Some(names.clone()),
            _ => None,
        }
    }

    /// Ends the handshake, showing `presented` if a certificate was asked for.
    pub(super) async fn finish(
        mut self,
        presented: Option<Presented>,
    ) -> Result<SslStream<Replay<S>>, HandshakeError> {
        if let Some(request) = &self.request {
            *lock(request) = Answer::Given(presented);
            Pin::new(&mut self.stream).connect().await.map_err(tls)?;
        }
        Ok(self.stream)
    }
}

/// What a server's request for a certificate has come to; shared with the callback.
type Request = Arc<Mutex<Answer>>;

#[derive(Default)]
enum Answer {
    #[default]
    NotAsked,
    Asked(Vec<Vec<u8>>),
    Given(Option<Presented>),
    Shown,
}

/// Where in an `Ssl` its `Request` is; `None` only if there is no memory for it.
fn request_index() -> Option<Index<Ssl, Request>> {
    static INDEX: OnceLock<Option<Index<Ssl, Request>>> = OnceLock::new();
    *INDEX.get_or_init(|| Ssl::new_ex_index().ok())
}

fn lock(request: &Request) -> std::sync::MutexGuard<'_, Answer> {
    request.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called when a server has asked for a certificate: 1 goes on, 0 fails, less than 0 pauses the
/// handshake until it is driven again.
///
/// # Safety
///
/// `ssl` must be the live `SSL` of a handshake that nobody else uses during the call, which
/// libssl guarantees for its callbacks.
unsafe extern "C" fn on_certificate_request(
    ssl: *mut openssl_sys::SSL,
    _argument: *mut c_void,
) -> c_int {
    const GO_ON: c_int = 1;
    const FAIL: c_int = 0;
    const PAUSE: c_int = -1;

    // SAFETY: see above.
    let ssl = unsafe { SslRef::from_ptr_mut(ssl) };
    let Some(request) = request_index().and_then(|index| ssl.ex_data(index).cloned()) else {
        return FAIL;
    };
    let mut answer = lock(&request);
    match std::mem::replace(&mut *answer, Answer::Shown) {
        Answer::NotAsked | Answer::Asked(_) => {
            *answer = Answer::Asked(authorities(ssl));
            PAUSE
        }
        Answer::Given(Some(presented)) => presented.show(ssl).map_or(FAIL, |()| GO_ON),
        // Without a certificate the server gets an empty list of them.
        Answer::Given(None) | Answer::Shown => GO_ON,
    }
}

/// The names in a server's request for a certificate.
fn authorities(ssl: &SslRef) -> Vec<Vec<u8>> {
    // SAFETY: `ssl` is alive. The list belongs to it and is read before `ssl` is used again.
    let names = unsafe {
        let names = SSL_get0_peer_CA_list(ssl.as_ptr());
        if names.is_null() {
            return Vec::new();
        }
        StackRef::<X509Name>::from_ptr(names.cast_mut())
    };
    names.iter().filter_map(|name| name.to_der().ok()).collect()
}

/// A key of aTLS certificates: one in a process, made by OpenSSL because keys from elsewhere
/// cost it twice the time in each handshake.
pub(super) struct Key {
    key: PKey<Private>,
    /// DER `SubjectPublicKeyInfo`, to which evidence is bound.
    pub(super) spki: Vec<u8>,
}

impl Key {
    /// A new P-256 key.
    pub(super) fn generate() -> Result<Self, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let spki = key.public_key_to_der()?;
        Ok(Self { key, spki })
    }
}

/// What this side shows its peer: a certificate, its issuers and the key.
#[derive(Clone)]
pub(super) struct Presented {
    leaf: X509,
    issuers: Vec<X509>,
    key: PKey<Private>,
}

impl Presented {
    /// A new aTLS certificate: self-signed, with evidence as its one extension.
    pub(super) fn attested(
        key: &Key,
        (kind, document): (EvidenceKind, &[u8]),
        now: UnixTime,
    ) -> Result<Self, ErrorStack> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
        let subject = name("Constellation")?;
        let arcs: Vec<String> = kind.oid().iter().map(u64::to_string).collect();
        let oid = Asn1Object::from_str(&arcs.join("."))?;
        let document = Asn1OctetString::new_from_bytes(document)?;

        let mut builder = X509Builder::new()?;
        builder.set_version(2)?; // X.509 v3
        builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(&subject)?;
        builder.set_not_before(&*Asn1Time::from_unix(now.saturating_sub(VALIDITY))?)?;
        builder.set_not_after(&*Asn1Time::from_unix(now.saturating_add(VALIDITY))?)?;
        builder.append_extension(X509Extension::new_from_der(&oid, false, &document)?)?;
        builder.set_pubkey(&key.key)?;
        builder.sign(&key.key, MessageDigest::sha256())?;
        Ok(Self {
            leaf: builder.build(),
            issuers: Vec::new(),
            key: key.key.clone(),
        })
    }

    /// An ordinary certificate. `None` if `chain` is empty.
    pub(super) fn ordinary(
        chain: &[CertificateDer<'_>],
        key: &PrivateKeyDer<'_>,
    ) -> Result<Option<Self>, ErrorStack> {
        let chain = chain.iter().map(|der| X509::from_der(der));
        let mut chain = chain.collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(leaf) = chain.next() else {
            return Ok(None);
        };
        Ok(Some(Self {
            leaf,
            issuers: chain.collect(),
            key: PKey::private_key_from_der(key.secret_der())?,
        }))
    }

    fn show(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_certificate(&self.leaf)?;
        for issuer in &self.issuers {
            ssl.add_chain_cert(issuer.clone())?;
        }
        ssl.set_private_key(&self.key)
    }
}

/// TLS 1.2 and 1.3, full handshakes only.
fn context(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list("ECDHE+AESGCM:ECDHE+CHACHA20")?;
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_options(
        SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION,
    );
    // What asynchronous writing needs, and buffers only while they are in use.
    context.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::RELEASE_BUFFERS,
    );
    /// `SSL_CTRL_SET_MAX_CERT_LIST` in `openssl/ssl.h`.
    const SET_MAX_CERT_LIST: c_int = 51;
    // SAFETY: the context is alive; this control takes a number and ignores the pointer.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(
            context.as_ptr(),
            SET_MAX_CERT_LIST,
            LONGEST_CERTIFICATES.into(),
            std::ptr::null_mut(),
        );
    }
    Ok(context)
}

/// A name of one common name. What is written here is a constant or base64, which are
/// printable strings, as Go writes them.
fn name(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_text_with_type("CN", common_name, Asn1Type::PRINTABLESTRING)?;
    Ok(name.build())
}

fn tls(error: Error) -> HandshakeError {
    HandshakeError::Tls(error.into_io_error().unwrap_or_else(io::Error::other))
}
