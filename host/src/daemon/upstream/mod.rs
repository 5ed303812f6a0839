//! `/imagefactory`: ImageFactory's REST API 2.0, for the clients that it has.
//!
//! Routes, fields and codes are upstream's; what stands behind them is what `/v1` has. `images` holds the
//! three collections, `fields` reads the three kinds of bodies, `documents` writes what is answered, and
//! `place` is what the address of a request says. Errors are problem documents.

mod documents;
mod fields;
mod images;
mod place;
mod plugins;

use std::sync::Arc;

use axum::extract::{Extension, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use plugin_api::Tier;
use serde_json::{Value, json};

use super::Daemon;
use super::problem::Problem;
use crate::failures::Exit;

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

/// Everything below `/imagefactory`.
pub(super) fn router() -> Router<Arc<Daemon>> {
    let mut router = Router::new()
        .route("/", get(about))
        .route("/plugins", get(plugins::list))
        .route("/plugins/", get(plugins::list))
        .route("/plugins/{name}", get(plugins::show))
        .route("/jeos", get(nothing))
        .route("/jeos/images", get(nothing))
        .route("/jeos/images/{id}", get(not_implemented))
        .route("/targets", get(not_implemented))
        .route("/targets/{target}", get(not_implemented))
        .route("/targets/{target}/providers", get(not_implemented))
        .route("/targets/{target}/providers/{provider}", get(not_implemented));
    for (tier, collection) in COLLECTIONS {
        let image = format!("{collection}/{{{tier}}}");
        let body = format!("{image}/raw_image");
        router = router
            .route(collection, get(images::list).post(images::create).layer(Extension(tier)))
            .route(&image, get(images::show).delete(images::delete).layer(Extension(tier)))
            .route(&body, get(images::raw_image));
    }
    router.layer(middleware::from_fn(only_json))
}

/// `GET /imagefactory`
async fn about() -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "name": "imagefactory", "version": version, "api_version": "2.0" }))
}

/// Machines that only need what a template adds: there are none.
async fn nothing() -> Json<Value> {
    Json(json!({}))
}

async fn not_implemented() -> Problem {
    Problem::new(Exit::NotFound, "ImageFactory never had this: `/v1/targets` does")
        .with_status(StatusCode::NOT_IMPLEMENTED)
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
