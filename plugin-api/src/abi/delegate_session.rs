//! The host's end of a session.

use std::fmt;

use abi_stable::std_types::{ROption, RResult, RString};
use serde::de::DeserializeOwned;

use super::plugin_end::decode;
use super::session::Outcome;
use super::session_body::SessionHandle;
use crate::content::Content;
use crate::error::DelegateError;
use crate::image::{Decision, ProviderIdentity};

/// One delegate with its builder: opened by the host for one image, closed by dropping it.
///
/// A method that the delegate's kind does not have answers `Unsupported`; a panic of the plugin
/// answers `BugInPlugin` with message and place. Methods are called one after another, except
/// [`abort`](Self::abort), which any thread may call meanwhile.
pub struct DelegateSession {
    session: SessionHandle,
}

impl DelegateSession {
    pub(super) fn new(session: SessionHandle) -> Self {
        Self { session }
    }

    /// Everything that stands against the build; empty when it may be accepted.
    pub fn check(&self) -> Vec<DelegateError> {
        let problems = self.session.check();
        if problems.is_empty() {
            return Vec::new();
        }
        let read: Result<Vec<serde_json::Value>, _> = serde_json::from_str(&problems);
        match read {
            Ok(items) => items.iter().map(|item| decode(&item.to_string())).collect(),
            Err(_) => vec![decode(&problems)],
        }
    }

    /// What the base image depends on besides template, parameters and library.
    ///
    /// # Errors
    /// What the OS delegate answered; it means "unknown".
    pub fn cache_key(&self) -> Result<String, DelegateError> {
        value(self.session.cache_key()).map(RString::into_string)
    }

    /// Whether the provider can be reached and accepts the credentials.
    ///
    /// # Errors
    /// What the cloud delegate answered.
    pub fn check_provider(&self) -> Result<(), DelegateError> {
        value(self.session.check_provider())
    }

    /// What images for the target need; nothing when the plugin is too old to be asked. Cloud
    /// delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn target_content(&self) -> Result<Content, DelegateError> {
        let content = value(self.session.target_content())?;
        if content.is_empty() {
            return Ok(Content::default());
        }
        read(&content)
    }

    /// Whether the image of this tier is to be built (`builder_should_create_image`).
    ///
    /// # Errors
    /// What the delegate answered.
    #[inline]
    pub fn should_create_image(&self) -> Result<Decision, DelegateError> {
        // One match, because moving a nested answer costs more than the call.
        match self.session.should() {
            RResult::ROk(ROption::RNone) => Ok(Decision::Proceed),
            RResult::ROk(ROption::RSome(reason)) => Ok(Decision::Skip(reason.into_string())),
            RResult::RErr(error) => Err(decode(&error)),
        }
    }

    /// Before the image of this tier is made (`builder_will_create_image`).
    ///
    /// # Errors
    /// What the delegate answered.
    #[inline]
    pub fn will_create_image(&self) -> Result<(), DelegateError> {
        value(self.session.will())
    }

    /// Builds the base image. OS delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn create_base_image(&self) -> Result<(), DelegateError> {
        value(self.session.create_base_image())
    }

    /// Changes the base image for the target. OS delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn create_target_image(&self) -> Result<(), DelegateError> {
        value(self.session.create_target_image())
    }

    /// Writes the body of the target image. Cloud delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn finish_target_image(&self) -> Result<(), DelegateError> {
        value(self.session.finish_target_image())
    }

    /// Uploads the target image to the provider. Cloud delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn push_image_to_provider(&self) -> Result<ProviderIdentity, DelegateError> {
        document(self.session.push())
    }

    /// Makes an image inside the provider. Cloud delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn snapshot_image_on_provider(&self) -> Result<ProviderIdentity, DelegateError> {
        document(self.session.snapshot())
    }

    /// Deletes the image from the provider. Cloud delegates only.
    ///
    /// # Errors
    /// What the delegate answered.
    pub fn delete_from_provider(&self) -> Result<(), DelegateError> {
        value(self.session.delete_from_provider())
    }

    /// After the image of this tier is complete (`builder_did_create_image`).
    ///
    /// # Errors
    /// What the delegate answered.
    #[inline]
    pub fn did_create_image(&self) -> Result<(), DelegateError> {
        value(self.session.did())
    }

    /// The build is cancelled. Any thread may call this while another method runs.
    ///
    /// # Errors
    /// Only `BugInPlugin`.
    pub fn abort(&self) -> Result<(), DelegateError> {
        value(self.session.abort())
    }
}

#[inline]
fn value<T>(outcome: Outcome<T>) -> Result<T, DelegateError> {
    match outcome {
        RResult::ROk(value) => Ok(value),
        RResult::RErr(error) => Err(decode(&error)),
    }
}

fn document<T: DeserializeOwned>(outcome: Outcome<RString>) -> Result<T, DelegateError> {
    read(&value(outcome)?)
}

fn read<T: DeserializeOwned>(answer: &str) -> Result<T, DelegateError> {
    serde_json::from_str(answer).map_err(|error| {
        DelegateError::bug_in_plugin("the plugin's answer cannot be read").caused_by(error)
    })
}

impl fmt::Debug for DelegateSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegateSession").finish_non_exhaustive()
    }
}
