//! Sums for whoever watches the service. Those of builds outlive the images: a trigger keeps them.

use rusqlite::Row;

use super::schema::{DURATION_BUCKETS, Durability, SCHEMA};
use super::{Store, StoreError};

/// Builds of one kind that have ended, since the store was made.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildTotals {
    /// The tier.
    pub tier: String,
    /// The plugin; empty when the build ended before it had one.
    pub plugin: String,
    /// How they ended.
    pub status: String,
    /// Builds by how long they took: how many in each of [`DURATION_BUCKETS`](Store::DURATION_BUCKETS), and
    /// last those that took longer.
    pub buckets: Vec<u64>,
    /// How long they took together, in seconds.
    pub seconds: f64,
    /// How long they had waited together, in seconds.
    pub waited_seconds: f64,
}

/// Images that are there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTotals {
    /// The tier.
    pub tier: String,
    /// The state.
    pub status: String,
    /// How many.
    pub images: u64,
    /// Length of their bodies together, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Upper bounds of the durations that builds are counted by, in seconds.
    pub const DURATION_BUCKETS: [u32; 10] = DURATION_BUCKETS;

    /// Builds that have ended, by tier, plugin and state.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn build_totals(&self) -> Result<Vec<BuildTotals>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT tier, plugin, status, bucket, builds, seconds, waited_seconds
                 FROM build_totals ORDER BY tier, plugin, status, bucket",
            )?;
            let rows = statement.query_map([], |row| {
                let bucket = row.get::<_, i64>(3)?;
                Ok((
                    usize::try_from(bucket).unwrap_or(0),
                    count(row, 4)?,
                    BuildTotals {
                        tier: row.get(0)?,
                        plugin: row.get(1)?,
                        status: row.get(2)?,
                        buckets: vec![0; DURATION_BUCKETS.len() + 1],
                        seconds: row.get(5)?,
                        waited_seconds: row.get(6)?,
                    },
                ))
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        let mut totals = Vec::<BuildTotals>::new();
        for (bucket, builds, mut row) in rows {
            let same = |last: &BuildTotals| {
                (&last.tier, &last.plugin, &last.status) == (&row.tier, &row.plugin, &row.status)
            };
            if totals.last().is_some_and(same)
                && let Some(last) = totals.pop()
            {
                row.buckets = last.buckets;
                row.seconds += last.seconds;
                row.waited_seconds += last.waited_seconds;
            }
            if let Some(counted) = row.buckets.get_mut(bucket) {
                *counted += builds;
            }
            totals.push(row);
        }
        Ok(totals)
    }

    /// Images by tier and state.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn image_totals(&self) -> Result<Vec<ImageTotals>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT tier, status, count(*), coalesce(sum(record ->> 'size_bytes'), 0)
                 FROM images GROUP BY tier, status",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(ImageTotals {
                    tier: row.get(0)?,
                    status: row.get(1)?,
                    images: count(row, 2)?,
                    bytes: count(row, 3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Size of the database with what is not yet merged into it, in bytes.
    pub fn database_bytes(&self) -> u64 {
        let files = ["store.db", "store.db-wal"].map(|name| self.data_dir().join(name));
        files.iter().filter_map(|file| fs_err::metadata(file).ok()).map(|file| file.len()).sum()
    }

    /// Writes something that changes nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.write(Durability::Process, |transaction| {
            Ok(transaction.pragma_update(None, "user_version", SCHEMA)?)
        })
    }
}

fn count(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get(column).map(i64::unsigned_abs)
}
