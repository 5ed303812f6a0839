//! Order after a crash.
//!
//! Whatever a dead process left is finished, undone or removed: records that it worked on, bodies that it
//! had not recorded, folders without a record, files on their way into the store.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::{DelegateErrorKind, Tier};

use super::files::{Owner, regular_file};
use super::schema::Durability;
use super::write::advance;
use super::{Store, StoreError, Update};
use crate::atomic_file::{is_temporary_name, remove_abandoned};
use crate::images::{Failure, ImageId, ImageRecord, Status, remove_tree};
use crate::named_lock::NamedLock;

/// The state of every image; `None` for a record that does not say it in words that are known.
type States = HashMap<ImageId, Option<Status>>;

/// What [`Store::recover`] did. Every list is empty on an ordinary start.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Builds that had been interrupted; they are `FAILED` now.
    pub interrupted: Vec<ImageId>,
    /// Builds whose body was finished but not yet recorded; they are `COMPLETE` now.
    pub adopted: Vec<ImageId>,
    /// Deletions that had been interrupted and are finished now.
    pub deleted: Vec<ImageId>,
    /// Leftover files and folders that are gone now.
    pub removed: Vec<Utf8PathBuf>,
    /// What could not be put in order; the next start tries again.
    pub problems: Vec<StoreError>,
}

impl Store {
    /// Puts in order what dead processes left. Every command calls it once after [`Store::open`]; on an
    /// ordinary start it costs a query and a look at a few folders.
    ///
    /// # Errors
    /// Failures of the data directory as a whole; those of one image are in [`Recovery::problems`].
    pub fn recover(&self) -> Result<Recovery, StoreError> {
        let _store = self.lock()?;
        let mut recovery = Recovery::default();
        let unfinished = self.read_all(
            // What waits in a job is taken up again with it.
            "WHERE (status IN ('NEW', 'PENDING', 'BUILDING', 'DELETING') OR status IS NULL)
               AND NOT (status IN ('NEW', 'PENDING') AND id IN (
                 SELECT made.value FROM jobs, json_each(jobs.made) AS made WHERE state <> 'done'))
             ORDER BY ordinal",
            &[],
        )?;
        for damaged in unfinished.damaged {
            note(&mut recovery, Err(damaged));
        }
        for record in unfinished.records {
            let outcome = self.owner(record.id).and_then(|owner| match owner {
                Owner::Alive => Ok(()),
                // Its owner may have brought it to an end since, and left.
                Owner::Gone(_lock) => match self.status(record.id)? {
                    Some(status) if status == Status::Deleting || !status.is_terminal() => {
                        self.settle(&self.get(record.id)?, &mut recovery)
                    },
                    _ => Ok(()),
                },
            });
            note(&mut recovery, outcome);
        }
        let states = self.states()?;
        self.sweep_folders("work", &states, &mut recovery)?;
        self.sweep_folders("images", &states, &mut recovery)?;
        self.sweep_locks(&states, &mut recovery)?;
        self.sweep_temporary(&mut recovery)?;
        self.sweep_named_locks(&mut recovery)?;
        sweep_unfinished(&self.data_dir, &mut recovery)?;
        sweep_unfinished(&self.data_dir.join("cache"), &mut recovery)?;
        self.forget_ends()?;
        for id in &recovery.interrupted {
            tracing::warn!(image = %id, "its build had been interrupted");
        }
        Ok(recovery)
    }

    fn settle(&self, record: &ImageRecord, recovery: &mut Recovery) -> Result<(), StoreError> {
        let id = record.id;
        match record.status {
            Status::Deleting if record.tier != Tier::Provider => {
                self.finish_delete(id)?;
                recovery.deleted.push(id);
                return Ok(());
            },
            Status::Deleting => {
                // Whether the provider still has it only its plugin can find out.
                let failure =
                    Failure::new(DelegateErrorKind::Failed, "interrupted").hint("delete it again");
                self.transition(id, Status::DeleteFailed, failure.into())?;
            },
            Status::Building if self.has_whole_body(record) => {
                self.modify(Durability::Machine, id, |record| {
                    Ok(vec![advance(record, Status::Complete, None)?])
                })?;
                recovery.adopted.push(id);
            },
            _ => {
                let mut failure =
                    Failure::new(DelegateErrorKind::Failed, "interrupted").hint("build it again");
                failure.causes.push("the process that built it ended without a word".to_owned());
                self.transition(id, Status::Failed, Update::from(failure))?;
                recovery.interrupted.push(id);
            },
        }
        self.sweep_artifacts(record, recovery)
    }

    /// A body gets its final name only after it was flushed and recorded, so its length is proof enough.
    fn has_whole_body(&self, record: &ImageRecord) -> bool {
        record.sha256.is_some()
            && regular_file(&self.body_path(record.id))
                .is_ok_and(|body| Some(body.len()) == record.size_bytes)
    }

    fn sweep_artifacts(
        &self,
        record: &ImageRecord,
        recovery: &mut Recovery,
    ) -> Result<(), StoreError> {
        for path in entries(&self.image_dir(record.id).join("artifacts"))? {
            if path.file_name().is_some_and(|name| record.artifact(name).is_some()) {
                continue;
            }
            fs_err::remove_file(&path).map_err(|source| StoreError::file(&path, source))?;
            recovery.removed.push(path);
        }
        Ok(())
    }

