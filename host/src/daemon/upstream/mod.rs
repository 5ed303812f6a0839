//! `/imagefactory`: ImageFactory's REST API 2.0, for the clients that it has.
//!
//! Routes, fields and codes are upstream's; what stands behind them is what `/v1` has. `images` holds the
//! three collections, `fields` reads the three kinds of bodies, `documents` writes what is answered, and
//! `place` is what the address of a request says; `contract` is all that for programs. Errors are problem documents.

mod contract;
mod documents;
mod fields;
mod images;
mod place;
mod plugins;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use plugin_api::Tier;
use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::Daemon;
use super::problem::Problem;
use crate::failures::{Exit, Failure};
use contract::{About, Shapes, at, of_tier};

pub(super) use documents::change;

/// Where all this is.
pub(super) const PREFIX: &str = "/imagefactory";

/// Where the images of a tier are.
const COLLECTIONS: [(Tier, &str); 6] = [
    (Tier::Base, "/base_images"),
    (Tier::Target, "/target_images"),
    (Tier::Target, "/base_images/{base}/target_images"),
    (Tier::Provider, "/provider_images"),
    (Tier::Provider, "/target_images/{target}/provider_images"),
    (Tier::Provider, "/base_images/{base}/target_images/{target}/provider_images"),
];

/// Where upstream has nothing either.
const NOT_IMPLEMENTED: [&str; 5] = [
    "/jeos/images/{id}",
    "/targets",
    "/targets/{target}",
    "/targets/{target}/providers",
    "/targets/{target}/providers/{provider}",
];

/// Everything below `/imagefactory`.
pub(super) fn routes() -> OpenApiRouter<Arc<Daemon>> {
    let mut router = OpenApiRouter::with_openapi(Shapes::openapi())
        .routes(routes!(about))
        .routes(at("/plugins", routes!(plugins::list)))
        .routes(at("/plugins/", routes!(plugins::list)))
        .routes(at("/plugins/{name}", routes!(plugins::show)))
        .routes(at("/jeos", routes!(nothing)))
        .routes(at("/jeos/images", routes!(nothing)));
    for path in NOT_IMPLEMENTED {
        router = router.routes(at(path, routes!(not_implemented)));
    }
    for (tier, collection) in COLLECTIONS {
        let image = format!("{collection}/{{{tier}}}");
        let body = format!("{image}/raw_image");
        let several = at(collection, routes!(images::list, images::create));
        let one = at(&image, routes!(images::show, images::delete));
        router = router
            .routes(of_tier(tier, several).layer(Extension(tier)))
            .routes(of_tier(tier, one).layer(Extension(tier)))
            .routes(at(&body, routes!(images::raw_image)));
    }
    router.layer(middleware::from_fn(only_json))
}

/// What answers here.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "imagefactory",
    tag = "imagefactory",
    responses((status = 200, description = "Name and versions.", body = About)),
)]
async fn about() -> Json<About> {
    let version = env!("CARGO_PKG_VERSION");
    Json(About { name: "imagefactory", version, api_version: "2.0" })
}

/// Machines that only need what a template adds: there are none.
#[utoipa::path(get, path = "/", responses((status = 200, description = "None.", body = Object)))]
async fn nothing() -> Json<Value> {
    Json(json!({}))
}

/// What ImageFactory never had.
#[utoipa::path(get, path = "/", responses((status = 501, description = "`/v1/targets` has what is meant.")))]
async fn not_implemented() -> Problem {
    let failure = Failure::new(Exit::NotFound, "ImageFactory never had this: `/v1/targets` does");
    let title = "there is nothing behind this route";
    Problem::refused(StatusCode::NOT_IMPLEMENTED, "not-implemented", title, failure)
}

/// Documents are JSON; a body is what it is.
async fn only_json(request: Request, next: Next) -> Response {
    let is_body = request.uri().path().ends_with("/raw_image");
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().peekable();
    let takes_json = |value: &HeaderValue| value.to_str().is_ok_and(names_json);
    if is_body || accepted.peek().is_none() || accepted.any(takes_json) {
        return next.run(request).await;
    }
    Problem::new(Exit::Usage, "documents are `application/json` only")
        .with_status(StatusCode::NOT_ACCEPTABLE)
        .into_response()
}

fn names_json(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(kind.as_str(), "*/*" | "application/*" | "application/json")
    })
}
