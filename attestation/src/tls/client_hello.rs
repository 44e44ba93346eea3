//! Reads a ClientHello from the bytes of a new connection, before any TLS stack sees them.
//!
//! Wanted are the two fields that say which protocol a client speaks: the server name, in which
//! Go aTLS clients put their nonce, and the ALPN list. Everything else in the message is left to
//! the TLS stack, which gets the same bytes again and checks them itself.
//!
//! I/O: none.

/// Longest ClientHello that is read, without record headers. Browsers with post-quantum key
/// shares send some 2 kB.
pub const LONGEST_HELLO: usize = 16 * 1024;

/// Most records a ClientHello may be cut into. A record holds 16 kB, so one is what is needed;
/// some clients cut it into a handful on purpose. The bound keeps reading byte by byte cheap.
pub const MOST_RECORDS: usize = 32;

/// RFC 8446, section 5.1: content type `handshake`.
const CONTENT_HANDSHAKE: u8 = 22;

/// The same section: most bytes in a plaintext record.
const LONGEST_RECORD: usize = 1 << 14;

/// RFC 8446, section 4: message type `client_hello`.
const HANDSHAKE_CLIENT_HELLO: u8 = 1;

/// RFC 6066, section 3.
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// RFC 7301, section 3.1.
const EXTENSION_ALPN: u16 = 16;

/// What a ClientHello says about the protocol its sender wants. All of it is a wish of an
/// unauthenticated peer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// The host name as sent: any bytes, in the case they came in.
    pub server_name: Option<Vec<u8>>,
    /// ALPN protocol names, in the client's order of preference.
    pub alpn: Vec<Vec<u8>>,
}

/// What is known after some bytes of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// A beginning that may become a ClientHello.
    NeedMore,
    /// The whole message is there.
    Hello(ClientHello),
    /// This does not become a ClientHello, however much follows.
    Error(HelloError),
}

/// Why bytes are no acceptable ClientHello: the peer's mistake, or not a TLS client at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HelloError {
    /// The first record is something else, for example an HTTP request in the clear.
    #[error(
        "expected a TLS handshake record (type 22, version 3.x), got type {kind}, version {major}.x"
    )]
    NotTls {
        /// Content type byte.
        kind: u8,
        /// First version byte.
        major: u8,
    },
    /// A record's length is zero or more than the protocol allows.
    #[error("record of {actual} bytes, expected 1 to {LONGEST_RECORD}")]
    RecordLength {
        /// Length in the record header.
        actual: usize,
    },
    /// Cut into too many records.
    #[error("ClientHello in more than {MOST_RECORDS} records")]
    Records,
    /// The first handshake message is another one.
    #[error("expected handshake message {HANDSHAKE_CLIENT_HELLO} (client_hello), got {actual}")]
    Message {
        /// Handshake type byte.
        actual: u8,
    },
    /// Longer than is read.
    #[error("ClientHello of {actual} bytes, expected at most {LONGEST_HELLO}")]
    TooLong {
        /// Length in the handshake header.
        actual: usize,
    },
    /// A field inside does not fit its surroundings.
    #[error("malformed ClientHello: {0}")]
    Malformed(&'static str),
    /// An extension that may be there once is there twice.
    #[error("ClientHello with extension {0} twice")]
    Duplicate(u16),
}

/// Looks for a ClientHello at the start of `input`, which is all that a connection brought so far.
///
/// Bytes behind the message are ignored. Never needs more than [`LONGEST_HELLO`] and
/// [`MOST_RECORDS`] headers to come to an end, so a caller's buffer is bounded by that.
pub fn parse(input: &[u8]) -> Parsed {
    match message(input).and_then(|message| message.map(body).transpose()) {
        Ok(None) => Parsed::NeedMore,
        Ok(Some(hello)) => Parsed::Hello(hello),
        Err(error) => Parsed::Error(error),
    }
}

/// The first handshake message, without its header, out of one or more records.
fn message(input: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    let mut records = Reader(input);
    let mut message = Vec::new();
    for _ in 0..MOST_RECORDS {
        // Judged as early as the bytes are there: what is no TLS should not hold a place.
        if let Some(&kind) = records.0.first() {
            let major = records.0.get(1).copied().unwrap_or(3);
            if kind != CONTENT_HANDSHAKE || major != 3 {
                return Err(HelloError::NotTls { kind, major });
            }
        }
        let Some(header) = records.take(5) else {
            return Ok(None);
        };
        let &[_, _, _, high, low] = header else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(HelloError::RecordLength { actual: length });
        }
        let present = records.0.len().min(length);
        message.extend_from_slice(records.take(present).unwrap_or_default());

        if let Some(whole) = complete(&message)? {
            return Ok(Some(whole.to_vec()));
        }
        if present < length {
            return Ok(None);
        }
    }
    Err(HelloError::Records)
}

