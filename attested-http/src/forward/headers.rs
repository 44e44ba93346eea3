//! Which headers pass, and which are set.
//!
//! Names are compared without regard to case, and `_` is taken for `-`: servers behind CGI-like
//! interfaces cannot tell the two apart, so `x_flashbots_measurement` would be a way around.
//!
//! I/O: none.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::claims::{ATTESTATION_TYPE, MEASUREMENT};

/// What is about one connection only (RFC 9110, section 7.6.1; the list of Go's reverse proxy).
const HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What else says where a message goes, where it ends or who sends it, which is too late in trailers
/// (RFC 9110, section 6.5.1): what was checked and set in the header would be passed by.
const UNTRAILED: [&str; 11] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "set-cookie",
    "trailer",
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which way a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Request,
    Answer,
}

/// A message says of itself what only a handshake can prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    Measurement,
    AttestationType,
}

impl Refusal {
    /// What the existing proxies answer, word for word.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Measurement => "unexpected measurement header passed",
            Self::AttestationType => "unexpected attestation type header passed",
        }
    }
}

/// Refuses a message that carries one of the headers, even an empty one.
pub(super) fn refuse_claims(headers: &HeaderMap) -> Result<(), Refusal> {
    let carries = |name: &HeaderName| {
        headers
            .keys()
            .any(|key| is_same(key.as_str(), name.as_str()))
    };
    if carries(&MEASUREMENT) {
        return Err(Refusal::Measurement);
    }
    if carries(&ATTESTATION_TYPE) {
        return Err(Refusal::AttestationType);
    }
    Ok(())
}

/// Removes from trailers what would be believed if it were taken for a header.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    remove(trailers, |name| !may_trail(name));
}

fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    let keys = headers.keys().filter(|key| is_unwanted(key.as_str()));
    let keys: Vec<HeaderName> = keys.cloned().collect();
    for key in keys {
        headers.remove(key);
    }
}

/// Whether a client asks for another protocol than HTTP/2, which it may do without.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).any(|protocol| !protocol.eq_ignore_ascii_case("h2c"))
}

/// Removes what is about the connection on which the message came.
pub(super) fn end_hop(headers: &mut HeaderMap, side: Side) {
    let takes_trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let named: Vec<String> = tokens(headers, &CONNECTION).map(str::to_owned).collect();
    // The body is framed anew. A length beside chunks is one that must not be believed.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named.iter().map(String::as_str).chain(HOP) {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            // What says where the message ends is not up to the peer to remove.
            if name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
    announce_trailers(headers);
    if side == Side::Request {
        // Answered here, by reading the body.
        headers.remove(EXPECT);
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        join_cookies(headers);
    }
}

/// `Trailer` stays, since HTTP/1.1 sends no trailers that were not announced, but for those that
/// will be stripped.
fn announce_trailers(headers: &mut HeaderMap) {
    let announced: Vec<HeaderValue> = tokens(headers, &TRAILER)
        .filter(|name| may_trail(name))
        .filter_map(|name| HeaderValue::from_str(name).ok())
        .collect();
    headers.remove(TRAILER);
    for name in announced {
        headers.append(TRAILER, name);
    }
}

/// HTTP/2 may split what HTTP/1.1 has in one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Appends the client's address to those through which the request came before.
pub(super) fn forwarded_for(headers: &mut HeaderMap, client: IpAddr) {
    remove(headers, |name| {
        is_same(name, FORWARDED_FOR.as_str()) && name != FORWARDED_FOR.as_str()
    });
    let client = client.to_canonical().to_string();
    let prior = headers.get_all(FORWARDED_FOR);
    let mut all: Vec<&[u8]> = prior.iter().map(HeaderValue::as_bytes).collect();
    all.push(client.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(FORWARDED_FOR, value);
    }
}

fn may_trail(name: &str) -> bool {
    let claims = [&MEASUREMENT, &ATTESTATION_TYPE, &FORWARDED_FOR];
    let never = claims.map(HeaderName::as_str).into_iter();
    !never
        .chain(HOP)
        .chain(UNTRAILED)
        .any(|never| is_same(name, never))
}

