//! The OpenAPI document.
//!
//! Every route is mounted by the statement that also puts it here. What holds for all of them is added
//! in one place: [`complete`] takes who may call a route from the rule that decides it, and what a
//! request can be refused for from what the route reads.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method};
use axum::response::IntoResponse;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
};
use utoipa::{OpenApi as _, ToSchema as _};

use crate::daemon::access;
use crate::daemon::problem::Problem;
use crate::daemon::upstream::PREFIX;
use crate::images::Event;

/// Name of the security scheme that everybody can use.
const TOKEN: &str = "token";
/// Name of the one for clients of ImageFactory.
const OAUTH: &str = "oauth1";
const PROBLEM: &str = "application/problem+json";

/// Answers that many routes have: status, name in the document, meaning.
const SHARED: [(&str, &str, &str); 14] = [
    ("400", "Wrong", "The request is wrong."),
    ("401", "Unauthenticated", "Nobody knows who asks."),
    ("403", "Forbidden", "The caller may not do this."),
    ("404", "NotFound", "There is no such thing."),
    ("406", "NotAcceptable", "It accepts no `application/json`."),
    ("408", "TooSlow", "The body stopped, or came too slowly."),
    ("409", "Conflict", "It is in use, exists already, or is not in the state for this."),
    ("412", "Changed", "It was changed meanwhile."),
    ("413", "TooLong", "The body is too long."),
    ("415", "UnsupportedMediaType", "The body is of another media type."),
    ("416", "NoRange", "There is no such range."),
    ("429", "RateLimited", "Too many requests."),
    ("500", "Internal", "The daemon or its machine failed."),
    ("503", "TooManyConnections", "There are too many connections."),
];
/// The header that every answer has.
const REQUEST_ID: &str = "X-Request-Id";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "imageforge",
        description = "Builds operating-system images and delivers them to clouds.",
    ),
    components(schemas(Problem, Event)),
    tags(
        (name = "service", description = "What answers here, and whether it is well"),
        (name = "builds", description = "Requests and their place in the queue"),
        (name = "images", description = "What was built"),
        (name = "events", description = "What happens, as it happens"),
        (name = "plugins", description = "What can be built, and by whom"),
        (name = "imagefactory", description = "ImageFactory's REST API 2.0, for the clients that it has"),
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
    let Some(components) = &mut document.components else { return document };
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    let signature = "A signature of OAuth 1.0a with two legs, of a configured consumer.";
    let signature = ApiKey::Header(ApiKeyValue::with_description("Authorization", signature));
    components.add_security_scheme(OAUTH, SecurityScheme::ApiKey(signature));
    let id = header(Type::String, "The identifier of the request, as in the log.");
    components.headers.insert(REQUEST_ID.to_owned(), RefOr::T(id));
    for (status, name, meaning) in SHARED {
        let mut response = ResponseBuilder::new().description(meaning);
        response =
            match status {
                "401" => response
                    .header("WWW-Authenticate", header(Type::String, "How to say who one is.")),
                "416" => response
                    .header("Content-Range", header(Type::String, "How many bytes there are.")),
                _ => response,
            };
        let mut response = response.build();
        complete_response(status, &mut response);
        components.responses.insert(name.to_owned(), RefOr::T(response));
    }
    document
}

fn header(kind: Type, meaning: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind);
    HeaderBuilder::new().schema(Some(schema)).description(Some(meaning)).build()
}

/// `GET /v1/openapi.json`
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub(super) async fn show() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, document) = super::routes().split_for_parts();
        complete(document).to_pretty_json().unwrap_or_default()
    });
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], TEXT.as_str())
}

fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(&method, path, operation);
        }
    }
    document
}

/// A parameter or a body that is there is never `null`.
fn present(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let [one, Type::Null] = types.as_slice()
            {
                object.schema_type = SchemaType::Type(one.clone());
            }
            RefOr::T(Schema::Object(object))
        },
        RefOr::T(Schema::OneOf(mut one_of)) if one_of.items.len() == 2 => {
            match one_of.items.pop() {
                Some(schema) => schema,
                None => RefOr::T(Schema::OneOf(one_of)),
            }
        },
        schema => schema,
    }
}

/// The methods of a route.
pub(in crate::daemon) fn operations(
    item: &mut PathItem,
) -> impl Iterator<Item = (Method, &mut Operation)> {
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
        let scopes = [scope.to_string()];
        let mut security = vec![SecurityRequirement::new(TOKEN, &scopes)];
        if path.starts_with(PREFIX) {
            security.push(SecurityRequirement::new(OAUTH, &scopes));
        }
        operation.security = Some(security);
    }
    if path.starts_with(PREFIX) && !path.ends_with("/raw_image") {
        statuses.push("406");
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.schema = parameter.schema.take().map(present);
        }
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
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content {
                content.schema = content.schema.take().map(present);
            }
        }
        statuses.extend(["400", "408", "413", "415"]);
    }
    for status in statuses {
        let response = || RefOr::T(ResponseBuilder::new().build());
        operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(own) = response else { continue };
        let shared = SHARED.iter().find(|(of, ..)| of == status);
        match shared.filter(|_| own.description.is_empty()) {
            Some((_, name, _)) => *response = RefOr::Ref(Ref::from_response_name(*name)),
            None => complete_response(status, own),
        }
    }
}

/// Failures are told in problem documents; every answer has the identifier of its request.
fn complete_response(status: &str, response: &mut Response) {
    if status.starts_with(['4', '5']) && response.content.is_empty() {
        let problem = Ref::from_schema_name(Problem::name());
        let content = ContentBuilder::new().schema(Some(problem)).build();
        response.content.insert(PROBLEM.to_owned(), RefOr::T(content));
    }
    if matches!(status, "429" | "503") {
        let after = header(Type::Integer, "When to try again, in seconds, if that is known.");
        response.headers.insert("Retry-After".to_owned(), RefOr::T(after));
    }
    let id = Ref::new(format!("#/components/headers/{REQUEST_ID}"));
    response.headers.insert(REQUEST_ID.to_owned(), RefOr::Ref(id));
}
