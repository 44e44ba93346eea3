use super::*;

fn path(listener: Listener, method: &str, path: &str) -> Option<(&'static str, Parameters)> {
    match find(listener, method, path) {
        Found::Route(route, parameters) => Some((route.path, parameters)),
        _ => None,
    }
}

#[test]
fn parts_of_paths_are_decoded_and_never_empty() {
    let admin = "/api/admin/v1/builders/activation";
    let (_, parameters) = path(Listener::Admin, "POST", &format!("{admin}/a%20b%2Fc")).unwrap();
    assert_eq!(parameters.named("name"), "a b/c");
    assert_eq!(parameters.named("other"), "");
    for wrong in [
        format!("{admin}/"),
        format!("{admin}/%ff"),
        format!("{admin}/a/b"),
        admin.into(),
    ] {
        assert_eq!(path(Listener::Admin, "POST", &wrong), None, "{wrong}");
    }
}

#[test]
fn a_listener_has_only_its_own_routes() {
    let configuration = "/api/l1-builder/v1/configuration";
    let internal = "/api/internal/l1-builder/v1/builders";
    assert!(path(Listener::Main, "GET", configuration).is_some());
    for listener in [Listener::Admin, Listener::Internal, Listener::Metrics] {
        assert_eq!(
            find(listener, "GET", configuration),
            Found::Nothing,
            "{listener:?}"
        );
    }
    assert!(path(Listener::Internal, "GET", internal).is_some());
    for listener in [Listener::Main, Listener::Attested, Listener::Admin] {
        assert_eq!(
            find(listener, "GET", internal),
            Found::Nothing,
            "{listener:?}"
        );
    }
    for route in routes().filter(|route| route.listeners != [Listener::Admin]) {
        let is_admin = route.auth == Auth::Admin;
        assert!(!is_admin, "{} is an admin's and elsewhere", route.path);
    }
}

#[test]
fn other_methods_are_told_apart_from_other_paths() {
    assert_eq!(find(Listener::Main, "POST", "/livez"), Found::OtherMethod);
    assert!(matches!(
        find(Listener::Main, "HEAD", "/livez"),
        Found::Route(..)
    ));
    assert_eq!(find(Listener::Main, "GET", "/livez/"), Found::Nothing);
}

#[test]
fn no_two_routes_answer_the_same_request() {
    for (index, a) in routes().enumerate() {
        for b in routes().skip(index + 1) {
            let is_same = a.method == b.method
                && a.path.split('/').count() == b.path.split('/').count()
                && a.path
                    .split('/')
                    .zip(b.path.split('/'))
                    .all(|(a, b)| a == b || a.starts_with('{') || b.starts_with('{'));
            assert!(!is_same, "{} and {}", a.path, b.path);
        }
    }
}
