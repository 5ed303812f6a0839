//! What somebody wants built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde_json::{Map, Value};

use super::plan::provider_labels;
use super::secrets::Secrets;
use crate::images::ImageRecord;
use crate::settings::{LimitSettings, Settings};
use crate::template::{LoadedTemplate, TargetContent};

/// A request, before anything is known about whether it can work.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to start from.
    pub start: Start,
    /// Targets to build for; without one, only the base image is built.
    pub targets: Vec<String>,
    /// Where to deliver images of the targets.
    pub deliveries: Vec<Delivery>,
    /// What has become of it so far.
    pub so_far: SoFar,
    /// Parameters for all plugins of the build.
    pub parameters: Map<String, Value>,
    /// Name of the images; the template's name when missing.
    pub name: Option<String>,
    /// Labels of the images.
    pub labels: BTreeMap<String, String>,
    /// Build the base image also when an equal one is there.
    pub rebuild: bool,
    /// Give the base image a record of its own also when an equal one is there; both share one body.
    pub own_base: bool,
    /// The disk space of its images is promised when they are begun, not when the order is accepted.
    pub waits_for_room: bool,
    /// Settings of plugins, by plugin name.
    pub configuration: BTreeMap<String, Map<String, Value>>,
    /// Content that takes the place of what cloud plugins ask for.
    pub target_content: Option<Arc<TargetContent>>,
    /// What each image may take.
    pub limits: LimitSettings,
    /// Files that no plugin may see.
    pub private_files: Vec<Utf8PathBuf>,
    /// Time that replaces the clock in images, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
    /// Whether somebody else's machine asks.
    pub is_remote: bool,
}

impl Order {
    /// An order for the base image of `start` and nothing else.
    pub fn new(start: Start) -> Self {
        Self {
            start,
            targets: Vec::new(),
            deliveries: Vec::new(),
            so_far: SoFar::default(),
            parameters: Map::new(),
            name: None,
            labels: BTreeMap::new(),
            rebuild: false,
            own_base: false,
            waits_for_room: false,
            configuration: BTreeMap::new(),
            target_content: None,
            limits: LimitSettings::default(),
            private_files: Vec::new(),
            source_date_epoch: None,
            is_remote: false,
        }
    }

    /// The image for `target` that is there already.
    pub(super) fn target_image(&self, target: &str) -> Option<&ImageRecord> {
        match &self.start {
            Start::TargetImage(record) => Some(record),
            Start::Template(_) | Start::BaseImage(_) => self.so_far.target_images.get(target),
        }
    }

    /// Whether an image for `target` is to be built: one that is there is delivered as it is, and a
    /// snapshot is made from an image of the provider.
    pub(super) fn builds(&self, target: &str) -> bool {
        let deliveries = self.deliveries.iter().filter(|delivery| delivery.target == target);
        let mut deliveries = deliveries.peekable();
        let is_delivered = deliveries.peek().is_some();
        let only_snapshots = is_delivered && deliveries.all(|delivery| delivery.snapshot);
        let is_wanted = self.so_far.to_build.contains(target) || !only_snapshots;
        self.target_image(target).is_none() && is_wanted
    }

    /// The deliveries of the whole, of which this order may be what is left.
    pub(super) fn all_deliveries(&self) -> Vec<&Delivery> {
        match self.so_far.all_deliveries.as_slice() {
            [] => self.deliveries.iter().collect(),
            all => all.iter().map(|(delivery, _)| delivery).collect(),
        }
    }

    /// What each of its deliveries is called within the whole, in order; secrets masked.
    pub(super) fn provider_labels(&self, secrets: &Secrets) -> Vec<String> {
        let all = self.all_deliveries().into_iter();
        let labels = provider_labels(all.map(|it| (&it.target, secrets.mask(&it.provider))));
        let ended = self.so_far.all_deliveries.iter().map(|(_, is_left)| !is_left);
        let ended = ended.chain(std::iter::repeat(false));
        labels.into_iter().zip(ended).filter(|(_, ended)| !ended).map(|(label, _)| label).collect()
    }

    /// Takes what `settings` say of every order.
    pub fn configure(&mut self, settings: &Settings) {
        self.limits = settings.limits.clone();
        self.private_files = settings.private_files();
        let plugins = settings.plugin.keys();
        self.configuration = plugins.map(|name| (name.clone(), settings.plugin(name))).collect();
        self.target_content.clone_from(&settings.overrides);
    }
}

/// What has become of an order that was accepted before, and of which this one is what is left; nothing of a
/// new one.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    /// The targets of the whole. Parameters for their plugins, and for that of the system, are no mistake,
    /// although nobody may be left who reads them.
    pub all_targets: Vec<String>,
    /// The deliveries of the whole, each with whether it is left. They are numbered together, and what is secret
    /// in one that has ended stays secret.
    pub all_deliveries: Vec<(Delivery, bool)>,
    /// Target images that there are, by target: they are delivered and not built.
    pub target_images: BTreeMap<String, ImageRecord>,
    /// Targets whose images are promised and not there, whatever is left to be delivered of them.
    pub to_build: BTreeSet<String>,
}

/// What a build starts from.
#[derive(Clone, Debug)]
pub enum Start {
    /// A template: the base image is built, or an equal one is used.
    Template(Box<LoadedTemplate>),
    /// A base image that is there.
    BaseImage(Box<ImageRecord>),
    /// A target image that is there, to be delivered.
    TargetImage(Box<ImageRecord>),
}

/// Where an image is delivered.
#[derive(Clone)]
pub struct Delivery {
    /// The target whose image it is.
    pub target: String,
    /// The provider: a name, or a text that its plugin reads.
    pub provider: String,
    /// Credentials, as its plugin reads them.
    pub credentials: Option<String>,
    /// Make the image inside the provider, from one of its own.
    pub snapshot: bool,
}

impl Delivery {
    /// The one by which `image` came to its provider, which is to delete it. The image's record knows no
    /// credentials, and not where the provider is now when that is another place.
    pub fn of_image(
        image: &ImageRecord,
        provider: Option<&str>,
        credentials: Option<&str>,
    ) -> Self {
        Self {
            target: image.target.clone().unwrap_or_default(),
            provider: provider.or(image.provider.as_deref()).unwrap_or_default().to_owned(),
            credentials: credentials.map(str::to_owned),
            snapshot: false,
        }
    }
}

/// Credentials are left out, and so is a provider's text, which may carry some.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("target", &self.target)
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}
