//! Run a delegate in a test, without a host and without a library (feature `testing`).
//!
//! [`DelegateHarness`] builds everything that a delegate is given, in a temporary folder, and opens
//! the delegate through the same guard and the same session as a host does: a panic becomes an
//! error, `tracing` arrives as log records. What the delegate does is recorded; what it asks for is
//! done: programs really run, files are really copied.
//!
//! ```
//! use plugin_api::testing::DelegateHarness;
//! use plugin_api::{Builder, Command, DelegateError, OsDelegate};
//!
//! #[derive(Debug)]
//! struct Greeter;
//!
//! impl OsDelegate for Greeter {
//!     fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
//!         builder.activity("greeting");
//!         let word = builder.parameters().string("word")?.unwrap_or_default();
//!         builder.run(Command::new("echo").arg(word).stdout_to(builder.image_path()))?;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), DelegateError> {
//! let delegate = DelegateHarness::os(Greeter).parameter("word", "hello").open()?;
//! let body = delegate.build()?.into_body().unwrap();
//! assert_eq!(std::fs::read_to_string(body).unwrap(), "hello\n");
//! assert_eq!(delegate.activities(), ["greeting"]);
//! # Ok(())
//! # }
//! ```

mod process;
mod recording;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::abi::{DelegateSession, open_in_this_process};
use crate::cloud_delegate::CloudDelegate;
use crate::content::Content;
use crate::error::DelegateError;
use crate::export::{Delegate, DelegateKind};
use crate::host::{BuildContext, LogLevel, LogRecord};
use crate::image::{Artifact, Decision, Image, ProviderIdentity, Tier};
use crate::os_delegate::OsDelegate;
use crate::template::Template;
use recording::RecordingHost;

/// Everything that a delegate is to be given; [`open`](Self::open) makes its session.
pub struct DelegateHarness {
    delegate: Delegate,
    context: BuildContext,
    content: Content,
    base_image: Option<Vec<u8>>,
    disk_artifacts: Vec<(Artifact, Vec<u8>)>,
    target_image: Option<Vec<u8>>,
    log_level: LogLevel,
}

impl DelegateHarness {
    /// A harness for an OS delegate, asked for a base image.
    pub fn os(delegate: impl OsDelegate + 'static) -> Self {
        Self::new(Delegate::Os(Box::new(delegate)), Tier::Base)
    }

    /// A harness for a cloud delegate, asked for a target image.
    pub fn cloud(delegate: impl CloudDelegate + 'static) -> Self {
        Self::new(Delegate::Cloud(Box::new(delegate)), Tier::Target)
    }

    fn new(delegate: Delegate, tier: Tier) -> Self {
        let template = Template { name: "harness".to_owned(), ..Template::default() };
        let id = "00000000-0000-4000-8000-000000000000";
        Self {
            delegate,
            // The paths follow when the folder is made.
            context: BuildContext::new(id, tier, template, "", ""),
            content: Content::default(),
            base_image: None,
            disk_artifacts: Vec::new(),
            target_image: None,
            log_level: LogLevel::Trace,
        }
    }

