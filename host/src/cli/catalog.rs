//! `targets` and `templates …`: what can be built, and from what.

use serde_json::{Value, json};

use super::args::Templates;
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use super::output::table;
use super::{inputs, report};
use crate::factory::order::{Order, Start};
use crate::plugins::{Schemas, TargetEntry};

type Done = Result<Exit, Failures>;

/// `imageforge targets [NAME]`
pub(super) fn targets(context: &Context, name: Option<&str>) -> Done {
    let backend = context.backend();
    let usable: Vec<TargetEntry> =
        backend.targets()?.into_iter().filter(|target| target.state.is_usable()).collect();
    let Some(name) = name else {
        let mut rows =
            vec![["KIND", "TARGET", "PLUGIN", "DESCRIPTION"].map(str::to_owned).to_vec()];
        rows.extend(usable.iter().map(|target| {
            vec![
                target.kind.clone(),
                target.target.clone(),
                target.plugin.clone(),
                target.description.clone().unwrap_or_default(),
            ]
        }));
        context.output.text(table(&rows));
        context.output.json(&usable);
        return Ok(Exit::Done);
    };
    let Some(target) = usable.iter().find(|target| target.is_called(name)) else {
        let known: Vec<&str> = usable.iter().map(|target| target.target.as_str()).collect();
        let hint = match crate::nearest::nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("targets: {}", known.join(", ")),
        };
        return Err(Failure::new(Exit::NoPlugin, format!("no plugin serves `{name}`"))
            .hint(hint)
            .into());
    };
    let schemas = backend.schemas(target)?;
    context.output.text(explain(target, &schemas));
    let mut document = json!(schemas);
    document["target"] = json!(target);
    context.output.json(&document);
    Ok(Exit::Done)
}

fn explain(target: &TargetEntry, schemas: &Schemas) -> String {
    let plugin = &target.plugin;
    let mut lines = vec![format!("{} ({}), plugin `{plugin}`", target.target, target.kind)];
    lines.extend(target.description.clone());
    match &schemas.parameters {
        Some(schema) => form("parameters:", schema, &mut lines),
        None => lines.push("its plugin declares no parameters".to_owned()),
    }
    if let Some(schema) = &schemas.configuration {
        form(&format!("settings, below `[plugin.{plugin}]`:"), schema, &mut lines);
    }
    if let Some(schema) = &schemas.provider {
        form("provider:", schema, &mut lines);
    }
    if let Some(schema) = &schemas.credentials {
        form("credentials:", schema, &mut lines);
    }
    lines.join("\n")
}

/// What a schema says, one line for each of its properties.
fn form(heading: &str, schema: &Value, lines: &mut Vec<String>) {
    let none = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let description = schema["description"].as_str();
    match (description, properties.is_empty()) {
        (Some(text), _) => lines.push(format!("{heading} {text}")),
        (None, true) => lines.push(format!("{heading} none")),
        (None, false) => lines.push(heading.to_owned()),
    }
    let required = |name: &str| {
        let names = schema["required"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).any(|required| required == name)
    };
    for (name, schema) in properties {
        let mut line = format!("  {name}");
        let kind = match (&schema["enum"], &schema["type"]) {
            (Value::Array(values), _) => values.iter().map(plain).collect::<Vec<_>>().join("|"),
            (_, Value::Array(kinds)) => kinds.iter().map(plain).collect::<Vec<_>>().join(" or "),
            (_, kind) => plain(kind),
        };
        let is_secret = schema["x-secret"] == true;
        let marks = [
            Some(kind.as_str()).filter(|kind| !kind.is_empty()),
            is_secret.then_some("secret"),
            required(name).then_some("required"),
        ];
        let marks: Vec<&str> = marks.into_iter().flatten().collect();
        if !marks.is_empty() {
            line.extend([" (", &marks.join(", "), ")"]);
        }
        if let Some(text) = schema["description"].as_str() {
            line.extend([": ", text]);
        }
        if !schema["default"].is_null() && !is_secret {
            line.extend([" [default: ", &plain(&schema["default"]), "]"]);
        }
        lines.push(line);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `imageforge templates check`
pub(super) fn templates(context: &Context, command: &Templates) -> Done {
    let Templates::Check { file, targets, parameters } = command;
    let loaded = inputs::template(file)?;
    for warning in &loaded.warnings {
        context.output.note(format!("warning: {warning}"));
    }
    let mut order = Order::new(Start::Template(Box::new(loaded)));
    order.targets.clone_from(targets);
    order.parameters = inputs::parameters(parameters)?;
    let plan = context.backend().plan(order, &Interrupt::listen()?)?;
    context.output.text(report::plan(&plan)?);
    context.output.json(&plan);
    Ok(Exit::Done)
}
