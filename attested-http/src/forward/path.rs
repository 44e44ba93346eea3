//! What a request asks the server for.
//!
//! I/O: none.

use hyper::Uri;
use hyper::http::uri::{InvalidUri, PathAndQuery};

/// Joins the target's path and query and the request's as Go's reverse proxy does: one slash
/// between the paths, `&` between the queries. Nothing is decoded or resolved.
pub(super) fn join(base: &PathAndQuery, request: &Uri) -> Result<PathAndQuery, InvalidUri> {
    let (front, back) = (base.path(), request.path());
    let path = match (front.strip_suffix('/'), back.strip_prefix('/')) {
        (Some(front), Some(_)) => format!("{front}{back}"),
        (None, None) => format!("{front}/{back}"),
        _ => format!("{front}{back}"),
    };
    let queries = [base.query(), request.query()];
    let queries: Vec<&str> = queries
        .into_iter()
        .flatten()
        .filter(|query| !query.is_empty())
        .collect();
    match queries.is_empty() {
        true => path.try_into(),
        false => format!("{path}?{}", queries.join("&")).try_into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_does() {
        for (base, request, expected) in [
            ("/", "/", "/"),
            ("/", "/cert", "/cert"),
            ("/api", "/cert", "/api/cert"),
            ("/api/", "/cert", "/api/cert"),
            ("/api", "/", "/api/"),
            ("/api/", "//x", "/api//x"),
            ("/", "//x", "//x"),
            ("/a%2Fb", "/c%2Fd?e=%20", "/a%2Fb/c%2Fd?e=%20"),
            ("/?a=1", "/x?b=2", "/x?a=1&b=2"),
            ("/?a=1", "/x", "/x?a=1"),
            ("/", "/x?b=2", "/x?b=2"),
            ("/api", "/../x", "/api/../x"),
            ("/", "http://elsewhere/x?y", "/x?y"),
        ] {
            let base: PathAndQuery = base.parse().unwrap();
            let joined = join(&base, &request.parse().unwrap()).unwrap();
            assert_eq!(joined.as_str(), expected, "{base} {request}");
        }
    }
}
