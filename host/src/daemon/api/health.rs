//! `/v1/health/live` and `/v1/health/ready`: for whoever restarts the daemon or sends it requests.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, blocking};
use crate::daemon::access::Caller;
use crate::daemon::problem::Problem;
use crate::daemon::{Daemon, metrics};
use crate::doctor::{Check, State as CheckState, Subject, examine};
use crate::factory::{MIN_FREE_BYTES, Surroundings};

/// Media type of figures.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Something that must be so for requests to be accepted.
#[derive(Debug, Serialize, ToSchema)]
struct Condition {
    /// `queue`, `store`, `disk-space` or `plugins`.
    name: &'static str,
    ok: bool,
    /// What is wrong, for those who may look at images.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Whether requests are answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Liveness {
    /// `alive`
    status: &'static str,
}

/// Whether builds are accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready`, or `not-ready`.
    status: &'static str,
    /// What must be so.
    conditions: Vec<Condition>,
}

/// What `imageforge doctor` says: how many checks are how, and those that are not as they should be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checkup {
    ok: usize,
    warning: usize,
    problem: usize,
    absent: usize,
    found: Vec<Check>,
}

/// That requests are answered.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "live",
    tag = "service",
    responses((status = 200, description = "They are.", body = Liveness)),
)]
pub(super) async fn live() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Whether builds are accepted, and if not, every reason.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "ready",
    tag = "service",
    responses(
        (status = 200, description = "They are.", body = Readiness),
        (status = 503, description = "They are not.", body = Readiness),
    ),
)]
pub(super) async fn ready(State(daemon): App, caller: Option<Caller>) -> Result<Response, Problem> {
    let may_look = Caller::may_look(caller.as_ref());
    blocking(move || {
        let mut conditions = conditions(&daemon);
        if !may_look {
            for condition in &mut conditions {
                condition.problem = None;
            }
        }
        let is_ready = conditions.iter().all(|condition| condition.ok);
        let (code, status) = if is_ready {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not-ready")
        };
        Ok((code, Json(Readiness { status, conditions })).into_response())
    })
    .await
}

fn conditions(daemon: &Daemon) -> Vec<Condition> {
    let is_stopping = daemon.queue.is_stopping();
    let accepting = if is_stopping { Err("the daemon is stopping".to_owned()) } else { Ok(()) };
    let store = daemon.store.check_writable().map_err(|error| error.to_string());
    let space = match daemon.store.free_bytes() {
        Ok(free) if free < MIN_FREE_BYTES => Err(format!("only {} MiB are free", free >> 20)),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let plugins = match daemon.site.problem() {
        Some(problem) => Err(problem),
        None => fs_err::read_dir(daemon.site.plugins_dir()).map(drop).map_err(|e| e.to_string()),
    };
    let audit = match daemon.access.audit_problem(&daemon.site.settings().serve) {
        Some(problem) => Err(format!("the audit log is not written: {problem}")),
        None => Ok(()),
    };
    let all = [
        ("queue", accepting),
        ("store", store),
        ("disk-space", space),
        ("plugins", plugins),
        ("audit-log", audit),
    ];
    all.into_iter()
        .map(|(name, found)| Condition { name, ok: found.is_ok(), problem: found.err() })
        .collect()
}

/// Everything that `imageforge doctor` looks at.
pub(super) fn checkup(daemon: &Daemon) -> Checkup {
    let report = examine(&Subject {
        plugins: daemon.site.registry_options().clone(),
        settings: (*daemon.site.settings()).clone(),
        data_dir: daemon.store.data_dir().to_owned(),
        source_date_epoch: None,
    });
    let of = |state| report.checks.iter().filter(|check| check.state == state).count();
    let found = |check: &&Check| matches!(check.state, CheckState::Warning | CheckState::Problem);
    Checkup {
        ok: of(CheckState::Ok),
        warning: of(CheckState::Warning),
        problem: of(CheckState::Problem),
        absent: of(CheckState::Absent),
        found: report.checks.iter().filter(found).cloned().collect(),
    }
}

/// Figures of the daemon, in the text format of OpenMetrics.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "service",
    responses((status = 200, description = "The figures.", body = String, content_type = OPEN_METRICS)),
)]
pub(super) async fn figures(State(daemon): App) -> Result<Response, Problem> {
    let text = blocking(move || metrics::text(&daemon)).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// The same where Prometheus looks for it.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics_at_root",
    tag = "service",
    responses((status = 200, description = "The figures.", body = String, content_type = OPEN_METRICS)),
)]
pub(super) async fn figures_at_root(daemon: App) -> Result<Response, Problem> {
    figures(daemon).await
}