/// The body of the handshake message at the start of `bytes`, once it is all there.
fn complete(bytes: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let mut reader = Reader(bytes);
    let Some(kind) = reader.u8() else {
        return Ok(None);
    };
    if kind != HANDSHAKE_CLIENT_HELLO {
        return Err(HelloError::Message { actual: kind });
    }
    let Some(&[a, b, c]) = reader.take(3) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, a, b, c]);
    match usize::try_from(length) {
        Ok(length) if length <= LONGEST_HELLO => Ok(reader.take(length)),
        Ok(actual) => Err(HelloError::TooLong { actual }),
        Err(_) => Err(HelloError::TooLong { actual: usize::MAX }),
    }
}

/// RFC 8446, section 4.1.2.
fn body(message: Vec<u8>) -> Result<ClientHello, HelloError> {
    let mut reader = Reader(&message);
    reader
        .take(2 + 32)
        .ok_or(HelloError::Malformed("version and random"))?;
    reader
        .vec8()
        .ok_or(HelloError::Malformed("legacy_session_id"))?;
    reader
        .vec16()
        .ok_or(HelloError::Malformed("cipher_suites"))?;
    reader
        .vec8()
        .ok_or(HelloError::Malformed("legacy_compression_methods"))?;
    if reader.0.is_empty() {
        // A TLS 1.2 client may send no extensions at all.
        return Ok(ClientHello::default());
    }
    let extensions = reader.vec16().ok_or(HelloError::Malformed("extensions"))?;
    if !reader.0.is_empty() {
        return Err(HelloError::Malformed("bytes after the extensions"));
    }
    read_extensions(Reader(extensions))
}

fn read_extensions(mut extensions: Reader<'_>) -> Result<ClientHello, HelloError> {
    let mut server_name = None;
    let mut alpn = None;
    while !extensions.0.is_empty() {
        let malformed = HelloError::Malformed("extension header");
        let kind = extensions.u16().ok_or(malformed)?;
        let data = Reader(extensions.vec16().ok_or(malformed)?);
        let is_duplicate = match kind {
            EXTENSION_SERVER_NAME => server_name.replace(read_server_name(data)?).is_some(),
            EXTENSION_ALPN => alpn.replace(read_alpn(data)?).is_some(),
            _ => false,
        };
        if is_duplicate {
            return Err(HelloError::Duplicate(kind));
        }
    }
    Ok(ClientHello {
        server_name: server_name.flatten(),
        alpn: alpn.unwrap_or_default(),
    })
}

/// RFC 6066, section 3: at most one name of each type. Only one type was ever defined.
fn read_server_name(mut data: Reader<'_>) -> Result<Option<Vec<u8>>, HelloError> {
    let malformed = HelloError::Malformed("server_name");
    let mut names = Reader(data.vec16().ok_or(malformed)?);
    let mut host = None;
    while !names.0.is_empty() {
        let kind = names.u8().ok_or(malformed)?;
        let name = names.vec16().ok_or(malformed)?;
        if kind == NAME_TYPE_HOST && host.replace(name.to_vec()).is_some() {
            return Err(malformed);
        }
    }
    if data.0.is_empty() {
        Ok(host)
    } else {
        Err(malformed)
    }
}

/// RFC 7301, section 3.1: a list of non-empty names.
fn read_alpn(mut data: Reader<'_>) -> Result<Vec<Vec<u8>>, HelloError> {
    let malformed = HelloError::Malformed("application_layer_protocol_negotiation");
    let mut list = Reader(data.vec16().ok_or(malformed)?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        match list.vec8() {
            Some(name) if !name.is_empty() => names.push(name.to_vec()),
            _ => return Err(malformed),
        }
    }
    if data.0.is_empty() {
        Ok(names)
    } else {
        Err(malformed)
    }
}

/// Big-endian fields from the front of a slice; `None` where it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let &[byte] = self.take(1)? else { return None };
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let &[high, low] = self.take(2)? else {
            return None;
        };
        Some(u16::from_be_bytes([high, low]))
    }

    fn vec8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn vec16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests;
