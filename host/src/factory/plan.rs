//! A plan: what will be built by which plugin. Nothing is built, and no record exists, before a
//! plan does.

use std::collections::{BTreeMap, HashSet};

use camino::Utf8PathBuf;
use plugin_api::info::printable;
use plugin_api::{Content, DelegateError, Template, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::configuration::ConfigurationProblem;
use super::limits::Limits;
use super::parameters::ParameterProblem;
use super::protocol::PluginRef;
use super::secrets::Secrets;
use crate::failures::{Exit, Failure, Failures};
use crate::images::{BuiltBy, ImageRecord, NewImage, Room, StoreError, TemplateRecord};
use crate::plugins::{LibraryCopy, NoPlugin, Unusable};

/// Longest text of a provider that an image is called by, in characters.
const MAX_LABEL: usize = 40;

/// What will be built, in the order of its tiers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    /// Name of the images.
    pub name: String,
    /// Labels of the images.
    pub labels: BTreeMap<String, String>,
    /// The template.
    #[schema(value_type = Object)]
    pub template: Template,
    /// The template as it was written.
    #[serde(skip)]
    pub template_source: String,
    /// Parameters, secrets masked.
    pub parameters: Map<String, Value>,
    /// The base image.
    pub base: BaseStep,
    /// Target images, each made from the base image, side by side.
    pub targets: Vec<TargetStep>,
    /// Provider images, each made from the image for its target, side by side.
    pub providers: Vec<ProviderStep>,
    /// Time that replaces the clock, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
    /// The disk space that its images reserve, and what there is.
    pub room: Room,
    /// What its workers run in.
    pub isolation: &'static str,
    /// What is never shown.
    #[serde(skip)]
    pub(crate) secrets: Secrets,
    /// Files that no plugin may see.
    #[serde(skip)]
    pub(crate) private_files: Vec<Utf8PathBuf>,
    /// Whether somebody else's machine asks.
    #[serde(skip)]
    pub(crate) is_remote: bool,
}

/// What happens in the base tier.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BaseStep {
    /// An image is built.
    Build {
        /// By this plugin.
        plugin: Box<PlannedPlugin>,
        /// Equal keys mean equal images; `None` when the plugin cannot tell.
        reuse_key: Option<String>,
        /// Build it although an equal one is there.
        rebuild: bool,
    },
    /// This image is used.
    Reuse(Box<ImageRecord>),
    /// None is needed.
    None,
}

/// A target image to make.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetStep {
    /// The target.
    pub target: String,
    /// The plugin for the operating system.
    pub os: PlannedPlugin,
    /// The plugin for the cloud.
    pub cloud: PlannedPlugin,
    /// What the image gets besides the template.
    pub content: PlannedContent,
}

/// What the image for a target gets besides the template, unless its plugin adds more while it is built.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedContent {
    /// Who says so.
    pub from: ContentSource,
    /// The content, secrets masked.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub shown: Content,
    /// The content.
    #[serde(skip)]
    pub(super) added: Content,
}

/// Who says what the image for a target gets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentSource {
    /// The plugin for its cloud, by name.
    Plugin(String),
    /// An operator's file of target content.
    File {
        /// The file.
        #[schema(value_type = String)]
        path: Utf8PathBuf,
        /// Line of the entry, counted from 1.
        line: usize,
        /// What the entry is for: `target mock, os Debian`.
        entry: String,
    },
}

/// A provider image to make.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderStep {
    /// The target.
    pub target: String,
    /// The plugin for the cloud.
    pub cloud: PlannedPlugin,
    /// The provider, secrets masked.
    pub provider: String,
    /// What its image is within the build.
    #[serde(skip)]
    pub(super) label: String,
    /// The provider, as given.
    #[serde(skip)]
    pub(super) given: String,
    /// Credentials, as given.
    #[serde(skip)]
    pub credentials: Option<String>,
    /// Make it inside the provider.
    pub snapshot: bool,
    /// The target image to deliver, when it is there already.
    pub target_image: Option<Box<ImageRecord>>,
}

