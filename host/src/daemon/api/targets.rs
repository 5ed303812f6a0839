//! `/v1/targets` and `/v1/plugins`: what can be built, and by which plugin.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{App, blocking};
use crate::daemon::problem::Problem;
use crate::failures::Exit;
use crate::plugins::{Plugin, Registry};

/// `GET /v1/targets`
pub(super) async fn list(State(daemon): App) -> Result<Json<Value>, Problem> {
    blocking(move || Ok(Json(json!({ "targets": daemon.site.plugins().targets() })))).await
}

/// `GET /v1/targets/{name}`: with the schema of its plugin's parameters.
pub(super) async fn show(
    State(daemon): App,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name?;
    blocking(move || {
        let registry = daemon.site.plugins();
        let found = registry.targets().into_iter().find(|target| target.is_called(&name));
        let Some(target) = found else {
            return Err(Problem::new(Exit::NotFound, format!("no plugin serves `{name}`")));
        };
        let parameters = registry.parameters_of(&target);
        Ok(Json(json!({ "target": target, "parameters": parameters })))
    })
    .await
}

/// `GET /v1/plugins`
pub(super) async fn plugins(State(daemon): App) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let registry = daemon.site.plugins();
        let plugins: Vec<Value> =
            registry.plugins().iter().map(|plugin| registry.describe(plugin)).collect();
        Ok(Json(json!({ "plugins": plugins })))
    })
    .await
}

/// `GET /v1/plugins/{name}`
pub(super) async fn plugin(
    State(daemon): App,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name?;
    blocking(move || {
        let registry = daemon.site.plugins();
        Ok(Json(registry.describe(named(&registry, &name)?)))
    })
    .await
}

/// The plugin of this name.
///
/// # Errors
/// There is none.
pub(in crate::daemon) fn named<'r>(
    registry: &'r Registry,
    name: &str,
) -> Result<&'r Plugin, Problem> {
    let unknown = || Problem::new(Exit::NotFound, format!("there is no plugin `{name}`"));
    registry.plugin(name).ok_or_else(unknown)
}
