//! Asks delegates of an order that is planned: what stands against it, what they add to it.
//!
//! One worker for each tier of each target, all at once: a provider far away must not delay the others.

use std::collections::BTreeMap;
use std::thread::ScopedJoinHandle;

use camino::Utf8PathBuf;
use plugin_api::host::BuildContext;
use plugin_api::{Content, DelegateError, DelegateErrorKind, Template, Tier};

use super::failure;
use super::order::{Order, Start};
use super::plan::{ContentSource, PlanProblem, PlannedContent, PlannedPlugin};
use super::protocol::{Objection, Outcome, Request, Work};
use super::secrets::Secrets;
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

/// What all of them answered.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) problems: Vec<PlanProblem>,
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
        let requests = self.requests()?;
        let outcomes = std::thread::scope(|scope| {
            let ask = |request| {
                scope.spawn(move || {
                    supervise(request, &Surroundings::without_image(cancelled), &mut |_| {})
                })
            };
            let asked: Vec<_> = requests.iter().map(ask).collect();
            let join = |check: ScopedJoinHandle<'_, _>| {
                check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asked.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut answers = Answers::default();
        for (request, outcome) in requests.iter().zip(outcomes) {
            self.take(request, outcome, &mut answers);
        }
        Ok(answers)
    }

    /// One question for each tier of the order.
    fn requests(&self) -> std::io::Result<Vec<Request>> {
        let Self { order, os, clouds, .. } = self;
        fs_err::create_dir_all(self.work_dir())?;
        fs_err::create_dir_all(self.store.locks_dir())?;
        let mut requests = Vec::new();
        if matches!(order.start, Start::Template(_)) && os.is_some() {
            requests.push(self.request(Tier::Base, *os, None));
        }
        if os.is_some() {
            let targets = clouds.iter().map(|cloud| self.request(Tier::Target, *os, Some(cloud)));
            requests.extend(targets);
        }
        if order.delivery.is_some() {
            let providers =
                clouds.iter().map(|cloud| self.request(Tier::Provider, None, Some(cloud)));
            requests.extend(providers);
        }
        Ok(requests)
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
        if let (Tier::Provider, Some(delivery)) = (tier, &order.delivery) {
            context.provider = Some(delivery.provider.clone());
            context.credentials.clone_from(&delivery.credentials);
        }
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
            secrets: self.secrets.texts().to_vec(),
            cgroup: None,
        }
    }

    /// What the operator wants in images for `target`, in the place of what its plugin asks for.
    fn entry(&self, target: &str) -> Option<(&TargetContent, &Entry)> {
        let file = self.order.target_content.as_deref()?;
        file.find(target, &self.template.os).map(|entry| (file, entry))
    }

    fn take(&self, request: &Request, outcome: Outcome, answers: &mut Answers) {
        let refused = |Objection { plugin, method, error }| {
            let error = named(&plugin, &method, error);
            PlanProblem::Refused { plugin, error }
        };
        match outcome {
            Outcome::Checked { problems, cache_key, content } => {
                answers.problems.extend(problems.into_iter().map(refused));
                answers.cache_key = answers.cache_key.take().or(cache_key);
                if let (Some(target), Some(cloud), Tier::Target) =
                    (&request.context.target, &request.cloud, request.context.tier)
                {
                    let planned = self.planned(target, &cloud.name, content.unwrap_or_default());
                    answers.content.insert(target.clone(), planned);
                }
            },
            Outcome::Failed { plugin, method, error } => {
                answers.problems.push(refused(Objection { plugin, method, error }));
            },
            Outcome::Complete { .. } | Outcome::Skipped(_) => {
                let error = DelegateError::failed("the worker answered another question");
                answers.problems.push(PlanProblem::Refused { plugin: String::new(), error });
            },
        }
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
        PlannedContent { from, shown: self.secrets.mask_document(added.clone()), added }
    }
}

/// A defect is told with the name of its plugin; what is wrong with the input speaks for itself.
fn named(plugin: &str, method: &str, error: DelegateError) -> DelegateError {
    let is_defect = error.kind() == DelegateErrorKind::BugInPlugin;
    if !is_defect || error.message().contains(&format!("`{plugin}`")) {
        return error;
    }
    failure::named(plugin, method, &error).hint("report this to the maintainer of the plugin")
}