/// A plugin that was found, probed and may be used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlannedPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its library.
    #[schema(value_type = String)]
    pub library: Utf8PathBuf,
    /// SHA-256 of its library, in hex.
    pub library_digest: String,
    /// What workers load in its place.
    #[serde(skip)]
    pub(super) copy: LibraryCopy,
    /// The delegate that its `.info` names.
    pub delegate: Option<String>,
    /// The parameters that it reads.
    #[serde(skip)]
    pub parameters: Map<String, Value>,
    /// Its own settings.
    #[serde(skip)]
    pub configuration: Map<String, Value>,
    /// What it may take.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub limits: Limits,
}

impl BaseStep {
    pub(super) fn reserved_bytes(&self) -> u64 {
        match self {
            Self::Build { plugin, .. } => plugin.limits.reserved_bytes(),
            Self::Reuse(_) | Self::None => 0,
        }
    }
}

impl TargetStep {
    pub(super) fn reserved_bytes(&self) -> u64 {
        Limits::together([&self.os.limits, &self.cloud.limits]).reserved_bytes()
    }
}

impl Plan {
    /// The disk space that all images of this plan reserve.
    pub(super) fn reserved_bytes(&self) -> u64 {
        let targets: u64 = self.targets.iter().map(TargetStep::reserved_bytes).sum();
        let providers = self.providers.iter().map(|step| step.cloud.limits.reserved_bytes());
        self.base.reserved_bytes() + targets + providers.sum::<u64>()
    }

    /// What is known beforehand of every image of this plan.
    pub(super) fn new_image(&self, tier: Tier) -> NewImage {
        let mut image = NewImage::new(tier, self.name.clone());
        image.labels.clone_from(&self.labels);
        image.parameters.clone_from(&self.parameters);
        image.template = Some(TemplateRecord {
            source: self.template_source.clone(),
            canonical: serde_json::to_value(&self.template).unwrap_or_default(),
        });
        image
    }
}

/// What each provider image is within its build: `providers` are target and provider of all of them, in order.
pub fn provider_labels<T: AsRef<str>, P: AsRef<str>>(
    providers: impl IntoIterator<Item = (T, P)>,
) -> Vec<String> {
    let cut = |(target, provider): (T, P)| (target.as_ref().to_owned(), cut(provider.as_ref()));
    let all: Vec<(String, String)> = providers.into_iter().map(cut).collect();
    if all.len() == 1 {
        return vec!["provider".to_owned()];
    }
    let label = |(position, this): (usize, &(String, String))| {
        let (target, provider) = this;
        let is_alone = all.iter().filter(|other| *other == this).count() == 1;
        let number = if is_alone { String::new() } else { format!(" #{}", position + 1) };
        format!("{target}{number} at {provider}")
    };
    all.iter().enumerate().map(label).collect()
}

/// The beginning of a provider, which may be a whole document.
fn cut(provider: &str) -> String {
    let provider = printable(&provider.split_whitespace().collect::<Vec<_>>().join(" "));
    let short: String = provider.chars().take(MAX_LABEL).collect();
    let more = if short.len() < provider.len() { "…" } else { "" };
    format!("{short}{more}")
}

impl PlannedPlugin {
    /// As a worker opens it.
    pub(super) fn to_ref(&self) -> PluginRef {
        PluginRef {
            name: self.name.clone(),
            library: self.copy.path.clone(),
            delegate: self.delegate.clone(),
            parameters: self.parameters.clone(),
            configuration: self.configuration.clone(),
            limits: self.limits.clone(),
        }
    }

    /// As a record names it.
    pub(super) fn built_by(&self) -> BuiltBy {
        BuiltBy {
            name: self.name.clone(),
            version: self.version.clone(),
            library_digest: self.library_digest.clone(),
        }
    }
}

