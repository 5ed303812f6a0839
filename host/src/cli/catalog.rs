//! `targets` and `templates …`: what can be built, and from what.

use serde_json::{Value, json};

use super::args::Templates;
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use super::output::table;
use super::{inputs, report};
use crate::factory::order::{Order, Start};
use crate::plugins::TargetEntry;

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
    let schema = backend.parameters(target)?;
    context.output.text(explain(target, schema.as_ref()));
    context.output.json(&json!({ "target": target, "parameters": schema }));
    Ok(Exit::Done)
}

fn explain(target: &TargetEntry, schema: Option<&Value>) -> String {
    let mut lines =
        vec![format!("{} ({}), plugin `{}`", target.target, target.kind, target.plugin)];
    lines.extend(target.description.clone());
    let Some(properties) = schema.and_then(|schema| schema["properties"].as_object()) else {
        lines.push("its plugin declares no parameters".to_owned());
        return lines.join("\n");
    };
    lines.push("parameters:".to_owned());
    for (name, schema) in properties {
        let mut line = format!("  {name}");
        let kind = match (&schema["enum"], &schema["type"]) {
            (Value::Array(values), _) => values.iter().map(plain).collect::<Vec<_>>().join("|"),
            (_, Value::Array(kinds)) => kinds.iter().map(plain).collect::<Vec<_>>().join(" or "),
            (_, kind) => plain(kind),
        };
        if !kind.is_empty() {
            line.extend([" (", &kind, ")"]);
        }
        if let Some(text) = schema["description"].as_str() {
            line.extend([": ", text]);
        }
        if !schema["default"].is_null() {
            line.extend([" [default: ", &plain(&schema["default"]), "]"]);
        }
        lines.push(line);
    }
    lines.join("\n")
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
