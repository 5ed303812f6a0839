//! `build`, `base-image`, `target-image`, `provider-image`: from an order to images.

use camino::Utf8PathBuf;
use plugin_api::Tier;
use serde_json::{Value, json};

use super::args::{
    BaseImage, Boot, Build, BuildOptions, DiskBus, Firmware, ProviderImage, Source, TargetImage,
};
use super::backend::Building;
use super::context::{Context, Site};
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;
use super::{copies, deliveries, detach, images, inputs, report};
use crate::factory::Built;
use crate::factory::order::{Delivery, Order, Start};
use crate::factory::request::RequestError;
use crate::images::Status;

/// What to do with images once they are built.
#[derive(Default)]
struct After {
    output: Option<Utf8PathBuf>,
    boot_check: bool,
}

type Done = Result<Exit, Failures>;

/// `imageforge build`
pub(super) fn build(context: &Context, arguments: &Build) -> Done {
    if is_left_to_itself(context, &arguments.options) {
        return detach::start(context.output);
    }
    let mut order = Order::new(Start::Template(Box::new(inputs::template(&arguments.template)?)));
    order.targets.clone_from(&arguments.targets);
    order.deliveries = deliveries::read(arguments)?;
    if arguments.boot_check {
        context.local("`--boot-check`")?;
    }
    let after = After { output: arguments.output.clone(), boot_check: arguments.boot_check };
    run(context, order, &arguments.options, &after)
}

/// `imageforge base-image`
pub(super) fn base_image(context: &Context, arguments: &BaseImage) -> Done {
    if is_left_to_itself(context, &arguments.options) {
        return detach::start(context.output);
    }
    let order = Order::new(Start::Template(Box::new(inputs::template(&arguments.template)?)));
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge target-image`
pub(super) fn target_image(context: &Context, arguments: &TargetImage) -> Done {
    if is_left_to_itself(context, &arguments.options) {
        return detach::start(context.output);
    }
    let mut order = Order::new(start(context, &arguments.source, Start::BaseImage)?);
    order.targets.push(arguments.target.clone());
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge provider-image`
pub(super) fn provider_image(context: &Context, arguments: &ProviderImage) -> Done {
    if is_left_to_itself(context, &arguments.options) {
        return detach::start(context.output);
    }
    let mut order = Order::new(start(context, &arguments.source, Start::TargetImage)?);
    order.targets.push(arguments.target.clone());
    order.deliveries.push(Delivery {
        target: arguments.target.clone(),
        provider: inputs::text_or_file(&arguments.provider)?,
        credentials: Some(inputs::text_or_file(&arguments.credentials)?),
        snapshot: arguments.snapshot,
    });
    run(context, order, &arguments.options, &After::default())
}

/// Whether a process of its own makes the images; a server does so by itself.
fn is_left_to_itself(context: &Context, options: &BuildOptions) -> bool {
    options.detach && matches!(context.site(), Site::Local(_))
}

fn start(
    context: &Context,
    source: &Source,
    from_image: impl FnOnce(Box<crate::images::ImageRecord>) -> Start,
) -> Result<Start, Failures> {
    if let Some(template) = &source.template {
        return Ok(Start::Template(Box::new(inputs::template(template)?)));
    }
    let record = context.backend().image(source.id.as_deref().unwrap_or_default())?;
    if record.status != Status::Complete {
        return Err((&RequestError::NotComplete(Box::new(record))).into());
    }
    let start = from_image(Box::new(record.clone()));
    let wanted = match &start {
        Start::TargetImage(_) => Tier::Target,
        _ => Tier::Base,
    };
    if record.tier != wanted {
        return Err((&RequestError::Tier { image: Box::new(record), wanted }).into());
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
    let interrupt =
        if options.announce { Interrupt::listen_detached() } else { Interrupt::listen() }?;
    if options.dry_run {
        let plan = context.backend().plan(order, &interrupt)?;
        context.output.text(report::plan(&plan)?);
        context.output.json(&plan);
        return Ok(Exit::Done);
    }
    if let (Site::Remote(server), true) = (context.site(), options.detach) {
        if after.output.is_some() {
            let message = "`--output` needs somebody who waits for the images";
            return Err(Failure::new(Exit::Usage, message)
                .hint("leave out `--detach`, or copy them later with `imageforge images export`")
                .into());
        }
        let submitted = server.submit(&order, &interrupt)?;
        detach::told(
            context.output,
            &submitted.images.iter().map(|image| image.id.to_string()).collect::<Vec<_>>(),
        );
        return Ok(Exit::Done);
    }
    let progress = Progress::new(context.output, context.verbose);
    let building =
        Building { observer: &progress, interrupt: &interrupt, announces: options.announce };
    let built = context.backend().build(order, &building)?;
    drop(progress);
    let is_described = options.name.is_some() || !options.labels.is_empty();
    if is_described && built.iter().any(|image| image.reused) {
        context.output.note("note: the base image is reused and keeps its own name and labels");
    }
    Ok(finish(context, &built, after, &interrupt))
}

/// Does with the images what was asked for, and tells what became of everything in one document.
fn finish(context: &Context, built: &[Built], after: &After, interrupt: &Interrupt) -> Exit {
    context.output.text(report::summary(context.backend(), built));
    let mut failures: Vec<Failure> = built
        .iter()
        .filter(|image| is_failure(image.record.status))
        .map(|image| report::failure(&image.label, &image.record))
        .collect();
    let mut exit = Exit::Done;
    let mut boots = Vec::new();
    // Images that are complete are there, wherever else they could not be delivered.
    let is_missing =
        |image: &Built| image.record.tier != Tier::Provider && is_failure(image.record.status);
    if !built.iter().any(is_missing) {
        let wanted = wanted(built);
        if let Some(output) = &after.output {
            let copied = copies::write(context, &wanted, output, interrupt);
            failures.extend(copied.err().into_iter().flatten());
        }
        for image in wanted.iter().filter(|_| after.boot_check) {
            match boot_check(context, image, interrupt) {
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
    let finished = || built.iter().filter(|image| image.record.has_body());
    let alone = finished().count() == 1;
    finished().filter(|image| alone || image.label != "base").collect()
}

fn boot_check(
    context: &Context,
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
    images::boot_record(context.local("`--boot-check`")?, &image.record, &boot, interrupt)
}