    /// The tier that the delegate is asked about.
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.context.tier = tier;
        self
    }

    /// The template.
    #[must_use]
    pub fn template(mut self, template: Template) -> Self {
        self.context.template = template;
        self
    }

    /// Name, version and architecture of the template's operating system.
    #[must_use]
    pub fn operating_system(mut self, name: &str, version: &str, arch: &str) -> Self {
        let os = &mut self.context.template.os;
        name.clone_into(&mut os.name);
        version.clone_into(&mut os.version);
        arch.clone_into(&mut os.arch);
        self
    }

    /// The target.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.context.target = Some(target.into());
        self
    }

    /// The provider and the credentials for it; the tier becomes the provider's.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<String>, credentials: impl Into<String>) -> Self {
        self.context.provider = Some(provider.into());
        self.context.credentials = Some(credentials.into());
        self.tier(Tier::Provider)
    }

    /// How the provider knows the image, for `delete_from_provider`.
    #[must_use]
    pub fn identifier_on_provider(mut self, identifier: impl Into<String>) -> Self {
        self.context.identifier_on_provider = Some(identifier.into());
        self
    }

    /// The account that the image was delivered as, for `delete_from_provider`.
    #[must_use]
    pub fn provider_account_identifier(mut self, account: impl Into<String>) -> Self {
        self.context.provider_account_identifier = Some(account.into());
        self
    }

    /// One parameter of the build.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.parameters.insert(name.into(), value.into());
        self
    }

    /// One of the plugin's own settings.
    #[must_use]
    pub fn configuration(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.configuration.insert(name.into(), value.into());
        self
    }

    /// The body of the base image.
    #[must_use]
    pub fn base_image(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.base_image = Some(body.into());
        self
    }

    /// An artifact that tells about the disk.
    #[must_use]
    pub fn disk_artifact(
        mut self,
        name: impl Into<String>,
        media_type: impl Into<String>,
        content: impl Into<Vec<u8>>,
    ) -> Self {
        let (name, media_type) = (name.into(), media_type.into());
        // The path follows when the folder is made.
        let artifact = Artifact { name, path: Utf8PathBuf::new(), media_type };
        self.disk_artifacts.push((artifact, content.into()));
        self
    }

    /// The body of the target image.
    #[must_use]
    pub fn target_image(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.target_image = Some(body.into());
        self
    }

    /// Content that was asked for already, for an OS delegate's `create_target_image`.
    #[must_use]
    pub fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// The request came over the network.
    #[must_use]
    pub fn remote(mut self) -> Self {
        self.context.is_remote = true;
        self
    }

    /// The provider image is to be a snapshot.
    #[must_use]
    pub fn snapshot(mut self) -> Self {
        self.context.is_snapshot = true;
        self
    }

    /// The time that replaces the clock, in seconds since 1970.
    #[must_use]
    pub fn source_date_epoch(mut self, seconds: i64) -> Self {
        self.context.source_date_epoch = Some(seconds);
        self
    }

    /// The most verbose level that is recorded; everything by default.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// Makes the folder and opens the delegate's session.
    ///
    /// # Errors
    /// `Failed` when the folder cannot be made.
    pub fn open(mut self) -> Result<HarnessedDelegate, DelegateError> {
        let folder = tempfile::Builder::new().prefix("delegate-").tempdir()?;
        let root = Utf8PathBuf::try_from(folder.path().to_path_buf())
            .map_err(|error| DelegateError::failed("the folder is not UTF-8").caused_by(error))?;
        let context = &mut self.context;
        context.work_dir = root.join("work");
        context.image_path = root.join("image.body");
        fs_err::create_dir(&context.work_dir)?;
        context.base_image = stored(&root, Tier::Base, self.base_image.as_deref())?;
        for (artifact, content) in &mut self.disk_artifacts {
            artifact.path = root.join(format!("disk.{}", artifact.name));
            fs_err::write(&artifact.path, content)?;
        }
        context.target_image = stored(&root, Tier::Target, self.target_image.as_deref())?;
        let mut host = RecordingHost::new(&root, context.tier, self.content, self.log_level);
        host.disk_artifacts = self.disk_artifacts.into_iter().map(|(it, _)| it).collect();
        let host = Arc::new(host);
        let kind = self.delegate.kind();
        let context = self.context.clone();
        let shared = Arc::clone(&host);
        let session = open_in_this_process(self.delegate, self.context, shared)?;
        Ok(HarnessedDelegate { session, host, kind, context, _folder: folder })
    }
}

fn stored(
    root: &Utf8Path,
    tier: Tier,
    body: Option<&[u8]>,
) -> Result<Option<Image>, DelegateError> {
    let Some(body) = body else { return Ok(None) };
    let path = root.join(format!("{tier}.body"));
    fs_err::write(&path, body)?;
    let mut image = Image::new(format!("{tier}-image"), tier, path);
    image.size_bytes = body.len() as u64;
    Ok(Some(image))
}

impl fmt::Debug for DelegateHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegateHarness")
            .field("delegate", &self.delegate)
            .field("tier", &self.context.tier)
            .finish_non_exhaustive()
    }
}

/// What a build in the harness came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// The body of a base or target image.
    Body(Utf8PathBuf),
    /// How the provider knows the image.
    OnProvider(ProviderIdentity),
    /// The delegate decided against it, for this reason.
    Skipped(String),
}

