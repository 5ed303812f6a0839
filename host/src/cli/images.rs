//! `images …`: look at, keep and remove images.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::Tier;
use plugin_kit::formats::{ImageFormat, inspect};
use plugin_kit::sparse::Control;
use serde_json::{Value, json};

use super::args::{Boot, DiskBus, Firmware, Images};
use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use super::local::{Local, find, store_failure};
use super::output::Output;
use super::{delete, inputs, log, report};
use crate::atomic_file::Existing;
use crate::boot::{self, Machine, Watch};
use crate::images::{BOOT_ARTIFACTS, Filter, ImageRecord, Listing, Status, Store};

type Done = Result<Exit, Failures>;

/// Time to wait for a boot when nobody says otherwise.
const BOOT_TIMEOUT_SECONDS: u64 = 300;

/// Dispatches `images …`.
pub(super) fn run(context: &Context, command: &Images) -> Done {
    match command {
        Images::List { tier, status, target, labels, limit } => {
            let filter = Filter {
                tier: tier.as_deref().map(tier_named).transpose()?,
                status: status.as_deref().map(status_named).transpose()?.into_iter().collect(),
                target: target.clone(),
                labels: inputs::labels(labels)?,
                limit: *limit,
                ..Filter::default()
            };
            list(context, &filter)
        },
        Images::Show { id } => {
            let record = context.backend().image(id)?;
            context.output.text(report::record(&record));
            for stage in report::stages(&context.backend().events(record.id)?) {
                context.output.text(stage);
            }
            context.output.json(&record);
            Ok(Exit::Done)
        },
        Images::Log { id, follow } => log::run(context, id, *follow),
        Images::Cancel { ids } => cancel(context, ids),
        Images::Delete { ids, cascade, force, provider, credentials, leave_at_provider } => {
            let request = delete::Request {
                ids,
                mode: delete::mode(*cascade, *force),
                provider: provider.as_deref(),
                credentials: credentials.as_deref(),
                leave_at_provider: *leave_at_provider,
            };
            delete::run(context, &request)
        },
        Images::Check { ids } => check(context.local("`images check`")?, ids),
        Images::Boot(arguments) => boot(context.local("`images boot`")?, arguments),
        Images::Export { id, path, force } => export(context, id, path, *force),
        Images::Import { path, template, name } => import(context, path, template, name.as_deref()),
    }
}

fn list(context: &Context, filter: &Filter) -> Done {
    let listing = context.backend().images(filter)?;
    context.output.text(report::list(&listing.records));
    context.output.json(&listing.records);
    for damaged in &listing.damaged {
        context.output.note(store_failure(damaged).to_text());
    }
    Ok(Exit::Done)
}

fn cancel(context: &Context, ids: &[String]) -> Done {
    let mut failures = Vec::new();
    let mut asked = Vec::new();
    for id in ids {
        match context.backend().cancel(id) {
            Ok(id) => asked.push(id),
            Err(more) => failures.extend(more),
        }
    }
    for id in &asked {
        context.output.text(format!("{id}: asked to cancel"));
    }
    if let Some(failures) = Failures::collect(failures) {
        return Err(failures);
    }
    context.output.json(&json!({ "images": asked }));
    Ok(Exit::Done)
}

fn check(local: &Local, ids: &[String]) -> Done {
    let store = local.store()?;
    let interrupt = Interrupt::listen()?;
    let cancelled = || interrupt.happened();
    let control = Control::new(&|_, _| {}, &cancelled);
    let listing = if ids.is_empty() {
        let filter = Filter { status: vec![Status::Complete], ..Filter::default() };
        store.list_all(&filter).map_err(|error| store_failure(&error))?
    } else {
        let records = ids.iter().map(|id| find(store, id)).collect::<Result<_, _>>()?;
        Listing { records, damaged: Vec::new() }
    };
    let mut reports = Vec::new();
    for damaged in &listing.damaged {
        Output::error(store_failure(damaged).to_text());
    }
    for record in &listing.records {
        let report = store.check(record.id, &control).map_err(|error| store_failure(&error))?;
        let verdict = if report.damage.is_empty() { "intact" } else { "damaged" };
        local.output.text(format!("{}  {verdict}  {}", record.id, record.name));
        for damage in &report.damage {
            local.output.text(format!("  {}: {}", damage.path, damage.problem));
        }
        reports.push(report);
    }
    local.output.json(&reports);
    let damaged =
        !listing.damaged.is_empty() || reports.iter().any(|report| !report.damage.is_empty());
    Ok(if damaged { Exit::Failed } else { Exit::Done })
}

fn boot(local: &Local, arguments: &Boot) -> Done {
    let store = local.store()?;
    let record = find(store, &arguments.id)?;
    let interrupt = Interrupt::listen()?;
    let (exit, document) = boot_record(local, &record, arguments, &interrupt)?;
    local.output.json(&document);
    Ok(exit)
}

