//! What the service is, and whether it is well.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, blocking, health};
use crate::daemon::Daemon;
use crate::daemon::access::Caller;
use crate::daemon::problem::Problem;
use crate::tokens::Scope;

/// `GET /v1`
pub(super) async fn about() -> Json<Value> {
    Json(json!({ "name": "imageforge", "version": env!("CARGO_PKG_VERSION"), "api_version": "1" }))
}

/// What else is asked of health.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Also what `imageforge doctor` says.
    #[serde(default)]
    full: bool,
}

/// `GET /v1/health`: 200 as long as requests are answered; details for whoever may look at images.
pub(super) async fn health(
    State(daemon): App,
    caller: Option<Caller>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted?;
    let may_look = caller.is_some_and(|caller| caller.scopes.allow(&Scope::ImagesRead));
    blocking(move || {
        let mut document = status(&daemon, may_look);
        if wanted.full && may_look {
            document["doctor"] = health::checkup(&daemon);
        }
        Ok(Json(document))
    })
    .await
}

fn status(daemon: &Daemon, may_look: bool) -> Value {
    let status = if daemon.queue.is_stopping() { "stopping" } else { "ready" };
    if !may_look {
        return json!({ "status": status });
    }
    let slots = daemon.queue.slots().counts().into_iter().map(|slots| {
        let numbers = json!({ "taken": slots.taken, "waiting": slots.waiting });
        (slots.kind.as_str().to_owned(), numbers)
    });
    let slots: serde_json::Map<String, Value> = slots.collect();
    json!({
        "status": status,
        "uptime_seconds": daemon.started.elapsed().as_secs(),
        "jobs": {
            "queued": daemon.queue.length(),
            "running": daemon.queue.running().len(),
        },
        "slots": slots,
        "plugins": {
            "watched_by": if daemon.watch.blind().is_some() { "looking" } else { "kernel" },
            "blind": daemon.watch.blind(),
            "problem": daemon.site.problem(),
        },
        "events": { "last": daemon.feed.position(), "listeners": daemon.feed.listeners() },
    })
}
