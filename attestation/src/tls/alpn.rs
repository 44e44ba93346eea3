//! ALPN names: which HTTP is spoken on a connection, and whether evidence is exchanged before.
//!
//! I/O: none.

/// The name of `flashbots-ratls/1`; HTTP/1.1 follows.
const RATLS: &[u8] = b"flashbots-ratls/1";
const RATLS_HTTP1: &[u8] = b"flashbots-ratls/1+http/1.1";
const RATLS_HTTP2: &[u8] = b"flashbots-ratls/1+h2";
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Http {
    /// HTTP/1.1, also where nothing was agreed on.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Http {
    /// The names of ordinary TLS and of aTLS for `preferred`, best first.
    pub(super) fn names(preferred: &[Self]) -> Vec<&'static [u8]> {
        preferred
            .iter()
            .map(|http| match http {
                Self::Http1 => HTTP1,
                Self::Http2 => HTTP2,
            })
            .collect()
    }

    /// The names of `flashbots-ratls/1` for `preferred`, best first.
    pub(super) fn ratls_names(preferred: &[Self]) -> Vec<&'static [u8]> {
        let mut names = Vec::new();
        for http in preferred {
            match http {
                Self::Http1 => names.push(RATLS_HTTP1),
                Self::Http2 => names.push(RATLS_HTTP2),
            }
        }
        if preferred.contains(&Self::Http1) {
            names.push(RATLS);
        }
        names
    }

    /// What an agreed name means.
    pub(super) fn from_agreed(name: Option<&[u8]>) -> Self {
        match name {
            Some(HTTP2 | RATLS_HTTP2) => Self::Http2,
            _ => Self::Http1,
        }
    }
}

/// Whether a client that offers `names` wants evidence to be exchanged after the handshake.
pub(super) fn wants_ratls(names: &[Vec<u8>]) -> bool {
    names
        .iter()
        .any(|name| [RATLS, RATLS_HTTP1, RATLS_HTTP2].contains(&name.as_slice()))
}

/// The list of `names` as it is sent, each name with its length in front.
pub(super) fn list(names: &[&[u8]]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        // The names are the constants above.
        list.push(u8::try_from(name.len()).unwrap_or_default());
        list.extend_from_slice(name);
    }
    list
}

/// The first of `own` that is in the peer's `list`.
pub(super) fn agree(own: &[&'static [u8]], mut list: &[u8]) -> Option<&'static [u8]> {
    let mut names = Vec::new();
    while let Some((length, rest)) = list.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        names.push(name);
        list = rest;
    }
    own.iter().copied().find(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_preference_decides() {
        let own = Http::names(&[Http::Http2, Http::Http1]);
        assert_eq!(list(&own), b"\x02h2\x08http/1.1");
        assert_eq!(agree(&own, b"\x08http/1.1\x02h2"), Some(HTTP2));
        assert_eq!(agree(&own, b"\x02h3\x08http/1.1"), Some(HTTP1));
        for other in [&b"\x02h3"[..], b"", b"\x05h2"] {
            assert_eq!(agree(&own, other), None);
        }
    }

    #[test]
    fn the_suffix_picks_the_version_of_http() {
        let both = [Http::Http2, Http::Http1];
        assert_eq!(Http::ratls_names(&both), [RATLS_HTTP2, RATLS_HTTP1, RATLS]);
        assert_eq!(Http::ratls_names(&[Http::Http1]), [RATLS_HTTP1, RATLS]);
        assert_eq!(Http::ratls_names(&[Http::Http2]), [RATLS_HTTP2]);
        for (name, http) in [
            (RATLS_HTTP2, Http::Http2),
            (RATLS_HTTP1, Http::Http1),
            (RATLS, Http::Http1),
            (HTTP2, Http::Http2),
        ] {
            assert_eq!(Http::from_agreed(Some(name)), http);
        }
        assert_eq!(Http::from_agreed(None), Http::Http1);
    }

    #[test]
    fn other_versions_of_the_protocol_are_not_it() {
        assert!(wants_ratls(&[b"h2".to_vec(), RATLS.to_vec()]));
        for name in [
            &b"flashbots-ratls/2"[..],
            b"flashbots-ratls/1+h3",
            b"h2",
            b"",
        ] {
            assert!(!wants_ratls(&[name.to_vec()]));
        }
    }
}
