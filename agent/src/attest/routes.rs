//! What is answered to which request.
//!
//! | path | answer |
//! |---|---|
//! | `/cert` | the certificate, PEM |
//! | `/healthz` | 200 `ok`, 503 while draining |
//!
//! Errors are JSON objects of `code`, for programs, and `message`, for people.
//!
//! I/O: none.

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

/// What the server is doing; only ever moves down this list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Accepts and answers.
    Serving,
    /// Accepts nothing more; an open connection gets one more answer.
    Draining,
    /// Only requests under way are answered.
    Closing,
}

/// Answers `request`.
///
/// The certificate was made by this process; the request comes from anybody and its body is not
/// read, nor is a request with a body obeyed.
pub(super) fn respond<B: Body>(
    request: &Request<B>,
    certificate: &Bytes,
    phase: Phase,
) -> Response<Full<Bytes>> {
    let is_draining = phase != Phase::Serving;
    let has_body = !request.body().is_end_stream();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);

    let mut response = match request.uri().path() {
        "/cert" | "/healthz" if !is_read => {
            let mut response = failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "use GET or HEAD",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/cert" | "/healthz" if has_body => failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_not_accepted",
            "send no body",
        ),
        "/cert" => success("application/x-pem-file", certificate.clone()),
        "/healthz" if is_draining => failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "this server is stopping",
        ),
        "/healthz" => success("text/plain", Bytes::from_static(b"ok\n")),
        _ => failure(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is /cert and /healthz",
        ),
    };

    // A body that nobody reads would be taken for the next request.
    if is_draining || has_body {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // The certificate changes when the node restarts.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn success(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `code` and `message` are ours, so there is nothing to escape.
fn failure(status: StatusCode, code: &'static str, message: &'static str) -> Response<Full<Bytes>> {
    let body = format!("{{\"code\":\"{code}\",\"message\":\"{message}\"}}\n");
    let mut response = success("application/json", Bytes::from(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const CERTIFICATE: Bytes = Bytes::from_static(b"-----BEGIN CERTIFICATE-----\n");

    fn response_to(
        method: Method,
        uri: &str,
        body: &'static str,
        phase: Phase,
    ) -> Response<Full<Bytes>> {
        let body = Full::new(Bytes::from_static(body.as_bytes()));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .unwrap();
        respond(&request, &CERTIFICATE, phase)
    }

    fn get(uri: &str, phase: Phase) -> Response<Full<Bytes>> {
        response_to(Method::GET, uri, "", phase)
    }

    async fn body(response: Response<Full<Bytes>>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn certificate_as_pem() {
        let response = get("/cert", Phase::Serving);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-pem-file");
        assert!(!response.headers().contains_key(CONNECTION));
        assert_eq!(body(response).await, CERTIFICATE);
    }

    #[tokio::test]
    async fn healthy_until_draining() {
        let response = get("/healthz", Phase::Serving);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response).await, "ok\n");

        for phase in [Phase::Draining, Phase::Closing] {
            let response = get("/healthz", phase);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[CONNECTION], "close");
            let body = body(response).await;
            assert_eq!(
                body,
                "{\"code\":\"draining\",\"message\":\"this server is stopping\"}\n"
            );
        }
        assert_eq!(get("/cert", Phase::Draining).status(), StatusCode::OK);
    }

    #[test]
    fn queries_are_ignored_and_other_paths_unknown() {
        assert_eq!(get("/cert?x=1", Phase::Serving).status(), StatusCode::OK);
        for path in ["/", "/cert/", "/CERT", "/healthz/../cert", "//cert", "*"] {
            assert_eq!(
                get(path, Phase::Serving).status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[test]
    fn only_reading_is_allowed() {
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let response = response_to(method, "/cert", "", Phase::Serving);
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        }
    }

    #[test]
    fn a_body_is_refused_and_ends_the_connection() {
        let response = response_to(Method::GET, "/cert", "x", Phase::Serving);
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}