impl Built {
    /// The body, if there is one.
    pub fn into_body(self) -> Option<Utf8PathBuf> {
        match self {
            Self::Body(path) => Some(path),
            _ => None,
        }
    }
}

/// A delegate that was opened by a [`DelegateHarness`]. Its single methods are those of
/// [`DelegateSession`]; [`build`](Self::build) calls them in the order of a real build. Its folder
/// is removed when it is dropped.
#[derive(Debug)]
pub struct HarnessedDelegate {
    // Dropped in this order: a session may log and write until it is closed.
    session: DelegateSession,
    host: Arc<RecordingHost>,
    kind: DelegateKind,
    context: BuildContext,
    _folder: TempDir,
}

impl Deref for HarnessedDelegate {
    type Target = DelegateSession;

    fn deref(&self) -> &DelegateSession {
        &self.session
    }
}

impl HarnessedDelegate {
    /// Calls what a host calls for an image of this tier, in its order.
    ///
    /// # Errors
    /// The first error of the delegate; `BugInPlugin` when it leaves no body behind.
    pub fn build(&self) -> Result<Built, DelegateError> {
        if (self.kind, self.context.tier) == (DelegateKind::Os, Tier::Target) {
            self.session.create_target_image()?;
            return self.changed_disk().map(Built::Body);
        }
        if let Decision::Skip(reason) = self.session.should_create_image()? {
            return Ok(Built::Skipped(reason));
        }
        if (self.kind, self.context.tier) == (DelegateKind::Cloud, Tier::Target) {
            let content = self.session.target_content()?;
            self.host.recorded().content.extend(content);
        }
        self.session.will_create_image()?;
        let built = match (self.kind, self.context.tier) {
            (DelegateKind::Os, _) => {
                self.session.create_base_image()?;
                self.body().map(Built::Body)?
            },
            (DelegateKind::Cloud, Tier::Provider) => {
                Built::OnProvider(self.session.push_image_to_provider()?)
            },
            (DelegateKind::Cloud, _) => {
                self.session.finish_target_image()?;
                self.body().map(Built::Body)?
            },
        };
        self.session.did_create_image()?;
        Ok(built)
    }

    fn body(&self) -> Result<Utf8PathBuf, DelegateError> {
        if self.context.image_path.is_file() {
            return Ok(self.context.image_path.clone());
        }
        Err(DelegateError::bug_in_plugin("the delegate left no file at `builder.image_path()`"))
    }

    fn changed_disk(&self) -> Result<Utf8PathBuf, DelegateError> {
        let changed = self.context.work_dir.join("disk.raw");
        if changed.is_file() {
            return Ok(changed);
        }
        let base = self.context.base_image.as_ref();
        base.map(|image| image.path.clone()).ok_or_else(|| {
            DelegateError::invalid_input("the harness was given no base image to change")
        })
    }

    /// What the delegate was given.
    pub fn context(&self) -> &BuildContext {
        &self.context
    }

    /// From now on `builder.cancelled()` is true, and programs that run are ended.
    pub fn cancel(&self) {
        self.host.cancel();
    }

    /// Everything that the delegate said it was doing, in order.
    pub fn activities(&self) -> Vec<String> {
        self.host.recorded().activities.clone()
    }

    /// Every progress that it announced, in order.
    pub fn progress(&self) -> Vec<u8> {
        self.host.recorded().progress.clone()
    }

    /// Its log records, in order.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.host.recorded().logs.clone()
    }

    /// Files that it recorded.
    pub fn artifacts(&self) -> Vec<Artifact> {
        self.host.recorded().artifacts.clone()
    }

    /// Properties that it recorded.
    pub fn properties(&self) -> Map<String, Value> {
        self.host.recorded().properties.clone()
    }

    /// What was said to be left at the provider.
    pub fn left_behind(&self) -> Vec<ProviderIdentity> {
        self.host.recorded().left_behind.clone()
    }

    /// All content: what the harness was given and what the delegate asked for.
    pub fn content(&self) -> Content {
        self.host.recorded().content.clone()
    }

    /// Argument lists of the programs that it ran, in order.
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.host.recorded().commands.clone()
    }

    /// Names of the locks that it holds now.
    pub fn locks(&self) -> Vec<String> {
        self.host.recorded().locks.values().cloned().collect()
    }
}
