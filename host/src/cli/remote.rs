//! A daemon, asked over `--server`.

use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use plugin_api::Tier;
use plugin_api::host::LogRecord;
use serde_json::{Value, json};

use super::backend::{Backend, Building, Deletion, News as Heard, PATIENCE};
use super::error::{Exit, Failure, Failures};
use super::interrupt::Interrupt;
use crate::atomic_file::Existing;
use crate::client::{Address, ClientError, Follower, News, Server, Submitted, Until};
use crate::factory::order::{Delivery, Order, Start};
use crate::factory::plan::provider_labels;
use crate::factory::request::{BuildRequest, DeliveryRequest};
use crate::factory::{Built, Notice, What};
use crate::images::{
    Event, EventKind, Filter, ImageId, ImageRecord, JobId, Listing, LogLine, LogStream, Status,
};
use crate::plugins::{Schemas, TargetEntry};
use crate::template::{self, LoadedTemplate, Origin};

/// Time between two looks at the queue.
const QUEUE_POLL: Duration = Duration::from_secs(2);
/// Time between two looks whether a provider has deleted an image.
const DELETING_POLL: Duration = Duration::from_millis(200);

/// A daemon.
#[derive(Debug)]
pub(super) struct Remote {
    server: Server,
}

impl Remote {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        self.server.address()
    }

    /// Has images built, and does not wait for them.
    pub(super) fn submit(
        &self,
        order: &Order,
        interrupt: &Interrupt,
    ) -> Result<Submitted, Failures> {
        Ok(self.server.submit(&request(order), &|| interrupt.happened())?)
    }

    /// Follows builds to their end; cancels them when the user wants that.
    fn watch(
        &self,
        submitted: &Submitted,
        events: &mut Follower<'_>,
        building: &Building<'_>,
    ) -> Result<(), ClientError> {
        let is_made = |image: &&ImageRecord| !submitted.reused.contains(&image.id);
        let mut left: Vec<&ImageRecord> = submitted.images.iter().filter(is_made).collect();
        let mut cancels = false;
        let mut queue = Queue::of(submitted.job);
        while !left.is_empty() {
            if building.interrupt.happened() && !cancels {
                cancels = true;
                for image in &left {
                    match self.server.cancel(&image.id.to_string()) {
                        Ok(_) => {},
                        Err(error) if error.is_passing() => cancels = false,
                        // It has ended meanwhile.
                        Err(error) if error.is_conflict() => {},
                        Err(error) => return Err(error),
                    }
                }
            }
            let News::Events(news) = events.next(PATIENCE / 2)? else {
                let label = label(left[0], &submitted.images);
                queue.look(&self.server, left[0].id, &label, building);
                continue;
            };
            for event in news {
                let Some(image) = left.iter().find(|image| image.id == event.image) else {
                    continue;
                };
                tell(building, image, &label(image, &submitted.images), &event);
                queue.hear(&event);
                if matches!(event.kind, EventKind::Transition { to, .. } if to.is_terminal()) {
                    left.retain(|image| image.id != event.image);
                }
            }
        }
        Ok(())
    }

    /// Waits until a provider has deleted an image, or refuses to.
    fn deleted(&self, id: ImageId, interrupt: &Interrupt) -> Result<(), Failures> {
        loop {
            let record = match self.server.image(&id.to_string()) {
                Err(error) if error.is_not_found() => return Ok(()),
                other => other?,
            };
            match record.status {
                Status::Deleting => {},
                Status::DeleteFailed => {
                    let detail = record.status_detail;
                    let why = detail.error.unwrap_or_else(|| "no reason was recorded".to_owned());
                    let mut failure =
                        Failure::new(detail.kind.map_or(Exit::Failed, Exit::from), why);
                    for cause in detail.causes {
                        failure = failure.because(cause);
                    }
                    return Err(failure.hints(detail.hints).hint(super::delete::MEND).into());
                },
                _ => return Ok(()),
            }
            if interrupt.happened() {
                let message = format!("image `{id}` is still being deleted");
                let failure = Failure::new(Exit::Cancelled, message);
                return Err(failure.hint("`imageforge images show` tells how that ends").into());
            }
            thread::sleep(DELETING_POLL);
        }
    }
}

impl Backend for Remote {
    fn images(&self, filter: &Filter) -> Result<Listing, Failures> {
        Ok(Listing { records: self.server.images(filter)?, damaged: Vec::new() })
    }

    fn image(&self, reference: &str) -> Result<ImageRecord, Failures> {
        Ok(self.server.image(reference)?)
    }

