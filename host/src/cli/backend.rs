//! What commands ask of whoever keeps and makes images: this machine or a daemon.
//!
//! A command has one implementation, which prints, and works with either. Commands that need
//! more than this take a [`Local`](super::local::Local), which nobody has who works with a server.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::Value;

use super::error::Failures;
use super::interrupt::Interrupt;
use crate::atomic_file::Existing;
use crate::factory::order::Order;
use crate::factory::{Built, Observer};
use crate::images::{DeleteMode, Event, Filter, ImageId, ImageRecord, Listing};
use crate::plugins::{Schemas, TargetEntry};
use crate::template::LoadedTemplate;

/// Time between two looks for news.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What happened to an image in a while; nothing, perhaps.
pub(super) type News = Vec<Event>;

/// Images to delete, texts already read.
pub(super) struct Deletion<'a> {
    /// What the user calls the image.
    pub(super) reference: &'a str,
    pub(super) mode: DeleteMode,
    /// Where its provider is, when it is another than recorded.
    pub(super) provider: Option<&'a str>,
    pub(super) credentials: Option<&'a str>,
    /// Whether what the provider has stays there.
    pub(super) leave_at_provider: bool,
}

/// Who watches a build.
pub(super) struct Building<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) interrupt: &'a Interrupt,
    /// Tell the process that waits for it, once it is accepted, and go on without a terminal.
    pub(super) announces: bool,
}

/// Whoever keeps and makes images. Every method fails with what a user is to read.
pub(super) trait Backend {
    /// Images that pass a filter, the newest first.
    fn images(&self, filter: &Filter) -> Result<Listing, Failures>;

    /// The image that a user means.
    fn image(&self, reference: &str) -> Result<ImageRecord, Failures>;

    /// Everything that happened to an image.
    fn events(&self, id: ImageId) -> Result<Vec<Event>, Failures>;

    /// Tells what happened to an image, and with `follow` what happens until its build ends, until nobody
    /// wants to `hear` more. Says now and then that nothing happened.
    fn log(
        &self,
        id: ImageId,
        follow: bool,
        hear: &mut dyn FnMut(News) -> bool,
    ) -> Result<(), Failures>;

    /// Asks to cancel a build; answers which image that is.
    fn cancel(&self, reference: &str) -> Result<ImageId, Failures>;

    /// Deletes an image and what goes with it, telling of each.
    fn delete(
        &self,
        deletion: &Deletion<'_>,
        interrupt: &Interrupt,
        deleted: &mut dyn FnMut(ImageId),
    ) -> Result<(), Failures>;

    /// Copies a body to a file of this machine.
    fn export(
        &self,
        record: &ImageRecord,
        to: &Utf8Path,
        existing: Existing,
        interrupt: &Interrupt,
    ) -> Result<(), Failures>;

    /// Takes in a disk of this machine as a base image.
    fn import(
        &self,
        disk: &Utf8Path,
        template: LoadedTemplate,
        name: Option<String>,
        interrupt: &Interrupt,
    ) -> Result<ImageRecord, Failures>;

    /// Everything that is claimed.
    fn targets(&self) -> Result<Vec<TargetEntry>, Failures>;

    /// What the plugin of a target may be told.
    fn schemas(&self, target: &TargetEntry) -> Result<Schemas, Failures>;

    /// Every plugin, described.
    fn plugins(&self) -> Result<Vec<Value>, Failures>;

    /// One plugin, described, or the names of those that there are.
    fn plugin(&self, name: &str) -> Result<Result<Value, Vec<String>>, Failures>;

    /// What an order would do.
    fn plan(&self, order: Order, interrupt: &Interrupt) -> Result<Value, Failures>;

    /// Makes the images of an order; each ends in a terminal state.
    fn build(&self, order: Order, building: &Building<'_>) -> Result<Vec<Built>, Failures>;
}
