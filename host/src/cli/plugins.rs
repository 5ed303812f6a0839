//! `plugins …`: what is linked, in which state, and what is wrong with it.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::Plugins;
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::local::Local;
use super::output::{Output, table};
use crate::plugins::{Plugin, PluginState, Registry, Status};

type Done = Result<Exit, Failures>;

/// What a description says that is shown to people.
#[derive(Deserialize)]
struct View {
    name: String,
    status: Status,
    serves: Vec<String>,
    info: Option<InfoView>,
    info_path: String,
    links: Vec<String>,
    library: Option<String>,
    library_sha256: Option<String>,
}

#[derive(Deserialize)]
struct InfoView {
    #[serde(rename = "type")]
    kind: String,
    version: Option<String>,
    description: Option<String>,
    license: Option<String>,
}

impl View {
    fn of(described: &Value) -> Result<Self, Failure> {
        Self::deserialize(described).map_err(|error| Failure::from_error(Exit::Internal, &error))
    }
}

/// Dispatches `plugins …`.
pub(super) fn run(context: &Context, command: &Plugins) -> Done {
    match command {
        Plugins::List => {
            let plugins = context.backend().plugins()?;
            let views = plugins.iter().map(View::of).collect::<Result<Vec<_>, _>>()?;
            context.output.text(list(&views));
            context.output.json(&plugins);
            Ok(Exit::Done)
        },
        Plugins::Show { name } => {
            let names_or = context.backend().plugin(name)?;
            let plugin = names_or.map_err(|names| unknown(name, &names))?;
            context.output.text(show(&View::of(&plugin)?));
            context.output.json(&plugin);
            Ok(Exit::Done)
        },
        Plugins::Check { file, again } => {
            check(context.local("`plugins check`")?, context.output, file, *again)
        },
    }
}

/// A file is linked into a directory of its own, and judged as if that were `plugins.d`.
fn check(local: &Local, output: Output, file: &str, again: bool) -> Done {
    let path = Utf8Path::new(file);
    let names_file = file.contains('/') || path.extension() == Some("info") || path.is_file();
    if !names_file {
        let registry = local.registry()?;
        let Some(plugin) = registry.plugin(file) else {
            let names = registry.plugins().iter().map(|plugin| plugin.name().to_owned());
            return Err(unknown(file, &names.collect::<Vec<_>>()).into());
        };
        if again {
            registry.probe_again(plugin);
        } else {
            registry.probe(plugin);
        }
        return verdict(output, &registry, plugin, None);
    }
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    fs_err::symlink_metadata(path)
        .map_err(|_| Failure::new(Exit::NotFound, format!("there is no file `{file}`")))?;
    let real = std::path::absolute(path).map_err(internal)?;
    let folder = tempfile::tempdir().map_err(internal)?;
    let name = path.file_name().unwrap_or_default();
    fs_err::os::unix::fs::symlink(&real, folder.path().join(name)).map_err(internal)?;
    let mut options = local.registry_options();
    options.plugins_dir = Utf8PathBuf::from_path_buf(folder.path().to_owned())
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
    verdict(output, &registry, plugin, Some(path))
}

/// A file `given` stands behind a link of ours, which is nobody's business.
fn verdict(output: Output, registry: &Registry, plugin: &Plugin, given: Option<&Utf8Path>) -> Done {
    let mut described = json!(registry.describe(plugin));
    if let Some(given) = given {
        described["info_path"] = json!(given);
        described["links"] = json!(registry.links(plugin).get(1..).unwrap_or_default());
    }
    output.text(show(&View::of(&described)?));
    output.json(&described);
    let usable = registry.status(plugin).state.is_usable();
    Ok(if usable { Exit::Done } else { Exit::NoPlugin })
}

fn unknown(name: &str, names: &[String]) -> Failure {
    let hint = match crate::nearest::nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("plugins: {}", names.join(", ")),
    };
    Failure::new(Exit::NotFound, format!("there is no plugin `{name}`")).hint(hint)
}

fn list(plugins: &[View]) -> String {
    let mut rows =
        vec![["PLUGIN", "KIND", "VERSION", "STATE", "TARGETS"].map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for View { name, status, serves, info, .. } in plugins {
        let info = info.as_ref();
        rows.push(vec![
            name.clone(),
            info.map(|info| info.kind.clone()).unwrap_or_default(),
            info.and_then(|info| info.version.clone()).unwrap_or_default(),
            status.state.to_string(),
            serves.join(", "),
        ]);
        if status.state != PluginState::Ready {
            notes.push(format!("{name}: {}", status.reason()));
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

fn show(plugin: &View) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push(vec![name.to_owned(), value.to_owned()]);
        }
    };
    row("plugin", Some(&plugin.name));
    row("state", Some(plugin.status.state.as_str()));
    for reason in &plugin.status.reasons {
        row("reason", Some(reason));
    }
    for hint in &plugin.status.hints {
        row("hint", Some(hint));
    }
    if let Some(info) = &plugin.info {
        row("kind", Some(&info.kind));
        row("version", info.version.as_deref());
        row("description", info.description.as_deref());
        row("license", info.license.as_deref());
    }
    row("targets", Some(&plugin.serves.join(", ")));
    row("info", Some(&plugin.info_path));
    for link in &plugin.links {
        row("  links to", Some(link));
    }
    row("library", plugin.library.as_deref());
    row("sha256", plugin.library_sha256.as_deref());
    table(&rows)
}
