//! Questions about records.

use std::collections::BTreeMap;

use plugin_api::Tier;
use rusqlite::{ToSql, named_params};

use super::write::{parse, read};
use super::{Store, StoreError};
use crate::images::{ImageId, ImageRecord, Status};

/// Shortest beginning of an identifier that is accepted.
const MIN_PREFIX: usize = 4;

/// Which images are wanted; what is empty or `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tier.
    pub tier: Option<Tier>,
    /// In one of these states.
    pub status: Vec<Status>,
    /// For this target.
    pub target: Option<String>,
    /// Called exactly so.
    pub name: Option<String>,
    /// With all these labels.
    pub labels: BTreeMap<String, String>,
    /// At most so many.
    pub limit: Option<u32>,
    /// After leaving out so many.
    pub offset: u32,
}

/// Images, and what stands in the database instead of others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Records that read.
    pub records: Vec<ImageRecord>,
    /// One [`StoreError::Damaged`] for each record that does not.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// The record of `id`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn get(&self, id: ImageId) -> Result<ImageRecord, StoreError> {
        self.read(|connection| read(connection, id)).map(|record| self.with_paths(record))
    }

    /// The one image whose identifier begins with `reference` (four digits at least), or which is called so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], [`StoreError::Damaged`].
    pub fn find(&self, reference: &str) -> Result<ImageRecord, StoreError> {
        let prefix = reference.to_ascii_lowercase();
        let is_prefix = prefix.len() >= MIN_PREFIX
            && prefix.chars().all(|digit| digit.is_ascii_hexdigit() || digit == '-');
        let Listing { records: mut found, mut damaged } = self.read_all(
            "WHERE name = :name OR (:is_prefix AND id >= :prefix AND id < :prefix || 'g')
             ORDER BY ordinal DESC LIMIT 20",
            named_params! {":name": reference, ":is_prefix": is_prefix, ":prefix": prefix},
        )?;
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(damaged
                .pop()
                .unwrap_or_else(|| StoreError::NotFound { reference: reference.to_owned() })),
            (Some(record), true) => Ok(record),
            (Some(oldest), false) => Err(StoreError::Ambiguous {
                reference: reference.to_owned(),
                candidates: found
                    .iter()
                    .chain([&oldest])
                    .map(|record| {
                        let ImageRecord { id, tier, name, status, .. } = record;
                        let target = record.target.as_deref().unwrap_or("-");
                        format!("{id} {tier} {name} {target} {status}")
                    })
                    .collect(),
            }),
        }
    }

    /// Images that pass `filter`, the newest first. Damaged records are left out: [`Store::list_all`]
    /// names them.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn list(&self, filter: &Filter) -> Result<Vec<ImageRecord>, StoreError> {
        Ok(self.list_all(filter)?.records)
    }

    /// Images that pass `filter`, the newest first, and damaged records that may.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn list_all(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let states: Vec<&str> = filter.status.iter().map(|status| status.as_str()).collect();
        let states = (!states.is_empty()).then(|| serde_json::json!(states).to_string());
        let tier = filter.tier.map(|tier| tier.to_string());
        let labels = &filter.labels;
        let labels = (!labels.is_empty()).then(|| serde_json::json!(labels).to_string());
        let conditions = [
            (":tier", &tier, "tier = :tier"),
            (":states", &states, "status IN (SELECT value FROM json_each(:states))"),
            (":target", &filter.target, "target = :target"),
            (":name", &filter.name, "name = :name"),
            (
                ":labels",
                &labels,
                "NOT EXISTS (
                   SELECT 1 FROM json_each(:labels) AS wanted WHERE NOT EXISTS (
                     SELECT 1 FROM json_each(record, '$.labels') AS label
                     WHERE label.key = wanted.key AND label.value = wanted.value))",
            ),
        ];
        // SQLite: a negative limit is none.
        let limit = filter.limit.map_or(-1, i64::from);
        let mut parameters: Vec<(&str, &dyn ToSql)> =
            vec![(":limit", &limit), (":offset", &filter.offset)];
        // Only what is asked for, and the records of the page only: reading one costs more than all else.
        let mut clause = "WHERE true".to_owned();
        for (name, value, condition) in conditions {
            if let Some(value) = value {
                clause = format!("{clause} AND {condition}");
                parameters.push((name, value));
            }
        }
        self.read_all(
            &format!(
                "WHERE ordinal IN (SELECT ordinal FROM images {clause}
                   ORDER BY ordinal DESC LIMIT :limit OFFSET :offset)
                 ORDER BY ordinal DESC"
            ),
            &parameters,
        )
    }

    /// The newest complete image with this key whose body is there with its length.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn find_reusable(&self, reuse_key: &str) -> Result<Option<ImageRecord>, StoreError> {
        let found = self.read_all(
            "WHERE reuse_key = :key AND status = 'COMPLETE' ORDER BY ordinal DESC",
            named_params! {":key": reuse_key},
        )?;
        Ok(found.records.into_iter().find(|record| {
            let body = record.path.as_ref().and_then(|path| fs_err::symlink_metadata(path).ok());
            body.is_some_and(|body| body.is_file() && Some(body.len()) == record.size_bytes)
        }))
    }

    /// Images that were made directly from `id`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when one of them does not read; failures of the data directory.
    pub fn dependents(&self, id: ImageId) -> Result<Vec<ImageRecord>, StoreError> {
        let Listing { records, damaged } = self.read_all(
            "WHERE base_image_id = :id OR target_image_id = :id ORDER BY ordinal",
            named_params! {":id": id.to_string()},
        )?;
        damaged.into_iter().next().map_or(Ok(records), Err)
    }

    pub(super) fn read_all(
        &self,
        clause: &str,
        parameters: &[(&str, &dyn ToSql)],
    ) -> Result<Listing, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT id, record FROM images {clause}"))?;
            let rows = statement.query_map(parameters, |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let mut listing = Listing::default();
            for row in rows {
                let (id, text) = row?;
                match parse(&text, &id) {
                    Ok(record) => listing.records.push(self.with_paths(record)),
                    Err(damaged) => listing.damaged.push(damaged),
                }
            }
            Ok(listing)
        })
    }

    /// Adds the paths, which are not stored.
    pub(super) fn with_paths(&self, mut record: ImageRecord) -> ImageRecord {
        let id = record.id;
        record.path = record.has_body().then(|| self.body_path(id));
        for artifact in &mut record.artifacts {
            artifact.path = Some(self.artifact_path(id, &artifact.name));
        }
        record
    }
}
