//! `build`, `base-image`, `target-image`, `provider-image`: from an order to images.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::args::{
    BaseImage, Boot, Build, BuildOptions, DiskBus, Firmware, ProviderImage, Source, TargetImage,
};
use super::context::{Context, Interrupt, find, store_failure};
use super::error::{Exit, Failure, Failures};
use super::progress::Progress;
use super::{images, inputs, report};
use crate::factory::order::{Delivery, Order, Start};
use crate::factory::plan::{Plan, PlanProblem};
use crate::factory::{Built, Factory, Planner};
use crate::images::{Status, Store};
use crate::process;

/// What to do with images once they are built.
#[derive(Default)]
struct After {
    output: Option<Utf8PathBuf>,
    boot_check: bool,
}

type Done = Result<Exit, Failures>;

/// `imageforge build`
pub(super) fn build(context: &Context, arguments: &Build) -> Done {
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
    let order = Order::new(Start::Template(Box::new(inputs::template(&arguments.template)?)));
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge target-image`
pub(super) fn target_image(context: &Context, arguments: &TargetImage) -> Done {
    let mut order = Order::new(start(context, &arguments.source, Start::BaseImage)?);
    order.targets.push(arguments.target.clone());
    run(context, order, &arguments.options, &After::default())
}

/// `imageforge provider-image`
pub(super) fn provider_image(context: &Context, arguments: &ProviderImage) -> Done {
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
    if options.detach {
        return detach(context);
    }
    order.parameters = inputs::parameters(&options.parameters)?;
    order.labels = inputs::labels(&options.labels)?;
    order.name.clone_from(&options.name);
    order.rebuild = options.rebuild;
    order.source_date_epoch = inputs::source_date_epoch()?;
    order.configuration = context
        .settings
        .plugin
        .keys()
        .map(|name| (name.clone(), context.settings.plugin(name)))
        .collect();
    let interrupt = Interrupt::listen()?;
    let registry = context.registry()?;
    let store = context.store()?;
    let cancelled = || interrupt.happened();
    let plan = Planner::new(&registry, &store)
        .plan(&order, &cancelled)
        .map_err(|refusal| refused(&refusal))?;
    if options.dry_run {
        context.output.text(report::plan(&plan));
        context.output.json(&plan);
        return Ok(Exit::Done);
    }
    let progress = Progress::new(context.output, context.verbose);
    let factory = Factory::new(&store, &progress, &cancelled);
    let accepted = factory.accept(plan).map_err(|error| store_failure(&error))?;
    if options.announce {
        announce(&accepted.ids())?;
    }
    let built = factory.run(accepted).map_err(|error| store_failure(&error))?;
    drop(progress);
    finish(context, &store, &built, after, &interrupt)
}

/// Everything that stands against an order, as failures.
pub(super) fn refused(refusal: &crate::factory::plan::Refusal) -> Failures {
    let failures = refusal.problems.iter().map(|problem| match problem {
        PlanProblem::NoPlugin(error) => {
            Failure::from_error(Exit::NoPlugin, problem).hints(error.hints())
        },
        PlanProblem::Unusable(error) => {
            Failure::from_error(Exit::NoPlugin, problem).hints(error.status.hints.clone())
        },
        PlanProblem::Parameter(error) => {
            Failure::from_error(Exit::InvalidInput, problem).hints(error.hint())
        },
        PlanProblem::Refused { error, .. } => Failure::from(error),
        PlanProblem::Contradiction { hint, .. } => {
            Failure::from_error(Exit::Usage, problem).hint(hint)
        },
        PlanProblem::Store(error) => store_failure(error),
        PlanProblem::Prepare(_) => Failure::from_error(Exit::Internal, problem),
    });
    Failures::collect(failures).unwrap_or_else(|| {
        Failure::new(Exit::Internal, "the order was refused without a reason").into()
    })
}

fn finish(
    context: &Context,
    store: &Store,
    built: &[Built],
    after: &After,
    interrupt: &Interrupt,
) -> Done {
    let failed = built.iter().filter(|image| is_failure(image.record.status));
    let failures =
        Failures::collect(failed.map(|image| report::failure(&image.label, &image.record)));
    context.output.text(report::summary(store, built));
    if let Some(failures) = failures {
        context.output.json(&json!({
            "images": built.iter().map(|image| &image.record).collect::<Vec<_>>(),
        }));
        for failure in failures.iter() {
            context.output.note(failure.to_text());
        }
        return Ok(failures.exit());
    }
    let mut exit = Exit::Done;
    let mut boots = Vec::new();
    let finished: Vec<&Built> = built.iter().filter(|image| image.record.path.is_some()).collect();
    if let Some(output) = &after.output {
        export_all(context, store, &finished, output)?;
    }
    if after.boot_check {
        let targets: Vec<&&Built> =
            finished.iter().filter(|image| finished.len() == 1 || image.label != "base").collect();
        for image in targets {
            let boot = Boot {
                id: image.record.id.to_string(),
                until: "login:".to_owned(),
                timeout: 300,
                firmware: Firmware::Uefi,
                disk: DiskBus::Virtio,
                memory: 1024,
            };
            let (outcome, report) =
                images::boot_record(context, store, &image.record, &boot, interrupt)?;
            exit = exit.max(outcome);
            boots.push(report);
        }
    }
    context.output.json(&json!({
        "images": built.iter().map(|image| &image.record).collect::<Vec<_>>(),
        "reused": built.iter().filter(|image| image.reused).map(|image| image.record.id).collect::<Vec<_>>(),
        "boots": boots,
    }));
    Ok(exit)
}

fn is_failure(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Cancelled)
}

/// One image goes to the path itself; several go into a directory, each with its target's name.
fn export_all(
    context: &Context,
    store: &Store,
    finished: &[&Built],
    output: &Utf8Path,
) -> Result<(), Failure> {
    let wanted: Vec<&&Built> =
        finished.iter().filter(|image| finished.len() == 1 || image.label != "base").collect();
    let into_directory =
        wanted.len() > 1 || fs_err::metadata(output).is_ok_and(|found| found.is_dir());
    for image in wanted {
        let path = if into_directory {
            fs_err::create_dir_all(output)
                .map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
            let extension = if image.label == "base" { "raw" } else { image.label.as_str() };
            output.join(format!("{}.{extension}", image.record.name))
        } else {
            output.to_owned()
        };
        images::export_to(store, &image.record, &path, true)?;
        context.output.note(format!("{}: written to {path}", image.label));
    }
    Ok(())
}

/// Tells the process that waits for it which images will be built, and goes on without a terminal.
fn announce(ids: &[crate::images::ImageId]) -> Result<(), Failure> {
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", json!({ "images": ids })).map_err(internal)?;
    stdout.flush().map_err(internal)?;
    let nowhere = fs_err::OpenOptions::new().write(true).open("/dev/null").map_err(internal)?;
    rustix::stdio::dup2_stdout(&nowhere).map_err(|error| internal(error.into()))?;
    rustix::stdio::dup2_stderr(&nowhere).map_err(|error| internal(error.into()))
}

/// Starts the same command in a session of its own, and waits until it has accepted the order.
fn detach(context: &Context) -> Done {
    let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
    let executable = std::env::current_exe().map_err(internal)?;
    let arguments = std::env::args()
        .skip(1)
        .map(|argument| if argument == "--detach" { "--announce".to_owned() } else { argument });
    let mut child = process::command("setsid")
        .arg(executable)
        .args(inputs::join_pairs(arguments))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(internal)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(internal)?;
    }
    let announced: Option<serde_json::Value> = serde_json::from_str(&line).ok();
    let Some(announced) = announced.filter(|document| document.get("images").is_some()) else {
        // It was refused, and has said why on our standard error.
        let status = child.wait().map_err(internal)?;
        return Ok(Exit::from_code(status.code()));
    };
    context.output.json(&announced);
    let ids = announced["images"].as_array().into_iter().flatten();
    for id in ids.filter_map(serde_json::Value::as_str) {
        context.output.text(id);
    }
    Ok(Exit::Done)
}

/// The plan of a template, for `templates check`.
pub(super) fn plan(context: &Context, order: &Order) -> Result<Plan, Failures> {
    let interrupt = Interrupt::listen()?;
    let registry = context.registry()?;
    let store = context.store()?;
    Planner::new(&registry, &store)
        .plan(order, &|| interrupt.happened())
        .map_err(|refusal| refused(&refusal))
}
