//! Azure's instance metadata service (IMDS), which has TD reports quoted.
//!
//! `POST /acc/tdquote` (`spec/attestation.md` B.1, after Azure's `az-tdx-vtpm` 0.8.2): the content type
//! is exactly `application/json`, anything after it is answered 415. The service has a link-local
//! address, so nothing of a proxy's environment is looked at; redirects are not followed.
//!
//! I/O: network.

use std::error::Error;
use std::time::Duration;

use attestation::evidence::MAX_TD_QUOTE;
use attestation::td_quote::TdQuoteError;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Patience;

/// Where Azure has the service.
pub const IMDS: &str = "http://169.254.169.254";

/// Largest answer: a quote in base64, and some JSON around it.
const MAX_ANSWER: usize = 32 << 10;

/// A quote takes the host about a second, and after a migration the service may be away for some.
const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(10),
    tries: 5,
    pause: Duration::from_millis(250),
    longest_pause: Duration::from_secs(2),
};

/// The alphabet of base64url, padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The metadata service.
#[derive(Clone, Debug)]
pub struct Imds {
    authority: String,
    patience: Patience,
}

/// Why there is no TD quote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImdsError {
    /// The address is not one of such a service.
    #[error("expected an address such as {IMDS}, got {actual:?}")]
    Address {
        /// The address.
        actual: String,
    },
    /// The service cannot be reached.
    #[error("connect to {authority}")]
    Connect {
        /// Where it was expected.
        authority: String,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("exchange HTTP messages")]
    Http(#[from] hyper::Error),
    /// The answer is too large, or broke off.
    #[error("read the answer, of at most {MAX_ANSWER} bytes")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The service refuses.
    #[error("expected status 200, got {actual}: {text:?}")]
    Status {
        /// What it said.
        actual: StatusCode,
        /// The beginning of what it said about it.
        text: String,
    },
    /// The service is too slow.
    #[error("no answer within {} s", limit.as_secs_f32())]
    Timeout {
        /// How long that was waited for.
        limit: Duration,
    },
    /// The answer is not JSON with a quote in base64url.
    #[error("the answer is malformed")]
    Answer(#[source] AnswerError),
    /// The answer's quote is none.
    #[error("the TD quote is malformed")]
    TdQuote(#[source] TdQuoteError),
    /// The quote is of another report than the one that was handed in.
    #[error("the TD quote is of another report than the one that was handed in")]
    OtherReport,
}

/// Why an answer has no quote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is not JSON of the expected form.
    #[error("expected JSON with a member \"quote\"")]
    Json(#[from] serde_json::Error),
    /// The quote is not base64url.
    #[error("expected base64url")]
    Base64(#[from] base64::DecodeError),
    /// The quote is larger than any.
    #[error("the quote has {actual} bytes, expected 1 to {MAX_TD_QUOTE}")]
    Size {
        /// What it has.
        actual: usize,
    },
}

#[derive(Serialize)]
struct Question {
    report: String,
}

#[derive(Deserialize)]
struct Answer {
    quote: String,
}

impl Imds {
    /// The service at a base address, such as [`IMDS`].
    ///
    /// # Errors
    ///
    /// [`ImdsError::Address`] if it is not `http://HOST[:PORT]`.
    pub fn new(base: &str) -> Result<Self, ImdsError> {
        let wrong = || ImdsError::Address {
            actual: base.to_owned(),
        };
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let is_plain = uri.scheme_str() == Some("http")
            && uri.path() == "/"
            && uri.query().is_none()
            && !authority.as_str().contains('@');
        if !is_plain {
            return Err(wrong());
        }
        Ok(Self {
            authority: authority.as_str().to_owned(),
            patience: PATIENCE,
        })
    }

    /// The same service with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Has a TD report of this machine quoted. The quote is not looked into.
    ///
    /// # Errors
    ///
    /// [`ImdsError`], of the last try.
    pub async fn td_quote(&self, td_report: &[u8]) -> Result<Vec<u8>, ImdsError> {
        let report = URL_SAFE_NO_PAD.encode(td_report);
        let question = serde_json::to_vec(&Question { report }).unwrap_or_default();
        let question = Bytes::from(question);
        let limit = self.patience.limit;
        let mut tried = 1;
        loop {
            let answer = timeout(limit, self.post(question.clone())).await;
            let error = match answer.unwrap_or(Err(ImdsError::Timeout { limit })) {
                Ok(answer) => return parse_answer(&answer).map_err(ImdsError::Answer),
                Err(error) => error,
            };
            match self.patience.pause_after(tried) {
                Some(pause) if error.is_transient() => sleep(pause).await,
                _ => return Err(error),
            }
            tried = tried.saturating_add(1);
        }
    }

    async fn post(&self, question: Bytes) -> Result<Bytes, ImdsError> {
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (self.authority.as_str(), Some(80)),
        };
        let port: u16 = port.ok_or_else(|| self.wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.map_err(|source| ImdsError::Connect {
            authority: self.authority.clone(),
            source,
        })?;
        let request = Request::post("/acc/tdquote")
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(HeaderName::from_static("metadata"), "true")
            .body(Full::new(question))
            .map_err(|_| self.wrong())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        let asking = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(ImdsError::Body)?.to_bytes();
            match head.status {
                StatusCode::OK => Ok(body),
                actual => Err(ImdsError::Status {
                    actual,
                    text: String::from_utf8_lossy(body.get(..200).unwrap_or(&body)).into_owned(),
                }),
            }
        };
        tokio::pin!(asking, connection);
        tokio::select! {
            answer = &mut asking => answer,
            ended = &mut connection => {
                ended?;
                asking.await
            }
        }
    }

    fn wrong(&self) -> ImdsError {
        ImdsError::Address {
            actual: self.authority.clone(),
        }
    }
}

impl ImdsError {
    /// Whether the same request may well succeed a moment later. 410 is what the service says while
    /// it is being updated (Azure's documentation of IMDS, "Errors and debugging").
    fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Http(_) | Self::Timeout { .. } => true,
            // What broke off may come whole; what is too large stays so.
            Self::Body(error) => !error.is::<LengthLimitError>(),
            Self::Status { actual, .. } => {
                actual.is_server_error()
                    || [StatusCode::GONE, StatusCode::TOO_MANY_REQUESTS].contains(actual)
            }
            _ => false,
        }
    }
}

