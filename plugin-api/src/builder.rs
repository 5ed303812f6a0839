//! The builder: what a delegate may ask of the host.

use std::fmt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::command::{Command, CommandOutput};
use crate::content::Content;
use crate::error::DelegateError;
use crate::host::{BuildContext, BuilderHost, HostCall};
use crate::image::{Artifact, Image, ProviderIdentity, Tier};
use crate::parameters::Parameters;
use crate::template::Template;

/// One build, as its delegates see it. Given to every delegate method; cheap to ask.
///
/// May be used from any thread of the delegate, and only while the method that received it runs.
pub struct Builder {
    context: BuildContext,
    host: Arc<dyn BuilderHost>,
}

impl Builder {
    /// A builder over `host`. For hosts and harnesses; a plugin is given its builder.
    #[doc(hidden)]
    pub fn new(context: BuildContext, host: Arc<dyn BuilderHost>) -> Self {
        Self { context, host }
    }

    /// Identifier of the image that is built.
    pub fn id(&self) -> &str {
        &self.context.id
    }

    /// The tier that a hook is asked about.
    pub fn tier(&self) -> Tier {
        self.context.tier
    }

    /// What image is wanted.
    pub fn template(&self) -> &Template {
        &self.context.template
    }

    /// The target, for target and provider images; else empty.
    pub fn target(&self) -> &str {
        self.context.target.as_deref().unwrap_or_default()
    }

    /// The provider as the user gave it (a name or a JSON text), for provider images; else empty.
    pub fn provider(&self) -> &str {
        self.context.provider.as_deref().unwrap_or_default()
    }

    /// Credentials as the user gave them, for provider images; else empty. Never log them.
    pub fn credentials(&self) -> &str {
        self.context.credentials.as_deref().unwrap_or_default()
    }

