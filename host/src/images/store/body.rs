//! Bodies and artifacts: into the store, out of it, and whether they are still what they were.

use camino::{Utf8Path, Utf8PathBuf};
use plugin_kit::sparse::{Control, Zeros, clone_file};

use super::files::{Measured, measure, regular_file};
use super::schema::Durability;
use super::write::advance;
use super::{Store, StoreError, Temporary, Update};
use crate::atomic_file::{AtomicFileError, Existing, sync_parent};
use crate::images::{
    EventKind, ImageId, ImageRecord, NewImage, OwnedImage, Status, StoredArtifact,
};

/// A finished body that is not in the store yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The file. It is moved away.
    pub path: Utf8PathBuf,
    /// Its media type.
    pub media_type: String,
    /// Its SHA-256 in hex, if it is known already.
    pub sha256: Option<String>,
}

/// What [`Store::check`] found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// The image.
    pub id: ImageId,
    /// Files whose length and SHA-256 are as recorded.
    pub intact: Vec<Utf8PathBuf>,
    /// Everything else.
    pub damage: Vec<Damage>,
}

/// A file that is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The file.
    pub path: Utf8PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Store {
    /// Takes the body in and makes the image `COMPLETE`; a provider image may have none.
    ///
    /// The order is what makes this outlive a kill at any instruction: flush the body, record what it is,
    /// rename it, record that it is there. [`Store::recover`] finishes the last step, or undoes the others.
    ///
    /// # Errors
    /// [`StoreError::Transition`] unless it is `BUILDING`, [`StoreError::NotAFile`], a failed copy or digest,
    /// failures of the data directory. The image is still `BUILDING` then.
    pub fn complete(
        &self,
        id: ImageId,
        body: Option<Body>,
        control: &Control<'_>,
    ) -> Result<ImageRecord, StoreError> {
        let record = self.get(id)?;
        let refused = record.status.check(Status::Complete);
        refused.map_err(|refused| StoreError::Transition { id, refused })?;
        if let Some(body) = body {
            self.place_body(id, body, control)?;
        }
        self.modify(Durability::Machine, id, |record| {
            Ok(vec![advance(record, Status::Complete, None)?])
        })
    }

    /// Makes the image `COMPLETE` with the body and the artifacts of `equal`, which both share from then on.
    ///
    /// # Errors
    /// Those of [`Store::complete`]; the body of `equal` is gone. The image is still `BUILDING` then.
    pub fn complete_as(&self, id: ImageId, equal: &ImageRecord) -> Result<ImageRecord, StoreError> {
        let refused = self.get(id)?.status.check(Status::Complete);
        refused.map_err(|refused| StoreError::Transition { id, refused })?;
        let missing = || StoreError::NoBody { id: equal.id, status: equal.status };
        let body = equal.path.as_ref().ok_or_else(missing)?;
        self.modify(Durability::Process, id, |record| {
            record.size_bytes = equal.size_bytes;
            record.sha256.clone_from(&equal.sha256);
            record.media_type.clone_from(&equal.media_type);
            record.properties.clone_from(&equal.properties);
            record.plugin.clone_from(&equal.plugin);
            record.reuse_key.clone_from(&equal.reuse_key);
            Ok(Vec::new())
        })?;
        self.share_artifacts(id, equal)?;
        self.share(body, &self.body_path(id))?;
        self.modify(Durability::Machine, id, |record| {
            Ok(vec![advance(record, Status::Complete, None)?])
        })
    }

    /// Gives an image the artifacts of the content of `other`, but for those whose names its own have; both share them from
    /// then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], an artifact of `other` is gone, failures of the data directory.
    pub fn share_artifacts(&self, id: ImageId, other: &ImageRecord) -> Result<(), StoreError> {
        let own = self.get(id)?;
        let mut shared = other.artifacts.clone();
        shared
            .retain(|artifact| artifact.is_of_content() && own.artifact(&artifact.name).is_none());
        for artifact in &shared {
            if let Some(path) = &artifact.path {
                self.share(path, &self.artifact_path(id, &artifact.name))?;
            }
        }
        self.modify(Durability::Process, id, |record| {
            let event =
                |artifact: &StoredArtifact| EventKind::Artifact { name: artifact.name.clone() };
            let events = shared.iter().map(event).collect();
            record.artifacts.extend(shared);
            Ok(events)
        })?;
        Ok(())
    }

    /// Gives a file of the store, which nobody changes, a second name; copies it where that cannot be.
    fn share(&self, from: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
        let located = |source| StoreError::file(to, source).within(&self.data_dir);
        if fs_err::hard_link(from, to).is_ok() {
            return sync_parent(to).map_err(located);
        }
        let copy = self.temporary()?;
        clone_file(from, copy.path(), Zeros::Keep, &Control::default())?;
        self.take_in(copy.path(), to)
    }

    /// All of [`Store::complete`] but its last step.
    pub(super) fn place_body(
        &self,
        id: ImageId,
        body: Body,
        control: &Control<'_>,
    ) -> Result<(), StoreError> {
        let located = |error: StoreError| error.within(&self.data_dir);
        let size_bytes = regular_file(&body.path)?.len();
        let measured = match body.sha256 {
            Some(known) => Ok(known),
            // The disk writes while the processor counts.
            None => std::thread::scope(|scope| {
                let flushed = scope.spawn(|| flush(&body.path));
                let measured = measure(&body.path, control)?;
                flushed.join().unwrap_or(Ok(()))?;
                Ok(measured.sha256)
            }),
        };
        let sha256 = measured.map_err(located)?;
        self.modify(Durability::Process, id, |record| {
            record.size_bytes = Some(size_bytes);
            record.sha256 = Some(sha256);
            record.media_type = Some(body.media_type);
            Ok(Vec::new())
        })?;
        self.take_in(&body.path, &self.body_path(id))
    }

    pub(super) fn remove_body(&self, id: ImageId) -> Result<(), StoreError> {
        let path = self.body_path(id);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::file(&path, error).within(&self.data_dir))
            },
            _ => Ok(()),
        }
    }

    /// Takes the file `from` in as the artifact `name`, replacing one that is called so.
    ///
    /// # Errors
    /// [`StoreError::ArtifactName`], [`StoreError::NotAFile`], failures of the data directory.
    pub fn add_artifact(
        &self,
        id: ImageId,
        name: &str,
        from: &Utf8Path,
        media_type: &str,
        control: &Control<'_>,
    ) -> Result<StoredArtifact, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(StoreError::ArtifactName { name: name.to_owned() });
        }
        self.get(id)?;
        let Measured { size_bytes, sha256 } = measure(from, control)?;
        let path = self.artifact_path(id, name);
        self.take_in(from, &path)?;
        let artifact = StoredArtifact {
            name: name.to_owned(),
            path: Some(path),
            media_type: media_type.to_owned(),
            size_bytes,
            sha256,
        };
        self.modify(Durability::Process, id, |record| {
            record.artifacts.retain(|other| other.name != name);
            record.artifacts.push(artifact.clone());
            Ok(vec![EventKind::Artifact { name: name.to_owned() }])
        })?;
        Ok(artifact)
    }

    /// Compares body and artifacts with the recorded lengths and digests.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stream`] with `Cancelled`. Damage is no error.
    pub fn check(&self, id: ImageId, control: &Control<'_>) -> Result<CheckReport, StoreError> {
        let record = self.get(id)?;
        let body = match (record.path, record.size_bytes, record.sha256) {
            (Some(path), Some(size_bytes), Some(sha256)) => {
                Some((path, Measured { size_bytes, sha256 }))
            },
            _ => None,
        };
        let artifacts = record.artifacts.into_iter().filter_map(|artifact| {
            let StoredArtifact { path, size_bytes, sha256, .. } = artifact;
            Some((path?, Measured { size_bytes, sha256 }))
        });
        let mut report = CheckReport { id, intact: Vec::new(), damage: Vec::new() };
        for (path, recorded) in body.into_iter().chain(artifacts) {
            match compare(&path, &recorded, control)? {
                None => report.intact.push(path),
                Some(problem) => report.damage.push(Damage { path, problem }),
            }
        }
        Ok(report)
    }

    /// Copies the body to `to`, sharing blocks where the file system can and keeping holes.
    ///
    /// # Errors
    /// [`StoreError::NoBody`], [`StoreError::Export`], [`StoreError::Stream`]. `to` is as it was.
    pub fn export(
        &self,
        id: ImageId,
        to: &Utf8Path,
        existing: Existing,
        control: &Control<'_>,
    ) -> Result<(), StoreError> {
        let record = self.get(id)?;
        let body = record.path.ok_or(StoreError::NoBody { id, status: record.status })?;
        if existing == Existing::Refuse && fs_err::symlink_metadata(to).is_ok() {
            let path = to.to_owned();
            return Err(AtomicFileError::Exists { path }.into());
        }
        let (file, _link) = self.begin_export(to)?;
        clone_file(&body, file.temporary_path(), Zeros::Keep, control)?;
        file.commit(existing)?;
        Ok(())
    }

    /// A copy of the file `from` that is on its way into the store.
    ///
    /// # Errors
    /// [`StoreError::NotAFile`], [`StoreError::Stream`], failures of the data directory.
    pub fn copy_in(&self, from: &Utf8Path, control: &Control<'_>) -> Result<Temporary, StoreError> {
        // The person who imports may name a link; a plugin that delivers a body may not.
        let real = fs_err::canonicalize(from).map_err(|source| StoreError::file(from, source))?;
        let from = Utf8PathBuf::from_path_buf(real)
            .map_err(|_| StoreError::NotAFile { path: from.to_owned() })?;
        regular_file(&from)?;
        let copy = self.temporary()?;
        clone_file(&from, copy.path(), Zeros::Keep, control)
            .map_err(|error| StoreError::from(error).within(&self.data_dir))?;
        Ok(copy)
    }

    /// Makes a file a new, complete image; it is moved away. Whether its content is an image, and of which media type, is
    /// for the caller to know.
    ///
    /// # Errors
    /// Those of [`Store::create`] and [`Store::complete`]. No record is left behind.
    pub fn import(
        &self,
        file: &Temporary,
        image: NewImage,
        media_type: &str,
        control: &Control<'_>,
    ) -> Result<ImageRecord, StoreError> {
        let located = |error: StoreError| error.within(&self.data_dir);
        // Whatever takes long or may fail comes before there is a record.
        let sha256 = Some(measure(file.path(), control).map_err(located)?.sha256);
        let owned = self.create(image)?;
        let path = file.path().to_owned();
        let body = Body { path, media_type: media_type.to_owned(), sha256 };
        match self.finish_import(&owned, body, control) {
            Ok(record) => {
                self.release(owned)?;
                Ok(record)
            },
            Err(error) => {
                self.withdraw(owned);
                Err(error)
            },
        }
    }

    fn finish_import(
        &self,
        owned: &OwnedImage,
        body: Body,
        control: &Control<'_>,
    ) -> Result<ImageRecord, StoreError> {
        let id = owned.id();
        self.transition(id, Status::Pending, Update::default())?;
        self.transition(id, Status::Building, Update::default())?;
        self.complete(id, Some(body), control)
    }
}

fn flush(path: &Utf8Path) -> Result<(), StoreError> {
    let flush = || fs_err::File::open(path)?.sync_all();
    flush().map_err(|source| StoreError::file(path, source))
}

fn compare(
    path: &Utf8Path,
    recorded: &Measured,
    control: &Control<'_>,
) -> Result<Option<String>, StoreError> {
    use plugin_kit::sparse::StreamError;
    let size_bytes = match regular_file(path) {
        Ok(metadata) => metadata.len(),
        Err(StoreError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("it is missing".to_owned()));
        },
        Err(error) => return Ok(Some(error.to_string())),
    };
    if size_bytes != recorded.size_bytes {
        let expected = recorded.size_bytes;
        return Ok(Some(format!("it has {size_bytes} bytes instead of {expected}")));
    }
    match measure(path, control) {
        Ok(found) if found.sha256 == recorded.sha256 => Ok(None),
        Ok(found) => {
            let expected = &recorded.sha256;
            Ok(Some(format!("its SHA-256 is {} instead of {expected}", found.sha256)))
        },
        Err(StoreError::Stream(StreamError::Cancelled)) => Err(StreamError::Cancelled.into()),
        Err(error) => Ok(Some(error.to_string())),
    }
}
