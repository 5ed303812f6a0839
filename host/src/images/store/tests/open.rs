//! Data directories that cannot be used.

use std::io;
use std::os::unix::fs::PermissionsExt;

use super::super::schema::{Durability, SCHEMA};
use super::*;
use crate::images::StoreError;

#[test]
fn a_new_data_directory_is_private() {
    let store = Fixture::new();
    for folder in ["", "images", "work", "tmp"] {
        let mode = fs_err::metadata(store.data_dir().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let store = Fixture::new();
    store
        .read(|connection| Ok(connection.pragma_update(None, "user_version", SCHEMA + 1)?))
        .unwrap();
    let error = Store::open(store.data_dir()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found, .. } if found == SCHEMA + 1));
    assert!(error.hints()[0].contains("newer version"));
}

#[test]
fn sums_of_callbacks_outlive_a_new_schema_and_the_callbacks() {
    let store = Fixture::new();
    let older = "DROP TRIGGER callbacks_are_counted;
        DROP TABLE callback_totals;
        DROP INDEX callback_images_by_callback;
        INSERT INTO callbacks (job, address, shown, delivered, failed) VALUES ('a', x'', 'b', 3, 1);
        PRAGMA user_version = 4";
    store.read(|connection| Ok(connection.execute_batch(older)?)).unwrap();
    let store = store.other();
    let sums = || store.callback_counts().map(|counts| (counts.delivered, counts.failed)).unwrap();
    assert_eq!(sums(), (3, 1));
    let forget =
        |connection: &rusqlite::Connection| connection.execute("DELETE FROM callbacks", []);
    assert_eq!(store.read(|connection| Ok(forget(connection)?)).unwrap(), 1);
    assert_eq!(sums(), (3, 1));
}

#[test]
fn a_file_in_place_of_the_data_directory_is_named_in_the_error() {
    let store = Fixture::new();
    let file = store.path.join("file");
    fs_err::write(&file, "x").unwrap();
    let error = Store::open(&file.join("data")).unwrap_err();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn a_database_that_is_none_is_an_error() {
    let store = Fixture::new();
    let folder = store.path.join("other");
    fs_err::create_dir(&folder).unwrap();
    fs_err::write(folder.join("store.db"), "not a database, not at all\n".repeat(50)).unwrap();
    assert!(matches!(Store::open(&folder), Err(StoreError::Database(_))));
}

#[test]
fn failures_of_the_whole_directory_say_so_with_a_hint() {
    let store = Fixture::new();
    let inside = store.data_dir().join("images");
    let cases = [
        (io::ErrorKind::ReadOnlyFilesystem, "is read-only"),
        (io::ErrorKind::PermissionDenied, "no permission"),
        (io::ErrorKind::StorageFull, "no space left"),
    ];
    for (kind, words) in cases {
        let error = StoreError::file(&inside, kind).within(store.data_dir());
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(store.data_dir().as_str()), "{error}");
        assert!(error.hints()[0].contains("--data-dir"), "{error}");
        let elsewhere = StoreError::file("/elsewhere".into(), kind).within(store.data_dir());
        assert!(matches!(elsewhere, StoreError::File { .. }));
    }
}

#[test]
fn a_full_disk_leaves_no_half_made_image() {
    let store = Fixture::new();
    store
        .read(|connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
        })
        .unwrap();
    let mut image = base("debian");
    image.parameters.insert("big".to_owned(), "x".repeat(100_000).into());
    let error = store.create(image).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    assert!(store.files().is_empty());
    assert!(store.list(&super::super::Filter::default()).unwrap().is_empty());
}

#[test]
fn a_failed_change_is_undone_as_a_whole() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let before = (store.get(owned.id()).unwrap(), store.last_sequence().unwrap());
    let failed: Result<(), _> = store.write(Durability::Process, |transaction| {
        transaction.execute("DELETE FROM images", [])?;
        Err(StoreError::InUse { id: owned.id() })
    });
    failed.unwrap_err();
    assert_eq!(before, (store.get(owned.id()).unwrap(), store.last_sequence().unwrap()));
}

#[test]
fn a_failure_that_cannot_be_recorded_frees_the_space_of_the_build() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    // The database may not grow; a failure text that does not fit stands for a full disk.
    store
        .read(|connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
        })
        .unwrap();
    store.body(id, b"half");
    let text = "x".repeat(200_000);
    let failure = crate::images::Failure::new(plugin_api::DelegateErrorKind::Failed, text);
    let error = store.transition(id, Status::Failed, failure.into()).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    assert!(!store.work_dir(id).exists(), "the space of the build is free again");
    assert_eq!(store.get(id).unwrap().status, Status::Building);
}
