//! The plugins: what their `.info` files say, under the names that ImageFactory's clients read.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::contract::{UpstreamPlugin, UpstreamPlugins};
use super::place::Place;
use crate::daemon::App;
use crate::daemon::api::{blocking, named};
use crate::daemon::problem::Problem;
use crate::plugins::{Plugin, Registry};

/// All plugins.
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "What their `.info` files say.", body = UpstreamPlugins)),
)]
pub(super) async fn list(State(daemon): App, place: Place) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let registry = daemon.site.plugins();
        let plugins = registry.plugins().iter();
        let plugins: Vec<Value> =
            plugins.map(|plugin| document(&registry, plugin, place.below(plugin.name()))).collect();
        Ok(Json(json!({ "plugins": plugins })))
    })
    .await
}

/// A plugin.
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "What its `.info` file says.", body = UpstreamPlugin)),
)]
pub(super) async fn show(
    State(daemon): App,
    name: Result<Path<String>, PathRejection>,
    place: Place,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name?;
    blocking(move || {
        let registry = daemon.site.plugins();
        Ok(Json(document(&registry, named(&registry, &name)?, place.href())))
    })
    .await
}

/// A plugin; `ERROR` says why one cannot be used.
fn document(registry: &Registry, plugin: &Plugin, href: String) -> Value {
    let mut document = Map::new();
    if let Some(Ok(Value::Object(info))) = plugin.info().map(serde_json::to_value) {
        document.extend(info);
    }
    let status = registry.status(plugin);
    if !status.state.is_usable() {
        document.insert("ERROR".to_owned(), status.reason().into());
    }
    let own = [("_type", json!("plugin")), ("id", json!(plugin.name())), ("href", href.into())];
    document.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(document)
}
