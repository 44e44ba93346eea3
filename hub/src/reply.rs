//! Answers.
//!
//! Failures have the form that clients of existing hubs know, `{"message", "error"}`, the second only
//! if there is more to say.
//!
//! I/O: logs what went wrong inside.

use attested_http::Body;
use attested_http::body::{empty as no_body, full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value as Json, json};

use crate::database::Error;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: &'static str,
    error: Option<String>,
}

impl Failure {
    /// A failure with nothing more to say.
    pub(crate) fn new(status: StatusCode, message: &'static str) -> Self {
        Self {
            status,
            message,
            error: None,
        }
    }

    /// A failure and its reason.
    pub(crate) fn because(
        status: StatusCode,
        message: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            status,
            message,
            error: Some(reason.into()),
        }
    }

    /// The request's fault.
    pub(crate) fn bad_request(message: &'static str, reason: impl Into<String>) -> Self {
        Self::because(StatusCode::BAD_REQUEST, message, reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => {
                Self::because(StatusCode::NOT_FOUND, "not found", error.to_string())
            }
            // As existing hubs answer it, strange as it is.
            Error::Exists { .. } => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::because(status, "already exists", error.to_string())
            }
            Error::Refused(reason) => Self::bad_request("refused", reason),
            Error::Busy(_) | Error::Conflict => {
                tracing::warn!(error = causes(&error), "the database is busy");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database is busy")
            }
            Error::Sqlite(_) | Error::Postgres(_) | Error::Shape { .. } | Error::Sealed(_) => {
                tracing::error!(error = causes(&error), "the database failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        }
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        let body = match failure.error {
            Some(error) => json!({"message": failure.message, "error": error}),
            None => json!({"message": failure.message}),
        };
        json_with(failure.status, &body)
    }
}

/// An error with everything that led to it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// JSON.
pub(crate) fn json_ok(body: &Json) -> Reply {
    json_with(StatusCode::OK, body)
}

/// JSON, with another status.
pub(crate) fn json_with(status: StatusCode, body: &Json) -> Reply {
    typed(status, "application/json", body.to_string())
}

/// Nothing but a status.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(no_body());
    *reply.status_mut() = status;
    reply
}

/// Text of some type.
pub(crate) fn typed(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Reply {
    let mut reply = Response::new(full(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// The same with another header.
pub(crate) fn with(mut reply: Reply, name: HeaderName, value: &'static str) -> Reply {
    reply
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    reply
}
