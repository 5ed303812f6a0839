//! `/v1/targets` and `/v1/plugins`: what can be built, and by which plugin.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, blocking};
use crate::daemon::problem::Problem;
use crate::failures::Exit;
use crate::plugins::{Plugin, PluginDocument, Registry, Schemas, TargetEntry};

/// What can be built.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Targets {
    targets: Vec<TargetEntry>,
}

/// A target, and what its plugin may be told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Target {
    target: TargetEntry,
    #[serde(flatten)]
    schemas: Schemas,
}

/// All plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugins {
    plugins: Vec<PluginDocument>,
}

/// What can be built, and by which plugin.
#[utoipa::path(
    get,
    path = "/targets",
    operation_id = "list_targets",
    tag = "plugins",
    responses((status = 200, description = "Operating systems, then clouds.", body = Targets)),
)]
pub(super) async fn list(State(daemon): App) -> Result<Json<Targets>, Problem> {
    blocking(move || Ok(Json(Targets { targets: daemon.site.plugins().targets() }))).await
}

/// A target, with JSON Schemas of parameters, settings, provider and credentials.
#[utoipa::path(
    get,
    path = "/targets/{name}",
    operation_id = "show_target",
    tag = "plugins",
    params(("name" = String, Path, description = "The target, or its first word.")),
    responses((status = 200, description = "The target.", body = Target)),
)]
pub(super) async fn show(
    State(daemon): App,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Target>, Problem> {
    let Path(name) = name?;
    blocking(move || {
        let registry = daemon.site.plugins();
        let found = registry.targets().into_iter().find(|target| target.is_called(&name));
        let Some(target) = found else {
            return Err(Problem::new(Exit::NotFound, format!("no plugin serves `{name}`")));
        };
        let schemas = registry.schemas_of(&target);
        Ok(Json(Target { target, schemas }))
    })
    .await
}

/// All plugins: state, reasons, hints.
#[utoipa::path(
    get,
    path = "/plugins",
    operation_id = "list_plugins",
    tag = "plugins",
    responses((status = 200, description = "In the order in which they are asked.", body = Plugins)),
)]
pub(super) async fn plugins(State(daemon): App) -> Result<Json<Plugins>, Problem> {
    blocking(move || {
        let registry = daemon.site.plugins();
        let plugins = registry.plugins().iter().map(|plugin| registry.describe(plugin)).collect();
        Ok(Json(Plugins { plugins }))
    })
    .await
}

/// A plugin: state, reasons, hints, and what its probe said.
#[utoipa::path(
    get,
    path = "/plugins/{name}",
    operation_id = "show_plugin",
    tag = "plugins",
    params(("name" = String, Path, description = "The name of its `.info` file.")),
    responses((status = 200, description = "The plugin.", body = PluginDocument)),
)]
pub(super) async fn plugin(
    State(daemon): App,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PluginDocument>, Problem> {
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
