//! Plans, records and results as text for people.

use std::time::Duration;

use plugin_api::Content;
use serde::Deserialize;
use serde_json::Value;

use super::backend::Backend;
use super::error::{Exit, Failure};
use super::output::{size, table};
use crate::factory::Built;
use crate::factory::plan::{ContentSource, provider_labels};
use crate::images::{Event, EventKind, ImageId, ImageRecord, Room, Status};

/// What a plan says that is shown to people.
#[derive(Deserialize)]
struct PlanView {
    name: String,
    template: TemplateView,
    base: BaseView,
    targets: Vec<TargetView>,
    providers: Vec<StepView>,
    room: Room,
    isolation: String,
}

#[derive(Deserialize)]
struct TemplateView {
    os: OsView,
}

#[derive(Deserialize)]
struct OsView {
    name: String,
    version: String,
    arch: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum BaseView {
    Build { plugin: PluginView, reuse_key: Option<String> },
    Reuse { id: ImageId },
    None,
}

#[derive(Deserialize)]
struct TargetView {
    target: String,
    cloud: PluginView,
    content: ContentView,
}

#[derive(Deserialize)]
struct ContentView {
    from: ContentSource,
    #[serde(flatten)]
    content: Content,
}

#[derive(Deserialize)]
struct StepView {
    target: String,
    provider: String,
    cloud: PluginView,
    #[serde(default)]
    snapshot: bool,
}

#[derive(Deserialize)]
struct PluginView {
    name: String,
    version: String,
}

/// A plan, as `--dry-run` answers it.
pub(super) fn plan(document: &Value) -> Result<String, Failure> {
    let plan = PlanView::deserialize(document)
        .map_err(|error| Failure::from_error(Exit::Internal, &error))?;
    let os = &plan.template.os;
    let by = |plugin: &PluginView| format!("plugin `{}` {}", plugin.name, plugin.version);
    let mut lines = vec![format!("{}: {} {} {}", plan.name, os.name, os.version, os.arch)];
    match &plan.base {
        BaseView::Build { plugin, reuse_key } => {
            let reuse = match reuse_key {
                Some(key) => format!("reuse key {}", key.get(..12).unwrap_or(key)),
                None => "not reusable".to_owned(),
            };
            lines.push(format!("  base image      build with {} ({reuse})", by(plugin)));
        },
        BaseView::Reuse { id } => lines.push(format!("  base image      reuse {id}")),
        BaseView::None => {},
    }
    for step in &plan.targets {
        lines.push(format!("  target image    {} with {}", step.target, by(&step.cloud)));
        lines.extend(content(&step.content));
    }
    let of_providers = plan.providers.iter().map(|step| (&step.target, &step.provider));
    for (step, label) in plan.providers.iter().zip(provider_labels(of_providers)) {
        let how = if step.snapshot { "snapshot" } else { "push" };
        let which = if plan.providers.len() > 1 { format!(" {label}") } else { String::new() };
        lines.push(format!("  provider image  {how}{which} with {}", by(&step.cloud)));
    }
    lines.push(format!(
        "  disk            {} reserved, {} free, {} promised to builds under way",
        size(plan.room.wanted_bytes),
        size(plan.room.free_bytes),
        size(plan.room.outstanding_bytes)
    ));
    lines.push(format!("  workers run in {}", plan.isolation));
    Ok(lines.join("\n"))
}

/// What an image gets besides its template, and who says so.
fn content(view: &ContentView) -> Vec<String> {
    fn listed<T>(what: &str, items: &[T], name: impl Fn(&T) -> &str) -> Option<String> {
        let names: Vec<&str> = items.iter().map(name).collect();
        (!names.is_empty()).then(|| format!("      {what:<14}{}", names.join(", ")))
    }
    let Content { packages, repositories, files, commands, .. } = &view.content;
    let lists: Vec<String> = [
        listed("packages", packages, |package| &package.name),
        listed("repositories", repositories, |repository| &repository.name),
        listed("files", files, |file| &file.name),
        listed("commands", commands, |command| &command.name),
    ]
    .into_iter()
    .flatten()
    .collect();
    let from = match &view.from {
        ContentSource::Plugin(_) if lists.is_empty() => return lists,
        ContentSource::Plugin(name) => format!("plugin `{name}`"),
        ContentSource::File { path, line, entry } => format!("`{path}` line {line} ({entry})"),
    };
    let nothing = if lists.is_empty() { ": nothing" } else { "" };
    [vec![format!("    with content of {from}{nothing}")], lists].concat()
}

/// What a build made.
pub(super) fn summary(backend: &dyn Backend, built: &[Built]) -> String {
    let mut lines = Vec::new();
    for image in built {
        let record = &image.record;
        let took = if image.reused { "reused".to_owned() } else { seconds(image.elapsed) };
        lines.push(format!("{}  {}  {}  {took}", image.label, record.id, record.status));
        // A server does not tell where it keeps them.
        lines.extend(record.path.iter().map(|path| format!("  file    {path}")));
        if let Some(bytes) = record.size_bytes.filter(|_| record.has_body()) {
            lines.push(format!("  size    {} ({bytes} bytes)", size(bytes)));
        }
        if record.status == Status::Skipped {
            lines.extend(record.status_detail.error.iter().map(|why| format!("  reason  {why}")));
        }
        if let Some(sha256) = &record.sha256 {
            lines.push(format!("  sha256  {sha256}"));
        }
        if let Some(identifier) = &record.identifier_on_provider {
            lines.push(format!("  known to its provider as {identifier}"));
        }
        if !image.reused {
            // They are a help, and no reason to withhold the rest.
            let events = backend.events(record.id).unwrap_or_default();
            lines.extend(stages(&events).into_iter().map(|line| format!("  {line}")));
        }
    }
    lines.join("\n")
}

/// Most stages of a build that are shown.
const SHOWN_STAGES: usize = 24;

/// How long each activity of a build took; of very many, the longest.
pub(super) fn stages(events: &[Event]) -> Vec<String> {
    let mut stages: Vec<(String, jiff::Timestamp)> = Vec::new();
    let mut end = None;
    for event in events {
        match &event.kind {
            EventKind::Activity { text } => stages.push((text.clone(), event.time)),
            EventKind::Transition { to, .. } if to.is_terminal() => end = Some(event.time),
            _ => {},
        }
    }
    let ends = stages.iter().skip(1).map(|(_, time)| *time).chain(end);
    let mut timed: Vec<(&str, Duration)> = stages
        .iter()
        .zip(ends)
        .map(|((text, begin), end)| {
            (text.as_str(), Duration::try_from(end.duration_since(*begin)).unwrap_or_default())
        })
        .collect();
    let rest = timed.len().saturating_sub(SHOWN_STAGES);
    if rest > 0 {
        let mut longest: Vec<Duration> = timed.iter().map(|(_, took)| *took).collect();
        longest.sort_unstable();
        let shortest_shown = longest.get(rest).copied().unwrap_or_default();
        timed.retain(|(_, took)| *took >= shortest_shown);
        timed.truncate(SHOWN_STAGES);
    }
    let mut lines: Vec<String> = timed
        .iter()
        .map(|(text, took)| format!("stage  {:>7}  {}", seconds(*took), text.replace('\n', " ")))
        .collect();
    if rest > 0 {
        lines.push(format!("stage           and {rest} shorter ones"));
    }
    lines
}

/// Why an image did not come to be.
pub(super) fn failure(label: &str, record: &ImageRecord) -> Failure {
    let detail = &record.status_detail;
    let error = detail.error.as_deref().unwrap_or("no reason was recorded");
    let word = record.status.to_string().to_lowercase();
    let exit = match record.status {
        Status::Cancelled => Exit::Cancelled,
        _ => detail.kind.map_or(Exit::Failed, Exit::of_build),
    };
    let mut failure = Failure::new(exit, format!("{label} image {word}: {error}"));
    for cause in &detail.causes {
        failure = failure.because(cause);
    }
    failure
        .hints(detail.hints.clone())
        .hint(format!("`imageforge images log {}` shows the whole log", record.id.short()))
}

/// One record.
pub(super) fn record(record: &ImageRecord) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    row("id", Some(record.id.to_string()));
    row("tier", Some(record.tier.to_string()));
    row("name", Some(record.name.clone()));
    row("status", Some(record.status.to_string()));
    row("activity", record.status_detail.activity.clone());
    row("error", record.status_detail.error.clone());
    row("target", record.target.clone());
    row("base image", record.base_image_id.map(|id| id.to_string()));
    row("target image", record.target_image_id.map(|id| id.to_string()));
    row("provider", record.provider.clone());
    row("on provider", record.identifier_on_provider.clone());
    row("plugin", record.plugin.as_ref().map(|by| format!("{} {}", by.name, by.version)));
    row("created", Some(record.created.to_string()));
    row("finished", record.finished.map(|time| time.to_string()));
    row("file", record.path.as_ref().map(ToString::to_string));
    row("reserved", record.reserved_bytes.map(size));
    row("size", record.size_bytes.map(|bytes| format!("{} ({bytes} bytes)", size(bytes))));
    row("sha256", record.sha256.clone());
    row("media type", record.media_type.clone());
    for (key, value) in &record.labels {
        row("label", Some(format!("{key}={value}")));
    }
    for (key, value) in &record.properties {
        row("property", Some(format!("{key}={value}")));
    }
    for artifact in &record.artifacts {
        row("artifact", Some(format!("{} ({})", artifact.name, size(artifact.size_bytes))));
    }
    table(&rows)
}

/// Records, one a line.
pub(super) fn list(records: &[ImageRecord]) -> String {
    let mut rows = vec![
        ["ID", "TIER", "TARGET", "STATUS", "SIZE", "CREATED", "NAME"].map(str::to_owned).to_vec(),
    ];
    rows.extend(records.iter().map(|record| {
        vec![
            record.id.short(),
            record.tier.to_string(),
            record.target.clone().unwrap_or_default(),
            record.status.to_string(),
            record.size_bytes.map(size).unwrap_or_default(),
            record.created.strftime("%Y-%m-%d %H:%M").to_string(),
            record.name.clone(),
        ]
    }));
    table(&rows)
}

/// A time with one decimal.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
