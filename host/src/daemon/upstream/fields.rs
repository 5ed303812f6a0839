//! The three kinds of bodies that ImageFactory takes: JSON, forms, and forms in parts.
//!
//! In JSON the fields are in an object that is called like the image; in forms they are flat.

use axum::Form;
use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::extract::rejection::{BytesRejection, FormRejection};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use plugin_api::Tier;
use serde_json::{Map, Value};

use super::documents::singular;
use crate::daemon::problem::Problem;
use crate::factory::request::BuildRequest;
use crate::failures::Exit;

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const PARTS: &str = "multipart/form-data";

/// What a body says, by the names of its fields.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

/// Whether a document must be wrapped in an object that is called like the image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    /// It must be.
    Needed,
    /// It may be, and there may be no document at all.
    Optional,
}

impl Fields {
    /// Reads the body of a request that is about an image of `tier`.
    ///
    /// # Errors
    /// The body is of another kind (415), too long (413), or not what its kind says (400).
    pub(super) async fn read(
        tier: Tier,
        wrapper: Wrapper,
        request: Request,
    ) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            JSON => Self::from_json(tier, wrapper, &Bytes::from_request(request, &()).await?),
            FORM => {
                let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, &()).await?;
                Ok(Self(pairs.into_iter().map(|(name, text)| (name, text.into())).collect()))
            },
            PARTS => Self::from_parts(Multipart::from_request(request, &()).await?).await,
            "" if wrapper == Wrapper::Optional
                && Bytes::from_request(request, &()).await?.is_empty() =>
            {
                Ok(Self(Map::new()))
            },
            _ => Err(Problem::new(
                Exit::InvalidInput,
                format!("a body is `{JSON}`, `{FORM}` or `{PARTS}`"),
            )
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
        }
    }

    fn from_json(tier: Tier, wrapper: Wrapper, body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() && wrapper == Wrapper::Optional {
            return Ok(Self(Map::new()));
        }
        let name = singular(tier);
        let document: Value =
            serde_json::from_slice(body).map_err(|error| wrong(format!("the body: {error}")))?;
        match (document, wrapper) {
            (Value::Object(mut document), _) if document.contains_key(name) => {
                match document.remove(name) {
                    Some(Value::Object(fields)) => Ok(Self(fields)),
                    _ => Err(wrong(format!("`{name}` is no object"))),
                }
            },
            (Value::Object(fields), Wrapper::Optional) => Ok(Self(fields)),
            _ => Err(wrong(format!("`{name}` is not in the request"))),
        }
    }

    async fn from_parts(mut parts: Multipart) -> Result<Self, Problem> {
        let mut fields = Map::new();
        while let Some(part) = parts.next_field().await? {
            let Some(name) = part.name().map(str::to_owned) else { continue };
            fields.insert(name, part.text().await?.into());
        }
        Ok(Self(fields))
    }

    /// A text; a document in its place counts as its own text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(document @ (Value::Object(_) | Value::Array(_))) => Ok(Some(document.to_string())),
            Some(_) => Err(wrong(format!("`{name}` is no text"))),
        }
    }

    /// Refuses unless all fields called `names` are there.
    pub(super) fn need(&self, names: &[&str]) -> Result<(), Problem> {
        let is_missing = |name: &&&str| !matches!(self.text(name), Ok(Some(_)) | Err(_));
        let missing: Vec<String> =
            names.iter().filter(is_missing).map(|name| format!("`{name}`")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(wrong(format!("the request lacks {}", missing.join(", "))))
    }

    /// The parameters of a build: an object, in a form the text of one.
    fn parameters(&self) -> Result<Map<String, Value>, Problem> {
        match self.0.get("parameters") {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(parameters)) => Ok(parameters.clone()),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
            Some(Value::String(text)) => serde_json::from_str(text)
                .map_err(|error| wrong(format!("`parameters` is no JSON object: {error}"))),
            Some(_) => Err(wrong("`parameters` is no object")),
        }
    }

    /// What is to be built for a new image of `tier`, but for what it is made from.
    ///
    /// # Errors
    /// What is missing or of the wrong kind.
    pub(super) fn to_request(&self, tier: Tier) -> Result<BuildRequest, Problem> {
        let mut request = BuildRequest { template: self.text("template")?, ..Default::default() };
        match tier {
            Tier::Base => {
                self.need(&["template"])?;
                request.own_base = true;
            },
            Tier::Target => {
                self.need(&["target"])?;
                request.base_image = self.text("base_image_id")?;
            },
            Tier::Provider => {
                self.need(&["provider", "credentials", "target"])?;
                request.target_image = self.text("target_image_id")?;
                request.provider = self.text("provider")?;
                request.credentials = self.text("credentials")?;
            },
        }
        if tier != Tier::Base {
            request.targets.extend(self.text("target")?);
        }
        let mut parameters = self.parameters()?;
        if let Some(callbacks) = parameters.remove("callbacks") {
            request.callbacks = callbacks_of(callbacks)?;
        }
        if let Some(snapshot) = parameters.remove("snapshot") {
            request.snapshot = is_true(&snapshot)?;
        }
        request.parameters = parameters;
        Ok(request)
    }
}

fn callbacks_of(value: Value) -> Result<Vec<String>, Problem> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(address) => Ok(vec![address]),
        value => serde_json::from_value(value)
            .map_err(|_| wrong("`parameters.callbacks` is no list of addresses")),
    }
}

/// A truth value; command lines and forms know texts only.
fn is_true(value: &Value) -> Result<bool, Problem> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" | "" => Ok(false),
            _ => Err(wrong("`parameters.snapshot` is neither true nor false")),
        },
        _ => Err(wrong("`parameters.snapshot` is neither true nor false")),
    }
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Exit::InvalidInput, message)
}

impl From<BytesRejection> for Problem {
    fn from(refused: BytesRejection) -> Self {
        wrong(refused.body_text()).with_status(refused.status())
    }
}

impl From<FormRejection> for Problem {
    fn from(refused: FormRejection) -> Self {
        wrong(refused.body_text()).with_status(refused.status())
    }
}

impl From<MultipartRejection> for Problem {
    fn from(refused: MultipartRejection) -> Self {
        wrong(refused.body_text()).with_status(refused.status())
    }
}

impl From<MultipartError> for Problem {
    fn from(refused: MultipartError) -> Self {
        wrong(refused.body_text()).with_status(refused.status())
    }
}