fn is_same(name: &str, other: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (a, b) == (b'_', b'-');
    name.len() == other.len() && name.bytes().zip(other.bytes()).all(same)
}

/// The elements of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn claims_are_refused_however_they_are_spelled() {
        for name in [
            "X-Flashbots-Measurement",
            "x_flashbots_measurement",
            "X-Flashbots_MEASUREMENT",
        ] {
            let given = headers(&[("accept", "*/*"), (name, "")]);
            assert_eq!(refuse_claims(&given), Err(Refusal::Measurement), "{name}");
        }
        for name in [
            "x-flashbots-attestation-type",
            "X_Flashbots_Attestation_Type",
        ] {
            let given = headers(&[(name, "azure-tdx")]);
            assert_eq!(refuse_claims(&given), Err(Refusal::AttestationType));
        }
        let similar = [
            ("x-flashbots-measurements", "1"),
            ("flashbots-measurement", ""),
        ];
        assert_eq!(refuse_claims(&headers(&similar)), Ok(()));
    }

    #[test]
    fn the_connections_own_headers_end_with_it() {
        let mut given = headers(&[
            ("connection", "close, X-Private"),
            ("connection", "content-length"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("http2-settings", "AAMAAABk"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip;q=0.5, trailers"),
            ("trailer", "x-sum, X_Flashbots_Measurement"),
            ("upgrade", "h2c"),
            ("x-private", "1"),
            ("x-public", "2"),
        ]);
        end_hop(&mut given, Side::Request);
        let expected = [
            ("content-length", "3"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("x-public", "2"),
        ];
        assert_eq!(lines(&given), expected);
    }

    #[test]
    fn a_length_beside_chunks_is_not_believed() {
        let mut given = headers(&[("content-length", "3"), ("transfer-encoding", "chunked")]);
        end_hop(&mut given, Side::Answer);
        assert!(given.is_empty());
    }

    #[test]
    fn cookies_are_one_header() {
        let mut given = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
        end_hop(&mut given, Side::Request);
        assert_eq!(lines(&given), [("cookie", "a=1; b=2")]);
    }

    #[test]
    fn only_http2_may_be_offered_in_vain() {
        assert!(!wants_upgrade(&headers(&[("upgrade", "h2c")])));
        assert!(wants_upgrade(&headers(&[("upgrade", "websocket")])));
        assert!(wants_upgrade(&headers(&[("upgrade", "h2c, websocket")])));
    }

    #[test]
    fn the_clients_address_comes_last() {
        let mut given = headers(&[
            ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
            ("x-forwarded-for", "192.0.2.3"),
            ("x_forwarded_for", "192.0.2.4"),
        ]);
        forwarded_for(&mut given, "::ffff:198.51.100.7".parse().unwrap());
        let expected = "192.0.2.1, 192.0.2.2, 192.0.2.3, 198.51.100.7";
        assert_eq!(lines(&given), [("x-forwarded-for", expected)]);
        let mut none = HeaderMap::new();
        forwarded_for(&mut none, "2001:db8::1".parse().unwrap());
        assert_eq!(lines(&none), [("x-forwarded-for", "2001:db8::1")]);
    }

    #[test]
    fn trailers_say_nothing_about_anybody() {
        let names = [
            "X_Flashbots-Measurement",
            "x-flashbots-attestation-type",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded_For",
            "Host",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "Connection",
            "Proxy-Connection",
            "Keep-Alive",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "TE",
            "Upgrade",
            "HTTP2-Settings",
            "Trailer",
            "Authorization",
            "Cookie",
            "Set-Cookie",
        ];
        for name in names {
            let mut given = headers(&[(name, "1"), ("x-sum", "1")]);
            strip_trailers(&mut given);
            assert_eq!(lines(&given), [("x-sum", "1")], "{name}");
            let announced = format!("{name}, x-sum");
            let mut given = headers(&[("trailer", &announced)]);
            end_hop(&mut given, Side::Answer);
            assert_eq!(lines(&given), [("trailer", "x-sum")], "{name}");
        }
    }
}
