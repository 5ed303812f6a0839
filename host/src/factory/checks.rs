//! Asks delegates of an order that is planned: what stands against it, what they add to it.
//!
//! One worker for each tier of each target, all at once: a provider far away must not delay the others.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plugin_api::host::BuildContext;
use plugin_api::template::Source;
use plugin_api::{Content, DelegateError, DelegateErrorKind, Template, Tier};

use super::failure;
use super::order::{Order, Start};
use super::plan::{ContentSource, Part, PlanProblem, PlannedContent, PlannedPlugin, Reason};
use super::protocol::{Objection, Outcome, Request, Work};
use super::secrets::Secrets;
use super::side_by_side::side_by_side;
use super::supervisor::{Surroundings, supervise};
use crate::images::Store;
use crate::template::{Entry, TargetContent};

/// The delegates of an order, and what they are told.
pub(super) struct Checks<'c> {
    pub(super) store: &'c Store,
    pub(super) order: &'c Order,
    pub(super) template: &'c Template,
    pub(super) os: Option<&'c PlannedPlugin>,
    /// By target.
    pub(super) clouds: &'c [(String, PlannedPlugin)],
    pub(super) secrets: &'c Secrets,
}

/// What one worker is asked.
struct Question {
    request: Request,
    /// The delivery that it is about, by its position in the order.
    delivery: Option<usize>,
}

impl From<Request> for Question {
    fn from(request: Request) -> Self {
        Self { request, delivery: None }
    }
}

/// What all of them answered.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) reasons: Vec<Reason>,
    pub(super) cache_key: Option<String>,
    /// What images get, by target.
    pub(super) content: BTreeMap<String, PlannedContent>,
}

impl Checks<'_> {
    /// Asks all delegates.
    ///
    /// # Errors
    /// The work folder cannot be made.
    pub(super) fn ask(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> std::io::Result<Answers> {
        let questions = self.questions()?;
        let outcomes = side_by_side(&questions, |Question { request, .. }| {
            supervise(request, &Surroundings::without_image(cancelled), &mut |_| {})
        });
        let mut answers = Answers::default();
        for (question, outcome) in questions.iter().zip(outcomes) {
            self.take(question, outcome, &mut answers);
        }
        Ok(answers)
    }

    /// One question for each tier of each target, and for each delivery.
    fn questions(&self) -> std::io::Result<Vec<Question>> {
        let Self { order, os, clouds, .. } = self;
        fs_err::create_dir_all(self.work_dir())?;
        fs_err::create_dir_all(self.store.locks_dir())?;
        let mut requests = Vec::new();
        if matches!(order.start, Start::Template(_)) && os.is_some() {
            requests.push(self.request(Tier::Base, *os, None));
        }
        if os.is_some() {
            let built = clouds.iter().filter(|(target, _)| order.builds(target));
            requests.extend(built.map(|cloud| self.request(Tier::Target, *os, Some(cloud))));
        }
        let mut questions: Vec<Question> = requests.into_iter().map(Question::from).collect();
        for (position, delivery) in order.deliveries.iter().enumerate() {
            let cloud = clouds.iter().find(|(target, _)| *target == delivery.target);
            let Some(cloud) = cloud else { continue };
            let mut request = self.request(Tier::Provider, None, Some(cloud));
            request.context.provider = Some(delivery.provider.clone());
            request.context.credentials.clone_from(&delivery.credentials);
            request.context.is_snapshot = delivery.snapshot;
            questions.push(Question { request, delivery: Some(position) });
        }
        Ok(questions)
    }

    fn work_dir(&self) -> Utf8PathBuf {
        self.store.cache_dir().join("check")
    }

    fn request(
        &self,
        tier: Tier,
        os: Option<&PlannedPlugin>,
        cloud: Option<&(String, PlannedPlugin)>,
    ) -> Request {
        let (order, work_dir) = (self.order, self.work_dir());
        let image_path = work_dir.join("no-image");
        let mut context =
            BuildContext::new("check", tier, self.template.clone(), work_dir, image_path);
        context.target = cloud.map(|(target, _)| target.clone());
        context.source_date_epoch = order.source_date_epoch;
        context.is_remote = order.is_remote;
        let entry =
            cloud.filter(|_| tier == Tier::Target).and_then(|(target, _)| self.entry(target));
        Request {
            work: Work::Check,
            context,
            os: os.map(PlannedPlugin::to_ref),
            cloud: cloud.map(|(_, plugin)| plugin.to_ref()),
            data_dir: self.store.data_dir().to_owned(),
            private_files: order.private_files.clone(),
            locks_dir: self.store.locks_dir(),
            cache_dir: self.store.cache_dir(),
            content: entry.map(|(_, entry)| entry.content().clone()),
            disk_artifacts: Vec::new(),
            secrets: self.secrets.texts().to_vec(),
            cgroup: None,
        }
    }

    /// What the operator wants in images for `target`, in the place of what its plugin asks for.
    fn entry(&self, target: &str) -> Option<(&TargetContent, &Entry)> {
        let file = self.order.target_content.as_deref()?;
        file.find(target, &self.template.os).map(|entry| (file, entry))
    }

    fn take(&self, question: &Question, outcome: Outcome, answers: &mut Answers) {
        let Question { request, delivery } = question;
        let against = match (delivery, &request.context.target) {
            (Some(delivery), _) => Part::Delivery(*delivery),
            (None, Some(target)) => Part::Targets(vec![target.clone()]),
            (None, None) => Part::System,
        };
        let refused = |Objection { plugin, method, error }| {
            let error = self.directed(*delivery, named(&plugin, &method, error));
            let against = against.clone();
            Reason { against, problem: PlanProblem::Refused { plugin, error } }
        };
        match outcome {
            Outcome::Checked { problems, cache_key, content } => {
                answers.reasons.extend(problems.into_iter().map(refused));
                answers.cache_key = answers.cache_key.take().or(cache_key);
                if let (Some(target), Some(cloud), Tier::Target) =
                    (&request.context.target, &request.cloud, request.context.tier)
                {
                    let planned = self.planned(target, &cloud.name, content.unwrap_or_default());
                    answers.content.insert(target.clone(), planned);
                }
            },
            Outcome::Failed { plugin, method, error } => {
                answers.reasons.push(refused(Objection { plugin, method, error }));
            },
            Outcome::Complete { .. } | Outcome::Skipped(_) => {
                let error = DelegateError::failed("the worker answered another question");
                let (plugin, method) = (String::new(), String::new());
                answers.reasons.push(refused(Objection { plugin, method, error }));
            },
        }
    }

    /// Of several deliveries, the error says which one it is about.
    fn directed(&self, delivery: Option<usize>, error: DelegateError) -> DelegateError {
        let is_one_of_several = self.order.all_deliveries().len() > 1;
        let Some(position) = delivery.filter(|_| is_one_of_several) else {
            return error;
        };
        let label = &self.order.provider_labels(self.secrets)[position];
        failure::reworded(&error, format!("{label}: {}", error.message()))
    }

    fn planned(&self, target: &str, plugin: &str, added: Content) -> PlannedContent {
        let from = match self.entry(target) {
            Some((file, entry)) => ContentSource::File {
                path: file.path().to_owned(),
                line: entry.line(),
                entry: entry.to_string(),
            },
            None => ContentSource::Plugin(plugin.to_owned()),
        };
        PlannedContent { from, shown: shown(&added, self.secrets), added }
    }
}

