//! A client that says from where it comes, and sends what it is told to send.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

pub(crate) struct Client(StreamOwned<ClientConnection, TcpStream>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; they are asked for in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(it, _)| *it == name).map(|it| it.1)
    }
}

/// A connection in plain text, from an address of this machine.
pub(crate) fn plain(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(crate::proxy::PATIENCE))?;
    Ok(stream)
}

/// Those of a client that trusts this certificate and no other.
pub(crate) fn settings(
    version: &'static SupportedProtocolVersion,
    certificate: &CertificateDer<'static>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Client {
    /// Trusts this certificate and no other.
    pub(crate) fn connect(
        from: Ipv4Addr,
        to: SocketAddr,
        certificate: &CertificateDer<'static>,
    ) -> io::Result<Self> {
        Self::connect_by(&rustls::version::TLS13, from, to, certificate)
    }

    pub(crate) fn connect_by(
        version: &'static SupportedProtocolVersion,
        from: Ipv4Addr,
        to: SocketAddr,
        certificate: &CertificateDer<'static>,
    ) -> io::Result<Self> {
        Self::connect_as(settings(version, certificate), from, to)
    }

    /// With settings that may remember an earlier session.
    pub(crate) fn connect_as(
        settings: Arc<ClientConfig>,
        from: Ipv4Addr,
        to: SocketAddr,
    ) -> io::Result<Self> {
        let name = ServerName::try_from("node.example").unwrap();
        let session = ClientConnection::new(settings, name).unwrap();
        let mut stream = StreamOwned::new(session, plain(from, to)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    /// Whether the certificate was shown, and not taken from an earlier session.
    pub(crate) fn was_shown_the_certificate(&self) -> bool {
        self.0.conn.handshake_kind() != Some(HandshakeKind::Resumed)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub(crate) fn get(&mut self) -> io::Result<Answer> {
        self.send(b"GET / HTTP/1.1\r\nHost: node.example\r\n\r\n")?;
        self.answer()
    }

    pub(crate) fn post(&mut self, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: node.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(head.as_bytes())?;
        self.send(body)?;
        self.answer()
    }

    /// One answer, of which the length is said.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |it| it.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }
}