    /// Removes folders whose image is gone and, in `work`, those whose build is over.
    fn sweep_folders(
        &self,
        name: &str,
        states: &States,
        recovery: &mut Recovery,
    ) -> Result<(), StoreError> {
        for path in entries(&self.data_dir.join(name))? {
            // What is not called like an image is not ours.
            let Some(id) = path.file_name().and_then(|name| name.parse::<ImageId>().ok()) else {
                continue;
            };
            let over = match states.get(&id) {
                // Folder and record appear under the lock that is held now: this one lost its record.
                None => true,
                Some(status) => name == "work" && status.is_some_and(Status::is_terminal),
            };
            if !over {
                continue;
            }
            let outcome = self.is_owned(id).and_then(|owned| {
                if !owned {
                    remove_tree(&path)?;
                    recovery.removed.push(path);
                }
                Ok(())
            });
            note(recovery, outcome);
        }
        Ok(())
    }

    /// The states of all images. What changes meanwhile is left to the next start: none can appear.
    fn states(&self) -> Result<States, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT id, status FROM images")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
            })?;
            let mut states = HashMap::new();
            for row in rows {
                let (id, status) = row?;
                if let Ok(id) = id.parse() {
                    states.insert(id, status.and_then(|status| status.parse().ok()));
                }
            }
            Ok(states)
        })
    }

    fn status(&self, id: ImageId) -> Result<Option<Status>, StoreError> {
        match self.get(id) {
            Ok(record) => Ok(Some(record.status)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sweep_temporary(&self, recovery: &mut Recovery) -> Result<(), StoreError> {
        for path in entries(&self.data_dir.join("tmp"))? {
            let file = fs_err::File::open(&path);
            // Locked: its writer lives. Files appear there under the lock that is held now.
            if file.as_ref().is_ok_and(|file| file.try_lock().is_err()) {
                continue;
            }
            let export = fs_err::read_link(&path).ok().map(Utf8PathBuf::from_path_buf);
            if let Some(Ok(export)) = export
                && is_temporary_name(&export)
                && regular_file(&export).is_ok()
            {
                remove(export, recovery);
            }
            // The folder of a command that was killed.
            if fs_err::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                match remove_tree(&path) {
                    Ok(()) => recovery.removed.push(path),
                    Err(error) => note(recovery, Err(error.into())),
                }
            } else {
                remove(path, recovery);
            }
        }
        Ok(())
    }

    /// Removes lock files of images that are gone.
    fn sweep_locks(&self, states: &States, recovery: &mut Recovery) -> Result<(), StoreError> {
        for path in entries(&self.data_dir.join("locks"))? {
            let Some(id) = path.file_name().and_then(|name| name.parse::<ImageId>().ok()) else {
                continue;
            };
            // Folders that could not be removed keep their lock file for the next attempt.
            let kept = states.contains_key(&id)
                || self.image_dir(id).exists()
                || self.work_dir(id).exists();
            if kept {
                continue;
            }
            match self.is_owned(id) {
                Ok(true) => {},
                Ok(false) => remove(path, recovery),
                Err(error) => note(recovery, Err(error)),
            }
        }
        Ok(())
    }

    /// Removes the files of named locks whose holders were killed.
    fn sweep_named_locks(&self, recovery: &mut Recovery) -> Result<(), StoreError> {
        for path in entries(&self.locks_dir())? {
            let outcome = NamedLock::try_take(&path);
            note(recovery, outcome.map(drop).map_err(|source| StoreError::file(&path, source)));
        }
        Ok(())
    }
}

/// Removes files that were being written when their writers died.
fn sweep_unfinished(folder: &Utf8Path, recovery: &mut Recovery) -> Result<(), StoreError> {
    for path in entries(folder)? {
        if is_temporary_name(&path) {
            match remove_abandoned(&path) {
                Ok(true) => recovery.removed.push(path),
                // Its writer lives, or has just finished.
                Ok(false) => {},
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {},
                Err(source) => note(recovery, Err(StoreError::file(&path, source))),
            }
        }
    }
    Ok(())
}

fn remove(path: Utf8PathBuf, recovery: &mut Recovery) {
    match fs_err::remove_file(&path) {
        Ok(()) => recovery.removed.push(path),
        Err(source) => note(recovery, Err(StoreError::file(&path, source))),
    }
}

fn note(recovery: &mut Recovery, outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(error = &error as &dyn std::error::Error, "a leftover stays for now");
        recovery.problems.push(error);
    }
}

/// The paths in `folder`, none when it is not there.
fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StoreError> {
    let error = |source| StoreError::file(folder, source);
    let listing = match fs_err::read_dir(folder) {
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(error)?,
    };
    let mut paths = Vec::new();
    for entry in listing {
        // Names that are not UTF-8 are not ours.
        if let Ok(path) = Utf8PathBuf::from_path_buf(entry.map_err(error)?.path()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
