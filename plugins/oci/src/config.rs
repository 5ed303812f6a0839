//! The configuration of an image: how a container of it runs, and what it came from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plugin_api::Template;
use serde_json::{Map, Value, json};

use crate::documents::{Annotations, Platform};
use crate::settings::Settings;

/// What the configuration says about the layer.
pub(crate) struct Layer<'a> {
    /// Digest of the unpacked archive.
    pub(crate) diff_id: &'a str,
    /// In seconds since 1970.
    pub(crate) created: i64,
}

/// The configuration as a document, which the OCI's and Docker's readers share.
pub(crate) fn config(settings: &Settings, template: &Template, layer: &Layer<'_>) -> Value {
    let created = time(layer.created);
    let platform = platform(settings, template);
    let mut config = Map::new();
    put(&mut config, "created", created.clone().into());
    put(&mut config, "architecture", platform.architecture.into());
    if let Some(variant) = platform.variant {
        put(&mut config, "variant", variant.into());
    }
    put(&mut config, "os", platform.os.into());
    put(&mut config, "config", container(settings, template, &created));
    put(&mut config, "rootfs", json!({ "type": "layers", "diff_ids": [layer.diff_id] }));
    let mut step =
        json!({ "created": created, "created_by": format!("imageforge: {}", template.name) });
    if let Some(comment) = &settings.comment {
        step["comment"] = comment.as_str().into();
    }
    put(&mut config, "history", json!([step]));
    Value::Object(config)
}

fn container(settings: &Settings, template: &Template, created: &str) -> Value {
    let mut container = Map::new();
    let set = |names: &[String]| -> Value {
        let mut names = names.to_vec();
        names.sort();
        Value::Object(names.into_iter().map(|name| (name, json!({}))).collect())
    };
    if let Some(user) = &settings.user {
        put(&mut container, "User", user.as_str().into());
    }
    if !settings.ports.is_empty() {
        put(&mut container, "ExposedPorts", set(&settings.ports));
    }
    put(&mut container, "Env", json!(settings.environment));
    if !settings.entry_point.is_empty() {
        put(&mut container, "Entrypoint", json!(settings.entry_point));
    }
    if !settings.command.is_empty() {
        put(&mut container, "Cmd", json!(settings.command));
    }
    if !settings.volumes.is_empty() {
        put(&mut container, "Volumes", set(&settings.volumes));
    }
    if let Some(folder) = &settings.working_dir {
        put(&mut container, "WorkingDir", folder.as_str().into());
    }
    let mut labels = about(template, created);
    labels.extend(settings.labels.clone());
    put(&mut container, "Labels", json!(labels));
    if let Some(signal) = &settings.stop_signal {
        put(&mut container, "StopSignal", signal.as_str().into());
    }
    Value::Object(container)
}

/// What the template says about the image, by the OCI's names.
pub(crate) fn about(template: &Template, created: &str) -> Annotations {
    let mut about = Annotations::new();
    let mut say = |name: &str, value: &str| {
        about.insert(format!("org.opencontainers.image.{name}"), value.to_owned());
    };
    say("created", created);
    say("title", &template.name);
    if let Some(description) = &template.description {
        say("description", description);
    }
    about
}

/// What the image runs on, by Go's names of architectures.
pub(crate) fn platform(settings: &Settings, template: &Template) -> Platform {
    let (architecture, variant) = match template.os.arch.as_str() {
        "x86_64" | "amd64" | "" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "aarch64" | "arm64" => ("arm64", Some("v8")),
        "armv7l" | "armv7hl" | "armhf" => ("arm", Some("v7")),
        "armv5tel" | "armel" => ("arm", Some("v5")),
        "ppc64el" => ("ppc64le", None),
        other => (other, None),
    };
    Platform {
        architecture: architecture.to_owned(),
        os: settings.os.clone(),
        variant: variant.map(str::to_owned),
        other: BTreeMap::new(),
    }
}

/// RFC 3339; a time that no calendar has becomes 1970.
pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}
