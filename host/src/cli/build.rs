//! `build`, `base-image`, `target-image`, `provider-image`: from an order to images.

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use super::args::{
    BaseImage, Boot, Build, BuildOptions, DiskBus, Firmware, ProviderImage, Source, TargetImage,
};
use super::context::{Context, Interrupt, find, store_failure};
use super::error::{Exit, Failure, Failures};
use super::output::Output;
use super::progress::Progress;
use super::{copies, detach, images, inputs, report};
use crate::factory::order::{Delivery, Order, Start};
use crate::factory::plan::Plan;
use crate::factory::{Built, Factory, Planner};
use crate::images::{Status, Store};

/// What to do with images once they are built.
#[derive(Default)]
struct After {
    output: Option<Utf8PathBuf>,
    boot_check: bool,
}

type Done = Result<Exit, Failures>;

/// `imageforge build`
pub(super) fn build(context: &Context, arguments: &Build) -> Done {
    if arguments.options.detach {
        return detach::start(context.output);
    }
    let mut order = Order::new(Start::Template(Box::new(inputs::template(&arguments.template)?)));
    order.targets.clone_from(&arguments.targets);
    if let Some(provider) = &arguments.provider {
        order.delivery = Some(Delivery {
            provider: inputs::text_or_file(provider)?,
            credentials: arguments.credentials.as_deref().map(inputs::text_or_file).transpose()?,
            snapshot: arguments.snapshot,
        });
    }
    let after = After { output: arguments.output.clone(), boot_check: arguments.boot_check };
    run(context, order, &arguments.options, &after)
}