    /// Parameters of the build, cast to the types of the schema in the plugin's `.info`.
    pub fn parameters(&self) -> Parameters<'_> {
        Parameters::new(&self.context.parameters)
    }

    /// The plugin's own settings.
    pub fn configuration(&self) -> Parameters<'_> {
        Parameters::new(&self.context.configuration)
    }

    /// The finished base image; `None` in the base tier.
    pub fn base_image(&self) -> Option<&Image> {
        self.context.base_image.as_ref()
    }

    /// The finished target image; `None` below the provider tier.
    pub fn target_image(&self) -> Option<&Image> {
        self.context.target_image.as_ref()
    }

    /// How the provider knows the image, for `delete_from_provider`; else empty.
    pub fn identifier_on_provider(&self) -> &str {
        self.context.identifier_on_provider.as_deref().unwrap_or_default()
    }

    /// The account that the image was delivered as, for `delete_from_provider`; empty where nobody knows.
    /// Whoever uses another account may not even see the image.
    pub fn provider_account_identifier(&self) -> &str {
        self.context.provider_account_identifier.as_deref().unwrap_or_default()
    }

    /// A private, empty folder on the file system of the image store, removed after the build.
    pub fn work_dir(&self) -> &Utf8Path {
        &self.context.work_dir
    }

    /// Where the body of the image is to be written. Nothing is there yet.
    pub fn image_path(&self) -> &Utf8Path {
        &self.context.image_path
    }

    /// Where `create_target_image` writes a disk that differs from the base image.
    pub fn changed_disk_path(&self) -> Utf8PathBuf {
        self.context.changed_disk_path()
    }

    /// The raw disk that `finish_target_image` turns into the target's format: the one that
    /// `create_target_image` wrote, or the base image.
    ///
    /// # Errors
    /// `BugInPlugin` in the base tier, where there is no disk yet.
    pub fn disk(&self) -> Result<Utf8PathBuf, DelegateError> {
        let changed = self.changed_disk_path();
        if fs_err::symlink_metadata(&changed).is_ok() {
            return Ok(changed);
        }
        self.base_image().map(|image| image.path.clone()).ok_or_else(|| {
            DelegateError::bug_in_plugin("asked for the disk before there is a base image")
        })
    }

    /// The artifacts that tell about [`disk`](Self::disk): its packages, its bill of material. A disk that
    /// `create_target_image` wrote has those that were recorded there, any other those of the base image; for
    /// a provider image they are the artifacts of the target image. A delegate reads them and never changes them.
    ///
    /// # Errors
    /// `Unsupported` when the host is older than this question.
    pub fn disk_artifacts(&self) -> Result<Vec<Artifact>, DelegateError> {
        self.ask(HostCall::DiskArtifacts)
    }

    /// The time that replaces the clock in everything that is written, in seconds since 1970.
    pub fn source_date_epoch(&self) -> Option<i64> {
        self.context.source_date_epoch
    }

    /// Whether the request came over the network. Who sent it has no say over files of this machine: a path
    /// that provider, credentials or parameters name is then refused, unless the plugin's own settings allow it.
    pub fn is_remote(&self) -> bool {
        self.context.is_remote
    }

    /// Whether the image is to be made inside the provider by `snapshot_image_on_provider`, and not to be pushed
    /// there. Known in `check` and `check_provider` of the provider tier already.
    pub fn is_snapshot(&self) -> bool {
        self.context.is_snapshot
    }

    /// Says how far the build is, 0 to 100.
    pub fn progress(&self, percent: u8) {
        self.host.progress(percent.min(100));
    }

    /// Says what the build is doing now: a short phrase in the present tense.
    pub fn activity(&self, text: impl AsRef<str>) {
        self.host.activity(text.as_ref());
    }

    /// Whether the build was cancelled. Ask at least every five seconds, and return
    /// [`DelegateError::cancelled`] when it is true.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled()
    }

    /// Returns early from cancelled work: `builder.check_cancelled()?`.
    ///
    /// # Errors
    /// `Cancelled` when the build was cancelled.
    pub fn check_cancelled(&self) -> Result<(), DelegateError> {
        if self.cancelled() {
            return Err(DelegateError::cancelled("the build was cancelled"));
        }
        Ok(())
    }

    /// Runs a program and waits for it.
    ///
    /// # Errors
    /// `MissingRequirement` when there is no such program; `Failed` with its argv and its last
    /// lines when its exit code is no success; `Cancelled` when the build was cancelled meanwhile.
    pub fn run(&self, command: Command) -> Result<CommandOutput, DelegateError> {
        self.ask(HostCall::Run { command })
    }

    /// Waits for a lock that all builds of this data directory share; dropping it gives it back.
    ///
    /// # Errors
    /// `Cancelled` when the build was cancelled while waiting.
    pub fn lock(&self, name: impl Into<String>) -> Result<BuildLock<'_>, DelegateError> {
        let token = self.ask(HostCall::Lock { name: name.into() })?;
        Ok(BuildLock { builder: self, token })
    }

    /// A folder that survives the build. What is in it may be gone with the next build.
    ///
    /// # Errors
    /// `Failed` when it cannot be made.
    pub fn cache_dir(&self, name: impl Into<String>) -> Result<Utf8PathBuf, DelegateError> {
        self.ask(HostCall::CacheDir { name: name.into() })
    }

    /// Records a file beside the body: a log, a manifest. The file is moved into the store.
    ///
    /// # Errors
    /// `InvalidInput` when the name is taken or no file name; `NotFound` without such a file.
    pub fn add_artifact(
        &self,
        name: impl Into<String>,
        path: impl Into<Utf8PathBuf>,
        media_type: impl Into<String>,
    ) -> Result<(), DelegateError> {
        self.ask(HostCall::AddArtifact {
            name: name.into(),
            path: path.into(),
            media_type: media_type.into(),
        })
    }

    /// Records a property of the image.
    ///
    /// # Errors
    /// Only when the host is gone.
    pub fn set_property(
        &self,
        key: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<(), DelegateError> {
        self.ask(HostCall::SetProperty { key: key.into(), value: value.into() })
    }

    /// Records what the provider still has of this image although its delivery fails and it could not be
    /// removed: deleting the record deletes it there. Of several the last one counts.
    ///
    /// # Errors
    /// `BugInPlugin` outside the provider tier; `Unsupported` by hosts that know no such record.
    pub fn left_behind(&self, identity: ProviderIdentity) -> Result<(), DelegateError> {
        self.ask(HostCall::LeftBehind { identity })
    }

    /// Asks for content in the target image; for a cloud delegate's `builder_will_create_image`.
    ///
    /// # Errors
    /// `BugInPlugin` outside the target tier.
    pub fn add_content(&self, content: Content) -> Result<(), DelegateError> {
        self.ask(HostCall::AddContent { content })
    }

    /// All content that was asked for; for an OS delegate's `create_target_image`, and for its
    /// `check` in the target tier, which is given what the plan adds.
    ///
    /// # Errors
    /// Only when the host is gone.
    pub fn content(&self) -> Result<Content, DelegateError> {
        self.ask(HostCall::Content)
    }

    /// Copies a file, sharing blocks where the file system can and keeping holes.
    ///
    /// # Errors
    /// `Failed` with the path that could not be read or written.
    pub fn copy_file(
        &self,
        from: impl Into<Utf8PathBuf>,
        to: impl Into<Utf8PathBuf>,
    ) -> Result<(), DelegateError> {
        self.ask(HostCall::CopyFile { from: from.into(), to: to.into() })
    }

    fn ask<T: DeserializeOwned>(&self, call: HostCall) -> Result<T, DelegateError> {
        let answer = self.host.call(call)?;
        serde_json::from_value(answer).map_err(|error| {
            DelegateError::failed("the host answered in a form that this plugin does not know")
                .caused_by(error)
        })
    }
}

/// Parameters are left out: some of them are secrets.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("id", &self.context.id)
            .field("tier", &self.context.tier)
            .finish_non_exhaustive()
    }
}

/// A lock taken with [`Builder::lock`].
#[derive(Debug)]
#[must_use = "the lock is given back at once when it is dropped"]
pub struct BuildLock<'a> {
    builder: &'a Builder,
    token: u64,
}

impl Drop for BuildLock<'_> {
    fn drop(&mut self) {
        let call = HostCall::Unlock { token: self.token };
        if let Err(error) = self.builder.host.call(call) {
            tracing::warn!(%error, "a lock could not be given back");
        }
    }
}

/// Keeps the JSON object of a context reachable for [`Parameters`].
pub(crate) type Values = Map<String, Value>;
