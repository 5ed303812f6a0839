//! What a plugin for a cloud implements.

use std::fmt::Debug;

use crate::builder::Builder;
use crate::content::Content;
use crate::error::DelegateError;
use crate::image::{Decision, ProviderIdentity};

/// A delegate that knows what images one or more clouds want and how to deliver them.
///
/// One value serves a whole build and is dropped with the process; methods are called one after
/// another on one thread, except [`abort`](Self::abort). `builder.tier()` tells whether a hook is
/// asked about a target image or a provider image.
pub trait CloudDelegate: Debug + Send + Sync {
    /// Says everything that stands against this build, without building anything.
    ///
    /// Called while the request is planned, once for each tier that this delegate takes part in.
    /// An empty list means that the build may be accepted. Should answer within a second.
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let _ = builder;
        Vec::new()
    }

    /// Says whether `builder.provider()` can be reached and accepts `builder.credentials()` for
    /// what will be asked of it, so that a wrong password costs seconds and not an hour.
    /// `builder.is_snapshot()` tells which of the two it will be; it is not asked about a snapshot
    /// unless [`makes_snapshots`](Self::makes_snapshots).
    ///
    /// # Errors
    /// Refuses the request before anything is built.
    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        let _ = builder;
        Ok(())
    }

    /// What images for `builder.target()` need on the operating system of `builder.template()`:
    /// packages, repositories, files and commands.
    ///
    /// Called while the request is planned, after [`check`](Self::check) in the target tier, and
    /// shown in the plan. The host adds the answer before `builder_will_create_image` of the target
    /// tier, as `builder.add_content()` does. An operator may name other content in its place. What
    /// depends on the base image is left to `builder_will_create_image`. At most 1 MiB as JSON.
    ///
    /// # Errors
    /// Refuses the request: the cloud cannot be served with this operating system.
    fn target_content(&self, builder: &Builder) -> Result<Content, DelegateError> {
        let _ = builder;
        Ok(Content::default())
    }

    /// Whether the image of this tier is to be built at all.
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        let _ = builder;
        Ok(Decision::Proceed)
    }

    /// Called right before the image of this tier is made; in the target tier it may ask
    /// for more content with `builder.add_content()`, which no plan shows.
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_will_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let _ = builder;
        Ok(())
    }

    /// Turns the raw disk `builder.disk()` into the body of the target image at
    /// `builder.image_path()`. The default keeps it as it is.
    ///
    /// # Errors
    /// Ends the build as failed; without an error a file must be at `builder.image_path()`.
    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        builder.copy_file(builder.disk()?, builder.image_path())
    }

    /// Uploads `builder.target_image()` to `builder.provider()` and registers it.
    ///
    /// # Errors
    /// Ends the build as failed. Nothing half-uploaded is left behind; what could not be removed is
    /// told by [`Builder::left_behind`].
    fn push_image_to_provider(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        Err(DelegateError::unsupported(format!(
            "target `{}` has no providers to push to",
            builder.target()
        )))
    }

    /// Whether [`snapshot_image_on_provider`](Self::snapshot_image_on_provider) is there. Without it a
    /// request for a snapshot is refused while it is planned.
    fn makes_snapshots(&self) -> bool {
        false
    }

    /// Makes an image inside the provider, by starting one of its own images and changing it.
    ///
    /// # Errors
    /// Ends the build as failed. Nothing half-made is left behind, as by a push.
    fn snapshot_image_on_provider(
        &self,
        builder: &Builder,
    ) -> Result<ProviderIdentity, DelegateError> {
        Err(no_snapshots(builder))
    }

    /// Deletes `builder.identifier_on_provider()` from `builder.provider()`. An image that is gone
    /// already counts as deleted.
    ///
    /// # Errors
    /// The record then stays, as `DELETEFAILED`.
    fn delete_from_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        Err(DelegateError::unsupported(format!(
            "target `{}` cannot delete images from a provider",
            builder.target()
        )))
    }

    /// Called after the image of this tier is complete.
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_did_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let _ = builder;
        Ok(())
    }

    /// The build is cancelled: release what lives outside this process, such as a half-made upload.
    ///
    /// Called from another thread while one of the other methods runs; has five seconds.
    fn abort(&self, builder: &Builder) {
        let _ = builder;
    }
}

/// What a delegate that makes no snapshots answers.
pub(crate) fn no_snapshots(builder: &Builder) -> DelegateError {
    DelegateError::unsupported(format!("target `{}` cannot make snapshots", builder.target()))
        .hint("push an image instead")
}