/// `imageforge base-image`
pub(super) fn base_image(context: &Context, arguments: &BaseImage) -> Done {
    if arguments.options.detach {
        return detach::start(context.output);
    }
    let order = Order::new(Start::Template(Box::new(inputs::template(&arguments.template)?)));
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge target-image`
pub(super) fn target_image(context: &Context, arguments: &TargetImage) -> Done {
    if arguments.options.detach {
        return detach::start(context.output);
    }
    let mut order = Order::new(start(context, &arguments.source, Start::BaseImage)?);
    order.targets.push(arguments.target.clone());
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge provider-image`
pub(super) fn provider_image(context: &Context, arguments: &ProviderImage) -> Done {
    if arguments.options.detach {
        return detach::start(context.output);
    }
    let mut order = Order::new(start(context, &arguments.source, Start::TargetImage)?);
    order.targets.push(arguments.target.clone());
    order.delivery = Some(Delivery {
        provider: inputs::text_or_file(&arguments.provider)?,
        credentials: Some(inputs::text_or_file(&arguments.credentials)?),
        snapshot: arguments.snapshot,
    });
    run(context, order, &arguments.options, &After::default())
}

fn start(
    context: &Context,
    source: &Source,
    from_image: impl FnOnce(Box<crate::images::ImageRecord>) -> Start,
) -> Result<Start, Failure> {
    if let Some(template) = &source.template {
        return Ok(Start::Template(Box::new(inputs::template(template)?)));
    }
    let record = find(&context.store()?, source.id.as_deref().unwrap_or_default())?;
    if record.status != Status::Complete {
        let message = format!("image `{}` is {}, not COMPLETE", record.id, record.status);
        return Err(Failure::new(Exit::Conflict, message));
    }
    let start = from_image(Box::new(record.clone()));
    let (wanted, fits) = match &start {
        Start::TargetImage(record) => ("target", record.tier == plugin_api::Tier::Target),
        _ => ("base", record.tier == plugin_api::Tier::Base),
    };
    if !fits {
        let message =
            format!("image `{}` is a {} image, not a {wanted} image", record.id, record.tier);
        return Err(Failure::new(Exit::InvalidInput, message));
    }
    Ok(start)
}

fn run(context: &Context, mut order: Order, options: &BuildOptions, after: &After) -> Done {
    if let Some(output) = &after.output {
        copies::check(output, order.targets.len())?;
    }
    order.parameters = inputs::parameters(&options.parameters)?;
    order.labels = inputs::labels(&options.labels)?;
    order.name = options.name.as_deref().map(inputs::name).transpose()?;
    order.rebuild = options.rebuild;
    order.source_date_epoch = inputs::source_date_epoch()?;
    configure(context, &mut order);
    let interrupt =
        if options.announce { Interrupt::listen_detached() } else { Interrupt::listen() }?;
    let registry = context.registry()?;
    let store = context.store()?;
    let cancelled = || interrupt.happened();
    let plan = Planner::new(&registry, &store)
        .plan(&order, &cancelled)
        .map_err(|refusal| Failures::from(&refusal))?;
    if options.dry_run {
        context.output.text(report::plan(&plan));
        context.output.json(&plan);
        return Ok(Exit::Done);
    }
    let progress = Progress::new(context.output, context.verbose);
    let factory = Factory::new(&store, &progress, &cancelled);
    let accepted = factory.accept(plan).map_err(|error| store_failure(&error))?;
    if options.announce
        && let Err(unheard) = detach::announce(&accepted.ids())
    {
        // Whoever ordered it is gone, and nobody knows of these images.
        factory.withdraw(accepted).map_err(|error| store_failure(&error))?;
        return Err(unheard.into());
    }
    let built = factory.run(accepted).map_err(|error| store_failure(&error))?;
    drop(progress);
    let is_described = options.name.is_some() || !options.labels.is_empty();
    if is_described && built.iter().any(|image| image.reused) {
        context.output.note("note: the base image is reused and keeps its own name and labels");
    }
    Ok(finish(context, &store, &built, after, &interrupt))
}

/// What the settings say of every order.
fn configure(context: &Context, order: &mut Order) {
    let settings = &context.settings;
    order.limits = settings.limits.clone();
    order.configuration =
        settings.plugin.keys().map(|name| (name.clone(), settings.plugin(name))).collect();
}

/// Does with the images what was asked for, and tells what became of everything in one document.
fn finish(
    context: &Context,
    store: &Store,
    built: &[Built],
    after: &After,
    interrupt: &Interrupt,
) -> Exit {
    context.output.text(report::summary(store, built));
    let mut failures: Vec<Failure> = built
        .iter()
        .filter(|image| is_failure(image.record.status))
        .map(|image| report::failure(&image.label, &image.record))
        .collect();
    let mut exit = Exit::Done;
    let mut boots = Vec::new();
    if failures.is_empty() {
        let wanted = wanted(built);
        if let Some(output) = &after.output {
            let copied = copies::write(context.output, store, &wanted, output, interrupt);
            failures.extend(copied.err());
        }
        for image in wanted.iter().filter(|_| after.boot_check) {
            match boot_check(context, store, image, interrupt) {
                Ok((outcome, report)) => {
                    exit = exit.max(outcome);
                    boots.push(report);
                },
                Err(failure) => failures.push(failure),
            }
        }
    }
    let mut document = json!({
        "images": built.iter().map(|image| &image.record).collect::<Vec<_>>(),
        "reused": built.iter().filter(|image| image.reused).map(|image| image.record.id).collect::<Vec<_>>(),
        "boots": boots,
    });
    if let Some(failures) = Failures::collect(failures) {
        for failure in failures.iter() {
            Output::error(failure.to_text());
        }
        document["errors"] = failures.to_json().into();
        exit = failures.exit();
    }
    context.output.json(&document);
    exit
}

fn is_failure(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Cancelled)
}

/// What somebody who builds wants to have: the targets, or the base image when it is alone.
fn wanted(built: &[Built]) -> Vec<&Built> {
    let finished = || built.iter().filter(|image| image.record.path.is_some());
    let alone = finished().count() == 1;
    finished().filter(|image| alone || image.label != "base").collect()
}

fn boot_check(
    context: &Context,
    store: &Store,
    image: &Built,
    interrupt: &Interrupt,
) -> Result<(Exit, Value), Failure> {
    let boot = Boot {
        id: image.record.id.to_string(),
        until: "login:".to_owned(),
        timeout: None,
        firmware: Firmware::Uefi,
        disk: DiskBus::Virtio,
        memory: 1024,
    };
    images::boot_record(context, store, &image.record, &boot, interrupt)
}

/// The plan of a template, for `templates check`.
pub(super) fn plan(context: &Context, mut order: Order) -> Result<Plan, Failures> {
    configure(context, &mut order);
    let interrupt = Interrupt::listen()?;
    let registry = context.registry()?;
    let store = context.store()?;
    Planner::new(&registry, &store)
        .plan(&order, &|| interrupt.happened())
        .map_err(|refusal| Failures::from(&refusal))
}
