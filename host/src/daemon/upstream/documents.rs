//! Images as ImageFactory writes them.
//!
//! Its states are fewer: an image that was skipped or cancelled is `FAILED` here, with the reason as its
//! error. Bodies and their paths are in no document.

use plugin_api::Tier;
use serde_json::{Map, Value, json};

use super::place::Place;
use crate::images::{EventKind, ImageId, ImageRecord, Message, Status, Store, StoreError};

/// The artifact that lists what is installed.
const ICICLE: &str = "icicle.xml";
/// A longer list of what is installed is not put into a document.
const MAX_ICICLE_BYTES: u64 = 8 << 20;

/// The collection that holds the images of a tier.
pub(super) fn collection(tier: Tier) -> &'static str {
    match tier {
        Tier::Base => "base_images",
        Tier::Target => "target_images",
        Tier::Provider => "provider_images",
    }
}

/// What one image of a tier is called.
pub(super) fn singular(tier: Tier) -> &'static str {
    match tier {
        Tier::Base => "base_image",
        Tier::Target => "target_image",
        Tier::Provider => "provider_image",
    }
}

fn kind(tier: Tier) -> &'static str {
    match tier {
        Tier::Base => "BaseImage",
        Tier::Target => "TargetImage",
        Tier::Provider => "ProviderImage",
    }
}

/// A collection: of each image, what it is and where.
pub(super) fn list(
    tier: Tier,
    images: &[ImageRecord],
    href: impl Fn(&ImageRecord) -> String,
) -> Value {
    let images = images.iter().filter(|image| image.tier == tier);
    let images: Vec<Value> = images
        .map(|image| json!({ singular(tier): reference(tier, image.id, &href(image)) }))
        .collect();
    json!({ collection(tier): images })
}

/// An image that has just been accepted.
pub(super) fn accepted(image: &ImageRecord, place: &Place) -> Value {
    json!({ singular(image.tier): fields(image, place.below(image.id)) })
}

/// An image, with what it was made from and what was made from it.
///
/// # Errors
/// Failures of the store.
pub(super) fn image(
    store: &Store,
    image: &ImageRecord,
    place: &Place,
) -> Result<Value, StoreError> {
    let mut document = fields(image, place.href());
    document.insert("icicle".to_owned(), json!(icicle(store, image)?));
    let made = |tier| -> Result<Value, StoreError> {
        let images = store.dependents(image.id)?;
        Ok(list(tier, &images, |image| place.of_image(tier, image.id)))
    };
    let parent = |tier, id: Option<ImageId>| {
        json!(id.map(|id| reference(tier, id, &place.of_image(tier, id))))
    };
    let more = match image.tier {
        Tier::Base => vec![("target_images", made(Tier::Target)?)],
        Tier::Target => vec![
            ("base_image", parent(Tier::Base, image.base_image_id)),
            ("provider_images", made(Tier::Provider)?),
        ],
        Tier::Provider => vec![("target_image", parent(Tier::Target, image.target_image_id))],
    };
    document.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(json!({ singular(image.tier): document }))
}

/// What a receiver of callbacks is told: the image right after a change of its state, without what it
/// was made from.
pub(in crate::daemon) fn change(message: &Message) -> Value {
    let document = if let Some(image) = &message.record {
        let mut document = fields(image, String::new());
        for name in ["href", "base_image_id", "target_image_id"] {
            document.shift_remove(name);
        }
        document
    } else {
        let mut document = Map::new();
        document.insert("_type".to_owned(), json!(kind(message.tier)));
        document.insert("id".to_owned(), json!(message.event.image));
        if let EventKind::Transition { to, error, .. } = &message.event.kind {
            document.insert("status".to_owned(), json!(to));
            let detail = json!({ "activity": null, "error": error });
            document.insert("status_detail".to_owned(), detail);
        }
        document
    };
    json!({ singular(message.tier): document })
}

fn reference(tier: Tier, id: ImageId, href: &str) -> Value {
    json!({ "_type": kind(tier), "id": id, "href": href })
}

/// What is known of every image, and what belongs to its tier.
fn fields(image: &ImageRecord, href: String) -> Map<String, Value> {
    let detail = &image.status_detail;
    let (status, error) = match image.status {
        Status::Skipped => (Status::Failed, detail.error.as_deref().or(Some("skipped"))),
        Status::Cancelled => (Status::Failed, detail.error.as_deref().or(Some("cancelled"))),
        status => (status, detail.error.as_deref()),
    };
    let mut fields = vec![
        ("_type", json!(kind(image.tier))),
        ("id", json!(image.id)),
        ("href", Value::String(href)),
        ("status", json!(status)),
        ("status_detail", json!({ "activity": detail.activity, "error": error })),
        ("percent_complete", json!(image.percent_complete)),
        ("template", json!(image.template.as_ref().map(|template| &template.source))),
        ("icicle", Value::Null),
        ("parameters", json!(image.parameters)),
        ("properties", json!(image.properties)),
    ];
    let of_tier = match image.tier {
        Tier::Base => Vec::new(),
        Tier::Target => {
            vec![("base_image_id", json!(image.base_image_id)), ("target", json!(image.target))]
        },
        Tier::Provider => vec![
            ("target_image_id", json!(image.target_image_id)),
            ("target", json!(image.target)),
            ("provider", json!(image.provider)),
            ("identifier_on_provider", json!(image.identifier_on_provider)),
            ("provider_account_identifier", json!(image.provider_account_identifier)),
        ],
    };
    fields.extend(of_tier);
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The list of what is installed: its own, or that of the image that it was made from.
fn icicle(store: &Store, image: &ImageRecord) -> Result<Option<String>, StoreError> {
    if let Some(list) = image.artifact(ICICLE) {
        let path = list.path.as_ref().filter(|_| list.size_bytes <= MAX_ICICLE_BYTES);
        return Ok(path.and_then(|path| fs_err::read_to_string(path).ok()));
    }
    match image.target_image_id.or(image.base_image_id).map(|parent| store.get(parent)) {
        Some(Ok(parent)) => icicle(store, &parent),
        Some(Err(StoreError::NotFound { .. })) | None => Ok(None),
        Some(Err(error)) => Err(error),
    }
}
