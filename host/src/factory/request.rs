//! A request as it comes over the wire and as the queue keeps it: plain values, nothing looked up yet.

use std::collections::BTreeMap;

use plugin_api::{DelegateErrorKind, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::callback::{CallbackAddress, MAX_CALLBACKS};
use super::order::{Delivery, Order, Start};
use crate::failures::{Exit, Failure, Failures};
use crate::images::{ImageRecord, Status, Store, StoreError};
use crate::settings::{CallbackSettings, Settings};
use crate::template::{self, Origin, TemplateError};

/// Longest name of an image, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What to build. Exactly one of `template`, `base_image` and `target_image` says what from.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildRequest {
    /// A template, TDL or TOML: the text itself, never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A base image: identifier, its beginning, or a name. One that is not finished is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,
    /// A target image: identifier, its beginning, or a name. One that is not finished is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_image: Option<String>,
    /// Targets to build for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Where to deliver the image of the only target; several places, or several targets, are
    /// `deliveries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Credentials for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// Make the image inside the provider instead of pushing one.
    #[serde(default)]
    pub snapshot: bool,
    /// Where to deliver images of the targets, side by side; in the place of `provider`, `credentials`
    /// and `snapshot`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<DeliveryRequest>,
    /// Parameters for all plugins of the build.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Name of the images; the template's name when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels of the images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Build the base image also when an equal one is there.
    #[serde(default)]
    pub rebuild: bool,
    /// Give the base image a record of its own also when an equal one is there; both share one body.
    #[serde(default)]
    pub own_base: bool,
    /// Time that replaces the clock in images, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_date_epoch: Option<i64>,
    /// Addresses that are told, by `PUT`, of every change of state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<String>,
}

/// Where to deliver an image.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRequest {
    /// The target whose image it is; the only one when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The provider.
    pub provider: String,
    /// Credentials for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// Make the image inside the provider instead of pushing one.
    #[serde(default)]
    pub snapshot: bool,
}

impl DeliveryRequest {
    /// As it is ordered, once it names its target.
    pub(super) fn directed(self) -> Option<Delivery> {
        let Self { target, provider, credentials, snapshot } = self;
        Some(Delivery { target: target?, provider, credentials, snapshot })
    }
}

/// Neither credentials nor what may hold some.
impl std::fmt::Debug for DeliveryRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryRequest").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Neither credentials nor what may hold some.
impl std::fmt::Debug for BuildRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildRequest").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Why a request is no order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is nothing to start from, or too much.
    #[error("a request names exactly one of `template`, `base_image` and `target_image`")]
    Start,
    /// The template is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The image cannot be found.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image is of another tier.
    #[error("image `{}` is a {} image, not a {wanted} image", image.id, image.tier)]
    Tier {
        /// The image.
        image: Box<ImageRecord>,
        /// The tier that was meant.
        wanted: Tier,
    },
    /// The image cannot be started from.
    #[error("image `{}` is {}, not COMPLETE", .0.id, .0.status)]
    NotComplete(Box<ImageRecord>),
    /// There are deliveries in two places.
    #[error("a request has either `deliveries` or `provider`, `credentials` and `snapshot`")]
    TwoForms,
    /// It is not said whose image is delivered.
    #[error("delivery {} names no target, and the request has {targets} of them", index + 1)]
    Undirected {
        /// Which.
        index: usize,
        /// How many targets there are.
        targets: usize,
    },
    /// The name is none.
    #[error("`name` {0}")]
    Name(&'static str),
    /// A callback cannot be told.
    #[error("`callbacks[{index}]` {reason}")]
    Callback {
        /// Which.
        index: usize,
        /// What is wrong with it, as the end of a sentence.
        reason: &'static str,
    },
    /// There are too many callbacks.
    #[error("`callbacks` holds more than {MAX_CALLBACKS} addresses")]
    TooManyCallbacks,
}

impl RequestError {
    /// Whose fault it is.
    pub fn kind(&self) -> DelegateErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::NotComplete(_) => DelegateErrorKind::Conflict,
            Self::Start
            | Self::Template(_)
            | Self::Tier { .. }
            | Self::TwoForms
            | Self::Undirected { .. }
            | Self::Name(_)
            | Self::Callback { .. }
            | Self::TooManyCallbacks => DelegateErrorKind::InvalidInput,
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tier { image, wanted } => Some(instead(image, *wanted)),
            Self::NotComplete(image) => {
                Some(format!("`imageforge images log {}` tells what became of it", image.id))
            },
            _ => None,
        }
    }
}

