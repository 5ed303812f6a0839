//! The routes.
//!
//! `/v1` is the interface; one module per kind of thing. `/imagefactory` is [`upstream`](super::upstream).
//! Every handler asks the store or the queue in a thread that may block, and answers JSON, or a
//! [`Problem`].

mod builds;
mod document;
mod events;
mod file;
mod health;
mod images;
mod jobs;
mod service;
mod targets;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use tokio::sync::Semaphore;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::problem::Problem;
use super::{App, Daemon, access, connections, requests, upstream};
use crate::factory::Surroundings;
use crate::failures::Exit;

pub(super) use document::operations;
pub(super) use file::{File, RANGE};
pub(super) use images::image_body;
pub(super) use targets::named;

/// Requests that are planned at once, for each processor: most of the time of a plan is waiting.
const PLANS_PER_PROCESSOR: usize = 8;

/// Everything that is answered, as it is written down.
fn routes() -> OpenApiRouter<Arc<Daemon>> {
    let v1 = OpenApiRouter::new()
        .routes(routes!(service::about))
        .routes(routes!(document::show))
        .routes(routes!(service::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::figures))
        .routes(routes!(builds::create))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(images::list))
        .routes(routes!(uploads::create).layer(DefaultBodyLimit::disable()))
        .routes(routes!(images::show, images::delete))
        .routes(routes!(images::cancel))
        .routes(routes!(images::log))
        .routes(routes!(events::of_image))
        .routes(routes!(images::body))
        .routes(routes!(images::artifact))
        .routes(routes!(events::of_all))
        .routes(routes!(targets::list))
        .routes(routes!(targets::show))
        .routes(routes!(targets::plugins))
        .routes(routes!(targets::plugin));
    OpenApiRouter::with_openapi(document::head())
        .nest("/v1", v1)
        .routes(routes!(health::figures_at_root))
        .nest(upstream::PREFIX, upstream::routes())
}

/// Everything that is answered.
pub(super) fn router(daemon: Arc<Daemon>) -> Router {
    let max_body_bytes = daemon.site.settings().serve.max_body_bytes();
    let (routes, _) = routes().split_for_parts();
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), access::admit))
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), connections::hurry))
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), requests::note))
        .with_state(daemon)
}

async fn no_route(uri: Uri) -> Problem {
    Problem::new(Exit::NotFound, format!("there is no `{}` here", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(Exit::Usage, format!("`{}` does not take {method}", uri.path()))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Does what may block, such as asking the store, where it holds up nobody else.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(Exit::Internal, "the request ended in a defect of the daemon")),
    }
}

/// How many requests are planned at once.
pub(super) fn places_to_plan() -> Arc<Semaphore> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(PLANS_PER_PROCESSOR * processors))
}

/// The same for what makes a plan. That starts processes, and asks providers, which may be slow; those who
/// wait for their turn take no thread away from others.
pub(super) async fn planning<T: Send + 'static>(
    daemon: Arc<Daemon>,
    work: impl FnOnce(&Arc<Daemon>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(&daemon.planning).acquire_owned().await;
    blocking(move || {
        let answer = work(&daemon);
        // Whoever asked may be gone meanwhile; the place is free when the work is done.
        drop(place);
        answer
    })
    .await
}

impl From<JsonRejection> for Problem {
    fn from(refused: JsonRejection) -> Self {
        let status = match refused.status() {
            // It reads, and is not what is wanted: the same to whoever sent it.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self::new(Exit::InvalidInput, refused.body_text()).with_status(status)
    }
}

impl From<QueryRejection> for Problem {
    fn from(refused: QueryRejection) -> Self {
        Self::new(Exit::Usage, refused.body_text()).with_status(refused.status())
    }
}

impl From<PathRejection> for Problem {
    fn from(refused: PathRejection) -> Self {
        Self::new(Exit::Usage, refused.body_text()).with_status(refused.status())
    }
}