/// A kind of thing that stands against an order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanProblem {
    /// No plugin can do it.
    #[error(transparent)]
    NoPlugin(#[from] NoPlugin),
    /// The plugin that would do it cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A parameter is wrong.
    #[error(transparent)]
    Parameter(#[from] ParameterProblem),
    /// The settings of a plugin are wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigurationProblem),
    /// A delegate says that it cannot work.
    #[error("{error}")]
    Refused {
        /// Its plugin.
        plugin: String,
        /// What it says.
        error: DelegateError,
    },
    /// The order contradicts itself.
    #[error("{message}")]
    Contradiction {
        /// How.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work folder of checks cannot be made.
    #[error("cannot prepare the check of a build")]
    Prepare(#[source] std::io::Error),
}

impl PlanProblem {
    /// What the reader can do about it.
    pub(super) fn hints(&self) -> Vec<String> {
        match self {
            Self::NoPlugin(error) => error.hints(),
            Self::Unusable(error) => error.status.hints.clone(),
            Self::Parameter(error) => error.hint().into_iter().collect(),
            Self::Configuration(error) => error.hint().into_iter().collect(),
            Self::Refused { error, .. } => error.hints().to_vec(),
            Self::Contradiction { hint, .. } => vec![hint.clone()],
            Self::Store(error) => error.hints(),
            Self::Prepare(_) => Vec::new(),
        }
    }
}

impl From<&PlanProblem> for Failure {
    fn from(problem: &PlanProblem) -> Self {
        let exit = match problem {
            PlanProblem::Refused { error, .. } => return Self::from(error),
            PlanProblem::Store(error) => return error.into(),
            PlanProblem::NoPlugin(_) | PlanProblem::Unusable(_) => Exit::NoPlugin,
            PlanProblem::Parameter(_) | PlanProblem::Configuration(_) => Exit::InvalidInput,
            PlanProblem::Contradiction { .. } => Exit::Usage,
            PlanProblem::Prepare(_) => Exit::Internal,
        };
        Self::from_error(exit, problem).hints(problem.hints())
    }
}

impl From<&Refusal> for Failures {
    fn from(refusal: &Refusal) -> Self {
        Self::collect(refusal.problems().map(Failure::from)).unwrap_or_else(|| {
            Failure::new(Exit::Internal, "the order was refused without a reason").into()
        })
    }
}

/// What of an order something stands against. The rest of it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What the plugin for the operating system makes: the base image, and target images that are not
    /// there yet.
    System,
    /// Everything for these targets.
    Targets(Vec<String>),
    /// One delivery, by its position in the order.
    Delivery(usize),
}

/// One thing that stands against an order.
#[derive(Debug)]
pub struct Reason {
    /// Against what of it.
    pub against: Part,
    /// What it is.
    pub problem: PlanProblem,
}

impl Reason {
    /// Something that stands against all of an order.
    pub(super) fn whole(problem: impl Into<PlanProblem>) -> Self {
        Self { against: Part::Whole, problem: problem.into() }
    }
}

/// Everything that stands against an order; at least one thing.
#[derive(Debug)]
pub struct Refusal {
    /// The reasons.
    pub reasons: Vec<Reason>,
}

impl Refusal {
    /// What stands against it, whatever of it that touches.
    pub(super) fn problems(&self) -> impl Iterator<Item = &PlanProblem> {
        problems(&self.reasons)
    }
}

/// What `reasons` say, each once: the OS delegate is asked in several tiers, and a cloud delegate for several
/// targets, and they may say the same each time.
pub(super) fn problems<'r>(
    reasons: impl IntoIterator<Item = &'r Reason>,
) -> impl Iterator<Item = &'r PlanProblem> {
    let mut seen = HashSet::new();
    let problems = reasons.into_iter().map(|reason| &reason.problem);
    problems.filter(move |problem| seen.insert(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_providers_of_one_request_never_have_the_same_label() {
        let long = "x".repeat(MAX_LABEL);
        let shown = format!("{long}…");
        let providers =
            [("a", format!("{long}1")), ("a", "p".to_owned()), ("a", format!("{long}2"))];
        let wanted = [format!("a #1 at {shown}"), "a at p".to_owned(), format!("a #3 at {shown}")];
        assert_eq!(provider_labels(providers), wanted);
        assert_eq!(provider_labels([("a", "p"), ("b", "p")]), ["a at p", "b at p"]);
        assert_eq!(provider_labels([("a", "p")]), ["provider"]);
    }
}