impl From<&RequestError> for Failures {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Store(error) => Failure::from(error).into(),
            RequestError::Template(error) => {
                Failure::from_error(Exit::InvalidInput, error).hints(error.hints()).into()
            },
            error => Failure::from_error(error.kind().into(), error).hints(error.hint()).into(),
        }
    }
}

/// What to name where `image` is of another tier than `wanted`: what it was made from, or what is to be made from it.
fn instead(image: &ImageRecord, wanted: Tier) -> String {
    let origin = match wanted {
        Tier::Base => image.base_image_id,
        _ => image.target_image_id,
    };
    match origin {
        Some(origin) => format!("name the {wanted} image that it was made from: `{origin}`"),
        None if image.tier == Tier::Base => format!(
            "make a target image of it first, and name that one: `imageforge target-image TARGET --id {}`",
            image.id
        ),
        None => format!("`imageforge images list --tier {wanted}` shows those that there are"),
    }
}

/// Checks a name for images: one line of text.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        _ if name.trim().is_empty() => Err("is empty"),
        _ if name.len() > MAX_NAME_BYTES => Err("is longer than 255 bytes"),
        _ if name.contains(char::is_control) => Err("holds a control character"),
        _ => Ok(()),
    }
}

impl BuildRequest {
    fn check_callbacks(&self, settings: &CallbackSettings) -> Result<(), RequestError> {
        if self.callbacks.len() > MAX_CALLBACKS {
            return Err(RequestError::TooManyCallbacks);
        }
        self.callbacks.iter().enumerate().try_for_each(|(index, text)| {
            CallbackAddress::parse(text)
                .and_then(|address| address.check(settings))
                .map_err(|reason| RequestError::Callback { index, reason })
        })
    }

    /// What is delivered, each with its target, whichever form says so; neither form is left.
    ///
    /// # Errors
    /// Both forms are used, or a target is missing.
    pub(super) fn take_deliveries(&mut self) -> Result<Vec<DeliveryRequest>, RequestError> {
        let single = self.provider.take().map(|provider| DeliveryRequest {
            target: None,
            provider,
            credentials: self.credentials.take(),
            snapshot: std::mem::take(&mut self.snapshot),
        });
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let rest_of_single = self.credentials.is_some() || self.snapshot;
        if !deliveries.is_empty() && (single.is_some() || rest_of_single) {
            return Err(RequestError::TwoForms);
        }
        deliveries.extend(single);
        for (index, delivery) in deliveries.iter_mut().enumerate() {
            delivery.target = match (delivery.target.take(), self.targets.as_slice()) {
                (Some(target), _) => Some(target),
                (None, [only]) => Some(only.clone()),
                (None, many) => {
                    return Err(RequestError::Undirected { index, targets: many.len() });
                },
            };
        }
        Ok(deliveries)
    }

    /// Looks up what the request names.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn to_order(&self, store: &Store, settings: &Settings) -> Result<Order, RequestError> {
        if let Some(name) = &self.name {
            check_name(name).map_err(RequestError::Name)?;
        }
        self.check_callbacks(&settings.serve.callbacks)?;
        let start = match (&self.template, &self.base_image, &self.target_image) {
            (Some(text), None, None) => {
                // Without a directory: a template from elsewhere includes no file of this machine.
                let origin = Origin { name: "template".to_owned(), directory: None };
                Start::Template(Box::new(template::parse(text, &origin)?))
            },
            (None, Some(image), None) => Start::BaseImage(parent(store, image, Tier::Base)?),
            (None, None, Some(image)) => Start::TargetImage(parent(store, image, Tier::Target)?),
            _ => return Err(RequestError::Start),
        };
        let mut order = Order::new(start);
        order.targets.clone_from(&self.targets);
        let deliveries = self.clone().take_deliveries()?;
        order.deliveries = deliveries.into_iter().filter_map(DeliveryRequest::directed).collect();
        order.parameters.clone_from(&self.parameters);
        order.name.clone_from(&self.name);
        order.labels.clone_from(&self.labels);
        order.rebuild = self.rebuild;
        order.own_base = self.own_base;
        order.source_date_epoch = self.source_date_epoch;
        order.waits_for_room = true;
        order.is_remote = true;
        order.configure(settings);
        Ok(order)
    }
}

/// An image that others can be made from, now or once it is finished.
fn parent(store: &Store, image: &str, wanted: Tier) -> Result<Box<ImageRecord>, RequestError> {
    let record = store.find(image)?;
    if record.tier != wanted {
        return Err(RequestError::Tier { image: Box::new(record), wanted });
    }
    if record.status != Status::Complete && !record.status.is_under_way() {
        return Err(RequestError::NotComplete(Box::new(record)));
    }
    Ok(Box::new(record))
}
