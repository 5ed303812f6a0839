//! `targets`, `templates …` and `plugins …`: what can be built, by what, and what is wrong.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::args::{Plugins, Templates};
use super::build;
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::output::table;
use super::{inputs, report};
use crate::factory::order::{Order, Start};
use crate::plugins::{Plugin, PluginState, Registry, TargetEntry};

type Done = Result<Exit, Failures>;

/// `imageforge targets [NAME]`
pub(super) fn targets(context: &Context, name: Option<&str>) -> Done {
    let registry = context.registry()?;
    let usable: Vec<TargetEntry> =
        registry.targets().into_iter().filter(|target| target.state.is_usable()).collect();
    let Some(name) = name else {
        let mut rows =
            vec![["KIND", "TARGET", "PLUGIN", "DESCRIPTION"].map(str::to_owned).to_vec()];
        rows.extend(usable.iter().map(|target| {
            vec![
                target.kind.to_owned(),
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
    let schema = registry.parameters_of(target);
    context.output.text(explain(target, schema));
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
    let plan = build::plan(context, order)?;
    context.output.text(report::plan(&plan));
    context.output.json(&plan);
    Ok(Exit::Done)
}

/// Dispatches `plugins …`.
pub(super) fn plugins(context: &Context, command: &Plugins) -> Done {
    match command {
        Plugins::List => {
            let registry = context.registry()?;
            registry.probe_all(false);
            context.output.text(list(&registry));
            let all: Vec<Value> =
                registry.plugins().iter().map(|plugin| registry.describe(plugin)).collect();
            context.output.json(&all);
            Ok(Exit::Done)
        },
        Plugins::Show { name } => {
            let registry = context.registry()?;
            let plugin = named(&registry, name)?;
            registry.probe(plugin);
            context.output.text(show(&registry, plugin, None));
            context.output.json(&registry.describe(plugin));
            Ok(Exit::Done)
        },
        Plugins::Check { file, again } => check(context, file, *again),
    }
}

/// A file is linked into a directory of its own, and judged as if that were `plugins.d`.
fn check(context: &Context, file: &str, again: bool) -> Done {
    let path = Utf8Path::new(file);
    let names_file = file.contains('/') || path.extension() == Some("info") || path.is_file();
    if !names_file {
        let registry = context.registry()?;
        let plugin = named(&registry, file)?;
        if again {
            registry.probe_again(plugin);
        } else {
            registry.probe(plugin);
        }
        return Ok(verdict(context, &registry, plugin, None));
    }
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    fs_err::symlink_metadata(path)
        .map_err(|_| Failure::new(Exit::NotFound, format!("there is no file `{file}`")))?;
    let real = std::path::absolute(path).map_err(internal)?;
    let folder = tempfile::tempdir().map_err(internal)?;
    let name = path.file_name().unwrap_or_default();
    fs_err::os::unix::fs::symlink(&real, folder.path().join(name)).map_err(internal)?;
    let mut options = context.registry_options();
    options.plugins_dir = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned())
        .map_err(|_| Failure::new(Exit::Internal, "the temporary directory is not UTF-8"))?;
    options.cache_file = None;
    let registry = Registry::open(&options)
        .map_err(|error| Failure::from_error(Exit::NoPlugin, &error).hint(error.hint()))?;
    let Some(plugin) = registry.plugins().first() else {
        return Err(Failure::new(Exit::InvalidInput, format!("`{file}` is no `.info` file"))
            .hint("its name must end in `.info`")
            .into());
    };
    registry.probe_again(plugin);
    Ok(verdict(context, &registry, plugin, Some(path)))
}

/// A file `given` stands behind a link of ours, which is nobody's business.
fn verdict(
    context: &Context,
    registry: &Registry,
    plugin: &Plugin,
    given: Option<&Utf8Path>,
) -> Exit {
    let mut document = json!(registry.describe(plugin));
    if let Some(given) = given {
        document["info_path"] = json!(given);
        document["links"] = json!(registry.links(plugin).get(1..).unwrap_or_default());
    }
    context.output.text(show(registry, plugin, given));
    context.output.json(&document);
    let usable = registry.status(plugin).state.is_usable();
    if usable { Exit::Done } else { Exit::NoPlugin }
}

fn named<'r>(registry: &'r Registry, name: &str) -> Result<&'r Plugin, Failure> {
    registry.plugin(name).ok_or_else(|| {
        let names: Vec<&str> = registry.plugins().iter().map(Plugin::name).collect();
        let hint = match crate::nearest::nearest(name, names.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("plugins: {}", names.join(", ")),
        };
        Failure::new(Exit::NotFound, format!("there is no plugin `{name}`")).hint(hint)
    })
}

fn list(registry: &Registry) -> String {
    let mut rows =
        vec![["PLUGIN", "KIND", "VERSION", "STATE", "TARGETS"].map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for plugin in registry.plugins() {
        let status = registry.status(plugin);
        let info = plugin.info();
        rows.push(vec![
            plugin.name().to_owned(),
            info.map(|info| info.kind().to_owned()).unwrap_or_default(),
            info.and_then(|info| info.version.as_ref())
                .map(ToString::to_string)
                .unwrap_or_default(),
            status.state.to_string(),
            claims(registry, plugin),
        ]);
        if status.state != PluginState::Ready {
            notes.push(format!("{}: {}", plugin.name(), status.reason()));
            notes.extend(status.hints.iter().map(|hint| format!("  hint: {hint}")));
        }
    }
    let mut text = table(&rows);
    for note in notes {
        text.push('\n');
        text.push_str(&note);
    }
    text
}

fn claims(registry: &Registry, plugin: &Plugin) -> String {
    let claims: Vec<String> = registry
        .targets()
        .into_iter()
        .filter(|target| target.plugin == plugin.name())
        .map(|target| target.target)
        .collect();
    claims.join(", ")
}

fn show(registry: &Registry, plugin: &Plugin, given: Option<&Utf8Path>) -> String {
    let status = registry.status(plugin);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    row("plugin", Some(plugin.name().to_owned()));
    row("state", Some(status.state.to_string()));
    for reason in &status.reasons {
        row("reason", Some(reason.clone()));
    }
    for hint in &status.hints {
        row("hint", Some(hint.clone()));
    }
    if let Some(info) = plugin.info() {
        row("kind", Some(info.kind().to_owned()));
        row("version", info.version.as_ref().map(ToString::to_string));
        row("description", info.description.clone());
        row("license", info.license.clone());
    }
    row("targets", Some(claims(registry, plugin)));
    row("info", Some(given.unwrap_or_else(|| plugin.info_path()).to_string()));
    // The first step from a file that was given is our own link to it.
    for link in registry.links(plugin).iter().skip(usize::from(given.is_some())) {
        row("  links to", Some(link.to_string()));
    }
    row("library", registry.library(plugin).map(|library| library.path.to_string()));
    row("sha256", registry.digest(plugin).ok().flatten());
    table(&rows)
}
