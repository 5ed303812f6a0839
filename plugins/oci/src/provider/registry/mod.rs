//! A registry of container images (OCI distribution specification 1.1).
//!
//! `address` and `credentials` are what a user writes, `helper` is asked for what is kept elsewhere. `session` is how a
//! registry is spoken to, which says by a `challenge` what it wants; `blobs` go first, with `open_upload` keeping the
//! one under way, and `manifests` last.

mod address;
mod blobs;
mod challenge;
mod credentials;
mod helper;
mod manifests;
mod open_upload;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin_api::{Builder, DelegateError, ProviderIdentity};
use plugin_kit::transfer::{Options, Request};

pub(crate) use address::Address;
use blobs::{Blobs, location};
use credentials::Credentials;
pub(crate) use open_upload::OpenUpload;
use session::Session;

use super::{ITS_OWN, UnderWay, digest_on};
use crate::bundle::Bundle;
use crate::settings::Settings;

/// How long a push that was cancelled may take to close its upload: `abort` has five seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the credentials can be read, and what they name may be used.
pub(super) fn check_credentials(builder: &Builder, address: &Address) -> Result<(), DelegateError> {
    // What is wrong with the parameters is told by itself.
    let Ok(repository) = repository(builder, address) else { return Ok(()) };
    Credentials::check(builder, &address.host, &repository)
}

/// Whether pushing would be allowed: opens an upload and closes it again.
pub(super) fn check(builder: &Builder, address: &Address) -> Result<(), DelegateError> {
    let repository = repository(builder, address)?;
    let options = Options::configured(builder)?.for_check();
    let session = Session::new(builder, address, &repository, "pull,push", options)?;
    let root = format!("{}/v2/", address.base());
    let is_there = session.send(&Request::get(&root).accept(404), &root)?;
    if is_there.status() == 404 {
        return Err(DelegateError::not_found(format!("`{}` is no registry", address.host))
            .hint("look at host and port: a registry answers at `/v2/`"));
    }
    let url = session.url("blobs/uploads/");
    let answer = session.send(&Request::post(&url).repeatable(true), &url)?;
    let upload = location(&answer, &url);
    match session.send(&Request::delete(&upload), &upload) {
        // Registries that forget uploads by themselves need not take the deletion, and whoever may push need not be
        // allowed to delete.
        Err(error) if error.status().is_some() => {
            tracing::debug!(%error, "the upload that tried the rights stays until it is forgotten");
            Ok(())
        },
        other => Ok(other.map(drop)?),
    }
}

/// Pushes the image; `under_way` is where `abort` looks.
pub(super) fn push(
    builder: &Builder,
    address: &Address,
    settings: &Settings,
    bundle: &Bundle,
    under_way: &UnderWay,
) -> Result<ProviderIdentity, DelegateError> {
    let repository = repository(builder, address)?;
    let options = Options::configured(builder)?;
    let session = Session::new(builder, address, &repository, "pull,push", options)?;
    let tags =
        if address.tags.is_empty() { std::slice::from_ref(&settings.tag) } else { &address.tags };
    builder.activity(format!("pushing to `{}/{repository}`", address.host));
    let upload = Arc::new(OpenUpload::of(&session)?);
    under_way.set(Some(Arc::clone(&upload)));
    let mut blobs = Blobs::new(builder, &session, &upload, bundle.total_bytes())?;
    let pushed = bundle.blobs.iter().try_for_each(|blob| blobs.put(blob));
    if pushed.is_err() {
        upload.cancel(&session);
    }
    under_way.set(None);
    pushed?;
    let digest = &bundle.manifest.descriptor.digest;
    let mut identity = ProviderIdentity::new(format!("{}/{repository}@{digest}", address.host));
    identity.provider_account_identifier = session.account().map(str::to_owned);
    let was_there = match manifests::is_there(&session, &bundle.manifest.descriptor) {
        // Who does not tell may have it.
        Err(error) if error.status().is_some() => true,
        found => found?,
    };
    manifests::push(&session, bundle)?;
    match manifests::tag(&session, bundle, tags) {
        Ok(()) => Ok(identity),
        // Somebody else's, of the same bytes, is not to be deleted with this record.
        Err(error) if was_there => Err(error),
        Err(error) => Err(left(builder, identity, error)),
    }
}

/// `error`, with what stays in the registry: some of its tags are there, and others pull it by them.
fn left(builder: &Builder, identity: ProviderIdentity, error: DelegateError) -> DelegateError {
    let error = error.because(format!("`{}` stays there", identity.identifier_on_provider));
    match builder.left_behind(identity) {
        Ok(()) => error.hint(format!("remove it with `imageforge images delete {}`", builder.id())),
        Err(_) => error.hint("remove it by the registry's own means"),
    }
}

/// Closes the upload that is under way, unless the push does so itself.
pub(super) fn abort(builder: &Builder, address: &Address, under_way: &UnderWay) {
    let end = Instant::now() + PATIENCE;
    while under_way.get().is_some() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let Some(upload) = under_way.get() else { return };
    if let Ok(session) = upload.session(builder, address) {
        upload.cancel(&session);
    }
}

/// Deletes the image that `builder.identifier_on_provider()` names, with what refers to it.
pub(super) fn delete(builder: &Builder, address: &Address) -> Result<(), DelegateError> {
    let identifier = builder.identifier_on_provider();
    let place = identifier.split_once('@').map_or(identifier, |(place, _)| place);
    let repository = place.strip_prefix(&format!("{}/", address.host)).unwrap_or_default();
    crate::settings::check_repository(repository).map_err(|_| {
        DelegateError::invalid_input(format!("`{identifier}` is no image of `{}`", address.host))
            .hint(ITS_OWN)
    })?;
    let digest = digest_on(identifier, place)?;
    let options = Options::configured(builder)?.for_deleting();
    let session = Session::new(builder, address, repository, "pull,push,delete", options)?;
    manifests::delete(&session, digest)
}

/// The repository of the provider, or the image's own.
fn repository(builder: &Builder, address: &Address) -> Result<String, DelegateError> {
    match &address.repository {
        Some(repository) => Ok(repository.clone()),
        None => Ok(Settings::read(builder)?.repository),
    }
}
