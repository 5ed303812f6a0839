//! The OpenAPI document.
//!
//! Every route is mounted by the statement that also puts it here. What holds for all of them is added
//! in one place: [`complete`] takes who may call a route from the rule that decides it, and what a
//! request can be refused for from what the route reads.

use std::sync::LazyLock;

use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{OpenApi as _, ToSchema as _};

use crate::daemon::access;
use crate::daemon::problem::Problem;

/// Name of the security scheme that everybody can use.
const TOKEN: &str = "token";
const PROBLEM: &str = "application/problem+json";

/// What every answer says by its status, unless the route says more.
const MEANINGS: [(&str, &str); 14] = [
    ("400", "The request is wrong."),
    ("401", "Nobody knows who asks."),
    ("403", "The caller may not do this."),
    ("404", "There is no such thing."),
    ("406", "It accepts no `application/json`."),
    ("408", "The body stopped, or came too slowly."),
    ("409", "It is in use, exists already, or is not in the state for this."),
    ("412", "It was changed meanwhile."),
    ("413", "The body is too long."),
    ("415", "The body is of another media type."),
    ("416", "There is no such range."),
    ("429", "Too many requests."),
    ("500", "The daemon or its machine failed."),
    ("503", "There are too many connections."),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "imageforge",
        description = "Builds operating-system images and delivers them to clouds.",
    ),
    components(schemas(Problem)),
    tags(
        (name = "service", description = "What answers here, and whether it is well"),
        (name = "builds", description = "Requests and their place in the queue"),
        (name = "images", description = "What was built"),
        (name = "events", description = "What happens, as it happens"),
        (name = "plugins", description = "What can be built, and by whom"),
    ),
)]
struct Head;

/// The document without any route.
pub(super) fn head() -> OpenApi {
    let mut document = Head::openapi();
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of `imageforge tokens create`. Root and the daemon's own user need none at its socket.",
        ))
        .build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    }
    document
}

/// `GET /v1/openapi.json`
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub(super) async fn show() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, document) = super::routes().split_for_parts();
        complete(document).to_pretty_json().unwrap_or_default()
    });
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], TEXT.as_str()).into_response()
}

fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(&method, path, operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn complete_operation(method: &Method, path: &str, operation: &mut Operation) {
    let mut statuses = vec!["401", "429", "500", "503"];
    if let Some(scope) = access::scope_of(method, path) {
        statuses.push("403");
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, [scope.to_string()])]);
    }
    let reads = |place: &ParameterIn| {
        operation.parameters.iter().flatten().any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.parameter_in == *place,
            RefOr::Ref(_) => false,
        })
    };
    if reads(&ParameterIn::Path) {
        statuses.extend(["400", "404"]);
    }
    if reads(&ParameterIn::Query) {
        statuses.push("400");
    }
    if operation.request_body.is_some() {
        statuses.extend(["400", "408", "413", "415"]);
    }
    for status in statuses {
        let response = || RefOr::T(ResponseBuilder::new().build());
        operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let problem = Ref::from_schema_name(Problem::name());
            let content = ContentBuilder::new().schema(Some(problem)).build();
            response.content.insert(PROBLEM.to_owned(), RefOr::T(content));
        }
        if response.description.is_empty()
            && let Some((_, meaning)) = MEANINGS.iter().find(|(of, _)| of == status)
        {
            (*meaning).clone_into(&mut response.description);
        }
        let mut header = |name: &str, kind: Type, meaning: &str| {
            let schema = ObjectBuilder::new().schema_type(kind);
            let header =
                HeaderBuilder::new().schema(Some(schema)).description(Some(meaning)).build();
            response.headers.insert(name.to_owned(), RefOr::T(header));
        };
        header("X-Request-Id", Type::String, "The identifier of the request, as in the log.");
        match status.as_str() {
            "401" => header("WWW-Authenticate", Type::String, "How to say who one is."),
            "429" | "503" => header("Retry-After", Type::Integer, "When to try again, in seconds."),
            _ => {},
        }
    }
}