/// Boots an image, says in one line how it went, and keeps console and screenshot with it.
pub(super) fn boot_record(
    local: &Local,
    record: &ImageRecord,
    arguments: &Boot,
    interrupt: &Interrupt,
) -> Result<(Exit, Value), Failure> {
    let store = local.store()?;
    let settings = &local.settings.boot;
    let timeout = arguments.timeout.or(settings.timeout_seconds).unwrap_or(BOOT_TIMEOUT_SECONDS);
    let machine = machine(record, arguments, settings.accelerator)?;
    let work = store.scratch().map_err(|error| store_failure(&error))?;
    let output = local.output;
    let report = boot::boot(
        &machine,
        work.path(),
        &mut Watch {
            until: &arguments.until,
            timeout: Duration::from_secs(timeout),
            on_console: &mut |text| output.console(text),
            on_restart: &mut |why| output.note(format!("boot: {why}")),
            cancelled: &|| interrupt.happened(),
        },
    )
    .map_err(|error| {
        let exit = match error {
            boot::BootError::NotADisk { .. } => Exit::InvalidInput,
            _ => Exit::Internal,
        };
        Failure::from_error(exit, &error).hints(error.hint())
    })?;
    keep(store, record, &report)?;
    let took = report::seconds(report.elapsed);
    let until = &arguments.until;
    let how = format!("{}, {}", machine.firmware, report.accelerator);
    let document = json!({
        "image": record.id, "reached": report.reached, "until": until,
        "seconds": report.elapsed.as_secs_f64(), "accelerator": report.accelerator.to_string(),
        "firmware": machine.firmware.to_string(), "ended": report.ended,
        "last_lines": report.last_lines,
    });
    if report.reached {
        output.text(format!("boot: `{until}` appeared after {took} ({how})"));
        return Ok((Exit::Done, document));
    }
    let given_up = if interrupt.happened() { "cancelled" } else { "the time was up" };
    let why = report.ended.clone().unwrap_or_else(|| given_up.to_owned());
    Output::error(format!("boot: `{until}` did not appear within {took} ({how}): {why}"));
    for line in &report.last_lines {
        Output::error(format!("  | {line}"));
    }
    let exit = if interrupt.happened() { Exit::Cancelled } else { Exit::Failed };
    Ok((exit, document))
}

fn keep(store: &Store, record: &ImageRecord, report: &boot::BootReport) -> Result<(), Failure> {
    let keep = |name: &str, path: &Utf8Path, media_type: &str| {
        store
            .add_artifact(record.id, name, path, media_type, &Control::default())
            .map(drop)
            .map_err(|error| store_failure(&error))
    };
    keep(&format!("{BOOT_ARTIFACTS}console.log"), &report.console, "text/plain")?;
    if let Some(screenshot) = &report.screenshot {
        keep(&format!("{BOOT_ARTIFACTS}screenshot.png"), screenshot, "image/png")?;
    }
    Ok(())
}

fn machine(
    record: &ImageRecord,
    arguments: &Boot,
    accelerator: crate::settings::Accelerator,
) -> Result<Machine, Failure> {
    let path = body(record)?;
    let not_a_disk = || {
        let media_type = record.media_type.clone().unwrap_or_default();
        let error = boot::BootError::NotADisk { path: path.clone(), media_type };
        Failure::from_error(Exit::InvalidInput, &error).hints(error.hint())
    };
    let found = inspect(&path).map_err(|error| not_a_disk().because(error.to_string()))?;
    if found.format == ImageFormat::Raw && !boot::has_boot_signature(&path) {
        return Err(not_a_disk().because("it has no boot signature in its first sector"));
    }
    let format = match found.format {
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
        ImageFormat::Vmdk => "vmdk",
        ImageFormat::Vhd => "vpc",
    };
    let template = record.template.as_ref().map(|template| &template.canonical);
    let architecture = template
        .and_then(|template| template["os"]["arch"].as_str())
        .unwrap_or(std::env::consts::ARCH);
    Ok(Machine {
        image: path,
        format,
        architecture: architecture.to_owned(),
        firmware: match arguments.firmware {
            Firmware::Uefi => boot::Firmware::Uefi,
            Firmware::Bios => boot::Firmware::Bios,
        },
        disk: match arguments.disk {
            DiskBus::Virtio => boot::Disk::Virtio,
            DiskBus::Nvme => boot::Disk::Nvme,
            DiskBus::Scsi => boot::Disk::Scsi,
            DiskBus::Sata => boot::Disk::Sata,
        },
        memory_mib: arguments.memory,
        accelerator,
    })
}

fn body(record: &ImageRecord) -> Result<Utf8PathBuf, Failure> {
    record.path.clone().ok_or_else(|| {
        Failure::new(
            Exit::Conflict,
            format!("image `{}` is {} and has no body", record.id, record.status),
        )
    })
}

/// Copies a body out.
fn export(context: &Context, id: &str, path: &Utf8Path, replace: bool) -> Done {
    let record = context.backend().image(id)?;
    let interrupt = Interrupt::listen()?;
    let existing = if replace { Existing::Replace } else { Existing::Refuse };
    context.backend().export(&record, path, existing, &interrupt)?;
    context.output.text(path.as_str());
    context.output.json(&json!({ "image": record.id, "path": path }));
    Ok(Exit::Done)
}

fn import(context: &Context, path: &Utf8Path, template: &Utf8Path, name: Option<&str>) -> Done {
    let name = name.map(inputs::name).transpose()?;
    let template = inputs::template(template)?;
    fs_err::metadata(path).map_err(|error| Failure::from_error(Exit::NotFound, &error))?;
    let interrupt = Interrupt::listen()?;
    let record = context.backend().import(path, template, name, &interrupt)?;
    context.output.text(record.id.to_string());
    context.output.json(&record);
    Ok(Exit::Done)
}

fn tier_named(name: &str) -> Result<Tier, Failure> {
    [Tier::Base, Tier::Target, Tier::Provider]
        .into_iter()
        .find(|tier| tier.to_string() == name.to_lowercase())
        .ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no tier `{name}`"))
                .hint("tiers are `base`, `target` and `provider`")
        })
}

fn status_named(name: &str) -> Result<Status, Failure> {
    name.parse().map_err(|error| {
        let known: Vec<String> = Status::ALL.iter().map(|status| format!("`{status}`")).collect();
        Failure::from_error(Exit::Usage, &error).hint(format!("states are {}", known.join(", ")))
    })
}