/// Content without secrets, also where base64 hides them from a search.
fn shown(content: &Content, secrets: &Secrets) -> Content {
    let mut shown = secrets.mask_document(content.clone());
    let files = shown.files.iter_mut().map(|file| &mut file.source);
    let commands = shown.commands.iter_mut().map(|command| &mut command.source);
    for source in files.chain(commands) {
        let holds_secret = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes);
            secrets.mask(&text) != text
        };
        if matches!(source, Source::Base64(_)) && source.bytes().is_some_and(holds_secret) {
            *source = Source::Raw("<redacted>".to_owned());
        }
    }
    shown
}

/// A defect is told with the name of its plugin; what is wrong with the input speaks for itself.
fn named(plugin: &str, method: &str, error: DelegateError) -> DelegateError {
    let is_defect = error.kind() == DelegateErrorKind::BugInPlugin;
    if !is_defect || error.message().contains(&format!("`{plugin}`")) {
        return error;
    }
    failure::named(plugin, method, &error).hint("report this to the maintainer of the plugin")
}

#[cfg(test)]
mod tests {
    use plugin_api::template::File;

    use super::*;

    #[test]
    fn a_secret_in_planned_content_is_not_shown_however_it_is_written() {
        let secrets = Secrets::new(["hunter2".to_owned()]);
        let mut content = Content::default();
        for source in [
            Source::Raw("password=hunter2".to_owned()),
            // `my hunter2!`
            Source::Base64("bXkgaHVudGVyMiE=".to_owned()),
            Source::Base64("cGxhaW4=".to_owned()),
        ] {
            content.files.push(File::new("/etc/a", source));
        }
        let shown = shown(&content, &secrets);
        let sources: Vec<&Source> = shown.files.iter().map(|file| &file.source).collect();
        let raw = |text: &str| Source::Raw(text.to_owned());
        let plain = Source::Base64("cGxhaW4=".to_owned());
        assert_eq!(sources, [&raw("password=<redacted>"), &raw("<redacted>"), &plain]);
    }
}
