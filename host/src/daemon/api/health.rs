//! `/v1/health/live` and `/v1/health/ready`: for whoever restarts the daemon or sends it requests.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::{App, blocking};
use crate::daemon::access::Caller;
use crate::daemon::problem::Problem;
use crate::daemon::{Daemon, metrics};
use crate::doctor::{Check, State as CheckState, Subject, examine};
use crate::factory::Surroundings;
use crate::tokens::Scope;

/// Less free space than this is too little for anything, in bytes.
const LEAST_FREE_BYTES: u64 = 256 << 20;

/// Something that must be so for requests to be accepted.
#[derive(Debug, Serialize)]
struct Condition {
    name: &'static str,
    ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// `GET /v1/health/live`: 200 as long as requests are answered.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /v1/health/ready`: 200 when builds are accepted, else 503, with every reason for whoever may look
/// at images.
pub(super) async fn ready(State(daemon): App, caller: Option<Caller>) -> Result<Response, Problem> {
    let may_look = caller.is_some_and(|caller| caller.scopes.allow(&Scope::ImagesRead));
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
        let document = json!({ "status": status, "conditions": conditions });
        Ok((code, Json(document)).into_response())
    })
    .await
}

fn conditions(daemon: &Daemon) -> Vec<Condition> {
    let is_stopping = daemon.queue.is_stopping();
    let accepting = if is_stopping { Err("the daemon is stopping".to_owned()) } else { Ok(()) };
    let store = daemon.store.check_writable().map_err(|error| error.to_string());
    let space = match daemon.store.free_bytes() {
        Ok(free) if free < LEAST_FREE_BYTES => Err(format!("only {} MiB are free", free >> 20)),
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

/// What `imageforge doctor` says: how many checks are how, and those that are not as they should be.
pub(super) fn checkup(daemon: &Daemon) -> Value {
    let report = examine(&Subject {
        plugins: daemon.site.registry_options().clone(),
        data_dir: daemon.store.data_dir().to_owned(),
        source_date_epoch: None,
    });
    let of = |state| report.checks.iter().filter(|check| check.state == state).count();
    let found = |check: &&Check| matches!(check.state, CheckState::Warning | CheckState::Problem);
    json!({
        "ok": of(CheckState::Ok),
        "warning": of(CheckState::Warning),
        "problem": of(CheckState::Problem),
        "absent": of(CheckState::Absent),
        "found": report.checks.iter().filter(found).collect::<Vec<_>>(),
    })
}

/// `GET /metrics`
pub(super) async fn figures(State(daemon): App) -> Result<Response, Problem> {
    let text = blocking(move || metrics::text(&daemon)).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
