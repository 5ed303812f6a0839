//! What ImageFactory's routes take and answer, for the OpenAPI document.
//!
//! One handler serves several addresses and tiers: [`at`] and [`of_tier`] complete what its own
//! description says. `documents` writes the answers and `fields` reads the bodies; shapes are closed, so
//! that the contract tests find whatever is not here.

use std::sync::Arc;

use plugin_api::Tier;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Content, Object, ObjectBuilder, Ref, RefOr, Required, Type};
use utoipa_axum::router::UtoipaMethodRouter;

use super::Daemon;
use super::fields::{FORM, JSON, PARTS};
use crate::daemon::api::operations;
use crate::images::{ImageId, Status};

/// What answers, and which API it speaks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Factory)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) api_version: &'static str,
}

/// What an image is doing, or why it ended.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Detail {
    activity: Option<String>,
    error: Option<String>,
}

/// Where an image is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reference {
    _type: String,
    id: ImageId,
    href: String,
}

/// The shapes of a tier: one image, its document, a collection, and what is sent for a new one.
macro_rules! tier {
    (
        $image:ident $document:ident $entry:ident $images:ident $new:ident $sent:ident,
        $name:ident $names:ident,
        { $($(#[$about:meta])* $field:ident: $kind:ty,)* },
        { $($(#[$new_about:meta])* $new_field:ident: $new_kind:ty,)* }
    ) => {
        /// An image.
        #[derive(Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        struct $image {
            _type: String,
            id: ImageId,
            href: String,
            status: Status,
            status_detail: Detail,
            #[schema(maximum = 100)]
            percent_complete: u8,
            /// The template as it was given.
            template: Option<String>,
            /// XML that lists what is installed.
            icicle: Option<String>,
            parameters: Map<String, Value>,
            properties: Map<String, Value>,
            $($(#[$about])* $field: $kind,)*
        }

        /// An image.
        #[derive(Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $document {
            $name: $image,
        }

        /// One image of a collection.
        #[derive(Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        struct $entry {
            $name: Reference,
        }

        /// A collection.
        #[derive(Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $images {
            $names: Vec<$entry>,
        }

        /// What a new image is made of.
        #[derive(Serialize, ToSchema)]
        pub(super) struct $new {
            $($(#[$new_about])* $new_field: $new_kind,)*
            #[schema(schema_with = parameters)]
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters: Option<Value>,
        }

        /// The same in JSON.
        #[derive(Serialize, ToSchema)]
        pub(super) struct $sent {
            $name: $new,
        }
    };
}

tier!(
    BaseImage BaseImageDocument BaseImageEntry BaseImages NewBaseImage BaseImageRequest,
    base_image base_images,
    {
        #[serde(skip_serializing_if = "Option::is_none")]
        target_images: Option<TargetImages>,
    },
    {
        /// The text of a template, TDL or TOML.
        #[schema(schema_with = text)]
        template: Value,
    }
);

tier!(
    TargetImage TargetImageDocument TargetImageEntry TargetImages NewTargetImage TargetImageRequest,
    target_image target_images,
    {
        base_image_id: Option<ImageId>,
        target: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base_image: Option<Reference>,
        #[serde(skip_serializing_if = "Option::is_none")]
        provider_images: Option<ProviderImages>,
    },
    {
        #[schema(schema_with = text)]
        target: Value,
        #[schema(schema_with = maybe_text)]
        template: Option<Value>,
        #[schema(schema_with = maybe_text)]
        base_image_id: Option<Value>,
    }
);

tier!(
    ProviderImage ProviderImageDocument ProviderImageEntry ProviderImages NewProviderImage ProviderImageRequest,
    provider_image provider_images,
    {
        target_image_id: Option<ImageId>,
        target: Option<String>,
        provider: Option<String>,
        identifier_on_provider: Option<String>,
        provider_account_identifier: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        target_image: Option<Reference>,
    },
    {
        #[schema(schema_with = text)]
        provider: Value,
        #[schema(schema_with = text)]
        credentials: Value,
        #[schema(schema_with = text)]
        target: Value,
        #[schema(schema_with = maybe_text)]
        template: Option<Value>,
        #[schema(schema_with = maybe_text)]
        target_image_id: Option<Value>,
    }
);

/// How to reach the provider of an image that is to be deleted.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderImageDeletion {
    #[schema(schema_with = text)]
    provider: Value,
    #[schema(schema_with = text)]
    credentials: Value,
    #[schema(schema_with = text)]
    target: Value,
}

/// A plugin: what its `.info` file says besides.
#[derive(Serialize, ToSchema)]
pub(super) struct UpstreamPlugin {
    _type: String,
    id: String,
    href: String,
    /// Why it cannot be used.
    #[serde(rename = "ERROR", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// All plugins.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamPlugins {
    plugins: Vec<UpstreamPlugin>,
}

/// A text. In JSON, a document in its place counts as its own text.
fn text() -> Object {
    let kinds = SchemaType::from_iter([Type::String, Type::Object, Type::Array]);
    ObjectBuilder::new().schema_type(kinds).min_length(Some(1)).build()
}

/// The same, or nothing.
fn maybe_text() -> Object {
    let kinds = SchemaType::from_iter([Type::String, Type::Object, Type::Array, Type::Null]);
    ObjectBuilder::new().schema_type(kinds).build()
}

/// An object, or the text of one.
fn parameters() -> Object {
    let kinds = SchemaType::from_iter([Type::Object, Type::String, Type::Null]);
    let callbacks =
        "An object, or the text of one; `callbacks` and `snapshot` have meanings of their own.";
    ObjectBuilder::new().schema_type(kinds).description(Some(callbacks)).build()
}

/// The shapes by their names.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    BaseImageDocument,
    BaseImages,
    NewBaseImage,
    BaseImageRequest,
    TargetImageDocument,
    TargetImages,
    NewTargetImage,
    TargetImageRequest,
    ProviderImageDocument,
    ProviderImages,
    NewProviderImage,
    ProviderImageRequest,
    ProviderImageDeletion,
)))]
pub(super) struct Shapes;

type Routes = UtoipaMethodRouter<Arc<Daemon>>;

/// Puts what is described without an address at `path`.
pub(super) fn at(path: &str, (schemas, paths, router): Routes) -> Routes {
    let mut moved = Paths::new();
    for mut item in paths.paths.into_values() {
        for (method, operation) in operations(&mut item) {
            let words =
                path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let words: Vec<&str> = words.map(|word| word.trim_end_matches("_images")).collect();
            let end = if path.ends_with('/') { "_" } else { "" };
            let method = method.as_str().to_lowercase();
            operation.operation_id =
                Some(format!("imagefactory_{method}_{}{end}", words.join("_")));
            operation.tags = Some(vec!["imagefactory".to_owned()]);
            let names =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let parameters = names.map(|name| {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let parameter = ParameterBuilder::new().name(name).schema(Some(text));
                let parameter = parameter.parameter_in(ParameterIn::Path).required(Required::True);
                RefOr::T(parameter.build())
            });
            operation.parameters.get_or_insert_default().extend(parameters);
        }
        moved.paths.insert(path.to_owned(), item);
    }
    (schemas, moved, router)
}

/// What is taken and answered for the images of `tier`.
pub(super) fn of_tier(tier: Tier, (schemas, mut paths, router): Routes) -> Routes {
    let (document, images, new, sent) = match tier {
        Tier::Base => (
            BaseImageDocument::name(),
            BaseImages::name(),
            NewBaseImage::name(),
            BaseImageRequest::name(),
        ),
        Tier::Target => (
            TargetImageDocument::name(),
            TargetImages::name(),
            NewTargetImage::name(),
            TargetImageRequest::name(),
        ),
        Tier::Provider => (
            ProviderImageDocument::name(),
            ProviderImages::name(),
            NewProviderImage::name(),
            ProviderImageRequest::name(),
        ),
    };
    for (path, item) in &mut paths.paths {
        let is_collection = !path.ends_with('}');
        if let Some(get) = &mut item.get {
            answer(get, "200", if is_collection { &images } else { &document });
        }
        if let Some(post) = &mut item.post {
            answer(post, "202", &document);
            post.request_body = Some(RefOr::T(body(&sent, &new)));
        }
        if let Some(delete) = item.delete.as_mut().filter(|_| tier == Tier::Provider) {
            let deletion = ProviderImageDeletion::name();
            delete.request_body = Some(RefOr::T(body(&deletion, &deletion)));
        }
    }
    (schemas, paths, router)
}

fn content(schema: &str) -> Content {
    Content::new(Some(Ref::from_schema_name(schema)))
}

fn answer(operation: &mut Operation, status: &str, schema: &str) {
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
        response.content.insert(JSON.to_owned(), RefOr::T(content(schema)));
    }
}

/// A body in one of the three kinds.
fn body(json: &str, form: &str) -> RequestBody {
    RequestBodyBuilder::new()
        .content(JSON, content(json))
        .content(FORM, content(form))
        .content(PARTS, content(form))
        .required(Some(Required::True))
        .build()
}
