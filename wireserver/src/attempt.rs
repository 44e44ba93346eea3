//! One request to the wireserver, and why it may come to nothing.
//!
//! | what | then |
//! |---|---|
//! | no connection, a broken or slow one, an answer that is not the wireserver's | again |
//! | 409, 410: the report is about an old goal state | again, which reads the goal state anew |
//! | 403, 408, 429: too many requests, or too slow ones; Azure's agent takes 403 for the former | again, after `Retry-After` if there is one |
//! | 5xx and every other status that is no refusal | again, after `Retry-After` if there is one |
//! | all other 4xx | never: the same request would be refused again |
//!
//! I/O: network.

use std::fmt;
use std::time::Duration;

use attested_http::body::TooLarge;
use attested_http::{Answer, Body, BoxError, Upstream, UpstreamError};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};
use tokio::time::timeout;

use crate::goal_state::{GoalStateError, MAX_DOCUMENT};

/// Most that is read of what a refusal says, and of that, what is passed on.
const MAX_REFUSAL: usize = 8 << 10;
const MAX_TEXT: usize = 200;

/// How long a refusal may take to say why, after its status.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To hand out the goal state.
    GoalState,
    /// To take the report.
    Health,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoalState => "read the goal state",
            Self::Health => "report health",
        })
    }
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// There is no answer.
    #[error("{step}")]
    Exchange {
        /// What was asked.
        step: Step,
        /// Why not.
        #[source]
        source: UpstreamError,
    },
    /// The answer is not there in time.
    #[error("{step}: no answer within {limit:?}")]
    Timeout {
        /// What was asked.
        step: Step,
        /// How long it had.
        limit: Duration,
    },
    /// The answer is too large, or broke off.
    #[error("{step}: read the answer")]
    Body {
        /// What was asked.
        step: Step,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The answer is of another status than 200 or its kin.
    #[error("{step}: expected status 200, got {actual}: {text:?}")]
    Status {
        /// What was asked.
        step: Step,
        /// The status.
        actual: StatusCode,
        /// How long not to ask again.
        retry_after: Option<Duration>,
        /// The beginning of what it said about it.
        text: String,
    },
    /// The answer is a web page: somebody else's, who stands in between.
    #[error("{step}: expected the wireserver's answer, got a web page")]
    WebPage {
        /// What was asked.
        step: Step,
    },
    /// The answer is no goal state.
    #[error("the goal state is malformed")]
    GoalState(#[from] GoalStateError),
}

impl AttemptError {
    /// Whether the same would be answered again, however often it is asked.
    pub fn is_final(&self) -> bool {
        const TRANSIENT: [StatusCode; 5] = [
            StatusCode::FORBIDDEN,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::CONFLICT,
            StatusCode::GONE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        match self {
            Self::Status { actual, .. } => actual.is_client_error() && !TRANSIENT.contains(actual),
            _ => false,
        }
    }

    /// How long the wireserver does not want to be asked again, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Sends a request and returns its answer's body, of at most [`MAX_DOCUMENT`]. That of a report is not read:
/// the status says that it was taken, whatever becomes of the rest.
pub(crate) async fn exchange(
    upstream: &Upstream<()>,
    limit: Duration,
    step: Step,
    request: Request<Body>,
) -> Result<Vec<u8>, AttemptError> {
    let exchanging = async {
        let sent = upstream.send(request).await;
        let Answer { response, .. } =
            sent.map_err(|source| AttemptError::Exchange { step, source })?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(AttemptError::Status {
                step,
                actual: head.status,
                retry_after: retry_after(&head.headers),
                text: refusal(body).await,
            });
        }
        if is_web_page(&head.headers) && !body.is_end_stream() {
            return Err(AttemptError::WebPage { step });
        }
        if step == Step::Health {
            return Ok(Vec::new());
        }
        let whole = read(body, MAX_DOCUMENT).await;
        whole.map_err(|source| AttemptError::Body { step, source })
    };
    let timed_out = |_| Err(AttemptError::Timeout { step, limit });
    timeout(limit, exchanging).await.unwrap_or_else(timed_out)
}

/// All of a body, which is no larger than that.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, BoxError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if data.len() > limit.saturating_sub(whole.len()) {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            return Err(TooLarge { limit }.into());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The beginning of what an answer says, as text; nothing if it takes its time, or is large.
async fn refusal(body: Body) -> String {
    let Ok(Ok(bytes)) = timeout(REFUSAL_LIMIT, read(body, MAX_REFUSAL)).await else {
        return String::new();
    };
    let mut text = String::from_utf8_lossy(&bytes).trim().to_owned();
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// `Retry-After` in seconds. The other form is a date, which a clock that may be wrong cannot judge.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    Some(Duration::from_secs(seconds.parse().ok()?))
}

fn is_web_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.map(|value| value.as_bytes().to_ascii_lowercase());
    content_type.is_some_and(|value| value.starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> AttemptError {
        AttemptError::Status {
            step: Step::Health,
            actual: StatusCode::from_u16(code).unwrap(),
            retry_after: None,
            text: String::new(),
        }
    }

    #[test]
    fn only_refusals_are_final() {
        for code in [400, 401, 404, 405, 411, 415, 422] {
            assert!(status(code).is_final(), "{code}");
        }
        for code in [204, 302, 403, 408, 409, 410, 429, 500, 501, 502, 503, 599] {
            assert!(!status(code).is_final(), "{code}");
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        let of = |value: &str| {
            let headers = [(RETRY_AFTER, value.parse().unwrap())];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of(" 0 "), Some(Duration::ZERO));
        for no in ["-1", "1.5", "soon", "Sun, 22 Nov 2026 08:00:00 GMT", ""] {
            assert_eq!(of(no), None, "{no}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