/// Takes the quote out of the service's answer: JSON with a member `quote`, base64url.
///
/// # Errors
///
/// [`AnswerError`] if it is something else.
pub fn parse_answer(answer: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let answer: Answer = serde_json::from_slice(answer)?;
    let quote = LENIENT.decode(answer.quote)?;
    match quote.len() {
        1..=MAX_TD_QUOTE => Ok(quote),
        actual => Err(AnswerError::Size { actual }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_plain_http_without_more() {
        for good in [
            "http://169.254.169.254",
            "http://127.0.0.1:80/",
            "http://[::1]:8080",
        ] {
            assert!(Imds::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "169.254.169.254",
            "https://a",
            "http://a/b",
            "http://a/?b",
            "http://u@a",
        ] {
            let error = Imds::new(bad).unwrap_err();
            assert!(matches!(error, ImdsError::Address { .. }), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_base64url_padded_or_not() {
        for good in [r#"{"quote":"-_8"}"#, r#"{"quote":"-_8=","other":1}"#] {
            assert_eq!(parse_answer(good.as_bytes()).unwrap(), [0xfb, 0xff]);
        }
        for bad in [
            r#"{"quote":"+/8"}"#,
            r#"{"quote":""}"#,
            r#"{"quote":7}"#,
            "{}",
            "",
            "[]",
        ] {
            assert!(parse_answer(bad.as_bytes()).is_err(), "{bad}");
        }
        let large = format!(r#"{{"quote":"{}"}}"#, "A".repeat(30_000));
        let error = parse_answer(large.as_bytes()).unwrap_err();
        assert!(matches!(error, AnswerError::Size { actual: 22_500 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), text: String) {
            let _ = parse_answer(&bytes);
            let _ = parse_answer(format!("{{\"quote\":{text:?}}}").as_bytes());
            let _ = Imds::new(&text);
        }
    }
}
