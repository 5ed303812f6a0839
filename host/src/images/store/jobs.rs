//! Jobs in the store.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, named_params};

use super::files::lock_file;
use super::schema::Durability;
use super::{OwnedImage, Store, StoreError, callbacks};
use crate::images::{ImageId, Job, JobId, JobState, NewJob};

const COLUMNS: &str = "id, user, state, images, created, made";

impl Store {
    /// Records an accepted request. From then on its images wait, whatever becomes of this process.
    ///
    /// # Errors
    /// Failures of the data directory, and an idempotency key that the user has used before.
    pub fn add_job(&self, job: NewJob) -> Result<Job, StoreError> {
        let NewJob { user, images, made, request, idempotency_key, callbacks } = job;
        let job = Job {
            id: JobId::new(),
            user,
            state: JobState::Queued,
            images,
            made,
            created: Timestamp::now(),
        };
        self.write(Durability::Machine, |transaction| {
            transaction.execute(
                "INSERT INTO jobs (id, user, state, images, made, created, request, idempotency_key)
                 VALUES (:id, :user, :state, :images, :made, :created, :request, :key)",
                named_params! {
                    ":id": job.id.to_string(),
                    ":user": job.user,
                    ":state": job.state.as_str(),
                    ":images": images_text(&job.images),
                    ":made": images_text(&job.made),
                    ":created": job.created.to_string(),
                    ":request": request,
                    ":key": idempotency_key,
                },
            )?;
            callbacks::add(transaction, &job, &callbacks)
        })?;
        Ok(job)
    }

    /// The job `id`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn job(&self, id: JobId) -> Result<Job, StoreError> {
        let found = self.jobs_where("WHERE id = :text", &id.to_string())?.pop();
        found.ok_or_else(|| StoreError::NoJob { id })
    }

    /// The job that `user` gave this idempotency key.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn job_by_key(&self, user: &str, key: &str) -> Result<Option<Job>, StoreError> {
        let text = serde_json::json!([user, key]).to_string();
        let clause = "WHERE user = :text ->> 0 AND idempotency_key = :text ->> 1";
        Ok(self.jobs_where(clause, &text)?.pop())
    }

    /// Jobs in `state`, oldest first.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn jobs(&self, state: JobState) -> Result<Vec<Job>, StoreError> {
        self.jobs_where("WHERE state = :text ORDER BY ordinal", state.as_str())
    }

    /// Moves a job on, with the images that it has now. One that is done forgets its request.
    ///
    /// # Errors
    /// [`StoreError::NoJob`], failures of the data directory.
    pub fn update_job(
        &self,
        id: JobId,
        state: JobState,
        images: &[ImageId],
    ) -> Result<(), StoreError> {
        let changed = self.write(Durability::Machine, |transaction| {
            callbacks::watch(transaction, id, images)?;
            Ok(transaction.execute(
                "UPDATE jobs SET state = :state, images = :images,
                   request = CASE :state WHEN 'done' THEN x'' ELSE request END
                 WHERE id = :id",
                named_params! {
                    ":id": id.to_string(),
                    ":state": state.as_str(),
                    ":images": images_text(images),
                },
            )?)
        })?;
        if changed == 0 { Err(StoreError::NoJob { id }) } else { Ok(()) }
    }

    /// Takes up the work on an image of a queued job.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], failures of the data directory.
    pub fn own(&self, id: ImageId) -> Result<OwnedImage, StoreError> {
        let lock = lock_file(&self.lock_path(id)).map_err(|error| error.within(&self.data_dir))?;
        Ok(OwnedImage { record: self.get(id)?, lock })
    }

    /// What was asked for by a job, sealed; empty once it is done.
    ///
    /// # Errors
    /// [`StoreError::NoJob`], failures of the data directory.
    pub fn job_request(&self, id: JobId) -> Result<Vec<u8>, StoreError> {
        let found = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT request FROM jobs WHERE id = ?1")?;
            Ok(statement.query_row([id.to_string()], |row| row.get(0)).optional()?)
        })?;
        found.ok_or(StoreError::NoJob { id })
    }

    fn jobs_where(&self, clause: &str, text: &str) -> Result<Vec<Job>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs {clause}"))?;
            let rows = statement.query_map(named_params! {":text": text}, |row| Ok(job(row)))?;
            rows.map(|row| row?).collect()
        })
    }
}

fn job(row: &Row<'_>) -> Result<Job, StoreError> {
    let id: String = row.get(0)?;
    let damaged = |source| StoreError::Damaged { id: id.clone(), source };
    let text = |column| -> Result<serde_json::Value, StoreError> {
        Ok(serde_json::Value::String(row.get(column)?))
    };
    let (images, made): (String, String) = (row.get(3)?, row.get(5)?);
    Ok(Job {
        id: serde_json::from_value(text(0)?).map_err(damaged)?,
        user: row.get(1)?,
        state: serde_json::from_value(text(2)?).map_err(damaged)?,
        images: serde_json::from_str(&images).map_err(damaged)?,
        made: serde_json::from_str(&made).map_err(damaged)?,
        created: serde_json::from_value(text(4)?).map_err(damaged)?,
    })
}

fn images_text(images: &[ImageId]) -> String {
    serde_json::json!(images).to_string()
}
