//! Disk space that is promised to builds.
//!
//! An image that is accepted has a reservation in its record until it ends. What its build has used
//! already is missing from the free space by itself; the rest is outstanding. A reservation whose
//! owner died counts for nothing.

use fs_err::File;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::files::lock_file;
use super::{Store, StoreError};
use crate::images::ImageId;
use crate::process::disk_bytes;

/// The disk space of a data directory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Room {
    /// What a request wants to have.
    pub wanted_bytes: u64,
    /// What builds under way were promised and have not used.
    pub outstanding_bytes: u64,
    /// What is free.
    pub free_bytes: u64,
}

impl Store {
    /// Checks that `wanted_bytes` more can be promised.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`], failures of the data directory.
    pub fn room_for(&self, wanted_bytes: u64) -> Result<Room, StoreError> {
        self.room(wanted_bytes, self.outstanding_bytes(None)?)
    }

    /// Checks that `wanted_bytes` could be promised if nothing else were being built.
    ///
    /// # Errors
    /// As [`Store::room_for`].
    pub fn room_without_builds(&self, wanted_bytes: u64) -> Result<Room, StoreError> {
        self.room(wanted_bytes, 0)
    }

    fn room(&self, wanted_bytes: u64, outstanding_bytes: u64) -> Result<Room, StoreError> {
        let room = Room { wanted_bytes, outstanding_bytes, free_bytes: self.free_bytes()? };
        if wanted_bytes > 0 && wanted_bytes + room.outstanding_bytes > room.free_bytes {
            return Err(StoreError::NoRoom { path: self.data_dir.clone(), room });
        }
        Ok(room)
    }

    /// What living builds were promised and have not used, that of image `except` left out.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn outstanding_bytes(&self, except: Option<ImageId>) -> Result<u64, StoreError> {
        let mut outstanding = 0_u64;
        for (id, promised) in self.promised()? {
            if Some(id) != except && self.is_owned(id)? {
                let folders = [self.work_dir(id), self.image_dir(id)];
                let used = folders.iter().map(|folder| disk_bytes(folder)).sum();
                outstanding = outstanding.saturating_add(promised.saturating_sub(used));
            }
        }
        Ok(outstanding)
    }

    /// Unfinished images with what they were promised. To those of jobs that wait nothing is promised yet, and
    /// there may be thousands of them.
    fn promised(&self) -> Result<Vec<(ImageId, u64)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, record ->> 'reserved_bytes' FROM images
                 WHERE status IN ('NEW', 'PENDING', 'BUILDING') AND id NOT IN (
                   SELECT made.value FROM jobs, json_each(jobs.made) AS made
                   WHERE state = 'queued')",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?))
            })?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let promised = |(id, bytes): (String, Option<i64>)| {
                Some((id.parse().ok()?, bytes?.unsigned_abs()))
            };
            Ok(rows.into_iter().filter_map(promised).collect())
        })
    }

    /// What this process may still write to the file system of the data directory.
    ///
    /// # Errors
    /// The file system does not tell.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let found = rustix::fs::statvfs(self.data_dir.as_std_path())
            .map_err(|errno| StoreError::file(&self.data_dir, errno))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Held between asking whether there is room and recording who got it.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn lock_room(&self) -> Result<File, StoreError> {
        lock_file(&self.data_dir.join("room.lock")).map_err(|error| error.within(&self.data_dir))
    }
}
