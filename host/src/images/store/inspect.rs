//! A look at a store that changes nothing.

use camino::Utf8Path;
use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How many images it has.
    pub images: i64,
    /// Builds and deletions whose process died.
    pub interrupted: u64,
    /// What is wrong with the database; empty when it is whole.
    pub damage: String,
}

/// Looks at the store in `data_dir`; `None` when there is none. Nothing is made or mended.
///
/// # Errors
/// The database does not open.
pub fn inspect(data_dir: &Utf8Path) -> Result<Option<Health>, StoreError> {
    let path = data_dir.join("store.db");
    if !path.exists() {
        return Ok(None);
    }
    let look = || -> Result<Health, StoreError> {
        // Without a log nobody uses it; opened plainly, it would get one.
        let immutable = if data_dir.join("store.db-wal").exists() { "" } else { "&immutable=1" };
        let escaped = path.as_str().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{escaped}?mode=ro{immutable}");
        let connection = Connection::open_with_flags(uri, flags)?;
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(Health { damage: verdict, ..Health::default() });
        }
        let images = connection.query_row("SELECT count(*) FROM images", [], |row| row.get(0))?;
        let mut statement =
            connection.prepare("SELECT id FROM images WHERE status IN ('BUILDING', 'DELETING')")?;
        let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut interrupted = 0;
        for id in ids {
            let lock = fs_err::File::open(data_dir.join("locks").join(id?));
            interrupted += u64::from(lock.is_ok_and(|lock| lock.try_lock_shared().is_ok()));
        }
        Ok(Health { images, interrupted, damage: String::new() })
    };
    match look() {
        Err(StoreError::Database(error)) => {
            Ok(Some(Health { damage: error.to_string(), ..Health::default() }))
        },
        other => other.map(Some).map_err(|error| error.within(data_dir)),
    }
}
