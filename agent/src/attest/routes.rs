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

use attested_http::body::{self, Body};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

/// Answers `request`.
///
/// The certificate was made by this process; the request comes from anybody and its body is not
/// read, nor is a request with a body obeyed.
pub(super) fn respond<B: hyper::body::Body>(
    request: &Request<B>,
    certificate: &Bytes,
    is_draining: bool,
) -> Response<Body> {
    let has_body = !request.body().is_end_stream();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);

    let mut response = match request.uri().path() {
        "/cert" | "/healthz" if !is_read => {
            let mut response = body::failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "use GET or HEAD",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/cert" | "/healthz" if has_body => body::failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_not_accepted",
            "send no body",
        ),
        "/cert" => success("application/x-pem-file", certificate.clone()),
        "/healthz" if is_draining => body::failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "this server is stopping",
        ),
        "/healthz" => success("text/plain", Bytes::from_static(b"ok\n")),
        _ => body::failure(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is /cert and /healthz",
        ),
    };

    // A body that nobody reads would be taken for the next request. HTTP/2 has frames for both.
    if (is_draining || has_body) && request.version() < Version::HTTP_2 {
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

fn success(content_type: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(body::full(content));
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    const CERTIFICATE: Bytes = Bytes::from_static(b"-----BEGIN CERTIFICATE-----\n");

    fn response_to(
        method: Method,
        uri: &str,
        body: &'static str,
        is_draining: bool,
    ) -> Response<Body> {
        let body = Full::new(Bytes::from_static(body.as_bytes()));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .unwrap();
        respond(&request, &CERTIFICATE, is_draining)
    }

    fn get(uri: &str, is_draining: bool) -> Response<Body> {
        response_to(Method::GET, uri, "", is_draining)
    }

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn certificate_as_pem() {
        let response = get("/cert", false);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-pem-file");
        assert!(!response.headers().contains_key(CONNECTION));
        assert_eq!(body(response).await, CERTIFICATE);
    }

    #[tokio::test]
    async fn healthy_until_draining() {
        let response = get("/healthz", false);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response).await, "ok\n");

        let response = get("/healthz", true);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONNECTION], "close");
        let body = body(response).await;
        assert_eq!(
            body,
            "{\"code\":\"draining\",\"message\":\"this server is stopping\"}\n"
        );
        assert_eq!(get("/cert", true).status(), StatusCode::OK);
    }

    #[test]
    fn queries_are_ignored_and_other_paths_unknown() {
        assert_eq!(get("/cert?x=1", false).status(), StatusCode::OK);
        for path in ["/", "/cert/", "/CERT", "/healthz/../cert", "//cert", "*"] {
            assert_eq!(get(path, false).status(), StatusCode::NOT_FOUND, "{path}");
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
            let response = response_to(method, "/cert", "", false);
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        }
    }

    #[test]
    fn a_body_is_refused_and_ends_the_connection() {
        let response = response_to(Method::GET, "/cert", "x", false);
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}
