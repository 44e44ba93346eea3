//! A request as a client sent it.
//!
//! I/O: reads a connection.

use std::io::{self, BufRead, Read};

/// Longest request line and headers together.
const MAX_HEAD: u64 = 16 << 10;
/// Longest body: Azure's own limit for health reports is far below.
const MAX_BODY: usize = 1 << 20;

/// Why a request cannot be answered as one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The connection failed or ended within a request.
    #[error("read a request")]
    Io(#[from] io::Error),

    /// Something that is not HTTP/1.
    #[error("not a request of HTTP/1: {0}")]
    Malformed(&'static str),
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case, values without blanks around them, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads the next request; `None` if the client has closed the connection before it.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if it is none, is longer than allowed, or ends early.
    pub fn read(reader: &mut impl BufRead) -> Result<Option<Self>, BadRequest> {
        let mut head = reader.take(MAX_HEAD);
        let Some(first) = line(&mut head)? else {
            return Ok(None);
        };
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadRequest::Malformed("request line"));
        };
        if !version.starts_with("HTTP/1.") {
            return Err(BadRequest::Malformed("version"));
        }
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = line(&mut head)?.ok_or(BadRequest::Malformed("headers end early"))?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or(BadRequest::Malformed("header without colon"))?;
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push(header);
        }
        let length = request.body_length()?;
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// The first query parameter of this name, as sent: nothing that is used here is
    /// percent-encoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Whether the client wants the connection closed.
    pub(super) fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn body_length(&self) -> Result<usize, BadRequest> {
        if self.header("transfer-encoding").is_some() {
            return Err(BadRequest::Malformed("body in chunks"));
        }
        let Some(length) = self.header("content-length") else {
            return Ok(0);
        };
        match length.parse() {
            Ok(length @ 0..=MAX_BODY) => Ok(length),
            _ => Err(BadRequest::Malformed("length of the body")),
        }
    }
}

/// Reads a line without its end; `None` at the end of the connection.
fn line(reader: &mut io::Take<&mut impl BufRead>) -> Result<Option<String>, BadRequest> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes)? == 0 {
        return match reader.limit() {
            0 => Err(BadRequest::Malformed("head is too long")),
            _ => Ok(None),
        };
    }
    let text = bytes
        .strip_suffix(b"\r\n")
        .ok_or(BadRequest::Malformed("line without its end"))?;
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(BadRequest::Malformed("not text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Option<Request>, BadRequest> {
        Request::read(&mut bytes)
    }

    #[test]
    fn request_is_taken_apart() {
        let bytes =
            b"POST /machine?comp=health&x=1 HTTP/1.1\r\nX-A:  b \r\nContent-Length: 2\r\n\r\nhi";
        let request = read(bytes).unwrap().unwrap();
        assert_eq!(request.path(), "/machine");
        assert_eq!(request.parameter("comp"), Some("health"));
        assert_eq!(request.parameter("com"), None);
        assert_eq!(request.header("x-a"), Some("b"));
        assert_eq!(request.body, b"hi");
    }

    #[test]
    fn end_before_a_request_is_no_request() {
        assert!(read(b"").unwrap().is_none());
    }

    #[test]
    fn malformed_requests_are_refused() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
        for bytes in [
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            &long,
        ] {
            let read = read(bytes.as_bytes());
            assert!(matches!(read, Err(BadRequest::Malformed(_))), "{bytes:.60}");
        }
        let short = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi";
        assert!(matches!(read(short), Err(BadRequest::Io(_))));
    }
}
