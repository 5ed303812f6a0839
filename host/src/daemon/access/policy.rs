//! Which scope a route needs.
//!
//! Rules and no table: a route that is added needs a scope from the start. Handlers that need to look
//! closer ask their [`Caller`](super::Caller).

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::tokens::Scope;

/// Routes that tell everybody what this is and whether it is alive.
const PUBLIC: [&str; 8] = [
    "/v1",
    "/v1/",
    "/v1/openapi.json",
    "/v1/health",
    "/v1/health/live",
    "/v1/health/ready",
    "/imagefactory",
    "/imagefactory/",
];

/// Figures of the service; scrapers need not see images.
const METRICS: [&str; 2] = ["/metrics", "/v1/metrics"];

/// What a request needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// That it is known who calls; there is nothing at this path.
    Caller,
    /// A scope.
    Scope(Scope),
}

/// What `method` at `path` needs, which `route` matched.
pub(super) fn need(method: &Method, route: Option<&str>, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let Some(route) = route else {
        return Need::Caller;
    };
    if reads && PUBLIC.contains(&route) {
        return Need::Nothing;
    }
    if METRICS.contains(&route) {
        return Need::Scope(Scope::PluginsRead);
    }
    let mut parts = route.split('/').skip(2);
    let scope = match (parts.next(), reads) {
        (Some("plugins"), true) => Scope::PluginsRead,
        (Some("plugins"), false) => match parts.next() {
            Some(name) if name.starts_with('{') => Scope::PluginWrite(named(path)),
            _ => Scope::PluginsWrite,
        },
        (_, true) => Scope::ImagesRead,
        (_, false) => Scope::ImagesWrite,
    };
    Need::Scope(scope)
}

/// The third part of a path.
fn named(path: &str) -> String {
    let part = path.split('/').nth(3).unwrap_or_default();
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(method: &Method, route: &str, path: &str) -> String {
        match need(method, Some(route), path) {
            Need::Scope(scope) => scope.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn reading_and_writing_need_scopes_of_their_own() {
        let (get, post, delete) = (&Method::GET, &Method::POST, &Method::DELETE);
        let image = "/v1/images/{id}";
        assert_eq!(scope(get, image, "/v1/images/1"), "images:read");
        assert_eq!(scope(&Method::HEAD, image, "/v1/images/1"), "images:read");
        assert_eq!(scope(delete, image, "/v1/images/1"), "images:write");
        assert_eq!(scope(post, "/v1/builds", "/v1/builds"), "images:write");
        assert_eq!(scope(post, "/imagefactory/base_images", ""), "images:write");
        assert_eq!(scope(get, "/imagefactory/plugins", ""), "plugins:read");
        assert_eq!(scope(get, "/metrics", "/metrics"), "plugins:read");
        assert_eq!(scope(get, "/v1/plugins/{name}", "/v1/plugins/raw"), "plugins:read");
        assert_eq!(scope(post, "/v1/plugins", "/v1/plugins"), "plugins:write");
        assert_eq!(scope(delete, "/v1/plugins/{name}", "/v1/plugins/raw"), "plugins:raw:write");
    }

    #[test]
    fn only_what_everybody_may_know_needs_nothing() {
        for route in
            ["/v1", "/v1/", "/v1/health", "/v1/health/live", "/v1/health/ready", "/imagefactory"]
        {
            assert_eq!(need(&Method::GET, Some(route), route), Need::Nothing);
            assert_ne!(need(&Method::POST, Some(route), route), Need::Nothing);
        }
        assert_eq!(need(&Method::GET, None, "/v2"), Need::Caller);
    }
}