    fn events(&self, id: ImageId) -> Result<Vec<Event>, Failures> {
        let mut all = Vec::new();
        self.log(id, false, &mut |news| {
            all.extend(news);
            true
        })?;
        Ok(all)
    }

    fn log(
        &self,
        id: ImageId,
        follow: bool,
        hear: &mut dyn FnMut(Heard) -> bool,
    ) -> Result<(), Failures> {
        let mut events = self.server.follow(id, if follow { Until::End } else { Until::Now });
        loop {
            let goes_on = match events.next(PATIENCE)? {
                News::Events(news) => hear(news),
                News::Nothing => hear(Vec::new()),
                News::End => false,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn cancel(&self, reference: &str) -> Result<ImageId, Failures> {
        Ok(self.server.cancel(reference)?.id)
    }

    fn delete(
        &self,
        deletion: &Deletion<'_>,
        interrupt: &Interrupt,
        deleted: &mut dyn FnMut(ImageId),
    ) -> Result<(), Failures> {
        let access = if deletion.leave_at_provider {
            json!({ "leave_at_provider": true })
        } else {
            json!({ "provider": deletion.provider, "credentials": deletion.credentials })
        };
        for record in self.server.deletion_order(deletion.reference, deletion.mode)? {
            self.server.delete(record.id, deletion.mode, &access)?;
            if record.tier == Tier::Provider {
                self.deleted(record.id, interrupt)?;
            }
            deleted(record.id);
        }
        Ok(())
    }

    fn export(
        &self,
        record: &ImageRecord,
        to: &Utf8Path,
        existing: Existing,
        interrupt: &Interrupt,
    ) -> Result<(), Failures> {
        Ok(self.server.download(record, to, existing, &|| interrupt.happened())?)
    }

    fn import(
        &self,
        disk: &Utf8Path,
        template: LoadedTemplate,
        name: Option<String>,
        interrupt: &Interrupt,
    ) -> Result<ImageRecord, Failures> {
        let text = whole_text(&template);
        Ok(self.server.upload(disk, &text, name.as_deref(), &|| interrupt.happened())?)
    }

    fn targets(&self) -> Result<Vec<TargetEntry>, Failures> {
        Ok(self.server.targets()?)
    }

    fn schemas(&self, target: &TargetEntry) -> Result<Schemas, Failures> {
        Ok(self.server.schemas(&target.target)?)
    }

    fn plugins(&self) -> Result<Vec<Value>, Failures> {
        Ok(self.server.plugins()?)
    }

    fn plugin(&self, name: &str) -> Result<Result<Value, Vec<String>>, Failures> {
        let mut plugins = self.server.plugins()?;
        let found = plugins.iter().position(|plugin| plugin["name"] == name);
        Ok(match found {
            Some(found) => Ok(plugins.swap_remove(found)),
            None => Err(plugins
                .iter()
                .filter_map(|plugin| plugin["name"].as_str().map(str::to_owned))
                .collect()),
        })
    }

    fn plan(&self, order: Order, _: &Interrupt) -> Result<Value, Failures> {
        Ok(self.server.plan(&request(&order))?)
    }

    fn build(&self, order: Order, building: &Building<'_>) -> Result<Vec<Built>, Failures> {
        let submitted = self.submit(&order, building.interrupt)?;
        let made: Vec<ImageId> = submitted
            .images
            .iter()
            .map(|image| image.id)
            .filter(|id| !submitted.reused.contains(id))
            .collect();
        let mut events = self.server.follow_all(&made);
        let lost = |error: ClientError| {
            let ids: Vec<String> = made.iter().map(ImageId::short).collect();
            Failures::from(error).hint(format!(
                "the build goes on at the server; `imageforge --server {} images log ID --follow` \
                 follows it again: {}",
                self.address(),
                ids.join(", ")
            ))
        };
        self.watch(&submitted, &mut events, building).map_err(lost)?;
        let built = submitted.images.iter().map(|image| {
            let record = self.server.image(&image.id.to_string()).map_err(lost)?;
            let took =
                record.started.zip(record.finished).map(|(from, to)| to.duration_since(from));
            Ok(Built {
                label: label(image, &submitted.images),
                reused: submitted.reused.contains(&image.id),
                elapsed: took.and_then(|took| took.try_into().ok()).unwrap_or_default(),
                record,
            })
        });
        built.collect()
    }
}

/// A job as long as it waits.
struct Queue {
    job: Option<JobId>,
    told: Option<u64>,
    next_look: Instant,
}

impl Queue {
    fn of(job: Option<JobId>) -> Self {
        Self { job, told: None, next_look: Instant::now() + QUEUE_POLL }
    }

    /// It waits no more when something happens but its acceptance.
    fn hear(&mut self, event: &Event) {
        match event.kind {
            EventKind::Transition { to: Status::New | Status::Pending, .. } => {},
            _ => self.job = None,
        }
    }

    /// Tells its place when that has changed. Whether the server answers is found out elsewhere.
    fn look(&mut self, server: &Server, image: ImageId, label: &str, building: &Building<'_>) {
        let Some(job) = self.job.filter(|_| Instant::now() >= self.next_look) else { return };
        self.next_look = Instant::now() + QUEUE_POLL;
        if let Ok(Some(position)) = server.position(job)
            && self.told.replace(position) != Some(position)
        {
            let text = format!("waits in the queue at position {position}");
            building.observer.notice(&Notice { image, label, what: What::Activity(&text) });
        }
    }
}

/// What an image is within its build, which makes all of `images`.
fn label(image: &ImageRecord, images: &[ImageRecord]) -> String {
    let target = image.target.as_deref().unwrap_or_default();
    match image.tier {
        Tier::Base => "base".to_owned(),
        Tier::Target => target.to_owned(),
        Tier::Provider => {
            let all = images.iter().filter(|image| image.tier == Tier::Provider);
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let labels =
                provider_labels(all.clone().map(|it| (text(&it.target), text(&it.provider))));
            let own = all.zip(labels).find(|(it, _)| it.id == image.id);
            own.map(|(_, label)| label).unwrap_or_default()
        },
    }
}

/// Tells whoever watches a build what the factory would tell.
fn tell(building: &Building<'_>, image: &ImageRecord, label: &str, event: &Event) {
    let tell = |what| building.observer.notice(&Notice { image: image.id, label, what });
    match &event.kind {
        EventKind::Transition { to: Status::New | Status::Pending, .. } => {},
        EventKind::Transition { to, .. } => tell(What::Status(*to)),
        EventKind::Progress { percent } => tell(What::Progress(*percent)),
        EventKind::Activity { text } => tell(What::Activity(text)),
        EventKind::Log(line) if line.stream == LogStream::Log => tell(What::Log(&record_of(line))),
        EventKind::Log(line) => tell(What::Output(&line.message)),
        _ => {},
    }
}

fn record_of(line: &LogLine) -> LogRecord {
    let mut record = LogRecord::new(line.level, &line.target, &line.message);
    record.fields.clone_from(&line.fields);
    record.spans.clone_from(&line.spans);
    record
}

/// An order as it is sent: what the settings of this machine say of builds stays here.
fn request(order: &Order) -> BuildRequest {
    let mut request = BuildRequest {
        targets: order.targets.clone(),
        parameters: order.parameters.clone(),
        name: order.name.clone(),
        labels: order.labels.clone(),
        rebuild: order.rebuild,
        own_base: order.own_base,
        source_date_epoch: order.source_date_epoch,
        ..BuildRequest::default()
    };
    match &order.start {
        Start::Template(loaded) => request.template = Some(whole_text(loaded)),
        Start::BaseImage(record) => request.base_image = Some(record.id.to_string()),
        Start::TargetImage(record) => request.target_image = Some(record.id.to_string()),
    }
    match (order.deliveries.as_slice(), order.targets.as_slice()) {
        // As servers know it that are older than this program.
        ([delivery], [_]) => {
            request.provider = Some(delivery.provider.clone());
            request.credentials.clone_from(&delivery.credentials);
            request.snapshot = delivery.snapshot;
        },
        (deliveries, _) => request.deliveries = deliveries.iter().map(delivery_request).collect(),
    }
    request
}

fn delivery_request(delivery: &Delivery) -> DeliveryRequest {
    DeliveryRequest {
        target: Some(delivery.target.clone()),
        provider: delivery.provider.clone(),
        credentials: delivery.credentials.clone(),
        snapshot: delivery.snapshot,
    }
}

/// A template with everything that it includes: the server has no files of this machine.
fn whole_text(loaded: &LoadedTemplate) -> String {
    let alone = Origin { name: "template".to_owned(), directory: None };
    match template::parse(&loaded.source, &alone) {
        Ok(again) if again.template == loaded.template => loaded.source.clone(),
        _ => template::to_tdl(&loaded.template),
    }
}
