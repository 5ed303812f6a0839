//! Glance, the image service, version 2 of its API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugin_api::DelegateError;
use plugin_kit::transfer::{Request, TransferError, Upload};
use serde_json::Value;

use crate::session::{Session, without_version};

/// The media type of changes to an image.
const PATCH: &str = "application/openstack-images-v2.1-json-patch";
/// What is not itself in a part of a URL. Dots are not: `..` is a part with a meaning.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Glance, as somebody who is signed in sees it.
#[derive(Debug)]
pub(crate) struct Glance<'s, 'a> {
    session: &'s Session<'a>,
    images: String,
}

impl<'s, 'a> Glance<'s, 'a> {
    /// The image service of a session.
    ///
    /// # Errors
    /// When the catalogue has none, or several.
    pub(crate) fn new(session: &'s Session<'a>) -> Result<Self, DelegateError> {
        let endpoint = session.endpoint("image")?;
        Ok(Self { session, images: format!("{}/v2/images", without_version(&endpoint)) })
    }

    /// Where an image is.
    pub(crate) fn url(&self, id: &str) -> String {
        format!("{}/{}", self.images, encoded(id))
    }

    /// Whether a service answers there that is Glance.
    pub(crate) fn is_there(&self) -> Result<(), DelegateError> {
        let request = Request::get(format!("{}?limit=1", self.images));
        let answer = self.session.send(&request).map_err(|error| match error.status() {
            Some(404 | 410) => DelegateError::from(error)
                .hint("look at the URL of the image service: does another one answer there?"),
            _ => error.into(),
        })?;
        let document: Value = answer.json()?;
        if document["images"].is_array() { Ok(()) } else { Err(answer.no_sense().into()) }
    }

    /// Makes an image that has no data yet. Its identifier is in `document`, so that what was made
    /// without an answer is known all the same.
    pub(crate) fn create(&self, document: &Value) -> Result<(), TransferError> {
        let request = Request::post(&self.images).json(document).repeatable(true);
        let id = document["id"].as_str().unwrap_or_default();
        match self.session.send(&request) {
            // The answer to a try before was lost: nobody else knows this identifier.
            Err(error) if error.status() == Some(409) && self.show(id)?.is_some() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sends the data of an image, once.
    pub(crate) fn upload(&self, id: &str, upload: &mut Upload) -> Result<(), TransferError> {
        let request = Request::put(format!("{}/file", self.url(id)))
            .header("content-type", "application/octet-stream")
            .repeatable(false);
        self.session.upload(&request, upload).map(drop)
    }

    /// An image; `None` when there is none.
    pub(crate) fn show(&self, id: &str) -> Result<Option<Value>, TransferError> {
        match self.session.send(&Request::get(self.url(id))) {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The images that have this value, in this state.
    pub(crate) fn find(
        &self,
        property: &str,
        value: &str,
        status: &str,
    ) -> Result<Vec<Value>, TransferError> {
        let url =
            format!("{}?{}={}&status={status}", self.images, encoded(property), encoded(value));
        let mut document: Value = self.session.send(&Request::get(url))?.json()?;
        match document["images"].take() {
            Value::Array(images) => Ok(images),
            _ => Ok(Vec::new()),
        }
    }

    /// Changes what is known about an image, by operations of a JSON patch.
    pub(crate) fn change(&self, id: &str, operations: &Value) -> Result<(), TransferError> {
        let request =
            Request::patch(self.url(id)).body(PATCH, operations.to_string()).repeatable(true);
        self.session.send(&request).map(drop)
    }

    /// Deletes an image, and answers whether there was one that this account sees.
    pub(crate) fn delete(&self, id: &str) -> Result<bool, TransferError> {
        let answer = self.session.send(&Request::delete(self.url(id)).accept(404).accept(410))?;
        Ok(!matches!(answer.status(), 404 | 410))
    }
}

/// `text` as a part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
