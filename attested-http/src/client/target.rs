//! The address of a server, as it is given on a command line.
//!
//! I/O: none.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};

use super::error::UpstreamError;

/// Where requests go: `http://host:port/path?query` or the same with `https`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    host: String,
    port: u16,
    base: PathAndQuery,
    host_header: HeaderValue,
}

/// A text is not the address of a server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an address such as https://host:port, got {address:?}: {reason}")]
pub struct TargetError {
    /// The text.
    pub address: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |reason| TargetError {
            address: text.to_owned(),
            reason,
        };
        if text.contains('#') {
            return Err(wrong("it has a fragment"));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(|| wrong("it has no scheme"))?;
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let authority = parts.authority.ok_or_else(|| wrong("it has no host"))?;
        // Credentials in it would end up in logs.
        if authority.as_str().contains('@') {
            // The text would be shown.
            return Err(TargetError {
                address: "…".to_owned(),
                reason: "it has a user name",
            });
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let has_port = authority.as_str() != authority.host();
        let port = match authority.port_u16() {
            Some(0) => return Err(wrong("its port is 0")),
            Some(port) => port,
            None if has_port => return Err(wrong("its port is none")),
            None => default_port,
        };
        let host_header = HeaderValue::try_from(authority.as_str());
        Ok(Self {
            host,
            port,
            host_header: host_header.map_err(|_| wrong("its host is none"))?,
            base: parts
                .path_and_query
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            scheme,
            authority,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

impl Target {
    /// The host without brackets, a name or an address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Path and query in front of those of requests.
    pub fn base(&self) -> &PathAndQuery {
        &self.base
    }

    /// Host and port, for messages.
    pub(super) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// What a request for `path` asks for: HTTP/1.1 has the path only.
    pub(super) fn uri(
        &self,
        path: Option<PathAndQuery>,
        is_whole: bool,
    ) -> Result<Uri, UpstreamError> {
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if !is_whole {
            return Ok(Uri::from(path));
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(UpstreamError::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn parts_of_an_address() {
        let with_path = target("http://localhost:14727/base?key=1");
        assert_eq!((with_path.host(), with_path.port()), ("localhost", 14727));
        assert_eq!(with_path.base().as_str(), "/base?key=1");
        assert!(!with_path.is_https());
        assert_eq!(with_path.host_header(), "localhost:14727");
        let default = target("https://node.example");
        assert_eq!((default.port(), default.base().as_str()), (443, "/"));
        let v6 = target("https://[2001:db8::1]:7936");
        assert_eq!(
            (v6.host(), &*v6.address()),
            ("2001:db8::1", "[2001:db8::1]:7936")
        );
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            ("localhost:80", "it has no scheme"),
            ("/path", "it has no scheme"),
            ("ftp://host", "its scheme is neither http nor https"),
            ("https://user:secret@host", "it has a user name"),
            ("https://host:0", "its port is 0"),
            ("https://host#x", "it has a fragment"),
            ("https://host:", "its port is none"),
            ("https://host:65536", "its port is none"),
            ("https://", "it is no URL"),
            ("", "it is no URL"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn requests_are_for_a_path_or_for_all_of_it() {
        let target = target("https://host:8443/base");
        let path = Some(PathAndQuery::from_static("/x?y"));
        let short = target.uri(path.clone(), false).unwrap();
        let whole = target.uri(path, true).unwrap();
        assert_eq!(short.to_string(), "/x?y");
        assert_eq!(whole.to_string(), "https://host:8443/x?y");
    }
}
