//! What a plugin for an operating system implements.

use std::fmt::Debug;

use crate::builder::Builder;
use crate::error::DelegateError;
use crate::image::Decision;

/// A delegate that knows how to build one or more operating systems.
///
/// One value serves a whole build and is dropped with the process; methods are called one after
/// another on one thread, except [`abort`](Self::abort). A delegate owns the machine's time, not
/// the process: it must not exit, change directory or install signal handlers.
pub trait OsDelegate: Debug + Send + Sync {
    /// Says everything that stands against this build, without building anything.
    ///
    /// Called while the request is planned, once for each tier that this delegate takes part in. In
    /// the target tier `builder.content()` is what the plan adds for the cloud. An empty list means that the build may be accepted. Should answer within a second.
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let _ = builder;
        Vec::new()
    }

    /// What the base image depends on besides the template, the parameters and this library: for
    /// Debian, the digests of the archive's release files.
    ///
    /// Called while the request is planned. A base image is reused while the answer stays equal.
    ///
    /// # Errors
    /// Any error means "unknown": the base image is then built anew.
    fn cache_key(&self, builder: &Builder) -> Result<String, DelegateError> {
        let _ = builder;
        Ok(String::new())
    }

    /// Whether the base image is to be built at all.
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        let _ = builder;
        Ok(Decision::Proceed)
    }

    /// Called right before [`create_base_image`](Self::create_base_image).
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_will_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let _ = builder;
        Ok(())
    }

    /// Builds the operating system that `builder.template()` describes into a raw disk at
    /// `builder.image_path()`.
    ///
    /// May take hours; asks `builder.cancelled()` at least every five seconds, or works through
    /// `builder.run()`, which does it.
    ///
    /// # Errors
    /// Ends the build as failed; without an error a file must be at `builder.image_path()`.
    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError>;

    /// Changes the base image for `builder.target()`, by writing a new raw disk to
    /// `builder.changed_disk_path()`. Leaving that path alone means that the base image will do.
    ///
    /// Must apply `builder.content()`: what the cloud plugin asks for. Artifacts of the base image do not
    /// tell about a new disk: those that do, such as its packages, are recorded here.
    ///
    /// # Errors
    /// Ends the build as failed. The default refuses content, because it cannot apply it.
    fn create_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        if builder.content()?.is_empty() {
            return Ok(());
        }
        Err(DelegateError::unsupported(format!(
            "this operating system cannot add the content that target `{}` asks for",
            builder.target()
        )))
    }

    /// Called after the base image is complete.
    ///
    /// # Errors
    /// Ends the build as failed.
    fn builder_did_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let _ = builder;
        Ok(())
    }

    /// The build is cancelled: release what lives outside this process. Programs started with
    /// `builder.run()` and files in `builder.work_dir()` need no care.
    ///
    /// Called from another thread while one of the other methods runs; has five seconds.
    fn abort(&self, builder: &Builder) {
        let _ = builder;
    }
}
