//! What the service is, and whether it is well.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::health::{self, Checkup};
use super::{App, blocking};
use crate::daemon::Daemon;
use crate::daemon::access::Caller;
use crate::daemon::problem::Problem;

/// What answers here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct About {
    name: &'static str,
    version: &'static str,
    api_version: &'static str,
}

/// What answers here.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "about",
    tag = "service",
    responses((status = 200, description = "Name and versions.", body = About)),
)]
pub(super) async fn about() -> Json<About> {
    Json(About { name: "imageforge", version: env!("CARGO_PKG_VERSION"), api_version: "1" })
}

/// What else is asked of health.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Also what `imageforge doctor` says.
    #[serde(default)]
    full: bool,
}

/// How the daemon is. Everything but its status is for those who may look at images.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ready`, or `stopping`.
    status: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    details: Option<Details>,
    /// What `imageforge doctor` says, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<Checkup>,
}

/// What it is busy with.
#[derive(Debug, Serialize, ToSchema)]
struct Details {
    uptime_seconds: u64,
    jobs: JobNumbers,
    /// By kind of work.
    slots: BTreeMap<&'static str, SlotNumbers>,
    plugins: Watching,
    events: EventNumbers,
}

/// Numbers of jobs.
#[derive(Debug, Serialize, ToSchema)]
struct JobNumbers {
    queued: usize,
    running: usize,
}

/// Slots of one kind of work.
#[derive(Debug, Serialize, ToSchema)]
struct SlotNumbers {
    taken: usize,
    waiting: usize,
}

/// How it learns of plugins that are linked and removed.
#[derive(Debug, Serialize, ToSchema)]
struct Watching {
    /// `kernel`, or `looking` where that cannot tell.
    watched_by: &'static str,
    /// Why the kernel cannot tell.
    blind: Option<String>,
    /// Why the plugins directory cannot be used.
    problem: Option<String>,
}

/// Where the event log is.
#[derive(Debug, Serialize, ToSchema)]
struct EventNumbers {
    /// Sequence number of the newest event.
    last: u64,
    listeners: usize,
}

/// How the daemon is, as long as it answers.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "service",
    params(Wanted),
    responses((status = 200, description = "How it is.", body = Health)),
)]
pub(super) async fn health(
    State(daemon): App,
    caller: Option<Caller>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Health>, Problem> {
    let Query(wanted) = wanted?;
    let may_look = Caller::may_look(caller.as_ref());
    blocking(move || {
        Ok(Json(Health {
            status: if daemon.queue.is_stopping() { "stopping" } else { "ready" },
            details: may_look.then(|| details(&daemon)),
            doctor: (wanted.full && may_look).then(|| health::checkup(&daemon)),
        }))
    })
    .await
}

fn details(daemon: &Daemon) -> Details {
    let slots = daemon.queue.slots().counts().into_iter().map(|slots| {
        (slots.kind.as_str(), SlotNumbers { taken: slots.taken, waiting: slots.waiting })
    });
    let blind = daemon.watch.blind();
    Details {
        uptime_seconds: daemon.started.elapsed().as_secs(),
        jobs: JobNumbers { queued: daemon.queue.length(), running: daemon.queue.running().len() },
        slots: slots.collect(),
        plugins: Watching {
            watched_by: if blind.is_some() { "looking" } else { "kernel" },
            blind,
            problem: daemon.site.problem(),
        },
        events: EventNumbers { last: daemon.feed.position(), listeners: daemon.feed.listeners() },
    }
}
